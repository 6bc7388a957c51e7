//! What callers of the chain see: hand in a finished run, get its receipt.
//!
//! What needs no order and no company is done here, in the caller's task: encoding the documents, and storing
//! large bodies, each durable before the receipt that names it is queued. The documents are named by the
//! chain's thread, which hashes those of a whole batch side by side.
//! Invariant: the queue has a bound, and a full one is an answer, not a wait.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use talea_ledger::merkle::LeafIndex;
use talea_ledger::{
    Document as _, Forwarded, Fuel, Input, InputId, Outcome, OutputId, Pages, Proof, PublicKey,
    Receipt, ReceiptId, ReceiptPayment, Run, RunId, Sealed, SealedBatch, Tal, UnixNanos,
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
    /// The same, as its run names it.
    pub input_payload: Bytes,
    /// The body of it.
    pub input_body: Bytes,
    /// What the guest did.
    pub execution: Execution,
    /// Who signed the run, if it is paid.
    pub payer: Option<PublicKey>,
    /// How another host came to run it; nothing for a run that was executed here.
    pub via: Option<Via>,
}

/// What the receipt of a forwarded run names, and the papers that are kept beside it.
#[derive(Debug, Clone)]
pub struct Via {
    /// The draw and the other host's receipt.
    pub named: Forwarded,
    /// The encoded papers, never empty.
    pub papers: Bytes,
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

/// Who waits for a receipt.
pub(super) type Answer = oneshot::Sender<Told>;

/// What one waiting caller is told, and what it has to tell the others of its batch. The chain's thread wakes one
/// task instead of hundreds; the others are woken on that task's own thread.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) answer: Result<Recorded, RecordError>,
    pub(super) others: Others,
}

/// Answers that are still to be handed out. They are when this is dropped, also by a caller that has gone.
#[derive(Debug, Default)]
pub(super) struct Others(pub(super) Vec<(Answer, Result<Recorded, RecordError>)>);

/// A finished run with all that can be known before its place in the journal is.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) claim: Claim,
    pub(super) run_payload: Bytes,
    pub(super) particulars: Particulars,
    /// The epoch of its bodies in the blob store, if any lies there.
    pub(super) epoch: Option<Epoch>,
    pub(super) answer: Answer,
}

/// What a receipt says, before its documents are named and its place in the journal is known.
#[derive(Debug)]
pub(super) struct Claim {
    run: Run,
    payer: Option<PublicKey>,
    outcome: Outcome,
    fuel: Fuel,
    host_fuel: Fuel,
    peak_pages: Pages,
    input_len: u64,
    output_len: u64,
    forwarded: Option<Forwarded>,
}

/// Where a queued run's answer will come.
type Answered = oneshot::Receiver<Told>;

/// A run on its way into the queue.
enum Queued<'m> {
    /// It is there, or was refused.
    Now(Result<Answered, RecordError>),
    /// Its large bodies are being stored.
    Later(Pin<Box<dyn Future<Output = Result<Answered, RecordError>> + Send + 'm>>),
}

/// Names of a claim's documents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) run: RunId,
    pub(super) output: OutputId,
}

impl Claim {
    /// The receipt, but for what its channel owes.
    pub(super) fn receipt(&self, names: Names, host: PublicKey, at: UnixNanos) -> Receipt {
        let run = &self.run;
        let cap = run.payment.as_ref().map_or(Tal::ZERO, |payment| payment.cap);
        let body_bytes = self.input_len.saturating_add(self.output_len);
        let payment = run.payment.as_ref().zip(self.payer).map(|(payment, payer)| ReceiptPayment {
            sequence: payment.sequence,
            channel: payment.channel,
            owed: Tal::ZERO,
            payer,
        });
        Receipt {
            at,
            host,
            function: run.function,
            input: run.input,
            input_len: self.input_len,
            peak_pages: self.peak_pages,
            network: run.network,
            output: names.output,
            payment,
            run: names.run,
            forwarded: self.forwarded,
            bill: talea_ledger::price::bill(&run.price, self.fuel, body_bytes, cap),
            fuel: self.fuel,
            output_len: self.output_len,
            profile: run.profile,
            host_fuel: self.host_fuel,
            price: run.price,
            outcome: self.outcome,
        }
    }
}

impl Told {
    pub(super) fn alone(answer: Result<Recorded, RecordError>) -> Self {
        Self { answer, others: Others::default() }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for (waiting, answer) in self.0.drain(..) {
            // A caller that has gone finds its receipt in the journal.
            let _ = waiting.send(Told::alone(answer));
        }
    }
}

/// A handle to the chain's thread; clones share its queue.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) blobs: BlobStore,
    pub(super) journal: JournalReader,
}

impl Mailbox {
    /// Bills a finished run and makes its receipt. Answers when both are on the disk.
    ///
    /// The same paid run again gets the receipt it has; a different run with its sequence gets `Conflict`.
    /// A run with small bodies is queued by the call itself, so that its caller's task carries none of it.
    /// Dropping the future does not take the run back once it is queued.
    pub fn record(
        &self,
        finished: Finished,
    ) -> impl Future<Output = Result<Recorded, RecordError>> + Send + use<'_> {
        let bodies = [&finished.input_body, &finished.execution.output_body];
        let queued = if bodies.iter().all(|body| body.len() <= INLINE_BODY_MAX) {
            let [input, output] = bodies.map(|body| BodyPlace::Inline(body.clone()));
            Queued::Now(self.queue(finished, None, input, output))
        } else {
            Queued::Later(Box::pin(self.queue_stored(finished)))
        };
        async move {
            let answered = match queued {
                Queued::Now(answered) => answered?,
                Queued::Later(stored) => stored.await?,
            };
            match answered.await {
                Ok(Told { answer, others }) => {
                    drop(others);
                    answer
                }
                // The thread drops unanswered callers only when it has ended.
                Err(_) => Err(RecordError::Closed),
            }
        }
    }

    /// Returns when the chain's thread has ended, for whatever reason.
    pub async fn closed(&self) {
        self.events.closed().await;
    }

    /// Stores what is large, then queues.
    async fn queue_stored(&self, finished: Finished) -> Result<Answered, RecordError> {
        let epoch = self.journal.epoch();
        let (input, output) = (finished.input.body, finished.execution.output.body);
        let input = self.place(epoch, input, finished.input_body.clone()).await?;
        let output = self.place(epoch, output, finished.execution.output_body.clone()).await?;
        self.queue(finished, Some(epoch), input, output)
    }

    fn queue(
        &self,
        finished: Finished,
        epoch: Option<Epoch>,
        input_place: BodyPlace,
        output_place: BodyPlace,
    ) -> Result<Answered, RecordError> {
        let Finished { run, run_payload, run_sealed, input_payload, .. } = finished;
        let (execution, payer, via) = (finished.execution, finished.payer, finished.via);
        // Hashed once, when the run was made or compared with what was sent.
        debug_assert_eq!(InputId::of(&input_payload), run.input, "the run names its input");
        debug_assert_eq!(run.payment.is_some(), run_sealed.is_some() && payer.is_some());
        let claim = Claim {
            run,
            payer,
            outcome: execution.outcome,
            fuel: execution.fuel,
            host_fuel: execution.host_fuel,
            peak_pages: execution.peak_pages,
            input_len: finished.input_body.len() as u64,
            output_len: execution.output_body.len() as u64,
            forwarded: via.as_ref().map(|via| via.named),
        };
        let particulars = Particulars {
            run: match run_sealed {
                Some(sealed) => RunBytes::Sealed(sealed.encode().into()),
                None => RunBytes::Free(run_payload.clone()),
            },
            input: input_payload,
            output: execution.output.encode().into(),
            input_body: input_place,
            output_body: output_place,
            via: via.map(|via| via.papers),
        };
        let (answer, answered) = oneshot::channel();
        let submission = Box::new(Submission { claim, run_payload, particulars, epoch, answer });
        self.events.try_send(Event::Record(submission)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RecordError::Busy,
            mpsc::error::TrySendError::Closed(_) => RecordError::Closed,
        })?;
        Ok(answered)
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
