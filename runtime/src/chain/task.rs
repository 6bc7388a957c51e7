//! The chain's thread: takes what waits, seals it, answers.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use talea_ledger::lanes;
use talea_ledger::merkle::LeafIndex;
use talea_ledger::{OutputId, PublicKey, ReceiptId, RunId, SealedBatch};
use tokio::sync::{mpsc, watch};

use super::batcher::{BATCH_RECEIPTS_MAX, Entry, OpenBatch, Pushed};
use super::channels::{ChannelError, Channels};
use super::mailbox::{
    Answer, Event, Names, Others, ProofSource, RecordError, Recorded, Submission, Told,
};
use super::reader::KeptReceipt;
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::{AppendError, Journal, JournalReader, SegmentNumber};

/// The state that the thread writes and readers read. Locked for look-ups and for one merge per commit.
pub(super) type SharedChannels = Arc<RwLock<Channels>>;

/// Receipts of a commit, this one or the last, from which on it is worth waiting for company. Chosen, not measured: high
/// enough that a few connections never give their core away for it.
const YIELD_FROM: usize = 8;

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
        let host = self.notary.public();
        let mut events = Vec::with_capacity(BATCH_RECEIPTS_MAX);
        let mut submissions = Vec::with_capacity(BATCH_RECEIPTS_MAX);
        let mut last = 0;
        // One commit per turn: what arrives while it is written and synced is the next turn's.
        while self.events.blocking_recv_many(&mut events, BATCH_RECEIPTS_MAX) > 0 {
            if events.len().max(last) >= YIELD_FROM {
                // On a busy core those who are about to hand in go first and share this commit, its signature and its
                // sync; on an idle one this returns at once.
                std::thread::yield_now();
                while events.len() < BATCH_RECEIPTS_MAX
                    && let Ok(event) = self.events.try_recv()
                {
                    events.push(event);
                }
            }
            last = events.len();
            for event in events.drain(..) {
                match event {
                    Event::Record(submission) => submissions.push(submission),
                    Event::Close => self.events.close(),
                }
            }
            let names = name(&submissions);
            for (submission, names) in submissions.drain(..).zip(names) {
                self.push(*submission, names, host);
            }
            self.seal();
        }
        self.journal.close()
    }

    fn push(&mut self, submission: Submission, names: Names, host: PublicKey) {
        let Submission { claim, particulars, epoch, answer, .. } = submission;
        if let Some(epoch) = epoch
            && !self.reader.takes_epoch(epoch)
        {
            // A whole segment was filled since its body was stored. The body might be dropped before the
            // receipt; the caller's next attempt stores it anew.
            let _ = answer.send(Told::alone(Err(RecordError::Busy)));
            return;
        }
        let receipt = claim.receipt(names, host, self.clock.now());
        let pushed = {
            let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
            self.batch.push(Entry { receipt, particulars, answer }, &channels)
        };
        if let Pushed::Used(entry) = pushed {
            let earlier = self.earlier(&entry);
            let _ = entry.answer.send(Told::alone(earlier));
        }
        if self.batch.is_full() {
            self.seal();
        }
    }

    /// The receipt that has used this entry's sequence: its own, or another run's.
    fn earlier(&self, entry: &Entry) -> Result<Recorded, RecordError> {
        let Some(payment) = &entry.receipt.payment else {
            return Err(RecordError::Conflict(None));
        };
        let found = self
            .reader
            .by_payment(payment.channel, payment.sequence)
            .map_err(|error| RecordError::Store(error.to_string().into()))?;
        match found.map(KeptReceipt::from) {
            Some(kept) if kept.receipt().run == entry.receipt.run => {
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
        let ids = self.batch.name();
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
                self.answer(&Arc::new(sealed), &ids, &appended.receipts, nanos);
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

    fn answer(
        &mut self,
        sealed: &Arc<SealedBatch>,
        ids: &[ReceiptId],
        payloads: &[Bytes],
        nanos: u64,
    ) {
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
        let answers = self.batch.waiting.drain(..).map(|(index, answer, is_repeat)| {
            let leaf = LeafIndex::new(u32::try_from(index).unwrap_or(u32::MAX));
            let recorded = Recorded {
                receipt_id: ids[index],
                receipt: receipts[index].clone(),
                payload: payloads[index].clone(),
                is_repeat,
                proof: ProofSource::Batch(Arc::clone(sealed), leaf),
            };
            (answer, Ok(recorded))
        });
        tell(answers.collect());
    }

    /// Nobody of this batch gets a receipt. What was staged is forgotten: it was never part of the state.
    fn refuse(&mut self, error: &AppendError) {
        tracing::error!(%error, receipts = self.batch.receipts.len(), "a batch was not written");
        let error = match error {
            AppendError::Latched(first) => RecordError::Latched(Arc::clone(first)),
            AppendError::Full => RecordError::Full,
            AppendError::TooLarge(_) => RecordError::Store(error.to_string().into()),
        };
        let waiting = self.batch.waiting.drain(..);
        tell(waiting.map(|(_, answer, _)| (answer, Err(error.clone()))).collect());
    }
}

/// The names of what came with each submission. None depends on another, so they are hashed side by side.
fn name(submissions: &[Box<Submission>]) -> Vec<Names> {
    let documents = submissions
        .iter()
        .flat_map(|submission| [&submission.run_payload[..], &submission.particulars.output[..]]);
    let digests = lanes::names(&documents.collect::<Vec<_>>());
    let (pairs, _) = digests.as_chunks::<2>();
    let named = pairs.iter().map(|[run, output]| Names {
        run: RunId::from_digest(*run),
        output: OutputId::from_digest(*output),
    });
    named.collect()
}

/// Hands out the answers of one batch: to the first caller who is still there, who hands out the rest.
fn tell(mut answers: Vec<(Answer, Result<Recorded, RecordError>)>) {
    while let Some((first, answer)) = answers.pop() {
        let told = Told { answer, others: Others(answers) };
        match first.send(told) {
            Ok(()) => return,
            // Gone; it finds its receipt in the journal. The next one is asked.
            Err(mut told) => answers = std::mem::take(&mut told.others.0),
        }
    }
}

/// Only for messages.
impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("waiting", &self.batch.receipts.len()).finish_non_exhaustive()
    }
}
