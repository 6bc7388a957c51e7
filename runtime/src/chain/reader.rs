//! Reading what the chain has recorded. All calls read the disk and may wait for it: an async caller runs
//! them where waiting is allowed.

use std::sync::PoisonError;

use bytes::Bytes;
use talea_ledger::merkle::{LeafIndex, ProofError, Tree};
use talea_ledger::{
    BodyId, ChannelId, DecodeError, Document as _, Input, Output, Proof, Receipt, ReceiptId, RunId,
    Sealed, Sequence, Tal,
};
use thiserror::Error;
use tokio::sync::watch;

use super::channels::{Channel, Standing};
use super::mailbox::{ProofSource, Recorded};
use super::task::{Commits, SharedChannels};
use crate::limits::BODY_LEN_MAX;
use crate::store::{
    BlobError, BlobStore, BodyPlace, Filter, JournalReader, Page, Position, ReadError, RunBytes,
    StoredReceipt,
};

/// A receipt that the journal keeps, with all that is needed to check it.
#[derive(Debug, Clone)]
pub struct KeptReceipt {
    stored: StoredReceipt,
    id: ReceiptId,
}

/// What a (channel, sequence) stands for, for one run.
#[derive(Debug)]
pub enum Lookup {
    /// Nobody has used the sequence.
    Fresh,
    /// This run has its receipt already.
    Recorded(Box<KeptReceipt>),
    /// A different run has the sequence.
    Conflict(ReceiptId),
    /// The sequence is used, and its receipt is past its retention.
    Forgotten,
}

/// What is kept does not hold together.
#[derive(Debug, Error)]
pub enum KeptError {
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// A body could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A document is not one.
    #[error("a document beside a receipt is malformed {0}")]
    Document(#[from] DecodeError),
    /// The batch has no such receipt.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// A handle for reading; clones share everything.
#[derive(Debug, Clone)]
pub struct ReceiptReader {
    journal: JournalReader,
    blobs: BlobStore,
    channels: SharedChannels,
    commits: watch::Receiver<Commits>,
}

impl From<StoredReceipt> for KeptReceipt {
    fn from(stored: StoredReceipt) -> Self {
        let id = ReceiptId::of(&stored.payload);
        Self { stored, id }
    }
}

impl KeptReceipt {
    /// Its id.
    pub fn id(&self) -> ReceiptId {
        self.id
    }

    /// The receipt.
    pub fn receipt(&self) -> &Receipt {
        &self.stored.receipt
    }

    /// Its bytes.
    pub fn payload(&self) -> &Bytes {
        &self.stored.payload
    }

    /// Its place in the journal.
    pub fn position(&self) -> Position {
        self.stored.position
    }

    /// The run: a free run's payload, or a paid run's envelope.
    pub fn run(&self) -> &RunBytes {
        &self.stored.particulars.run
    }

    /// Payload of the input document.
    pub fn input(&self) -> &Bytes {
        &self.stored.particulars.input
    }

    /// Payload of the output document.
    pub fn output(&self) -> &Bytes {
        &self.stored.particulars.output
    }

    /// Of a run that another host executed, the papers that say how.
    pub fn via(&self) -> Option<&Bytes> {
        self.stored.particulars.via.as_ref()
    }

    /// The path to the signed batch.
    pub fn proof(&self) -> Result<Proof, KeptError> {
        let index = LeafIndex::new(self.stored.index);
        let path = Tree::over(&self.stored.batch)?.path(index)?;
        Ok(Proof { index, path, batch: Sealed::decode(&self.stored.sealed)? })
    }

    /// The answer to a run that is sent again.
    pub fn recorded(&self) -> Result<Recorded, KeptError> {
        Ok(Recorded {
            receipt_id: self.id,
            receipt: self.stored.receipt.clone(),
            payload: self.stored.payload.clone(),
            is_repeat: true,
            proof: ProofSource::Made(Box::new(self.proof()?)),
        })
    }
}

impl ReceiptReader {
    pub(super) fn new(
        journal: JournalReader,
        blobs: BlobStore,
        channels: SharedChannels,
        commits: watch::Receiver<Commits>,
    ) -> Self {
        Self { journal, blobs, channels, commits }
    }

    /// The receipt with this id, if it is retained.
    pub fn by_id(&self, id: ReceiptId) -> Result<Option<KeptReceipt>, ReadError> {
        Ok(self.journal.by_id(id)?.map(KeptReceipt::from))
    }

    /// The receipt of this payment, if it is retained.
    pub fn by_payment(
        &self,
        channel: ChannelId,
        sequence: Sequence,
    ) -> Result<Option<KeptReceipt>, ReadError> {
        Ok(self.journal.by_payment(channel, sequence)?.map(KeptReceipt::from))
    }

    /// What a run's (channel, sequence) stands for, before it is executed. `Fresh` is not a reservation: of two
    /// different runs in flight with one sequence, the first to be recorded has it.
    pub fn lookup(
        &self,
        channel: ChannelId,
        sequence: Sequence,
        run: RunId,
    ) -> Result<Lookup, ReadError> {
        let account = self.channel(&channel).unwrap_or_default();
        if account.standing(sequence) == Standing::Fresh {
            return Ok(Lookup::Fresh);
        }
        Ok(match self.by_payment(channel, sequence)? {
            Some(kept) if kept.receipt().run == run => Lookup::Recorded(Box::new(kept)),
            Some(kept) => Lookup::Conflict(kept.id()),
            None => Lookup::Forgotten,
        })
    }

    /// Receipts in journal order, after a position.
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.journal.list(filter, after, limit)
    }

    /// The position that the next receipt will have: the number of receipts ever written.
    pub fn end(&self) -> Position {
        self.journal.end()
    }

    /// What a channel owes and which sequences are used, if it has a receipt.
    pub fn channel(&self, id: &ChannelId) -> Option<Channel> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// What every channel with a receipt owes.
    pub fn debts(&self) -> Vec<(ChannelId, Tal)> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).debts()
    }

    /// Changes with every commit, for those who follow.
    pub fn commits(&self) -> watch::Receiver<Commits> {
        self.commits.clone()
    }

    /// The body of the input. `None` if it was lost from the blob store.
    pub fn input_body(&self, kept: &KeptReceipt) -> Result<Option<Bytes>, KeptError> {
        let id = Input::decode(kept.input())?.body;
        Ok(self.body(&kept.stored.particulars.input_body, id)?)
    }

    /// The body of the output. `None` if it was lost from the blob store.
    pub fn output_body(&self, kept: &KeptReceipt) -> Result<Option<Bytes>, KeptError> {
        let id = Output::decode(kept.output())?.body;
        Ok(self.body(&kept.stored.particulars.output_body, id)?)
    }

    fn body(&self, place: &BodyPlace, id: BodyId) -> Result<Option<Bytes>, BlobError> {
        match place {
            BodyPlace::Inline(body) => Ok(Some(body.clone())),
            BodyPlace::Blob(epoch) => self.blobs.get(*epoch, id, BODY_LEN_MAX),
        }
    }
}
