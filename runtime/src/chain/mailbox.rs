//! What callers of the chain see: hand in a finished run, get its receipt.
//!
//! All work that needs no order is done here, in the caller's task: encoding the documents, naming them, and
//! storing large bodies, each durable before the receipt that names it is queued.
//! Invariant: the queue has a bound, and a full one is an answer, not a wait.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use talea_ledger::merkle::LeafIndex;
use talea_ledger::{
    Document as _, Input, InputId, OutputId, Proof, PublicKey, Receipt, ReceiptId, ReceiptPayment,
    Run, RunId, Sealed, SealedBatch, Tal, UnixNanos,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::channels::ChannelError;
use crate::executor::Execution;
use crate::store::{BlobStore, BodyPlace, Epoch, JournalReader, Particulars, RunBytes};

/// Finished runs that wait for the chain. A commit takes up to 1,024; four of them are at most some
/// milliseconds of waiting, and more than any node lets run at once.
pub const QUEUE_MAX: usize = 4096;
/// Bodies up to this length lie in the journal, where they share the commit's one sync. A blob costs two
/// syncs of its own; at 16 KiB the longer commit costs about 30 us.
pub const INLINE_BODY_MAX: usize = 16 * 1024;

/// A run that has been executed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The order.
    pub run: Run,
    /// The same, as it was carried or made.
    pub run_payload: Bytes,
    /// The payer's envelope, if the run is paid.
    pub run_sealed: Option<Sealed>,
    /// What the guest read.
    pub input: Input,
    /// The body of it.
    pub input_body: Bytes,
    /// What the guest did.
    pub execution: Execution,
    /// Who signed the run, if it is paid.
    pub payer: Option<PublicKey>,
}

/// A receipt that is on the disk.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its id.
    pub receipt_id: ReceiptId,
    /// The receipt.
    pub receipt: Receipt,
    /// Its bytes.
    pub payload: Bytes,
    /// Whether it is the receipt of an earlier call with the same run: billed then, not now.
    pub is_repeat: bool,
    pub(super) proof: ProofSource,
}

#[derive(Debug, Clone)]
pub(super) enum ProofSource {
    Batch(Arc<SealedBatch>, LeafIndex),
    Made(Box<Proof>),
}

impl Recorded {
    /// The path to the signed batch. Made when asked for; most answers do not carry it.
    pub fn proof(&self) -> Proof {
        match &self.proof {
            ProofSource::Batch(batch, index) => {
                batch.proof(*index).expect("the batch was sealed over this receipt")
            }
            ProofSource::Made(proof) => (**proof).clone(),
        }
    }
}

/// Why there is no receipt.
#[derive(Debug, Clone, Error)]
pub enum RecordError {
    /// Too many finished runs wait already.
    #[error("more receipts wait to be written than this node lets wait")]
    Busy,
    /// The node is shutting down.
    #[error("this node takes no more receipts")]
    Closed,
    /// A write failed earlier.
    #[error("this node takes no more receipts since a write failed: {0}")]
    Latched(Arc<str>),
    /// The disk has no room.
    #[error("the disk of this node is full")]
    Full,
    /// A different run has the sequence.
    #[error("another run has used this sequence of the channel{}", .0.map(|id| format!(": {id}")).unwrap_or_default())]
    Conflict(Option<ReceiptId>),
    /// The run does not fit into its channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The disk did not answer.
    #[error("the store could not be used: {0}")]
    Store(Arc<str>),
}

impl RecordError {
    pub(super) fn of_disk(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Store(error.to_string().into()),
        }
    }
}

/// What the chain's thread is told.
#[derive(Debug)]
pub(super) enum Event {
    Record(Box<Submission>),
    Close,
}

pub(super) type Answer = oneshot::Sender<Result<Recorded, RecordError>>;

/// A finished run with all that can be known before its place in the journal is.
#[derive(Debug)]
pub(super) struct Submission {
    /// The receipt, but for `owed`, `at` and the host.
    pub(super) receipt: Receipt,
    pub(super) particulars: Particulars,
    /// The oldest epoch of a body that lies in the blob store.
    pub(super) epoch: Option<Epoch>,
    pub(super) answer: Answer,
}

/// A handle to the chain's thread; clones share its queue.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) blobs: BlobStore,
    pub(super) journal: JournalReader,
    pub(super) host: PublicKey,
}

impl Mailbox {
    /// Bills a finished run and makes its receipt. Answers when both are on the disk.
    ///
    /// The same paid run again gets the receipt it has; a different run with its sequence gets `Conflict`.
    /// Dropping the future does not take the run back once it is queued.
    pub async fn record(&self, finished: Finished) -> Result<Recorded, RecordError> {
        let (answer, answered) = oneshot::channel();
        let submission = self.prepare(finished, answer).await?;
        self.events.try_send(Event::Record(Box::new(submission))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RecordError::Busy,
            mpsc::error::TrySendError::Closed(_) => RecordError::Closed,
        })?;
        // The thread drops unanswered callers only when it has ended.
        answered.await.unwrap_or(Err(RecordError::Closed))
    }

    /// Returns when the chain's thread has ended, for whatever reason.
    pub async fn closed(&self) {
        self.events.closed().await;
    }

    async fn prepare(&self, finished: Finished, answer: Answer) -> Result<Submission, RecordError> {
        let Finished { run, run_payload, run_sealed, input, input_body, execution, payer } =
            finished;
        let (input_payload, output_payload) = (input.encode(), execution.output.encode());
        // Hashed once, when the run was made or compared with what was sent.
        debug_assert_eq!(InputId::of(&input_payload), run.input, "the run names its input");
        debug_assert_eq!(run.payment.is_some(), run_sealed.is_some() && payer.is_some());
        let epoch = self.journal.epoch();
        let (input_len, output_len) = (input_body.len() as u64, execution.output_body.len() as u64);
        let input_body = self.place(epoch, input.body, input_body).await?;
        let output_body = self.place(epoch, execution.output.body, execution.output_body).await?;
        let names_blob =
            [&input_body, &output_body].iter().any(|b| matches!(b, BodyPlace::Blob(_)));
        let cap = run.payment.as_ref().map_or(Tal::ZERO, |payment| payment.cap);
        let body_bytes = input_len.saturating_add(output_len);
        let payment = run.payment.as_ref().zip(payer).map(|(payment, payer)| ReceiptPayment {
            sequence: payment.sequence,
            channel: payment.channel,
            owed: Tal::ZERO,
            payer,
        });
        let receipt = Receipt {
            at: UnixNanos(0),
            host: self.host,
            function: run.function,
            input: run.input,
            input_len,
            peak_pages: execution.peak_pages,
            network: run.network,
            output: OutputId::of(&output_payload),
            payment,
            run: RunId::of(&run_payload),
            forwarded: None,
            bill: talea_ledger::price::bill(&run.price, execution.fuel, body_bytes, cap),
            fuel: execution.fuel,
            output_len,
            profile: run.profile,
            host_fuel: execution.host_fuel,
            price: run.price,
            outcome: execution.outcome,
        };
        let particulars = Particulars {
            run: match run_sealed {
                Some(sealed) => RunBytes::Sealed(sealed.encode().into()),
                None => RunBytes::Free(run_payload),
            },
            input: input_payload.into(),
            output: output_payload.into(),
            input_body,
            output_body,
        };
        Ok(Submission { receipt, particulars, epoch: names_blob.then_some(epoch), answer })
    }

    /// A large body goes to the blob store first, on a thread that may wait for the disk.
    async fn place(
        &self,
        epoch: Epoch,
        id: talea_ledger::BodyId,
        body: Bytes,
    ) -> Result<BodyPlace, RecordError> {
        if body.len() <= INLINE_BODY_MAX {
            return Ok(BodyPlace::Inline(body));
        }
        let blobs = self.blobs.clone();
        tokio::task::spawn_blocking(move || blobs.put(epoch, id, &body))
            .await
            .map_err(|error| RecordError::Store(error.to_string().into()))?
            .map_err(|error| RecordError::of_disk(&error))?;
        Ok(BodyPlace::Blob(epoch))
    }
}
