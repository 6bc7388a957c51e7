//! The guest's world: what an import does, and what it costs.
//!
//! Owns: the state of one run ([`Guest`]), the way in and out of every host function ([`Call`]), and
//! the registration of all imports in a linker. Invariants: a call is charged before it has an
//! effect; what a call answers depends on the run alone (its input, clock, seed and limits); nothing
//! waits. Absent: files, sockets, real time, and any reading of the machine.
//!
//! The counter of the metering pass travels through every call: it comes in as the last parameter
//! and leaves as the last result. A call may hand back a negative one, which is an overdrawn slice:
//! the guest's next check asks for more, and only there a run yields.

pub(super) mod args;
pub(super) mod cgi;
pub(super) mod clock;
pub(super) mod errno;
pub(super) mod fields;
pub(super) mod guest;
pub(super) mod headers;
pub(super) mod memory;
pub(super) mod meter;
pub(super) mod poll;
pub(super) mod preview1;
pub(super) mod random;
pub(super) mod stdio;
pub(super) mod talea;

use talea_ledger::profile::Profile;
use wasmtime::{Engine, Linker};

pub(super) use guest::{Guest, Stop};

/// A linker with everything that a function may import under this profile.
pub(super) fn linker(engine: &Engine, profile: &Profile) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    meter::register(&mut linker)?;
    talea::register(&mut linker, profile)?;
    preview1::register(&mut linker, profile)?;
    Ok(linker)
}
