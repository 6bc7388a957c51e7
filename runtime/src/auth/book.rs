//! What is under way on each channel, held against what is recorded.
//!
//! Invariants: under one lock, so that two calls cannot both find a sequence free or the same credit
//! unspent. A claim ends when it is dropped, which its holder does only after the run's receipt is
//! recorded (or will never be): whoever looks next finds either the claim or the record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use talea_ledger::{ChannelId, NetworkId, PublicKey, ReceiptId, Run, RunId, Sequence, Tal};
use tokio::sync::watch;

use super::{AuthorizeError, credit};
use crate::config;

/// What is recorded about channels. The node hands in the chain's view of it.
pub trait Channels: Send + Sync + std::fmt::Debug {
    /// What is recorded about one sequence of a channel.
    fn standing(&self, channel: ChannelId, sequence: Sequence) -> Result<Standing, ChannelsError>;
}

/// A sequence's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has used it. The channel's bills add up to `owed`.
    Fresh {
        /// Sum of the channel's bills.
        owed: Tal,
    },
    /// A receipt has it.
    Used(Used),
    /// It was used, and the receipt is no longer kept.
    Spent,
    /// It lies above the window.
    Beyond {
        /// The highest that is taken now.
        most: Sequence,
    },
}

/// The run and receipt that have a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The run.
    pub run: RunId,
    /// Its receipt.
    pub receipt: ReceiptId,
}

/// The record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ChannelsError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Claims of all channels.
#[derive(Debug)]
pub(super) struct Book {
    network: NetworkId,
    host: PublicKey,
    credit: config::Credit,
    channels: Arc<dyn Channels>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    runs: HashMap<(ChannelId, Sequence), Underway>,
    reserved: HashMap<ChannelId, Tal>,
}

#[derive(Debug)]
struct Underway {
    run: RunId,
    ended: watch::Receiver<()>,
}

/// One sequence under way and the cover held back for it.
#[derive(Debug)]
pub(super) struct Claim {
    open: Arc<Mutex<Open>>,
    channel: ChannelId,
    sequence: Sequence,
    cap: Tal,
    /// Closed by the drop, which wakes whoever waits for this run.
    _ending: watch::Sender<()>,
}

pub(super) enum Claimed {
    Fresh(Claim),
    Recorded(ReceiptId),
    Underway(watch::Receiver<()>),
}

impl Book {
    pub(super) fn new(
        network: NetworkId,
        host: PublicKey,
        credit: config::Credit,
        channels: Arc<dyn Channels>,
    ) -> Self {
        Self { network, host, credit, channels, open: Arc::default() }
    }

    /// Claims the run's sequence and cover, or finds out what became of it before.
    pub(super) fn claim(
        &self,
        payer: PublicKey,
        run: &Run,
        id: RunId,
    ) -> Result<Claimed, AuthorizeError> {
        let payment = run.payment.as_ref().ok_or(AuthorizeError::PaymentMissing)?;
        if !self.credit.payers.contains(&payer) {
            return Err(AuthorizeError::PayerUnknown { payer });
        }
        let channel = credit::channel_of(payer, self.host, self.network);
        let (sequence, cap) = (payment.sequence, payment.cap);
        let mut open = lock(&self.open);
        let used = |run| AuthorizeError::SequenceUsed { sequence, run };
        if let Some(underway) = open.runs.get(&(channel, sequence)) {
            return match underway.run == id {
                true => Ok(Claimed::Underway(underway.ended.clone())),
                false => Err(used(Some(underway.run))),
            };
        }
        let owed = match self.channels.standing(channel, sequence)? {
            Standing::Fresh { owed } => owed,
            Standing::Used(record) if record.run == id => {
                return Ok(Claimed::Recorded(record.receipt));
            }
            Standing::Used(record) => return Err(used(Some(record.run))),
            Standing::Spent => return Err(used(None)),
            Standing::Beyond { most } => {
                return Err(AuthorizeError::SequenceBeyond { sequence, most });
            }
        };
        let reserved = open.reserved.get(&channel).copied().unwrap_or(Tal(0));
        let sum = u128::from(owed.0) + u128::from(reserved.0) + u128::from(cap.0);
        if sum > u128::from(self.credit.cap.0) {
            let credit = self.credit.cap;
            return Err(AuthorizeError::CreditSpent { owed, reserved, cap, credit });
        }
        open.reserved.insert(channel, Tal(reserved.0.saturating_add(cap.0)));
        let (ending, ended) = watch::channel(());
        open.runs.insert((channel, sequence), Underway { run: id, ended });
        let open = self.open.clone();
        Ok(Claimed::Fresh(Claim { open, channel, sequence, cap, _ending: ending }))
    }
}

// === impl Claim ===

impl Claim {
    pub(super) fn cap(&self) -> Tal {
        self.cap
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.runs.remove(&(self.channel, self.sequence));
        let left =
            open.reserved.get(&self.channel).map_or(0, |sum| sum.0.saturating_sub(self.cap.0));
        if left == 0 {
            open.reserved.remove(&self.channel);
        } else {
            open.reserved.insert(self.channel, Tal(left));
        }
    }
}

/// Each statement leaves the book whole, so a panic elsewhere says nothing about it.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
