//! Room in an engine's pool, counted before the pool is asked.
//!
//! Invariant: whoever holds a [`Slot`] finds an instance, a memory, its tables and a stack in the
//! pool; nobody holds more than one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The instances that one engine may have at once.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    taken: Arc<AtomicU32>,
    max: u32,
}

/// Room for one instance, given back on drop.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicU32>);

impl Slots {
    pub(super) fn new(max: u32) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// Room for one more, if there is any.
    pub(super) fn take(&self) -> Option<Slot> {
        let below = |taken: u32| (taken < self.max).then(|| taken.saturating_add(1));
        // Relaxed: the pool has its own lock; this only keeps us from asking for too much.
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below);
        taken.ok().map(|_| Slot(Arc::clone(&self.taken)))
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_given_back() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take(), slots.take());
        assert!(one.is_some() && two.is_some() && slots.take().is_none());
        drop(one);
        assert_eq!(slots.taken(), 1);
        assert!(slots.take().is_some());
    }
}
