//! Rewrites a wasm module so that it counts its own fuel.
//!
//! Owns: what modules are accepted ([`inspect`]) and the pass itself ([`instrument`]). This is
//! consensus code: bytes and a profile in, bytes out; no clock, no I/O, no engine. Work and memory are
//! linear in the module's size, which the profile bounds.
//!
//! # What the output looks like
//!
//! The counter is an i64 that counts *down*: what is left of what was granted, so fuel used is granted
//! minus counter, and a negative counter is overdrawn.
//!
//! - Every import `m.f : (P..) -> (R..)` becomes `m.f : (P.., i64) -> (R.., i64)`: the host gets the
//!   counter, takes its own charge off, checks, and hands it back.
//! - Two imports are added after the module's own: `talea:meter.slice : (i64) -> (i64)`, the cold path
//!   of every check, called with a negative counter, which grants more or ends the run; and
//!   `talea:meter.stop : (i32) -> ()`, which ends the run for [`STOP_STACK`] and does not return.
//! - `_start`, `talea_handle` and `_initialize` keep their names and take and return the counter:
//!   `(i64) -> (R.., i64)`. A start section becomes the export `talea:start : (i64) -> (i64)`. The host
//!   calls `talea:start`, `_initialize` and the entry, in this order, as far as they exist.
//! - The memory is exported as `memory`. Of the module's own exports nothing else survives.
//! - [`Variant::Exact`] also exports the counter as the global `talea:fuel`, valid after any trap.
//! - [`Variant::Explained`] also exports, per defined function, `talea:fuel:<index>`: what that
//!   function charged so far. Together with what the host charged they sum to the fuel of the run.
//!
//! The output's one custom section, `metadata.code.branch_hint`, tells an engine that reads it that the
//! checks' cold paths are cold. It changes speed and nothing else.
//!
//! # How large it gets
//!
//! Every variant adds to a segment, a branch and a loop a bounded number of instructions. The fast one also
//! writes several turns of small loops one after the other: at most as many bytes again as the body has,
//! and 256.
//!
//! # Order of the modules
//!
//! `refusal` < `opcode` < `weight` < `segment` < `front` < `labels` < `body` < `output`: each may use what stands
//! before it.

mod body;
mod front;
mod labels;
mod opcode;
mod output;
mod refusal;
mod segment;
mod weight;

use talea_ledger::profile::Profile;

pub use refusal::{Refusal, RefusalReason};
pub use weight::Weight;

/// What [`instrument`] makes of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The counter is a global, right at every trap; weights are counted against D.
    Exact,
    /// The counter travels through calls and is brought up to date only before somebody looks: it is
    /// right at every host call, exit and return, lost on a trap, after which the run is repeated in the
    /// exact variant. What is out of fuel here is out of fuel in exact; a trap here may be out of fuel
    /// there.
    Fast,
    /// Exact, and each function's charges are counted apart.
    Explained,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Exports `_start`: a WASI program.
    Command,
    /// Exports `talea_handle`.
    Handler,
}

/// What a module is, known without running it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// How it is called.
    pub kind: Kind,
    /// Charged once per run, before anything runs.
    pub static_fuel: u64,
    /// Whether it has a memory.
    pub has_memory: bool,
    /// Initial pages of its memory.
    pub memory_pages: u64,
    /// The module's own maximum, in pages.
    pub memory_pages_max: Option<u64>,
    /// Initial entries of each table.
    pub tables: Vec<u64>,
    /// Whether `_initialize` is exported.
    pub has_initialize: bool,
    /// Whether the output exports `talea:start`.
    pub has_start: bool,
    /// Whether any instruction or value is a float: only such a module's result may differ under an
    /// engine that does not canonicalise NaN.
    pub has_floats: bool,
    /// Import module and name, in the module's order.
    pub imports: Vec<(&'static str, &'static str)>,
    /// Of each defined function, in the module's order.
    pub functions: Vec<FunctionFacts>,
}

/// What is known of one defined function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Index in the module, imports counted.
    pub index: u32,
    /// From the name section; `None` if it has no valid name there.
    pub name: Option<String>,
    /// What one activation counts against the depth limits.
    pub weight: Weight,
}

/// A module that counts its own fuel.
#[derive(Clone, Debug)]
pub struct Metered {
    /// The rewritten module. It always validates, and never leaves the node.
    pub wasm: Vec<u8>,
    /// What the module is.
    pub inspection: Inspection,
}

/// Changes whenever the output of the pass changes for the same module, profile and variant: part of
/// the key under which compiled artefacts are kept.
pub const REVISION: &str = "3";
/// The import module of what the pass adds.
pub const METER_MODULE: &str = "talea:meter";
/// Import: grants the next slice or ends the run.
pub const METER_SLICE: &str = "slice";
/// Import: ends the run.
pub const METER_STOP: &str = "stop";
/// Export of the start section.
pub const EXPORT_START: &str = "talea:start";
/// Export of the counter in the exact variants; with `:<index>` appended, of one function's charges.
pub const EXPORT_FUEL: &str = "talea:fuel";
/// Export of the memory.
pub const EXPORT_MEMORY: &str = "memory";
/// Entry of a command.
pub const ENTRY_COMMAND: &str = "_start";
/// Entry of a handler.
pub const ENTRY_HANDLER: &str = "talea_handle";
/// Runs before the entry.
pub const ENTRY_INITIALIZE: &str = "_initialize";
/// Names of imports and exports that begin so are ours.
pub const RESERVED_PREFIX: &str = "talea:";
/// The argument of `stop` when the counted depth is above D (exact) or H (fast).
pub const STOP_STACK: i32 = 1;

/// Validates a module under a profile and tells what it is.
pub fn inspect(wasm: &[u8], profile: &Profile) -> Result<Inspection, Refusal> {
    Ok(front::read(wasm, profile)?.inspection(profile))
}

/// Rewrites a module so that it counts its own fuel.
pub fn instrument(wasm: &[u8], profile: &Profile, variant: Variant) -> Result<Metered, Refusal> {
    let module = front::read(wasm, profile)?;
    let inspection = module.inspection(profile);
    let wasm = output::write(&module, profile, variant)?;
    Ok(Metered { wasm, inspection })
}
