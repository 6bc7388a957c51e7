//! The imports a function may name: signature and price of each.
//!
//! Owns: the list. A host call costs its flat price plus its price per KiB of what it moves (the
//! bytes copied between guest and host, as the host's page on the ABI says for each call): every KiB
//! begun counts, `bytes.div_ceil(1024) * per_kib`. Both are charged before the call has an effect.
//!
//! Absent on purpose: what the calls do. That is the host's, and fixed by the ABI page.

use crate::codec::Encoder;

/// One import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// Import module.
    pub module: &'static str,
    /// Import name.
    pub name: &'static str,
    /// Types before the colon are parameters, after it results: `i` = i32, `I` = i64.
    pub signature: &'static str,
    /// Fuel per call.
    pub flat: u64,
    /// Fuel per KiB moved or begun.
    pub per_kib: u64,
}

/// A call that only reads or writes a few words: leaving and entering the guest is what it costs.
const FLAT_WORD: u64 = 100;
/// A call that looks up, copies or formats something.
const FLAT_COPY: u64 = 200;
/// A call that every other host answers with a file: here an errno, but priced as work.
const FLAT_REFUSED: u64 = 100;
/// Copying a KiB into or out of the guest.
const PER_KIB_COPY: u64 = 400;
/// Copying a KiB out of the guest and hashing it as part of the output: SHA-256 takes 9 us per KiB on a
/// processor without instructions for it, which is ten times what this much fuel takes elsewhere.
const PER_KIB_OUTPUT: u64 = 6_000;
/// Making a KiB of key stream and copying it to the guest: at 1,000 it took 27 times the kernels' mean,
/// and a guest may ask for megabytes at once.
const PER_KIB_RANDOM: u64 = 3_000;

// === impl HostCall ===

impl HostCall {
    /// Writes it as the array `[module, name, signature, flat, per_kib]`.
    pub(super) fn put(&self, out: &mut Encoder) {
        out.array(5);
        out.text(self.module);
        out.text(self.name);
        out.text(self.signature);
        out.uint(self.flat);
        out.uint(self.per_kib);
    }
}

/// The first edition's list, ordered by module and name.
pub(super) fn v1() -> Vec<HostCall> {
    let mut calls: Vec<HostCall> = TALEA_V1.iter().chain(PREVIEW1_V1).copied().collect();
    calls.sort_by_key(|call| (call.module, call.name));
    calls
}

const fn talea(name: &'static str, signature: &'static str, flat: u64, per_kib: u64) -> HostCall {
    HostCall { module: "talea", name, signature, flat, per_kib }
}

const fn wasi(name: &'static str, signature: &'static str, flat: u64, per_kib: u64) -> HostCall {
    HostCall { module: "wasi_snapshot_preview1", name, signature, flat, per_kib }
}

const TALEA_V1: &[HostCall] = &[
    talea("input_len", "i:i", FLAT_WORD, 0),
    talea("input_read", "iiii:i", FLAT_COPY, PER_KIB_COPY),
    talea("output_status", "i:i", FLAT_WORD, 0),
    talea("output_header", "iiii:i", FLAT_COPY, PER_KIB_COPY),
    talea("output_write", "ii:i", FLAT_COPY, PER_KIB_OUTPUT),
    talea("log", "iii:i", FLAT_COPY, PER_KIB_COPY),
    talea("clock_ns", ":I", FLAT_WORD, 0),
    talea("random", "ii:i", FLAT_COPY, PER_KIB_RANDOM),
];

const PREVIEW1_V1: &[HostCall] = &[
    wasi("args_get", "ii:i", FLAT_COPY, PER_KIB_COPY),
    wasi("args_sizes_get", "ii:i", FLAT_WORD, 0),
    wasi("clock_res_get", "ii:i", FLAT_WORD, 0),
    wasi("clock_time_get", "iIi:i", FLAT_WORD, 0),
    wasi("environ_get", "ii:i", FLAT_COPY, PER_KIB_COPY),
    wasi("environ_sizes_get", "ii:i", FLAT_WORD, 0),
    wasi("fd_advise", "iIIi:i", FLAT_REFUSED, 0),
    wasi("fd_allocate", "iII:i", FLAT_REFUSED, 0),
    wasi("fd_close", "i:i", FLAT_WORD, 0),
    wasi("fd_datasync", "i:i", FLAT_REFUSED, 0),
    wasi("fd_fdstat_get", "ii:i", FLAT_WORD, 0),
    wasi("fd_fdstat_set_flags", "ii:i", FLAT_REFUSED, 0),
    wasi("fd_fdstat_set_rights", "iII:i", FLAT_REFUSED, 0),
    wasi("fd_filestat_get", "ii:i", FLAT_REFUSED, 0),
    wasi("fd_filestat_set_size", "iI:i", FLAT_REFUSED, 0),
    wasi("fd_filestat_set_times", "iIIi:i", FLAT_REFUSED, 0),
    wasi("fd_pread", "iiiIi:i", FLAT_COPY, PER_KIB_COPY),
    wasi("fd_prestat_dir_name", "iii:i", FLAT_REFUSED, 0),
    wasi("fd_prestat_get", "ii:i", FLAT_REFUSED, 0),
    wasi("fd_pwrite", "iiiIi:i", FLAT_COPY, PER_KIB_COPY),
    wasi("fd_read", "iiii:i", FLAT_COPY, PER_KIB_COPY),
    wasi("fd_readdir", "iiiIi:i", FLAT_REFUSED, 0),
    wasi("fd_renumber", "ii:i", FLAT_REFUSED, 0),
    wasi("fd_seek", "iIii:i", FLAT_WORD, 0),
    wasi("fd_sync", "i:i", FLAT_REFUSED, 0),
    wasi("fd_tell", "ii:i", FLAT_WORD, 0),
    wasi("fd_write", "iiii:i", FLAT_COPY, PER_KIB_OUTPUT),
    wasi("path_create_directory", "iii:i", FLAT_REFUSED, 0),
    wasi("path_filestat_get", "iiiii:i", FLAT_REFUSED, 0),
    wasi("path_filestat_set_times", "iiiiIIi:i", FLAT_REFUSED, 0),
    wasi("path_link", "iiiiiii:i", FLAT_REFUSED, 0),
    wasi("path_open", "iiiiiIIii:i", FLAT_REFUSED, 0),
    wasi("path_readlink", "iiiiii:i", FLAT_REFUSED, 0),
    wasi("path_remove_directory", "iii:i", FLAT_REFUSED, 0),
    wasi("path_rename", "iiiiii:i", FLAT_REFUSED, 0),
    wasi("path_symlink", "iiiii:i", FLAT_REFUSED, 0),
    wasi("path_unlink_file", "iii:i", FLAT_REFUSED, 0),
    wasi("poll_oneoff", "iiii:i", FLAT_COPY, PER_KIB_COPY),
    wasi("proc_exit", "i:", FLAT_WORD, 0),
    wasi("proc_raise", "i:i", FLAT_WORD, 0),
    wasi("random_get", "ii:i", FLAT_COPY, PER_KIB_RANDOM),
    wasi("sched_yield", ":i", FLAT_WORD, 0),
    wasi("sock_accept", "iii:i", FLAT_REFUSED, 0),
    wasi("sock_recv", "iiiiii:i", FLAT_REFUSED, 0),
    wasi("sock_send", "iiiii:i", FLAT_REFUSED, 0),
    wasi("sock_shutdown", "ii:i", FLAT_REFUSED, 0),
];
