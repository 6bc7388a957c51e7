//! The chain's thread: takes what waits, seals it, answers.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use talea_ledger::merkle::LeafIndex;
use talea_ledger::{ReceiptId, SealedBatch};
use tokio::sync::{mpsc, watch};

use super::batcher::{BATCH_RECEIPTS_MAX, OpenBatch, Pushed};
use super::channels::{ChannelError, Channels};
use super::mailbox::{Event, ProofSource, RecordError, Recorded, Submission};
use super::reader::KeptReceipt;
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::{AppendError, Journal, JournalReader, SegmentNumber};

/// The state that the thread writes and readers read. Locked for look-ups and for one merge per commit.
pub(super) type SharedChannels = Arc<RwLock<Channels>>;

/// What the thread has written since the node's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commits {
    /// Batches that were written and synced.
    pub count: u64,
    /// Nanoseconds that writing and syncing them took.
    pub nanos: u64,
}

pub(super) struct Task {
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) journal: Journal,
    pub(super) reader: JournalReader,
    pub(super) channels: SharedChannels,
    pub(super) notary: Notary,
    pub(super) clock: Arc<dyn Clock>,
    /// Bumped per commit, for those who follow.
    pub(super) commits: watch::Sender<Commits>,
    /// Wakes the keeper when a segment is full.
    pub(super) wake: SyncSender<()>,
    pub(super) batch: OpenBatch,
    pub(super) segment: SegmentNumber,
}

impl Task {
    /// Runs until the mailbox is closed and empty. Everything that was queued is written first.
    pub(super) fn run(mut self) -> Result<(), AppendError> {
        let mut events = Vec::with_capacity(BATCH_RECEIPTS_MAX);
        // One commit per turn: what arrives while it is written and synced is the next turn's.
        while self.events.blocking_recv_many(&mut events, BATCH_RECEIPTS_MAX) > 0 {
            for event in events.drain(..) {
                match event {
                    Event::Record(submission) => self.push(submission),
                    Event::Close => self.events.close(),
                }
            }
            self.seal();
        }
        self.journal.close()
    }

    fn push(&mut self, submission: Box<Submission>) {
        if let Some(epoch) = submission.epoch
            && !self.reader.takes_epoch(epoch)
        {
            // A whole segment was filled since its body was stored. The body might be dropped before the
            // receipt; the caller's next attempt stores it anew.
            let _ = submission.answer.send(Err(RecordError::Busy));
            return;
        }
        let now = self.clock.now();
        let pushed = {
            let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
            self.batch.push(submission, now, &channels)
        };
        if let Pushed::Used(submission) = pushed {
            let answer = self.earlier(&submission);
            let _ = submission.answer.send(answer);
        }
        if self.batch.is_full() {
            self.seal();
        }
    }

    /// The receipt that has used this submission's sequence: its own, or another run's.
    fn earlier(&self, submission: &Submission) -> Result<Recorded, RecordError> {
        let Some(payment) = &submission.receipt.payment else {
            return Err(RecordError::Conflict(None));
        };
        let found = self
            .reader
            .by_payment(payment.channel, payment.sequence)
            .map_err(|error| RecordError::Store(error.to_string().into()))?;
        match found.map(KeptReceipt::from) {
            Some(kept) if kept.receipt().run == submission.receipt.run => {
                kept.recorded().map_err(|error| RecordError::Store(error.to_string().into()))
            }
            Some(kept) => Err(RecordError::Conflict(Some(kept.id()))),
            // Its receipt was dropped after its retention; the channel remembers the sequence.
            None => Err(ChannelError::Used(payment.sequence).into()),
        }
    }

    /// Signs, writes, syncs and answers one batch.
    fn seal(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let number = self.journal.next_commit();
        let sealed = {
            let payloads: Vec<&[u8]> = self.batch.draft.receipts().collect();
            self.notary
                .seal(number.0, self.clock.now(), &payloads)
                .expect("a batch has from one to BATCH_RECEIPTS_MAX receipts")
        };
        let channels = Arc::clone(&self.channels);
        let checkpoint = move |into: &mut Vec<u8>| {
            channels.read().unwrap_or_else(PoisonError::into_inner).encode(into);
        };
        let bytes = sealed.sealed().encode();
        let begun = self.clock.now();
        match self.journal.append(&self.batch.draft, &bytes, &checkpoint) {
            Ok(appended) => {
                let nanos = self.clock.now().0.saturating_sub(begun.0);
                self.answer(&Arc::new(sealed), appended.receipts, nanos);
            }
            Err(error) => self.refuse(&error),
        }
        self.batch.clear();
        let segment = SegmentNumber(self.reader.epoch().0);
        if segment != self.segment {
            self.segment = segment;
            // A keeper that is awake already will see the new segment as well.
            let _ = self.wake.try_send(());
        }
    }

    fn answer(&mut self, sealed: &Arc<SealedBatch>, payloads: Vec<Bytes>, nanos: u64) {
        {
            let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
            for (id, channel) in self.batch.staged.drain() {
                channels.put(id, channel);
            }
        }
        self.commits.send_modify(|commits| {
            commits.count += 1;
            commits.nanos = commits.nanos.saturating_add(nanos);
        });
        let receipts = &self.batch.receipts;
        for (index, answer, is_repeat) in self.batch.waiting.drain(..) {
            let (receipt_id, receipt) = &receipts[index];
            let leaf = LeafIndex::new(u32::try_from(index).unwrap_or(u32::MAX));
            let recorded = Recorded {
                receipt_id: *receipt_id,
                receipt: receipt.clone(),
                payload: payloads[index].clone(),
                is_repeat,
                proof: ProofSource::Batch(Arc::clone(sealed), leaf),
            };
            // A caller that has gone finds its receipt in the journal.
            let _ = answer.send(Ok(recorded));
        }
    }

    /// Nobody of this batch gets a receipt. What was staged is forgotten: it was never part of the state.
    fn refuse(&mut self, error: &AppendError) {
        tracing::error!(%error, receipts = self.batch.receipts.len(), "a batch was not written");
        let error = match error {
            AppendError::Latched(first) => RecordError::Latched(Arc::clone(first)),
            AppendError::Full => RecordError::Full,
            AppendError::TooLarge(_) => RecordError::Store(error.to_string().into()),
        };
        for (_, answer, _) in self.batch.waiting.drain(..) {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

/// Only for messages.
impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting: Vec<ReceiptId> = self.batch.receipts.iter().map(|(id, _)| *id).collect();
        f.debug_struct("Task").field("waiting", &waiting).finish_non_exhaustive()
    }
}
