//! The run's virtual clock: it begins at the time the run names and moves on with every reading,
//! by a fixed rule, so that a repeated run reads the same times.
//!
//! Owns: two readings. Absent: waiting; nothing in a function waits.

use std::time::Duration;

use crate::host;

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn unix_nanos() -> u64 {
    host::clock_ns()
}

/// Time since 1970-01-01T00:00:00Z. The difference of two readings says nothing about how long
/// the work between them took.
#[must_use]
pub fn now() -> Duration {
    Duration::from_nanos(unix_nanos())
}
