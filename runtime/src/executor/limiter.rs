//! Growth of memory and tables, held to what the run and its profile allow.
//!
//! Invariants: above a limit the guest's own instruction answers -1, on every node alike; a growth
//! within the limits that fails is the machine's fault and ends the run as a host fault. So whatever
//! a guest can see of growth depends on the run alone.

use talea_ledger::units::Pages;
use wasmtime::ResourceLimiter;

/// Bytes of a page of linear memory.
const PAGE: usize = 64 << 10;

/// A growth that was allowed did not happen: no memory, no address space, no slot that large.
#[derive(Debug, thiserror::Error)]
#[error("growth within the run's limits failed: {0}")]
pub(super) struct GrowthFailed(String);

/// The limits of one run and what it took of them.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_max: usize,
    peak: usize,
    entries_max: u64,
    entries: u64,
}

impl Limiter {
    /// `entries_max` bounds the entries of all tables together.
    pub(super) fn new(memory_max: Pages, entries_max: u64) -> Self {
        let pages = usize::try_from(memory_max.0).unwrap_or(usize::MAX);
        Self { memory_max: pages.saturating_mul(PAGE), peak: 0, entries_max, entries: 0 }
    }

    /// The most pages the memory ever had.
    pub(super) fn peak(&self) -> Pages {
        Pages(u32::try_from(self.peak / PAGE).unwrap_or(u32::MAX))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The module's own maximum is checked here too: what passes must not fail afterwards.
        let allowed = desired <= self.memory_max.min(maximum.unwrap_or(usize::MAX));
        if allowed {
            self.peak = self.peak.max(desired);
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(GrowthFailed(error.to_string()).into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let entries = self.entries.saturating_add(more);
        let allowed = entries <= self.entries_max && desired <= maximum.unwrap_or(usize::MAX);
        if allowed {
            self.entries = entries;
        }
        Ok(allowed)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(GrowthFailed(error.to_string()).into())
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }
}
