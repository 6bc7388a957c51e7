//! The batch that is being filled: billing in order, and who waits for what.
//!
//! Invariant: nothing here touches the chain's state. What the batch changes is staged, and becomes the state
//! when the batch is on the disk; a batch that was not written leaves no trace.

use std::collections::HashMap;
use std::collections::hash_map;

use talea_ledger::lanes;
use talea_ledger::{ChannelId, Document as _, Receipt, ReceiptId, Sequence};

use super::channels::{CHANNELS_MAX, Channel, ChannelError, Channels};
use super::mailbox::{Answer, RecordError, Told};
use crate::store::{BatchDraft, Facts, Particulars};

/// Receipts of one commit. 1,024 at 15 us of work each are more than the sync takes, so larger batches
/// would add waiting and save nothing.
pub(super) const BATCH_RECEIPTS_MAX: usize = 1024;
/// Bytes after which a batch is closed. One submission is far below 1 MiB (two bodies of 16 KiB, documents
/// and run below 256 KiB, papers of a forward below 64 KiB), so a batch stays below the journal's 8 MiB.
pub(super) const BATCH_LEN: usize = 4 << 20;
const _: () = assert!(BATCH_LEN + (2 << 20) <= crate::store::COMMIT_LEN_MAX);
const _: () = assert!(BATCH_RECEIPTS_MAX <= talea_ledger::batch::RECEIPTS_MAX);

/// A receipt that is to be billed and written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) receipt: Receipt,
    pub(super) particulars: Particulars,
    pub(super) answer: Answer,
}

/// What became of an entry.
#[derive(Debug)]
pub(super) enum Pushed {
    /// It is in the batch, or waits for the same run in it.
    Waits,
    /// Its sequence was used before this batch: the journal knows by whom.
    Used(Box<Entry>),
}

/// A batch being filled.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    pub(super) draft: BatchDraft,
    pub(super) receipts: Vec<Receipt>,
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

    /// Bills a receipt and adds it.
    pub(super) fn push(&mut self, mut entry: Entry, channels: &Channels) -> Pushed {
        if let Some(payment) = &entry.receipt.payment {
            let key = (payment.channel, payment.sequence);
            if let Some(&index) = self.payments.get(&key) {
                self.join(index, entry);
                return Pushed::Waits;
            }
            match self.bill(&mut entry.receipt, channels) {
                Ok(()) => {
                    self.payments.insert(key, self.receipts.len());
                }
                Err(ChannelError::Used(_)) => return Pushed::Used(Box::new(entry)),
                Err(error) => {
                    // The caller may have gone; nobody else wants to know.
                    let _ = entry.answer.send(Told::alone(Err(error.into())));
                    return Pushed::Waits;
                }
            }
        }
        let Entry { receipt, particulars, answer } = entry;
        self.draft.push(&receipt.encode(), &particulars);
        self.waiting.push((self.receipts.len(), answer, false));
        self.receipts.push(receipt);
        Pushed::Waits
    }

    /// Names the receipts, all at once.
    pub(super) fn name(&mut self) -> Vec<ReceiptId> {
        let payloads: Vec<&[u8]> = self.draft.receipts().collect();
        let named = lanes::names(&payloads).into_iter().map(ReceiptId::from_digest);
        let ids: Vec<ReceiptId> = named.collect();
        let facts = self.receipts.iter().zip(&ids).map(|(receipt, id)| Facts::of(receipt, *id));
        self.draft.name(facts);
        ids
    }

    /// The same run is in this batch already, or a different one with its sequence.
    fn join(&mut self, index: usize, entry: Entry) {
        let receipt = &self.receipts[index];
        if receipt.run == entry.receipt.run {
            self.waiting.push((index, entry.answer, true));
        } else {
            let conflict = RecordError::Conflict(Some(receipt.id()));
            let _ = entry.answer.send(Told::alone(Err(conflict)));
        }
    }

    fn bill(&mut self, receipt: &mut Receipt, channels: &Channels) -> Result<(), ChannelError> {
        let Some(payment) = &mut receipt.payment else { return Ok(()) };
        let staged = self.staged.entry(payment.channel);
        let channel = match staged {
            hash_map::Entry::Occupied(staged) => staged.into_mut(),
            hash_map::Entry::Vacant(staged) => {
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
