//! What is held here, and what goes first when room is needed.
//!
//! Invariants: what goes was brought, is not pinned, is not in use, and no run of it was paid for within the time in
//! which a bill may be disputed; of those, the least lately used goes first, and nothing goes unless that is enough.
//! Absent: the disk, the network, clocks.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use talea_ledger::{Digest, FunctionId, UnixNanos};

use super::registration_key;
use crate::store::Keeping;

/// How long a use that is noted on the disk stands for those after it: a synced write an hour for each function.
const NOTE_NANOS: u64 = 3_600_000_000_000;

// All atomics here are relaxed: times and counts that nothing else hangs on. Who decides by them holds the lock alone.

/// One function.
#[derive(Debug)]
struct Holding {
    len: u64,
    is_brought: bool,
    is_pinned: bool,
    used: AtomicU64,
    paid: AtomicU64,
    /// The last use, and the last paid one, that the disk knows of.
    noted: AtomicU64,
    noted_paid: AtomicU64,
    runs: Arc<AtomicUsize>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Holdings {
    held: HashMap<FunctionId, Holding>,
    /// By what their registrations are asked for under.
    registered: HashMap<Digest, FunctionId>,
    bytes: u64,
    /// How long a bill may be disputed, in nanoseconds.
    window: u64,
}

/// A function is in use as long as this lives.
pub struct InUse(Arc<AtomicUsize>);

/// A use that begins.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) in_use: InUse,
    /// Whether the disk is to know of it.
    pub(super) is_to_note: bool,
}

// === impl InUse ===

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InUse")
    }
}

// === impl Holding ===

impl Holding {
    fn may_go(&self, now: UnixNanos, window: u64) -> bool {
        let paid = self.paid.load(Ordering::Relaxed);
        // After a restart only what was noted is known, and that stands for an hour of runs.
        let until = paid.saturating_add(NOTE_NANOS).saturating_add(window);
        self.is_brought
            && !self.is_pinned
            && self.runs.load(Ordering::Relaxed) == 0
            && (paid == 0 || until <= now.0)
    }
}

// === impl Holdings ===

impl Holdings {
    pub(super) fn new(window: u64) -> Self {
        Self { held: HashMap::new(), registered: HashMap::new(), bytes: 0, window }
    }

    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The function whose registration is asked for under this name.
    pub(super) fn registered(&self, key: &Digest) -> Option<FunctionId> {
        self.registered.get(key).copied()
    }

    /// Counts a function in. Whether it was not here; one that was is deployed here from now on, if it is not brought.
    pub(super) fn enter(
        &mut self,
        function: FunctionId,
        len: u64,
        is_brought: bool,
        kept: Keeping,
    ) -> bool {
        if let Some(holding) = self.held.get_mut(&function) {
            holding.is_brought &= is_brought;
            return false;
        }
        let holding = Holding {
            len,
            is_brought,
            is_pinned: kept.is_pinned,
            used: AtomicU64::new(kept.used.0),
            paid: AtomicU64::new(kept.paid.0),
            noted: AtomicU64::new(kept.used.0),
            noted_paid: AtomicU64::new(kept.paid.0),
            runs: Arc::default(),
        };
        self.held.insert(function, holding);
        self.registered.insert(registration_key(function), function);
        self.bytes = self.bytes.saturating_add(len);
        true
    }

    pub(super) fn pin(&mut self, function: FunctionId, is_pinned: bool) {
        if let Some(holding) = self.held.get_mut(&function) {
            holding.is_pinned = is_pinned;
        }
    }

    /// A brought function begins to be used; nothing for one that never goes.
    pub(super) fn begin(
        &self,
        function: FunctionId,
        now: UnixNanos,
        is_paid: bool,
    ) -> Option<Begun> {
        let holding = self.held.get(&function).filter(|holding| holding.is_brought)?;
        holding.runs.fetch_add(1, Ordering::Relaxed);
        let in_use = InUse(Arc::clone(&holding.runs));
        holding.used.fetch_max(now.0, Ordering::Relaxed);
        let noted = match is_paid {
            true => {
                holding.paid.fetch_max(now.0, Ordering::Relaxed);
                holding.noted_paid.load(Ordering::Relaxed)
            }
            false => holding.noted.load(Ordering::Relaxed),
        };
        Some(Begun { in_use, is_to_note: now.0.saturating_sub(noted) >= NOTE_NANOS })
    }

    /// The disk knows of a use.
    pub(super) fn noted(&self, function: FunctionId, at: UnixNanos, is_paid: bool) {
        let Some(holding) = self.held.get(&function) else { return };
        holding.noted.fetch_max(at.0, Ordering::Relaxed);
        if is_paid {
            holding.noted_paid.fetch_max(at.0, Ordering::Relaxed);
        }
    }

    /// Bytes of what has to stay.
    pub(super) fn staying(&self, now: UnixNanos) -> u64 {
        let stays = |holding: &&Holding| !holding.may_go(now, self.window);
        self.held.values().filter(stays).map(|holding| holding.len).sum()
    }

    /// Takes out what has to go so that `len` bytes more stay within `max`; nothing if that cannot be.
    pub(super) fn give_way(
        &mut self,
        max: u64,
        len: u64,
        now: UnixNanos,
    ) -> Option<Vec<FunctionId>> {
        let mut surplus = self.bytes.saturating_add(len).saturating_sub(max);
        if surplus == 0 {
            return Some(Vec::new());
        }
        let window = self.window;
        let mut may_go: Vec<(u64, FunctionId, u64)> = self
            .held
            .iter()
            .filter(|(_, holding)| holding.may_go(now, window))
            .map(|(id, holding)| (holding.used.load(Ordering::Relaxed), *id, holding.len))
            .collect();
        may_go.sort_unstable();
        let mut going = Vec::new();
        for (_, function, len) in may_go {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(len);
            going.push((function, len));
        }
        if surplus > 0 {
            return None;
        }
        for (function, len) in &going {
            self.held.remove(function);
            self.registered.remove(&registration_key(*function));
            self.bytes = self.bytes.saturating_sub(*len);
        }
        Some(going.into_iter().map(|(function, _)| function).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 10 * NOTE_NANOS;

    fn function(number: u8) -> FunctionId {
        FunctionId::of(&[number])
    }

    /// Functions of ten bytes, brought at the times of their numbers.
    fn holdings(count: u8) -> Holdings {
        let mut holdings = Holdings::new(WINDOW);
        for number in 1..=count {
            let kept = Keeping { used: UnixNanos(number.into()), ..Keeping::default() };
            assert!(holdings.enter(function(number), 10, true, kept));
        }
        holdings
    }

    fn use_at(holdings: &Holdings, number: u8, at: u64, is_paid: bool) {
        holdings.begin(function(number), UnixNanos(at), is_paid).unwrap();
    }

    #[test]
    fn the_least_lately_used_goes_first_and_no_more_than_needed() {
        let mut holdings = holdings(4);
        use_at(&holdings, 1, 9, false);
        assert_eq!(holdings.give_way(40, 0, UnixNanos(9)), Some(vec![]));
        assert_eq!(holdings.give_way(40, 15, UnixNanos(9)), Some(vec![function(2), function(3)]));
        assert_eq!((holdings.bytes(), holdings.count()), (20, 2));
        assert!(holdings.registered(&registration_key(function(2))).is_none());
        assert!(holdings.registered(&registration_key(function(4))).is_some());
    }

    #[test]
    fn what_is_pinned_deployed_in_use_or_paid_for_stays() {
        let mut holdings = holdings(4);
        let day = NOTE_NANOS * 24;
        holdings.pin(function(1), true);
        assert!(!holdings.enter(function(2), 10, false, Keeping::default()), "deployed here now");
        use_at(&holdings, 3, day, true);
        let in_use = holdings.begin(function(4), UnixNanos(day - 1), false).unwrap();
        assert_eq!(holdings.staying(UnixNanos(day)), 40);
        assert_eq!(holdings.give_way(30, 0, UnixNanos(day)), None);
        assert_eq!(holdings.count(), 4, "all or nothing");
        drop(in_use);
        assert_eq!(holdings.staying(UnixNanos(day)), 30);
        let disputed = UnixNanos(day + WINDOW);
        assert_eq!(holdings.give_way(30, 10, disputed), None);
        let over = UnixNanos(day + WINDOW + NOTE_NANOS);
        assert_eq!(holdings.give_way(30, 10, over), Some(vec![function(4), function(3)]));
        holdings.pin(function(1), false);
        assert_eq!(holdings.give_way(10, 0, over), Some(vec![function(1)]));
        assert!(holdings.begin(function(2), over, true).is_none(), "it never goes");
    }

    #[test]
    fn a_use_is_noted_once_an_hour_and_the_first_paid_one_at_once() {
        let holdings = holdings(1);
        let is_to_note = |at: u64, is_paid: bool| {
            let begun = holdings.begin(function(1), UnixNanos(at), is_paid).unwrap();
            if begun.is_to_note {
                holdings.noted(function(1), UnixNanos(at), is_paid);
            }
            begun.is_to_note
        };
        let hour = NOTE_NANOS;
        assert!(!is_to_note(hour, false), "it was brought within the hour");
        assert!(is_to_note(hour + 1, true));
        assert!(!is_to_note(hour + 2, true) && !is_to_note(hour + 2, false));
        assert!(is_to_note(2 * hour + 1, false));
        assert!(!is_to_note(2 * hour, true));
        assert!(is_to_note(2 * hour + 1, true));
    }
}
