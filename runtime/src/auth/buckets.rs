//! How many free calls an address may make: token buckets, bounded in memory.
//!
//! An IPv6 caller is its /64, since whoever has one address there has 2^64 of them. Above `ADDRESSES_MAX`
//! addresses, newcomers share one bucket: a flood from many addresses limits newcomers, never the node.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use talea_ledger::UnixNanos;

/// Addresses remembered: 65,536 x about 48 bytes is 3 MiB.
const ADDRESSES_MAX: usize = 1 << 16;
const SECOND: u64 = 1_000_000_000;

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

#[derive(Debug)]
pub(super) struct Buckets {
    rate: Rate,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_address: HashMap<IpAddr, Bucket>,
    /// For newcomers while the table is full.
    shared: Bucket,
    /// When the table was last swept of full buckets.
    swept: u64,
}

/// The moment at which the bucket would be full again: one number instead of a level and a stamp.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: u64,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, state: Mutex::default() }
    }

    /// Takes one token, or says when there will be one.
    pub(super) fn take(&self, peer: IpAddr, now: UnixNanos) -> Result<(), Duration> {
        // The table is whole between any two statements: poisoning says nothing about it.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let key = network_of(peer);
        let is_known = state.by_address.contains_key(&key);
        if !is_known && state.by_address.len() >= ADDRESSES_MAX {
            state.sweep(now.0);
        }
        let bucket = if is_known || state.by_address.len() < ADDRESSES_MAX {
            state.by_address.entry(key).or_default()
        } else {
            &mut state.shared
        };
        bucket.take(self.rate, now.0)
    }
}

impl State {
    /// Forgets addresses whose bucket is full, at most once a second: the sweep walks the whole table.
    fn sweep(&mut self, now: u64) {
        if now.saturating_sub(self.swept) < SECOND {
            return;
        }
        self.swept = now;
        self.by_address.retain(|_, bucket| bucket.full_at > now);
    }
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: u64) -> Result<(), Duration> {
        let token = SECOND / u64::from(rate.per_second.max(1));
        let depth = token.saturating_mul(u64::from(rate.burst.max(1)));
        let full_at = self.full_at.max(now).saturating_add(token);
        let empty_at = now.saturating_add(depth);
        if full_at > empty_at {
            return Err(Duration::from_nanos(full_at - empty_at));
        }
        self.full_at = full_at;
        Ok(())
    }
}

fn network_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn taken(buckets: &Buckets, peer: &str, now: u64) -> bool {
        buckets.take(peer.parse().unwrap(), UnixNanos(now)).is_ok()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let buckets = Buckets::new(Rate { per_second: 10, burst: 3 });
        let start = 5 * SECOND;
        assert_eq!((0..5).filter(|_| taken(&buckets, "10.0.0.1", start)).count(), 3);
        let wait = buckets.take("10.0.0.1".parse().unwrap(), UnixNanos(start)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(taken(&buckets, "10.0.0.2", start), "another address has its own");
        let later = start + u64::try_from(wait.as_nanos()).unwrap();
        assert!(!taken(&buckets, "10.0.0.1", later - 1));
        assert!(taken(&buckets, "10.0.0.1", later));
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller() {
        let buckets = Buckets::new(Rate { per_second: 1, burst: 1 });
        assert!(taken(&buckets, "2001:db8::1", SECOND));
        assert!(!taken(&buckets, "2001:db8::2", SECOND));
        assert!(taken(&buckets, "2001:db8:0:1::2", SECOND));
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let buckets = Buckets::new(Rate { per_second: 1, burst: 1 });
        for address in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            let _ = buckets.take(Ipv4Addr::from(address).into(), UnixNanos(SECOND));
        }
        let len = || buckets.state.lock().unwrap().by_address.len();
        assert_eq!(len(), ADDRESSES_MAX);
        assert!(!taken(&buckets, "250.0.0.1", SECOND), "newcomers share one bucket");
        assert!(taken(&buckets, "250.0.0.1", 3 * SECOND), "full buckets are forgotten");
        assert_eq!(len(), 1);
    }
}
