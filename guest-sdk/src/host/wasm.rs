//! The real imports.
//!
//! Owns: every `unsafe` of the SDK but the export. Invariant: each pointer and length handed over
//! comes from one live slice.
#![allow(
    unsafe_code,
    reason = "calling an import is unsafe by language rule; the slices make it sound"
)]

use talea_host_api::{Field, Level};

mod raw {
    #[link(wasm_import_module = "talea")]
    unsafe extern "C" {
        pub(super) safe fn input_len(field: i32) -> i32;
        pub(super) fn input_read(field: i32, ptr: *mut u8, offset: u32, len: usize) -> i32;
        pub(super) safe fn output_status(code: i32) -> i32;
        pub(super) fn output_header(
            name: *const u8,
            name_len: usize,
            value: *const u8,
            value_len: usize,
        ) -> i32;
        pub(super) fn output_write(ptr: *const u8, len: usize) -> i32;
        pub(super) fn log(level: i32, ptr: *const u8, len: usize) -> i32;
        pub(super) safe fn clock_ns() -> i64;
        pub(super) fn random(ptr: *mut u8, len: usize) -> i32;
    }
}

pub(super) fn input_len(field: Field) -> i32 {
    raw::input_len(field.number())
}

pub(super) fn input_read(field: Field, offset: u32, into: &mut [u8]) -> i32 {
    // SAFETY: the host writes at most `into.len()` bytes from its start.
    unsafe { raw::input_read(field.number(), into.as_mut_ptr(), offset, into.len()) }
}

pub(super) fn output_status(code: i32) -> i32 {
    raw::output_status(code)
}

pub(super) fn output_header(name: &[u8], value: &[u8]) -> i32 {
    // SAFETY: the host only reads the two slices, during the call.
    unsafe { raw::output_header(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(super) fn output_write(bytes: &[u8]) -> i32 {
    // SAFETY: the host only reads the slice, during the call.
    unsafe { raw::output_write(bytes.as_ptr(), bytes.len()) }
}

pub(super) fn log(level: Level, message: &[u8]) -> i32 {
    // SAFETY: the host only reads the slice, during the call.
    unsafe { raw::log(level.number(), message.as_ptr(), message.len()) }
}

pub(super) fn clock_ns() -> i64 {
    raw::clock_ns()
}

pub(super) fn random(into: &mut [u8]) -> i32 {
    // SAFETY: the host writes exactly `into.len()` bytes from its start.
    unsafe { raw::random(into.as_mut_ptr(), into.len()) }
}
