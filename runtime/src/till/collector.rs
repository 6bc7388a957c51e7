//! The collector: one task that hands in redeems, answers and ends, one after the other, in the host's name.
//!
//! A round looks at every channel that owes something and at every redeem by batch under way, and decides from the
//! ledger's head, the kept vouchers and the journal what is to be done now. Nothing is remembered between rounds
//! but the nonce that was sent last: until the head has it, no further transaction is made.
//!
//! | when | what |
//! |---|---|
//! | a voucher brings at least `channels.redeem`, its channel closes or nears its end, its session ends, or it is asked for | redeem by voucher |
//! | bills without a voucher, and the end is nearer than the redeem margin | redeem by batch, up to the payer's cap |
//! | the payer asked to close, and all is paid | close, which returns the rest at once |
//! | a claimed bill is challenged | answer with input and receipt |
//! | a claim's window has passed | settle |
//! | a payer would promise more functions than one redeem lists | redeem what is promised, so that the rest can be |
//! | a payer ends a session | redeem what its key has signed, by batch where there is no voucher |
//! | another host is proven to have cheated, and a report costs it something | report |
//!
//! Invariant: it only ever asks the ledger for what the ledger's rules allow anyway; doing it twice pays once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use talea_ledger::rules::record::Channel;
use talea_ledger::transaction::{Action, CloseChannel, Lock, Redeem, Settle};
use talea_ledger::{
    ChannelId, Nonce, PublicKey, Session, Slots, State, Tal, Transaction, TransactionId, UnixNanos,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use super::bills::{BillsError, Line, split};
use super::vouchers::{Promise, Till, revoked, slot};
use super::{Traffic, batch};
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::{PaymentsError, VoucherBy};

/// Time between rounds: the slots of a network are of this order, and a redeem is never in a hurry of less.
const ROUND: Duration = Duration::from_millis(500);
/// Transactions of one round: they wait for each other by their nonces.
const ERRANDS_MAX: usize = 32;
/// How long a transaction that was accepted may take into a block before the nonce is looked at anew.
const PATIENCE_NANOS: u64 = 30 * 1_000_000_000;
/// Requests for a redeem that wait for a round.
const ASKS_MAX: usize = 16;

/// What the collector is made of.
#[derive(Debug)]
pub struct CollectorParts {
    /// Vouchers, receipts and the ledger's doors.
    pub till: Arc<Till>,
    /// Signs in the host's name.
    pub notary: Notary,
    /// Says whether runs are under way.
    pub traffic: Arc<dyn Traffic>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What a voucher must bring to be redeemed at leisure.
    pub threshold: Tal,
}

/// The task.
#[derive(Debug)]
pub struct Collector {
    planner: Planner,
    notary: Notary,
    clock: Arc<dyn Clock>,
    asks: mpsc::Receiver<Ask>,
    sent: Option<Sent>,
    /// Whether the last round failed: a fault is told once, not twice a second.
    has_failed: bool,
    /// Channels whose bills no redeem can list, told of once each.
    told: HashSet<ChannelId>,
}

/// The last transaction that was accepted.
#[derive(Debug, Clone, Copy)]
struct Sent {
    next: Nonce,
    at: UnixNanos,
}

/// A request for one transaction now.
#[derive(Debug)]
pub struct Ask {
    what: Wanted,
    answer: oneshot::Sender<Result<TransactionId, CollectError>>,
}

#[derive(Debug)]
enum Wanted {
    /// The best voucher of a channel redeemed.
    Redeem(ChannelId),
    /// What the node does as a payer of others. It goes through here because one hand counts the account's nonces.
    Pay(Box<Action>),
}

/// Where a redeem can be asked for, or any other transaction in the node's name; clones share the queue.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::Sender<Ask>);

/// Why a redeem that was asked for was not handed in.
#[derive(Debug, Error)]
pub enum CollectError {
    /// Not on the ledger, or another host's.
    #[error("the ledger has no channel {0} of this host")]
    ChannelUnknown(ChannelId),
    /// The vouchers at hand are redeemed.
    #[error("no voucher of channel {0} brings anything")]
    NothingOwed(ChannelId),
    /// An earlier transaction is not in a block yet, or too many wait.
    #[error("an earlier transaction of this host is not in a block yet")]
    Busy,
    /// The ledger says no.
    #[error("the ledger refuses the redeem: {0}")]
    Refused(String),
    /// The bills could not be listed.
    #[error(transparent)]
    Bills(#[from] BillsError),
    /// A note could not be kept.
    #[error(transparent)]
    Shelf(#[from] PaymentsError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Closed,
}

/// One transaction to be.
#[derive(Debug)]
struct Errand {
    channel: ChannelId,
    what: What,
    action: Action,
}

/// What a round is to do.
#[derive(Debug)]
struct Plan {
    errands: Vec<Errand>,
    /// Channels whose bills no redeem can list.
    stuck: Vec<(ChannelId, BillsError)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Voucher(VoucherBy),
    Batch,
    Close,
    Answer,
    Settle,
    Report,
}

/// A desk and where it leads.
pub fn desk() -> (Desk, mpsc::Receiver<Ask>) {
    let (sender, asks) = mpsc::channel(ASKS_MAX);
    (Desk(sender), asks)
}

impl Desk {
    /// Has the best voucher of a channel redeemed now.
    pub async fn redeem(&self, channel: ChannelId) -> Result<TransactionId, CollectError> {
        self.ask(Wanted::Redeem(channel)).await
    }

    /// Has a transaction of the node's account made and handed in.
    pub async fn pay(&self, action: Action) -> Result<TransactionId, CollectError> {
        self.ask(Wanted::Pay(Box::new(action))).await
    }

    async fn ask(&self, what: Wanted) -> Result<TransactionId, CollectError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Ask { what, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CollectError::Busy,
            mpsc::error::TrySendError::Closed(_) => CollectError::Closed,
        })?;
        answered.await.unwrap_or(Err(CollectError::Closed))
    }
}

impl Collector {
    /// The task over these parts, fed by a desk.
    pub fn new(parts: CollectorParts, asks: mpsc::Receiver<Ask>) -> Self {
        let CollectorParts { till, notary, traffic, clock, threshold } = parts;
        let planner = Planner { till, host: notary.public(), traffic, threshold };
        Self { planner, notary, clock, asks, sent: None, has_failed: false, told: HashSet::new() }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        loop {
            let asked = tokio::select! {
                biased;
                _ = stopping.changed() => return,
                asked = self.asks.recv() => asked,
                () = tokio::time::sleep(ROUND) => None,
            };
            match asked {
                Some(Ask { what, answer }) => {
                    let answered = match what {
                        Wanted::Redeem(channel) => self.redeem(channel).await,
                        Wanted::Pay(action) => self.pay(*action).await,
                    };
                    // Whoever asked may have gone.
                    let _ = answer.send(answered);
                }
                None => {
                    let round = self.round().await;
                    if let Err(error) = &round
                        && !self.has_failed
                    {
                        tracing::warn!(%error, "the collector's round failed and will be tried again");
                    }
                    self.has_failed = round.is_err();
                }
            }
        }
    }

    /// Everything that is due.
    async fn round(&mut self) -> Result<(), CollectError> {
        let now = self.clock.now();
        let Some(first) = self.next_nonce(now) else { return Ok(()) };
        let planner = self.planner.clone();
        let planned = tokio::task::spawn_blocking(move || planner.plan(now)).await;
        let Plan { errands, stuck } = planned.map_err(|_| CollectError::Closed)??;
        self.told.retain(|told| stuck.iter().any(|(channel, _)| channel == told));
        for (channel, error) in stuck {
            if self.told.insert(channel) {
                tracing::warn!(%channel, %error, "a channel cannot be redeemed as it is");
            }
        }
        let mut nonce = first;
        let mut refused = Ok(());
        for errand in errands {
            match self.hand_in(nonce, errand).await {
                Ok(_) => nonce = nonce.saturating_add(Nonce(1)),
                // What the ledger does not take of one channel is no reason to leave the others unpaid.
                Err(error @ CollectError::Refused(_)) => refused = refused.and(Err(error)),
                Err(error) => return Err(error),
            }
        }
        refused
    }

    /// One voucher, now.
    async fn redeem(&mut self, channel: ChannelId) -> Result<TransactionId, CollectError> {
        let now = self.clock.now();
        let nonce = self.next_nonce(now).ok_or(CollectError::Busy)?;
        let planner = self.planner.clone();
        let planned = tokio::task::spawn_blocking(move || planner.voucher_now(channel, now)).await;
        let errand = planned.map_err(|_| CollectError::Closed)??;
        self.hand_in(nonce, errand).await
    }

    /// One transaction of the node as a payer, behind those that are on their way.
    async fn pay(&mut self, action: Action) -> Result<TransactionId, CollectError> {
        let now = self.clock.now();
        let nonce = match (self.next_nonce(now), self.sent) {
            (Some(nonce), _) => nonce,
            (None, Some(sent)) => sent.next,
            (None, None) => return Err(CollectError::Busy),
        };
        self.submit(nonce, action).await
    }

    /// The nonce of the next transaction, unless the last one is still on its way.
    fn next_nonce(&mut self, now: UnixNanos) -> Option<Nonce> {
        let known = self.planner.till.ledger().head().account(&self.planner.host).nonce;
        if let Some(sent) = self.sent {
            let is_late = now.0.saturating_sub(sent.at.0) > PATIENCE_NANOS;
            if known < sent.next && !is_late {
                return None;
            }
            self.sent = None;
        }
        Some(known)
    }

    async fn hand_in(
        &mut self,
        nonce: Nonce,
        errand: Errand,
    ) -> Result<TransactionId, CollectError> {
        let Errand { channel, what, action } = errand;
        let transaction = self.made(nonce, action);
        let id = transaction.id();
        if what == What::Batch {
            let till = Arc::clone(&self.planner.till);
            let noted = tokio::task::spawn_blocking(move || till.put_claim(id, channel)).await;
            noted.map_err(|_| CollectError::Closed)??;
        }
        match self.send(nonce, &transaction).await {
            Ok(id) => {
                tracing::info!(%channel, transaction = %id, ?what, "handed in");
                Ok(id)
            }
            Err(code) => {
                if let (
                    What::Voucher(by @ VoucherBy::Session),
                    "session-expired" | "session-total",
                ) = (what, code.as_str())
                {
                    let till = Arc::clone(&self.planner.till);
                    let dropped =
                        tokio::task::spawn_blocking(move || till.drop_voucher(&channel, by)).await;
                    dropped.map_err(|_| CollectError::Closed)??;
                }
                Err(CollectError::Refused(code))
            }
        }
    }
}

impl Collector {
    async fn submit(
        &mut self,
        nonce: Nonce,
        action: Action,
    ) -> Result<TransactionId, CollectError> {
        let transaction = self.made(nonce, action);
        self.send(nonce, &transaction).await.map_err(CollectError::Refused)
    }

    fn made(&self, nonce: Nonce, action: Action) -> Transaction {
        let (network, sender) = (self.notary.network(), self.notary.public());
        Transaction { action, network, sender, nonce, builds_on: None }
    }

    /// Hands a transaction in; the code of the refusal otherwise.
    async fn send(
        &mut self,
        nonce: Nonce,
        transaction: &Transaction,
    ) -> Result<TransactionId, String> {
        let envelope = self.notary.transaction(transaction).encode();
        let id = self.planner.till.ledger().submit(envelope).await?;
        let next = nonce.saturating_add(Nonce(1));
        self.sent = Some(Sent { next, at: self.clock.now() });
        Ok(id)
    }
}

/// What is to be done, by what is known. Reads the disk.
#[derive(Debug, Clone)]
struct Planner {
    till: Arc<Till>,
    host: PublicKey,
    traffic: Arc<dyn Traffic>,
    threshold: Tal,
}

impl Planner {
    fn plan(&self, now: UnixNanos) -> Result<Plan, CollectError> {
        let ledger = self.till.ledger();
        let (head, finalised) = (ledger.head(), ledger.finalised());
        self.till.tidy(&finalised, now)?;
        let mut errands = self.claims(&head, &finalised, now)?;
        let mut stuck = Vec::new();
        for (id, owed) in self.till.accounts() {
            if errands.len() >= ERRANDS_MAX {
                break;
            }
            let Some(channel) = head.channel(&id).filter(|it| it.host == self.host) else {
                continue;
            };
            match self.channel(&head, (id, channel), owed, now) {
                Ok(errand) => errands.extend(errand),
                // A payer decides which functions it calls: its channel must not hold up the others.
                Err(CollectError::Bills(error @ (BillsError::Parts(_) | BillsError::Run(_)))) => {
                    stuck.push((id, error));
                }
                Err(error) => return Err(error),
            }
        }
        // The host's own money comes first.
        errands.extend(self.reports(&head, now));
        errands.truncate(ERRANDS_MAX);
        Ok(Plan { errands, stuck })
    }

    /// What one channel calls for.
    fn channel(
        &self,
        head: &State,
        (id, channel): (ChannelId, &Channel),
        owed: Tal,
        now: UnixNanos,
    ) -> Result<Option<Errand>, CollectError> {
        let (slot, margin) = (slot(head, now), head.network().params().redeem_margin);
        let deadline = channel.deadline();
        if slot >= deadline {
            return Ok(None);
        }
        let ends_soon = slot.after(twice(margin)) >= deadline || channel.closing.is_some();
        let best = self.best(&id, channel);
        let promised = best.as_ref().map_or(Tal::ZERO, |(_, promise, _)| promise.voucher.owed);
        if let Some(errand) = self.revoked(head, (id, channel), promised)? {
            return Ok(Some(errand));
        }
        if let Some((by, promise, gain)) = best {
            let ends_first = head.network().slot_start(slot.after(twice(margin)));
            let ends_session = |session: &Session| {
                session.expires <= ends_first || revoked(head, id, session.id()).is_some()
            };
            let is_last_call =
                promise.session.as_ref().is_some_and(ends_session) || self.till.take_crowded(&id);
            if gain >= self.threshold || ends_soon || is_last_call {
                return self.voucher(id, channel, by, &promise, gain).map(Some);
            }
            return Ok(None);
        }
        let lines = self.till.lines(id, channel)?;
        let unpaid: Vec<Line> =
            lines.into_iter().filter(|line| channel.is_open(line.sequence)).collect();
        if slot.after(margin) >= deadline && !unpaid.is_empty() {
            let action = batch::redeem(&self.till, self.host, (id, channel), &unpaid)?;
            return Ok(action.map(|action| Errand { channel: id, what: What::Batch, action }));
        }
        let is_paid = owed <= channel.redeemed;
        if channel.closing.is_some() && is_paid && !self.traffic.is_busy(&id) {
            return Ok(Some(close(id)));
        }
        Ok(None)
    }

    /// Bills that a revoked session's key has signed and no voucher counts: they are claimed while they still can be.
    fn revoked(
        &self,
        head: &State,
        (id, channel): (ChannelId, &Channel),
        promised: Tal,
    ) -> Result<Option<Errand>, CollectError> {
        let keys = self.till.revoked_keys(head, (id, channel));
        if keys.is_empty() {
            return Ok(None);
        }
        let mut lines = self.till.lines(id, channel)?;
        lines.retain(|line| {
            line.owed > promised && keys.contains(&line.signer) && channel.is_open(line.sequence)
        });
        let action = batch::redeem(&self.till, self.host, (id, channel), &lines)?;
        Ok(action.map(|action| Errand { channel: id, what: What::Batch, action }))
    }

    /// What is proven against other hosts and not on the ledger yet.
    fn reports(&self, head: &State, now: UnixNanos) -> impl Iterator<Item = Errand> {
        self.till.to_report(head, ERRANDS_MAX, now).into_iter().map(|evidence| Errand {
            channel: evidence.fraud.channel,
            what: What::Report,
            action: evidence.action(),
        })
    }

    /// The voucher that brings most, and how much.
    fn best(&self, id: &ChannelId, channel: &Channel) -> Option<(VoucherBy, Promise, Tal)> {
        let held = self.till.held(id);
        let of = |by| held.get(by).cloned().map(|promise| (by, promise));
        let kinds = [of(VoucherBy::Payer), of(VoucherBy::Session)];
        let brings = |promise: &Promise| {
            let stands = promise.voucher.owed >= channel.vouched
                && promise.voucher.settled >= channel.settled;
            if stands { promise.voucher.owed.saturating_sub(channel.redeemed) } else { Tal::ZERO }
        };
        let gains = kinds.into_iter().flatten().map(|(by, promise)| {
            let gain = brings(&promise);
            (by, promise, gain)
        });
        gains.filter(|(_, _, gain)| *gain > Tal::ZERO).max_by_key(|(_, _, gain)| *gain)
    }

    fn voucher(
        &self,
        id: ChannelId,
        channel: &Channel,
        by: VoucherBy,
        promise: &Promise,
        gain: Tal,
    ) -> Result<Errand, CollectError> {
        let lines = self.till.lines(id, channel)?;
        let counted = lines.into_iter().filter(|line| line.owed <= promise.voucher.owed);
        let action = Action::Redeem(Box::new(Redeem {
            grant: promise.kept.grant.clone(),
            split: split(counted, gain)?,
            voucher: promise.kept.voucher.clone(),
        }));
        Ok(Errand { channel: id, what: What::Voucher(by), action })
    }

    fn voucher_now(&self, id: ChannelId, now: UnixNanos) -> Result<Errand, CollectError> {
        let head = self.till.ledger().head();
        let channel = head.channel(&id).filter(|it| it.host == self.host);
        let channel = channel.filter(|it| slot(&head, now) < it.deadline());
        let channel = channel.ok_or(CollectError::ChannelUnknown(id))?;
        let best = self.best(&id, channel).ok_or(CollectError::NothingOwed(id))?;
        self.voucher(id, channel, best.0, &best.1, best.2)
    }

    /// Redeems by batch under way: answers to whoever doubts, and the money when the time has passed.
    fn claims(
        &self,
        head: &State,
        finalised: &State,
        now: UnixNanos,
    ) -> Result<Vec<Errand>, CollectError> {
        let mut errands = Vec::new();
        for (id, channel) in self.till.claims() {
            let Some(claim) = head.claim(&id) else {
                // Paid out, or never taken; sure only when nothing can be undone.
                if head.tip().id == finalised.tip().id {
                    self.till.remove_claim(&id)?;
                }
                continue;
            };
            if let Some(bill) = batch::challenged(claim) {
                let action = batch::answer(&self.till, id, bill)?;
                errands.extend(action.map(|action| Errand { channel, what: What::Answer, action }));
            } else if slot(head, now) >= claim.due {
                let action = Action::Settle(Settle { lock: Lock::Claim(id) });
                errands.push(Errand { channel, what: What::Settle, action });
            }
        }
        Ok(errands)
    }
}

fn close(channel: ChannelId) -> Errand {
    let action = Action::CloseChannel(CloseChannel { channel });
    Errand { channel, what: What::Close, action }
}

fn twice(slots: Slots) -> Slots {
    slots.saturating_add(slots)
}

#[cfg(test)]
mod tests;
