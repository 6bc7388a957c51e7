//! How fast a peer may speak: token buckets of messages and bytes.
//!
//! Invariant: over any stretch of time a bucket lets through at most its rate times that stretch, and its burst
//! once. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// What a peer may send on one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second.
    pub messages: u32,
    /// Bytes a second.
    pub bytes: u32,
    /// Seconds' worth that may come at once, after silence.
    pub burst: u32,
}

/// One counted thing: how much of it is free now.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    free: f64,
    rate: f64,
    max: f64,
}

/// The state of one peer on one protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    messages: Tokens,
    bytes: Tokens,
    at: Instant,
}

// === impl Tokens ===

impl Tokens {
    fn full(rate: u32, burst: u32) -> Self {
        let rate = f64::from(rate.max(1));
        let max = rate * f64::from(burst.max(1));
        Self { free: max, rate, max }
    }

    fn refill(&mut self, seconds: f64) {
        self.free = (self.free + seconds * self.rate).min(self.max);
    }

    /// How many seconds until what was taken too much is there again.
    fn debt(&self) -> f64 {
        if self.free >= 0.0 { 0.0 } else { -self.free / self.rate }
    }
}

// === impl Bucket ===

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self {
            messages: Tokens::full(rate.messages, rate.burst),
            bytes: Tokens::full(rate.bytes, rate.burst),
            at: now,
        }
    }

    /// Takes one message of `len` bytes, whether or not it is free, and says how long to wait before the next.
    pub(crate) fn take(&mut self, len: usize, now: Instant) -> Duration {
        self.refill(now);
        self.messages.free -= 1.0;
        self.bytes.free -= as_f64(len);
        Duration::from_secs_f64(self.messages.debt().max(self.bytes.debt()))
    }

    /// Takes one message of `len` bytes if it is free. A message longer than a whole burst passes when the bucket
    /// is full, and leaves a debt.
    pub(crate) fn try_take(&mut self, len: usize, now: Instant) -> bool {
        self.refill(now);
        let needed = as_f64(len).min(self.bytes.max);
        if self.messages.free < 1.0 || self.bytes.free < needed {
            return false;
        }
        self.messages.free -= 1.0;
        self.bytes.free -= as_f64(len);
        true
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.messages.refill(seconds);
        self.bytes.refill(seconds);
    }
}

/// A length for the arithmetic above; frames are below 2^32, where it is exact.
fn as_f64(len: usize) -> f64 {
    u32::try_from(len).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { messages: 10, bytes: 1000, burst: 2 };

    fn passed(len: usize, every: Duration, count: u32) -> u32 {
        let begin = Instant::now();
        let mut bucket = Bucket::full(RATE, begin);
        (0..count).map(|i| u32::from(bucket.try_take(len, begin + every * i))).sum()
    }

    #[tokio::test]
    async fn a_flood_passes_at_its_burst_and_its_rate() {
        // 100 messages in a second: the burst of 20, and 10 more while it lasts.
        let passed = passed(1, Duration::from_millis(10), 100);
        assert!((28..=30).contains(&passed), "{passed}");
    }

    #[tokio::test]
    async fn bytes_bind_where_messages_do_not() {
        // 500 bytes each: 4 in the burst, then 2 a second.
        let passed = passed(500, Duration::from_millis(250), 9);
        assert_eq!(passed, 4 + 4);
    }

    #[tokio::test]
    async fn what_is_longer_than_a_burst_passes_once_and_leaves_a_debt() {
        let now = Instant::now();
        let mut bucket = Bucket::full(RATE, now);
        assert!(bucket.try_take(5000, now));
        assert!(!bucket.try_take(1, now + Duration::from_secs(2)));
        assert!(bucket.try_take(1, now + Duration::from_secs(4)));
    }

    #[tokio::test]
    async fn a_wait_is_what_the_debt_takes() {
        let now = Instant::now();
        let mut bucket = Bucket::full(RATE, now);
        assert_eq!(bucket.take(2000, now), Duration::ZERO);
        assert_eq!(bucket.take(1000, now), Duration::from_secs(1));
    }
}
