//! The imports of `talea-host-api` as safe functions: in wasm the real ones, elsewhere a double
//! with the same rules.
//!
//! Owns: the border. Invariants: lengths are checked on the way in, result codes are typed on the
//! way out. Absent: any policy.

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
#[cfg(target_family = "wasm")]
mod wasm;

#[cfg(not(target_family = "wasm"))]
use native as imports;
#[cfg(target_family = "wasm")]
use wasm as imports;

use std::fmt;
use talea_host_api as api;

/// A refusal of the host, from its negative result code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    BadPointer,
    BadArgument,
    TooLate,
    Reserved,
    TooLarge,
    Unknown(i32),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::BadPointer => f.write_str("a range of memory is out of bounds"),
            Refused::BadArgument => f.write_str("not allowed by HTTP or out of range"),
            Refused::TooLate => f.write_str("the body has begun"),
            Refused::Reserved => f.write_str("only the node sets this header"),
            Refused::TooLarge => f.write_str("too many or too long headers"),
            Refused::Unknown(code) => write!(f, "host code {code}"),
        }
    }
}

fn check(code: i32) -> Result<usize, Refused> {
    match code {
        api::BAD_POINTER => Err(Refused::BadPointer),
        api::BAD_ARGUMENT => Err(Refused::BadArgument),
        api::TOO_LATE => Err(Refused::TooLate),
        api::RESERVED => Err(Refused::Reserved),
        api::TOO_LARGE => Err(Refused::TooLarge),
        code => usize::try_from(code).map_err(|_| Refused::Unknown(code)),
    }
}

/// Length of a field. Every field of [`api::Field`] exists, so a refusal cannot happen; it would
/// read as an empty field.
pub(crate) fn input_len(field: api::Field) -> usize {
    check(imports::input_len(field)).unwrap_or(0)
}

/// Copies a part of a field; returns how many bytes.
pub(crate) fn input_read(field: api::Field, offset: usize, into: &mut [u8]) -> usize {
    // A field ends before 2^31, so an offset that does not fit is past the end.
    let Ok(offset) = u32::try_from(offset) else {
        return 0;
    };
    check(imports::input_read(field, offset, into)).unwrap_or(0)
}

/// A whole field.
pub(crate) fn input(field: api::Field) -> Vec<u8> {
    let mut bytes = vec![0; input_len(field)];
    if !bytes.is_empty() {
        let read = input_read(field, 0, &mut bytes);
        bytes.truncate(read);
    }
    bytes
}

pub(crate) fn output_status(status: u16) -> Result<(), Refused> {
    check(imports::output_status(i32::from(status))).map(drop)
}

pub(crate) fn output_header(name: &str, value: &str) -> Result<(), Refused> {
    check(imports::output_header(name.as_bytes(), value.as_bytes())).map(drop)
}

pub(crate) fn output_write(bytes: &[u8]) -> Result<(), Refused> {
    check(imports::output_write(bytes)).map(drop)
}

/// Nothing useful can be done about a refused log line: our range is valid and the level exists.
pub(crate) fn log(level: api::Level, message: &[u8]) {
    let _ = imports::log(level, message);
}

pub(crate) fn clock_ns() -> u64 {
    imports::clock_ns().cast_unsigned()
}

/// Cannot be refused: our range is valid.
pub(crate) fn random(into: &mut [u8]) {
    let _ = imports::random(into);
}
