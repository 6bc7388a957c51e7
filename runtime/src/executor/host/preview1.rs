//! WASI preview 1: all 46 imports. About ten do work; the others have nothing to act on.

use talea_host_api::WASI_MODULE;
use talea_ledger::profile::Profile;
use wasmtime::{Caller, Linker};

use super::errno::Errno;
use super::guest::{Call, Guest, Price, Stop};
use super::{args, clock, poll, random, stdio};

/// Defines imports in a linker: each takes the counter as one more parameter, pays its flat price
/// before its body runs, and hands the counter back as one more result.
macro_rules! define {
    ($linker:ident, $profile:ident, $module:expr, $call:ident;
     $($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$({
        let price = Price::of($profile, $module, stringify!($name))?;
        $linker.func_wrap(
            $module,
            stringify!($name),
            move |caller: Caller<'_, Guest>,
                  $($arg: $type,)*
                  counter: i64|
                  -> wasmtime::Result<($result, i64)> {
                let mut entered = Call::enter(caller, price, counter)?;
                let $call = &mut entered;
                let answer: $result = $body;
                Ok((answer, entered.leave()))
            },
        )?;
    })*};
}
pub(super) use define;

/// Registers the imports of preview 1.
pub(super) fn register(linker: &mut Linker<Guest>, profile: &Profile) -> wasmtime::Result<()> {
    working(linker, profile)?;
    descriptors(linker, profile)?;
    paths_and_sockets(linker, profile)?;
    exit(linker, profile)
}

/// Those that do what they say.
fn working(linker: &mut Linker<Guest>, profile: &Profile) -> wasmtime::Result<()> {
    define!(linker, profile, WASI_MODULE, call;
        args_get(argv: i32, buffer: i32) -> i32
            = args::get(call, args::arguments, argv, buffer)?.number();
        args_sizes_get(count: i32, len: i32) -> i32
            = args::sizes_get(call, args::arguments, count, len)?.number();
        environ_get(environ: i32, buffer: i32) -> i32
            = args::get(call, args::environment, environ, buffer)?.number();
        environ_sizes_get(count: i32, len: i32) -> i32
            = args::sizes_get(call, args::environment, count, len)?.number();
        clock_res_get(id: i32, out: i32) -> i32 = clock::res_get(call, id, out)?.number();
        clock_time_get(id: i32, _precision: i64, out: i32) -> i32
            = clock::time_get(call, id, out)?.number();
        random_get(ptr: i32, len: i32) -> i32 = random::random_get(call, ptr, len)?.number();
        fd_read(fd: i32, iovecs: i32, count: i32, read: i32) -> i32
            = stdio::fd_read(call, fd, iovecs, count, read)?.number();
        fd_write(fd: i32, iovecs: i32, count: i32, written: i32) -> i32
            = stdio::fd_write(call, fd, iovecs, count, written)?.number();
        fd_fdstat_get(fd: i32, out: i32) -> i32 = stdio::fd_fdstat_get(call, fd, out)?.number();
        fd_filestat_get(fd: i32, out: i32) -> i32
            = stdio::fd_filestat_get(call, fd, out)?.number();
        fd_close(fd: i32) -> i32 = stdio::fd_close(call, fd)?.number();
        poll_oneoff(subscriptions: i32, events: i32, count: i32, stored: i32) -> i32
            = poll::poll_oneoff(call, subscriptions, events, count, stored)?.number();
        sched_yield() -> i32 = pause(call).number();
    );
    Ok(())
}

/// Calls on a descriptor that is a stream, not a file.
fn descriptors(linker: &mut Linker<Guest>, profile: &Profile) -> wasmtime::Result<()> {
    define!(linker, profile, WASI_MODULE, call;
        fd_advise(fd: i32, _off: i64, _len: i64, _advice: i32) -> i32
            = stdio::refuse(call, fd, Errno::Spipe)?.number();
        fd_allocate(fd: i32, _off: i64, _len: i64) -> i32
            = stdio::refuse(call, fd, Errno::Spipe)?.number();
        fd_datasync(fd: i32) -> i32 = stdio::refuse(call, fd, Errno::Notsup)?.number();
        fd_fdstat_set_flags(fd: i32, _flags: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notsup)?.number();
        fd_fdstat_set_rights(fd: i32, _base: i64, _inheriting: i64) -> i32
            = stdio::refuse(call, fd, Errno::Notsup)?.number();
        fd_filestat_set_size(fd: i32, _size: i64) -> i32
            = stdio::refuse(call, fd, Errno::Notsup)?.number();
        fd_filestat_set_times(fd: i32, _access: i64, _change: i64, _flags: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notsup)?.number();
        fd_pread(fd: i32, _iovecs: i32, _count: i32, _off: i64, _read: i32) -> i32
            = stdio::refuse(call, fd, Errno::Spipe)?.number();
        // There are no preopened folders: a libc stops at the first descriptor that is none.
        fd_prestat_get(_fd: i32, _out: i32) -> i32 = refuse_all(call, Errno::Badf).number();
        fd_prestat_dir_name(_fd: i32, _path: i32, _len: i32) -> i32
            = refuse_all(call, Errno::Badf).number();
        fd_pwrite(fd: i32, _iovecs: i32, _count: i32, _off: i64, _written: i32) -> i32
            = stdio::refuse(call, fd, Errno::Spipe)?.number();
        fd_readdir(fd: i32, _buffer: i32, _len: i32, _cookie: i64, _used: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        fd_renumber(fd: i32, _to: i32) -> i32 = stdio::refuse(call, fd, Errno::Notsup)?.number();
        fd_seek(fd: i32, _off: i64, _whence: i32, _position: i32) -> i32
            = stdio::refuse(call, fd, Errno::Spipe)?.number();
        fd_sync(fd: i32) -> i32 = stdio::refuse(call, fd, Errno::Notsup)?.number();
        fd_tell(fd: i32, _position: i32) -> i32
            = stdio::refuse(call, fd, Errno::Spipe)?.number();
    );
    Ok(())
}

/// Calls below a folder and on a socket: no descriptor is either.
fn paths_and_sockets(linker: &mut Linker<Guest>, profile: &Profile) -> wasmtime::Result<()> {
    define!(linker, profile, WASI_MODULE, call;
        path_create_directory(fd: i32, _path: i32, _len: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_filestat_get(fd: i32, _flags: i32, _path: i32, _len: i32, _out: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_filestat_set_times(fd: i32, _flags: i32, _path: i32, _len: i32, _access: i64, _change: i64,
            _set: i32) -> i32 = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_link(fd: i32, _flags: i32, _path: i32, _len: i32, _to: i32, _new: i32, _new_len: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_open(fd: i32, _dirflags: i32, _path: i32, _len: i32, _flags: i32, _base: i64,
            _inheriting: i64, _fdflags: i32, _out: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_readlink(fd: i32, _path: i32, _len: i32, _buffer: i32, _size: i32, _used: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_remove_directory(fd: i32, _path: i32, _len: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_rename(fd: i32, _old: i32, _len: i32, _to: i32, _new: i32, _new_len: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_symlink(_old: i32, _len: i32, fd: i32, _new: i32, _new_len: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        path_unlink_file(fd: i32, _path: i32, _len: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notdir)?.number();
        proc_raise(_signal: i32) -> i32 = refuse_all(call, Errno::Notsup).number();
        sock_accept(fd: i32, _flags: i32, _out: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notsock)?.number();
        sock_recv(fd: i32, _iovecs: i32, _count: i32, _flags: i32, _read: i32, _out: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notsock)?.number();
        sock_send(fd: i32, _iovecs: i32, _count: i32, _flags: i32, _sent: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notsock)?.number();
        sock_shutdown(fd: i32, _how: i32) -> i32
            = stdio::refuse(call, fd, Errno::Notsock)?.number();
    );
    Ok(())
}

/// `proc_exit`, which has no result and does not return.
///
/// # Cost
/// Flat.
fn exit(linker: &mut Linker<Guest>, profile: &Profile) -> wasmtime::Result<()> {
    let price = Price::of(profile, WASI_MODULE, "proc_exit")?;
    linker.func_wrap(
        WASI_MODULE,
        "proc_exit",
        move |caller: Caller<'_, Guest>, code: i32, counter: i64| -> wasmtime::Result<i64> {
            Call::enter(caller, price, counter)?;
            Err(Stop::Exit(code.cast_unsigned()).into())
        },
    )?;
    Ok(())
}

/// Gives way to nobody: there is one thread, and a run yields by its fuel.
///
/// # Cost
/// Flat.
fn pause(_call: &mut Call<'_>) -> Errno {
    Errno::Success
}

/// The same answer for every descriptor or signal.
///
/// # Cost
/// Flat.
fn refuse_all(_call: &mut Call<'_>, errno: Errno) -> Errno {
    errno
}
