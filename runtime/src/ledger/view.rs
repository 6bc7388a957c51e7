//! What the ledger says at one moment: the state of its head and of its finalised prefix.
//!
//! Invariant: everything in a view is on the disk. What it holds above the finalised block may still be undone:
//! whatever leaves the ledger, and what a host counts as cover, reads `finalised`.

use std::sync::Arc;

use talea_ledger::rules::Tip;
use talea_ledger::{Height, Network, NetworkParams, Slot, State, UnixNanos};

/// One moment of the ledger. Clones are cheap: states share their records.
#[derive(Debug, Clone)]
pub struct View {
    /// The network.
    pub network: Arc<Network>,
    /// The state after the best block.
    pub head: State,
    /// The state after the last block that can never be undone.
    pub finalised: State,
    /// Transactions that are accepted and in no block of the head's line.
    pub pending: usize,
}

impl View {
    /// The parameters of the network.
    pub fn params(&self) -> &NetworkParams {
        self.network.params()
    }

    /// The best block.
    pub fn tip(&self) -> Tip {
        self.head.tip()
    }

    /// Its height.
    pub fn height(&self) -> Height {
        self.head.tip().height
    }

    /// Its slot.
    pub fn slot(&self) -> Slot {
        self.head.tip().slot
    }

    /// The height of the last block that can never be undone.
    pub fn finalised_height(&self) -> Height {
        self.finalised.tip().height
    }

    /// How many blocks the head is above the finalised one.
    pub fn lag(&self) -> u64 {
        self.height().0.saturating_sub(self.finalised_height().0)
    }

    /// The slot in which a time lies.
    pub fn slot_at(&self, now: UnixNanos) -> Slot {
        self.network.slot_at(now)
    }
}
