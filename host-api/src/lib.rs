//! The guest ABI of Talea, version 1: what a function may import, what it must export, and the
//! numbers that cross the border.
//!
//! Owns: import names and their signatures, entry points, input fields, log levels, result codes,
//! and the bounds a guest can run into. `ABI.md` beside this crate says the same in words and
//! records the hash of this file, so that neither changes without the other.
//! Invariants: nothing here changes within a version; a number is never given a second meaning.
//! Absent: prices and metering (they belong to a profile), and any code that runs: this crate is
//! data, built for the node and for wasm alike.
#![no_std]

/// Version of everything in this crate.
pub const ABI_VERSION: u32 = 1;

/// Module name of Talea's own imports.
pub const MODULE: &str = "talea";
/// Module name of WASI preview 1, the other module a function may import from.
pub const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// Entry point of a command: `() -> ()`. Told from a handler by this export.
pub const ENTRY_COMMAND: &str = "_start";
/// Entry point of a handler: `() -> i32`, 0 for success, any other value is the exit code.
pub const ENTRY_HANDLER: &str = "talea_handle";
/// Run before the entry point when exported: `() -> ()`.
pub const INITIALIZE: &str = "_initialize";
/// The memory that every pointer of every import points into.
pub const MEMORY: &str = "memory";

/// `argv[0]` of a command. Fixed, because a function is known by its hash and has no file name.
pub const PROGRAM_NAME: &str = "function";

// --- Values ---------------------------------------------------------------------------------

/// A value type that occurs in the signature of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// 32-bit integer; pointers and lengths are unsigned.
    I32,
    /// 64-bit integer.
    I64,
}

/// One function that a guest may import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Import {
    /// [`MODULE`] or [`WASI_MODULE`].
    pub module: &'static str,
    /// Name inside the module.
    pub name: &'static str,
    /// Parameter types.
    pub params: &'static [ValueType],
    /// Result types: none or one.
    pub results: &'static [ValueType],
}

/// A part of the input document, as numbered in `input_len` and `input_read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Field {
    /// The body's bytes.
    Body = 0,
    /// The method, `POST`.
    Method = 1,
    /// The path below the function, empty or beginning with `/`; not percent-decoded.
    Path = 2,
    /// The query without its `?`; not decoded.
    Query = 3,
    /// Lines `name: value\n`, names in lower case, in the order of the input document.
    Headers = 4,
    /// Arguments, each followed by a NUL byte.
    Arguments = 5,
}

impl Field {
    /// Every field, in the order of its number.
    pub const ALL: [Field; 6] =
        [Field::Body, Field::Method, Field::Path, Field::Query, Field::Headers, Field::Arguments];

    /// The field with this number.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Field> {
        match number {
            0 => Some(Field::Body),
            1 => Some(Field::Method),
            2 => Some(Field::Path),
            3 => Some(Field::Query),
            4 => Some(Field::Headers),
            5 => Some(Field::Arguments),
            _ => None,
        }
    }

    /// The number that crosses the border.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Level {
    /// The call failed.
    Error = 0,
    /// Something is off, the call goes on.
    Warn = 1,
    /// What an operator wants to read.
    Info = 2,
    /// What an author wants to read.
    Debug = 3,
    /// Everything.
    Trace = 4,
}

impl Level {
    /// The level with this number.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Level> {
        match number {
            0 => Some(Level::Error),
            1 => Some(Level::Warn),
            2 => Some(Level::Info),
            3 => Some(Level::Debug),
            4 => Some(Level::Trace),
            _ => None,
        }
    }

    /// The number that crosses the border.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The word before the message in the log: a record is `<word> <message>\n`, and all of its
    /// bytes count towards the run's log bound.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

// --- Result codes ---------------------------------------------------------------------------

/// Done. Calls that count something return the count instead.
pub const OK: i32 = 0;
/// A range of memory lies outside `memory`. Nothing was done.
pub const BAD_POINTER: i32 = -1;
/// An unknown field or level, a status outside [`STATUS_MIN`]..=[`STATUS_MAX`], or a header name
/// or value that HTTP does not allow. Nothing was done.
pub const BAD_ARGUMENT: i32 = -2;
/// Status or header after the first byte of the output. Nothing was done.
pub const TOO_LATE: i32 = -3;
/// A header that the node alone sets, see [`RESERVED_HEADERS`]. Nothing was done.
pub const RESERVED: i32 = -4;
/// More or longer headers than the bounds below allow. Nothing was done.
pub const TOO_LARGE: i32 = -5;

// --- Bounds a guest can run into ------------------------------------------------------------

/// Lowest status a guest may set: the 1xx answers belong to the connection, not to the call.
pub const STATUS_MIN: i32 = 200;
/// Highest status a guest may set.
pub const STATUS_MAX: i32 = 599;
/// Status of an output whose guest set none.
pub const STATUS_DEFAULT: i32 = 200;
/// Headers of one output. Twice what a rich API answers with.
pub const HEADER_COUNT_MAX: usize = 64;
/// Bytes of one header name.
pub const HEADER_NAME_LEN_MAX: usize = 128;
/// Bytes of one header value: a long `link` or `content-security-policy` fits.
pub const HEADER_VALUE_LEN_MAX: usize = 4096;
/// Bytes of all names and values together; with the node's own headers below the 32 KiB that
/// common proxies accept.
pub const HEADERS_LEN_MAX: usize = 16 * 1024;
/// Bytes that a CGI header block, its closing empty line included, may take at the beginning of
/// the output: [`HEADERS_LEN_MAX`] and, for each header, `": "` and `"\r\n"`, and the empty line.
pub const CGI_BLOCK_LEN_MAX: usize = HEADERS_LEN_MAX + 4 * HEADER_COUNT_MAX + 2;
/// Longest field: lengths travel as positive i32.
pub const FIELD_LEN_MAX: usize = i32::MAX as usize;

const _: () = assert!(HEADER_NAME_LEN_MAX + HEADER_VALUE_LEN_MAX <= HEADERS_LEN_MAX);

/// Headers that a guest cannot set, besides every name with [`RESERVED_HEADER_PREFIX`]: they
/// frame the message, concern one hop, or would let one function act on another's cookies.
pub const RESERVED_HEADERS: [&str; 15] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "server",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Beginning of the names of the node's own headers.
pub const RESERVED_HEADER_PREFIX: &str = "talea-";

/// Whether the node keeps this header to itself. `name` in any case.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    let prefix = name.as_bytes().get(..RESERVED_HEADER_PREFIX.len());
    prefix.is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_HEADER_PREFIX.as_bytes()))
        || RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// The environment of a command that is the same in every run, in this order and before the
/// variables made from the input. RFC 3875 wants them set; a function has no server and no peer,
/// so they are constants: a run must not depend on where it happens.
pub const CGI_FIXED: [(&str, &str); 7] = [
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    ("SERVER_PROTOCOL", "HTTP/1.1"),
    ("SERVER_SOFTWARE", "talea"),
    ("SERVER_NAME", "localhost"),
    ("SERVER_PORT", "0"),
    ("REMOTE_ADDR", "0.0.0.0"),
    ("SCRIPT_NAME", ""),
];

// --- Imports --------------------------------------------------------------------------------

macro_rules! imports {
    (@types $($type:ident)*) => { &[$(ValueType::$type),*] };
    ($module:expr; $($name:literal ($($param:ident)*) ($($result:ident)?);)*) => {
        [$(Import {
            module: $module,
            name: $name,
            params: imports!(@types $($param)*),
            results: imports!(@types $($result)?),
        }),*]
    };
}

/// Talea's own imports.
pub const IMPORTS: [Import; 8] = imports! { MODULE;
    "input_len" (I32) (I32);
    "input_read" (I32 I32 I32 I32) (I32);
    "output_status" (I32) (I32);
    "output_header" (I32 I32 I32 I32) (I32);
    "output_write" (I32 I32) (I32);
    "log" (I32 I32 I32) (I32);
    "clock_ns" () (I64);
    "random" (I32 I32) (I32);
};

/// All of WASI preview 1. Each can be imported; those that have nothing to act on answer with an
/// errno, see `ABI.md`.
pub const WASI_IMPORTS: [Import; 46] = imports! { WASI_MODULE;
    "args_get" (I32 I32) (I32);
    "args_sizes_get" (I32 I32) (I32);
    "environ_get" (I32 I32) (I32);
    "environ_sizes_get" (I32 I32) (I32);
    "clock_res_get" (I32 I32) (I32);
    "clock_time_get" (I32 I64 I32) (I32);
    "fd_advise" (I32 I64 I64 I32) (I32);
    "fd_allocate" (I32 I64 I64) (I32);
    "fd_close" (I32) (I32);
    "fd_datasync" (I32) (I32);
    "fd_fdstat_get" (I32 I32) (I32);
    "fd_fdstat_set_flags" (I32 I32) (I32);
    "fd_fdstat_set_rights" (I32 I64 I64) (I32);
    "fd_filestat_get" (I32 I32) (I32);
    "fd_filestat_set_size" (I32 I64) (I32);
    "fd_filestat_set_times" (I32 I64 I64 I32) (I32);
    "fd_pread" (I32 I32 I32 I64 I32) (I32);
    "fd_prestat_get" (I32 I32) (I32);
    "fd_prestat_dir_name" (I32 I32 I32) (I32);
    "fd_pwrite" (I32 I32 I32 I64 I32) (I32);
    "fd_read" (I32 I32 I32 I32) (I32);
    "fd_readdir" (I32 I32 I32 I64 I32) (I32);
    "fd_renumber" (I32 I32) (I32);
    "fd_seek" (I32 I64 I32 I32) (I32);
    "fd_sync" (I32) (I32);
    "fd_tell" (I32 I32) (I32);
    "fd_write" (I32 I32 I32 I32) (I32);
    "path_create_directory" (I32 I32 I32) (I32);
    "path_filestat_get" (I32 I32 I32 I32 I32) (I32);
    "path_filestat_set_times" (I32 I32 I32 I32 I64 I64 I32) (I32);
    "path_link" (I32 I32 I32 I32 I32 I32 I32) (I32);
    "path_open" (I32 I32 I32 I32 I32 I64 I64 I32 I32) (I32);
    "path_readlink" (I32 I32 I32 I32 I32 I32) (I32);
    "path_remove_directory" (I32 I32 I32) (I32);
    "path_rename" (I32 I32 I32 I32 I32 I32) (I32);
    "path_symlink" (I32 I32 I32 I32 I32) (I32);
    "path_unlink_file" (I32 I32 I32) (I32);
    "poll_oneoff" (I32 I32 I32 I32) (I32);
    "proc_exit" (I32) ();
    "proc_raise" (I32) (I32);
    "random_get" (I32 I32) (I32);
    "sched_yield" () (I32);
    "sock_accept" (I32 I32 I32) (I32);
    "sock_recv" (I32 I32 I32 I32 I32 I32) (I32);
    "sock_send" (I32 I32 I32 I32 I32) (I32);
    "sock_shutdown" (I32 I32) (I32);
};

/// The import with this module and name, if a function may have it.
#[must_use]
pub fn find_import(module: &str, name: &str) -> Option<&'static Import> {
    const TALEA: &[Import] = &IMPORTS;
    const WASI: &[Import] = &WASI_IMPORTS;
    let list = match module {
        MODULE => TALEA,
        WASI_MODULE => WASI,
        _ => return None,
    };
    list.iter().find(|import| import.name == name)
}
