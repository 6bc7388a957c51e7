//! Guest time: starts at the run's clock and moves on by a fixed step with every reading.
//!
//! Invariant: nothing here reads a real clock. Waiting moves the time on at once.

use talea_ledger::profile::ClockRule;
use talea_ledger::units::UnixNanos;

use super::errno::Errno;
use super::guest::{Call, Stop};
use super::memory;

/// Preview 1's clock of days.
pub(super) const REALTIME: u32 = 0;
/// Preview 1's clock that never goes back; here it starts at zero.
pub(super) const MONOTONIC: u32 = 1;
/// Preview 1's clocks of processor time, which this host does not have.
const PROCESSOR: std::ops::RangeInclusive<u32> = 2..=3;

/// The time of one run.
#[derive(Debug)]
pub(super) struct VirtualClock {
    start: UnixNanos,
    rule: ClockRule,
    elapsed: u64,
}

impl VirtualClock {
    pub(super) fn new(start: UnixNanos, rule: ClockRule) -> Self {
        Self { start, rule, elapsed: 0 }
    }

    /// Nanoseconds since 1970. The first reading is the run's clock itself.
    pub(super) fn realtime(&mut self) -> u64 {
        self.start.0.saturating_add(self.monotonic())
    }

    /// Nanoseconds since the run began; moves the time on after it is read.
    pub(super) fn monotonic(&mut self) -> u64 {
        let now = self.elapsed;
        self.elapsed = now.saturating_add(self.rule.step_ns);
        now
    }

    /// The time since the start that a deadline of a clock means, without reading the clock.
    pub(super) fn deadline(&self, clock: u32, timeout: u64, absolute: bool) -> Result<u64, Errno> {
        let origin = match clock {
            REALTIME => self.start.0,
            MONOTONIC => 0,
            _ => return Err(unknown(clock)),
        };
        Ok(if absolute {
            timeout.saturating_sub(origin)
        } else {
            self.elapsed.saturating_add(timeout)
        })
    }

    /// Whether that much time has gone by.
    pub(super) fn is_past(&self, deadline: u64) -> bool {
        deadline <= self.elapsed
    }

    /// Moves the time on to a deadline, never back.
    pub(super) fn wait_until(&mut self, deadline: u64) {
        self.elapsed = self.elapsed.max(deadline);
    }
}

fn unknown(clock: u32) -> Errno {
    if PROCESSOR.contains(&clock) { Errno::Notsup } else { Errno::Inval }
}

/// Reads a clock into the guest's memory.
///
/// # Cost
/// Flat.
pub(super) fn time_get(call: &mut Call<'_>, clock: i32, out: i32) -> Result<Errno, Stop> {
    let clock = clock.cast_unsigned();
    let (memory, guest) = call.parts();
    if memory::bytes(memory, out, 8).is_none() {
        return Ok(Errno::Fault);
    }
    let time = match clock {
        REALTIME => guest.clock.realtime(),
        MONOTONIC => guest.clock.monotonic(),
        _ => return Ok(unknown(clock)),
    };
    Ok(memory::put(memory, out, &time.to_le_bytes()).map_or(Errno::Fault, |()| Errno::Success))
}

/// Tells the resolution of a clock.
///
/// # Cost
/// Flat.
pub(super) fn res_get(call: &mut Call<'_>, clock: i32, out: i32) -> Result<Errno, Stop> {
    let clock = clock.cast_unsigned();
    if !(REALTIME..=MONOTONIC).contains(&clock) {
        return Ok(unknown(clock));
    }
    let (memory, guest) = call.parts();
    let resolution = guest.clock.rule.resolution_ns.to_le_bytes();
    Ok(memory::put(memory, out, &resolution).map_or(Errno::Fault, |()| Errno::Success))
}

/// `clock_ns` of the Talea ABI: nanoseconds since 1970, as an i64.
///
/// # Cost
/// Flat.
pub(super) fn clock_ns(call: &mut Call<'_>) -> i64 {
    i64::try_from(call.guest().clock.realtime()).unwrap_or(i64::MAX)
}
