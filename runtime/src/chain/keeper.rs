//! The thread beside the chain's: makes segments ahead, writes indexes, drops what is past its retention.
//!
//! Its work may be late or fail without harm to a receipt; a failure is reported and tried again.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use talea_ledger::Receipt;

use crate::clock::Clock;
use crate::store::{BlobStore, JournalKeeper, Retention};

/// How often retention is looked after when no segment fills.
const ROUND: Duration = Duration::from_secs(60);
/// How soon a failed round is tried again: a full disk may have room by then.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) journal: JournalKeeper,
    pub(super) blobs: BlobStore,
    pub(super) retention: Retention,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wake: Receiver<()>,
    pub(super) bills: WatchedBills,
}

/// Which bills are not paid yet. The node hands in who knows, which starts after the chain.
pub trait Unpaid: Send + Sync + std::fmt::Debug {
    /// Whether somebody still has to pay the bill of a receipt.
    fn is_unpaid(&self, receipt: &Receipt) -> bool;
}

/// Who knows; nobody at first, and nobody any more while the node ends. Then nothing counts as paid.
pub(super) type WatchedBills = Arc<OnceLock<Weak<dyn Unpaid>>>;

impl Keeper {
    /// Runs until the chain's thread has ended.
    pub(super) fn run(self) {
        let mut has_failed = false;
        loop {
            let round = self.round();
            if let Err(error) = &round
                && !has_failed
            {
                tracing::warn!(%error, "work beside the journal failed and will be tried again");
            }
            has_failed = round.is_err();
            match self.wake.recv_timeout(if has_failed { RETRY } else { ROUND }) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn round(&self) -> io::Result<()> {
        // Dropping comes first: on a full disk it makes the room that the rest needs.
        let is_unpaid = |receipt: &Receipt| {
            let known = self.bills.get().and_then(Weak::upgrade);
            known.is_none_or(|bills| bills.is_unpaid(receipt))
        };
        let epoch = self.journal.drop_old(&self.retention, self.clock.now(), &is_unpaid)?;
        self.blobs.drop_before(epoch)?;
        self.journal.prepare()?;
        self.journal.write_indexes()
    }
}
