//! The thread beside the chain's: makes segments ahead, writes indexes, drops what is past its retention.
//!
//! Its work may be late or fail without harm to a receipt; a failure is reported and tried again.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

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
}

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
        let epoch = self.journal.drop_old(&self.retention, self.clock.now())?;
        self.blobs.drop_before(epoch)?;
        self.journal.prepare()?;
        self.journal.write_indexes()
    }
}
