//! The batch that is being filled: billing in order, and who waits for what.
//!
//! Invariant: nothing here touches the chain's state. What the batch changes is staged, and becomes the state
//! when the batch is on the disk; a batch that was not written leaves no trace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use talea_ledger::{ChannelId, Document as _, Receipt, ReceiptId, Sequence, UnixNanos};

use super::channels::{CHANNELS_MAX, Channel, ChannelError, Channels};
use super::mailbox::{Answer, RecordError, Submission};
use crate::store::{BatchDraft, Facts};

/// Receipts of one commit. 1,024 at 15 us of work each are more than the sync takes, so larger batches
/// would add waiting and save nothing.
pub(super) const BATCH_RECEIPTS_MAX: usize = 1024;
/// Bytes after which a batch is closed. One submission is far below 1 MiB (two bodies of 16 KiB, documents
/// and run below 256 KiB), so a batch stays below the journal's 8 MiB.
pub(super) const BATCH_LEN: usize = 4 << 20;
const _: () = assert!(BATCH_LEN + (2 << 20) <= crate::store::COMMIT_LEN_MAX);
const _: () = assert!(BATCH_RECEIPTS_MAX <= talea_ledger::batch::RECEIPTS_MAX);

/// What became of a submission.
#[derive(Debug)]
pub(super) enum Pushed {
    /// It is in the batch, or waits for the same run in it.
    Waits,
    /// Its sequence was used before this batch: the journal knows by whom.
    Used(Box<Submission>),
}

/// A batch being filled.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    pub(super) draft: BatchDraft,
    pub(super) receipts: Vec<(ReceiptId, Receipt)>,
    /// Who waits for which receipt, and whether as a repetition.
    pub(super) waiting: Vec<(usize, Answer, bool)>,
    /// Channels as they will be after this batch.
    pub(super) staged: HashMap<ChannelId, Channel>,
    payments: HashMap<(ChannelId, Sequence), usize>,
    new_channels: usize,
}

impl OpenBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.receipts.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.receipts.len() >= BATCH_RECEIPTS_MAX || self.draft.len() >= BATCH_LEN
    }

    /// Bills a submission at `at` and adds its receipt.
    pub(super) fn push(
        &mut self,
        mut submission: Box<Submission>,
        at: UnixNanos,
        channels: &Channels,
    ) -> Pushed {
        submission.receipt.at = at;
        if let Some(payment) = &submission.receipt.payment {
            let key = (payment.channel, payment.sequence);
            if let Some(&index) = self.payments.get(&key) {
                self.join(index, *submission);
                return Pushed::Waits;
            }
            match self.bill(&mut submission.receipt, channels) {
                Ok(()) => {
                    self.payments.insert(key, self.receipts.len());
                }
                Err(ChannelError::Used(_)) => return Pushed::Used(submission),
                Err(error) => {
                    // The caller may have gone; nobody else wants to know.
                    let _ = submission.answer.send(Err(error.into()));
                    return Pushed::Waits;
                }
            }
        }
        let Submission { receipt, particulars, answer, .. } = *submission;
        let payload = receipt.encode();
        let id = ReceiptId::of(&payload);
        self.draft.push(Facts::of(&receipt, id), &payload, &particulars);
        self.waiting.push((self.receipts.len(), answer, false));
        self.receipts.push((id, receipt));
        Pushed::Waits
    }

    /// The same run is in this batch already, or a different one with its sequence.
    fn join(&mut self, index: usize, submission: Submission) {
        let (id, receipt) = &self.receipts[index];
        if receipt.run == submission.receipt.run {
            self.waiting.push((index, submission.answer, true));
        } else {
            let _ = submission.answer.send(Err(RecordError::Conflict(Some(*id))));
        }
    }

    fn bill(&mut self, receipt: &mut Receipt, channels: &Channels) -> Result<(), ChannelError> {
        let Some(payment) = &mut receipt.payment else { return Ok(()) };
        let staged = self.staged.entry(payment.channel);
        let channel = match staged {
            Entry::Occupied(staged) => staged.into_mut(),
            Entry::Vacant(staged) => {
                let known = channels.get(&payment.channel);
                if known.is_none() {
                    if channels.len() + self.new_channels >= CHANNELS_MAX {
                        return Err(ChannelError::TooMany);
                    }
                    self.new_channels += 1;
                }
                staged.insert(known.cloned().unwrap_or_default())
            }
        };
        payment.owed = channel.take(payment.sequence, receipt.bill)?;
        Ok(())
    }

    /// Forgets everything but the memory.
    pub(super) fn clear(&mut self) {
        self.draft.clear();
        self.receipts.clear();
        self.waiting.clear();
        self.staged.clear();
        self.payments.clear();
        self.new_channels = 0;
    }
}
