//! What callers of the ledger's thread see: hand in a transaction, learn that it is accepted.
//!
//! Invariants: an accepted transaction is synced before it is said to be; the queue has a bound, and a full one
//! is an answer, not a wait.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use talea_ledger::TransactionId;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

/// Transactions that wait for the thread. It takes all that wait at once and syncs once for them: a few
/// milliseconds of waiting.
pub(super) const QUEUE_MAX: usize = 1024;

/// Why a transaction is not accepted. It is neither in the chain nor pending by this call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// Too many wait already.
    #[error("more transactions wait than this node lets wait")]
    Busy,
    /// The node is shutting down.
    #[error("this node takes no more transactions")]
    Closed,
    /// A write failed earlier.
    #[error("this node takes no more transactions since a write failed: {0}")]
    Latched(Arc<str>),
    /// The rules or the pending pool say no.
    #[error("the ledger refuses the transaction: {}", .0.as_str())]
    Refused(Refusal),
}

/// The stable code of a refusal, as the ledger's rules and pool have them: `nonce-used`, `cannot-pay`,
/// `bad-signature`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal(String);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Event {
    /// An envelope somebody hands in.
    Submit(Vec<u8>, Answer),
    /// Peers have said something: look.
    Bell,
    /// End when everything is written.
    Close,
}

pub(super) type Answer = oneshot::Sender<Result<TransactionId, SubmitError>>;

/// A handle to the ledger's thread; clones share its queue.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub(super) events: SyncSender<Event>,
    /// Its sender lives as long as the thread.
    pub(super) alive: watch::Receiver<()>,
}

// === impl Mailbox ===

impl Mailbox {
    /// Hands in a transaction's envelope. Answers when it is accepted and on the disk, with the transaction's name.
    /// One that is known already is accepted once more, with no effect.
    pub async fn submit(&self, envelope: Vec<u8>) -> Result<TransactionId, SubmitError> {
        let (answer, answered) = oneshot::channel();
        self.events.try_send(Event::Submit(envelope, answer)).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Busy,
            TrySendError::Disconnected(_) => SubmitError::Closed,
        })?;
        // The thread drops unanswered callers only when it has ended.
        answered.await.unwrap_or(Err(SubmitError::Closed))
    }

    /// Returns when the ledger's thread has ended, for whatever reason.
    pub async fn closed(&self) {
        // An error says that the sender is gone, and nothing is ever sent.
        let _ = self.alive.clone().changed().await;
    }
}

// === impl Refusal ===

impl Refusal {
    /// A refusal with this code.
    pub fn new(code: impl Into<String>) -> Self {
        Self(code.into())
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
