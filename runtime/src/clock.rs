//! The only reader of time. Everything else is handed a `Clock`, so that a test can be a seed.
//!
//! Invariant: `now` of the system clock never goes back within one process, even when the machine's
//! clock is set back: receipts and batches of one host are ordered by it.
//! Absent: sleeping and timeouts; those belong to the task that waits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use talea_ledger::UnixNanos;

/// Where a part of the node gets the time from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> UnixNanos;
}

/// The machine's clock, held monotonic.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicU64,
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn now(&self) -> UnixNanos {
        // A clock before 1970 or after 2554 is a broken machine; the node then sees a time at that edge.
        let read = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let read = u64::try_from(read.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: the value is the whole message, nothing else is published with it.
        let latest = self.latest.fetch_max(read, Ordering::Relaxed);
        UnixNanos(read.max(latest))
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `at`.
    pub fn at(at: UnixNanos) -> Self {
        Self(AtomicU64::new(at.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

/// A moment of this process after which something is too late. Monotonic, and never part of a document.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `wait` from now. A wait beyond what the machine can count is a century.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    pub fn after(wait: Duration) -> Self {
        let now = Instant::now();
        let century = Duration::from_secs(100 * 365 * 24 * 3600);
        Self(now.checked_add(wait.min(century)).unwrap_or(now))
    }

    /// Whether the moment is behind us.
    pub fn passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// How long until then; zero once it has passed.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = SystemClock::default();
        let ahead = clock.now().0 + 3_600_000_000_000;
        clock.latest.store(ahead, Ordering::Relaxed);
        assert_eq!(clock.now(), UnixNanos(ahead));
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::at(UnixNanos(5));
        assert_eq!(clock.now(), UnixNanos(5));
        clock.advance(Duration::from_nanos(7));
        assert_eq!(clock.now(), UnixNanos(12));
    }

    #[test]
    fn a_deadline_passes() {
        assert!(Deadline::after(Duration::ZERO).passed());
        let far = Deadline::after(Duration::MAX);
        assert!(!far.passed() && far.remaining() > Duration::from_secs(3600));
    }
}
