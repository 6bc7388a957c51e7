//! A double of the host calls for unit tests of handlers: same codes, same order rules, no bounds
//! on output and log, its own generator and clock.
//!
//! Owns: one world per thread. Invariants: a test sees only what its own thread did; clock and
//! seed are the same in every test unless set. Absent: fuel, and the input: a request made by hand
//! carries its fields itself.

use std::cell::RefCell;

use talea_host_api as api;
use talea_host_api::{Field, Level};

/// 2026-01-01T00:00:00Z, so that a test that prints the date is stable.
pub(crate) const CLOCK_START: u64 = 1_767_225_600_000_000_000;
/// What one reading of the clock adds. The real rule belongs to the profile; all that a handler
/// may rely on is that the clock never goes back.
const CLOCK_STEP: u64 = 1_000;

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) log: Vec<u8>,
    pub(crate) clock: u64,
    pub(crate) seed: u64,
}

impl World {
    pub(crate) fn new(clock: u64, seed: u64) -> World {
        World { status: 200, headers: Vec::new(), body: Vec::new(), log: Vec::new(), clock, seed }
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new(CLOCK_START, 0));
}

/// Puts a fresh world in place and returns the old one.
pub(crate) fn replace(world: World) -> World {
    WORLD.replace(world)
}

pub(super) fn input_len(_field: Field) -> i32 {
    api::OK
}

pub(super) fn input_read(_field: Field, _offset: u32, _into: &mut [u8]) -> i32 {
    api::OK
}

pub(super) fn output_status(code: i32) -> i32 {
    WORLD.with_borrow_mut(|world| {
        if !(api::STATUS_MIN..=api::STATUS_MAX).contains(&code) {
            return api::BAD_ARGUMENT;
        }
        if !world.body.is_empty() {
            return api::TOO_LATE;
        }
        world.status = u16::try_from(code).expect("checked to be at most STATUS_MAX");
        api::OK
    })
}

pub(super) fn output_header(name: &[u8], value: &[u8]) -> i32 {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !is_token(name) || !is_value(value) {
        return api::BAD_ARGUMENT;
    }
    // The order of the checks is the host's: of several faults the code nearest to zero is told.
    let (name, value) = (text(name).to_ascii_lowercase(), text(value.trim_ascii()));
    WORLD.with_borrow_mut(|world| {
        if !world.body.is_empty() {
            return api::TOO_LATE;
        }
        if api::is_reserved_header(&name) {
            return api::RESERVED;
        }
        let total: usize = world.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        if world.headers.len() == api::HEADER_COUNT_MAX
            || name.len() > api::HEADER_NAME_LEN_MAX
            || value.len() > api::HEADER_VALUE_LEN_MAX
            || total + name.len() + value.len() > api::HEADERS_LEN_MAX
        {
            return api::TOO_LARGE;
        }
        world.headers.push((name, value));
        api::OK
    })
}

/// RFC 9110, token.
fn is_token(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(allowed)
}

fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

pub(super) fn output_write(bytes: &[u8]) -> i32 {
    WORLD.with_borrow_mut(|world| world.body.extend_from_slice(bytes));
    api::OK
}

pub(super) fn log(level: Level, message: &[u8]) -> i32 {
    WORLD.with_borrow_mut(|world| {
        world.log.extend_from_slice(level.word().as_bytes());
        world.log.push(b' ');
        world.log.extend_from_slice(message);
        world.log.push(b'\n');
    });
    api::OK
}

pub(super) fn clock_ns() -> i64 {
    WORLD.with_borrow_mut(|world| {
        let now = world.clock;
        world.clock = now.saturating_add(CLOCK_STEP);
        now.cast_signed()
    })
}

pub(super) fn random(into: &mut [u8]) -> i32 {
    WORLD.with_borrow_mut(|world| {
        for chunk in into.chunks_mut(8) {
            let word = crate::random::mix(&mut world.seed).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    });
    api::OK
}
