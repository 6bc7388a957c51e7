//! A latency histogram of logarithmic buckets.
//!
//! Owns counts of nanoseconds. Invariant: a quantile is off by less than 1 part in 64 of its value.
//! Absent: correction for coordinated omission. The generator is a closed loop (each connection
//! waits for its answer before it asks again) and its report says so.

/// Sub-buckets of each power of two: 64 bounds the error of a quantile to 1.6 %.
const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;
/// Powers of two above the linear part: 2^40 ns is 18 minutes, longer than any window.
const POWERS: usize = 40;
const BUCKETS: usize = (POWERS + 1) * (1 << SUB_BITS);

/// Counts of latencies.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds one latency.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// How many latencies were added.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest latency.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The latency that `share` of all stay at or below, in nanoseconds; 0 when nothing was added.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(index).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB {
        return nanos as usize;
    }
    let power = nanos.ilog2() - SUB_BITS;
    let sub = (nanos >> power) - SUB;
    (((u64::from(power) + 1) << SUB_BITS) + sub).min(BUCKETS as u64 - 1) as usize
}

fn middle(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB {
        return index;
    }
    let power = (index >> SUB_BITS) - 1;
    let low = (SUB + (index & (SUB - 1))) << power;
    low + (1 << power) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_sixty_fourth() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000_u64 {
            histogram.record(value * 10);
        }
        for share in [0.001, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = share * 1_000_000.0;
            let error = (histogram.quantile(share) as f64 - exact).abs() / exact;
            assert!(error < 1.0 / 64.0, "{share}: off by {error}");
        }
        assert_eq!(histogram.total(), 100_000);
        assert_eq!(histogram.max(), 1_000_000);
    }

    #[test]
    fn every_bucket_holds_its_own_middle() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(middle(index)), index);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn an_empty_histogram_has_no_latency() {
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
