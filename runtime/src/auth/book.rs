//! What is under way on each channel, held against what is recorded, vouched for and locked on the ledger.
//!
//! Invariants: under one lock, so that two calls cannot both find a sequence free or the same cover
//! unspent. A claim ends when it is dropped, which its holder does only after the run's receipt is
//! recorded (or will never be): whoever looks next finds either the claim or the record. A run that was seen
//! before is recognised before anything else is asked of it: it costs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use talea_ledger::cover::{self, Now};
use talea_ledger::{
    ChannelId, PublicKey, ReceiptId, Run, RunId, Sequence, Session, Tal, UnixNanos, Verified,
};
use tokio::sync::watch;

use super::escrow::{Escrow, Exposure, Sight, States};
use super::{AuthorizeError, Offer};
use crate::config;
use crate::limits::SEQUENCE_WINDOW;

/// What is recorded about channels. The node hands in the chain's view of it.
pub trait Channels: Send + Sync + std::fmt::Debug {
    /// What is recorded about a channel and about one sequence of it.
    fn record(&self, channel: ChannelId, sequence: Sequence) -> Result<Record, ChannelsError>;

    /// What every channel owes.
    fn debts(&self) -> Vec<(ChannelId, Tal)>;
}

/// A channel's record, as far as one sequence needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Sum of the channel's bills.
    pub owed: Tal,
    /// Every sequence up to this one counts as used.
    pub floor: Sequence,
    /// What became of the sequence.
    pub standing: Standing,
}

/// A sequence's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has used it.
    Fresh,
    /// A receipt has it.
    Used(Used),
    /// It was used or passed over, and no receipt of it is kept.
    Spent,
}

/// The run and receipt that have a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The run.
    pub run: RunId,
    /// Who signed it. Its bytes under another signature are no repetition.
    pub signer: PublicKey,
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
    credit: config::Credit,
    exposure: Tal,
    channels: Arc<dyn Channels>,
    escrow: Arc<dyn Escrow>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    lanes: HashMap<ChannelId, Lane>,
    exposure: Option<Exposure>,
}

/// What is under way on one channel.
#[derive(Debug, Default)]
struct Lane {
    runs: BTreeMap<Sequence, Underway>,
    reserved: Tal,
}

#[derive(Debug)]
struct Underway {
    /// The run's bytes. Its name is a hash of them, which is made only for who asks about it.
    payload: Bytes,
    signer: PublicKey,
    ended: watch::Receiver<()>,
}

/// One sequence under way and the cover held back for it.
#[derive(Debug)]
pub(super) struct Claim {
    open: Arc<Mutex<Open>>,
    channel: ChannelId,
    sequence: Sequence,
    cap: Tal,
    payer: PublicKey,
    /// Closed by the drop, which wakes whoever waits for this run.
    _ending: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) enum Claimed {
    Fresh(Claim),
    Recorded(ReceiptId),
    Underway(watch::Receiver<()>),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) run: &'a Verified<Run>,
    /// The same, to be kept.
    pub(super) payload: &'a Bytes,
    /// The signer's channel that no ledger has.
    pub(super) local: ChannelId,
    pub(super) grant: Option<&'a Verified<Session>>,
    pub(super) at: UnixNanos,
}

impl Book {
    pub(super) fn new(
        credit: config::Credit,
        exposure: Tal,
        channels: Arc<dyn Channels>,
        escrow: Arc<dyn Escrow>,
    ) -> Self {
        Self { credit, exposure, channels, escrow, open: Arc::default() }
    }

    /// Claims the run's sequence and cover, or finds out what became of it before.
    pub(super) fn claim(&self, offer: &Offer, asked: Asked<'_>) -> Result<Claimed, AuthorizeError> {
        let (run, signer) = (asked.run.document(), *asked.run.signer());
        let payment = run.payment.as_ref().ok_or(AuthorizeError::PaymentMissing)?;
        let (channel, sequence, cap) = (payment.channel, payment.sequence, payment.cap);
        let mut open = lock(&self.open);
        let underway = open.lanes.get(&channel).and_then(|lane| lane.runs.get(&sequence));
        let is_same = |it: &&Underway| it.payload == asked.payload && it.signer == signer;
        if let Some(same) = underway.filter(is_same) {
            return Ok(Claimed::Underway(same.ended.clone()));
        }
        let holder = underway.map(|other| Some(RunId::of(&other.payload)));
        let record = self.channels.record(channel, sequence)?;
        let holder = match record.standing {
            Standing::Used(used)
                if used.signer == signer && used.run == RunId::of(asked.payload) =>
            {
                return Ok(Claimed::Recorded(used.receipt));
            }
            Standing::Used(used) => Some(Some(used.run)),
            Standing::Spent => holder.or(Some(None)),
            Standing::Fresh => holder,
        };
        offer.covers(run, asked.at)?;
        let payer = if channel == asked.local {
            self.on_credit(&open, signer, run, &record, holder)?;
            signer
        } else {
            self.on_ledger(&mut open, offer, asked, &record, holder)?
        };
        let (ending, ended) = watch::channel(());
        let lane = open.lanes.entry(channel).or_default();
        lane.reserved = lane.reserved.saturating_add(cap);
        lane.runs.insert(sequence, Underway { payload: asked.payload.clone(), signer, ended });
        let open = self.open.clone();
        Ok(Claimed::Fresh(Claim { open, channel, sequence, cap, payer, _ending: ending }))
    }

    /// Whether runs of the channel are under way.
    pub(super) fn is_busy(&self, channel: &ChannelId) -> bool {
        lock(&self.open).lanes.contains_key(channel)
    }

    /// A payer that the host's owner knows: nothing is locked for it, and nothing is redeemed from it.
    fn on_credit(
        &self,
        open: &Open,
        payer: PublicKey,
        run: &Run,
        record: &Record,
        holder: Option<Option<RunId>>,
    ) -> Result<(), AuthorizeError> {
        let payment = run.payment.as_ref().ok_or(AuthorizeError::PaymentMissing)?;
        let (sequence, cap) = (payment.sequence, payment.cap);
        if !self.credit.payers.contains(&payer) {
            return Err(AuthorizeError::PayerUnknown { payer });
        }
        if let Some(run) = holder {
            return Err(AuthorizeError::SequenceUsed { sequence, run });
        }
        let most = Sequence(record.floor.0.saturating_add(SEQUENCE_WINDOW));
        if sequence > most {
            return Err(AuthorizeError::SequenceBeyond { sequence, most });
        }
        let reserved = open.reserved(&payment.channel);
        let owed = record.owed;
        let sum = u128::from(owed.0) + u128::from(reserved.0) + u128::from(cap.0);
        if sum > u128::from(self.credit.cap.0) {
            let credit = self.credit.cap;
            return Err(AuthorizeError::CreditSpent { owed, reserved, cap, credit });
        }
        Ok(())
    }

    /// A channel of the ledger: what it holds finally, and what this host risks beyond that. Gives who pays.
    fn on_ledger(
        &self,
        open: &mut Open,
        offer: &Offer,
        asked: Asked<'_>,
        record: &Record,
        holder: Option<Option<RunId>>,
    ) -> Result<PublicKey, AuthorizeError> {
        let run = asked.run.document();
        let payment = run.payment.as_ref().ok_or(AuthorizeError::PaymentMissing)?;
        let (channel, sequence) = (payment.channel, payment.sequence);
        let states = self.escrow.states();
        let sight = Sight::of(&states, &channel).ok_or(AuthorizeError::ChannelUnknown(channel))?;
        let network = states.finalised.network();
        let (owed, reserved) = (record.owed, open.reserved(&channel));
        let at_risk = match sight.pending {
            Tal::ZERO => Tal::ZERO,
            pending => pending.min(self.risk_left(open, &states, &channel)),
        };
        let vouched = self.escrow.vouched(&channel);
        let unpaid = owed.saturating_sub(sight.redeemed).saturating_add(reserved);
        let standing = cover::Standing {
            owed,
            reserved,
            vouched: vouched.owed,
            settled: vouched.settled,
            is_used: holder.is_some(),
            closing: sight.closing,
            at_risk,
            is_revoked: states.has_revoked(channel, asked.grant),
            session_spent: states.spent(channel, asked.grant).saturating_add(unpaid),
        };
        let slot = network.slot_at(asked.at).max(states.finalised.tip().slot);
        let now = Now { time: asked.at, slot };
        let terms =
            cover::Terms { host: offer.host, price: offer.price, watermark: offer.watermark };
        let decided = cover::decide(
            network,
            (&channel, &sight.channel),
            asked.run,
            asked.grant,
            &terms,
            &standing,
            now,
        );
        let cover = decided.map_err(|refusal| match (refusal, holder) {
            (cover::Refusal::SequenceUsed(_), Some(run)) => {
                AuthorizeError::SequenceUsed { sequence, run }
            }
            (refusal, _) => AuthorizeError::NotCovered(refusal),
        })?;
        // One that is recorded far above another passes it over: those under way stay within one window.
        let lowest = open.lanes.get(&channel).and_then(|lane| lane.runs.keys().next());
        let most =
            lowest.map_or(Sequence::MAX, |low| low.saturating_add(Sequence(SEQUENCE_WINDOW)));
        if sequence > most {
            return Err(AuthorizeError::SequenceBeyond { sequence, most });
        }
        if cover.risk > Tal::ZERO
            && let Some(exposure) = &mut open.exposure
        {
            let needed = owed.saturating_add(reserved).saturating_add(cover.cap);
            exposure.put(channel, needed);
        }
        Ok(cover.payer)
    }

    /// What this host may still risk on a channel, over what it risks on all others.
    fn risk_left(&self, open: &mut Open, states: &States, channel: &ChannelId) -> Tal {
        let exposure =
            open.exposure.get_or_insert_with(|| Exposure::of(self.channels.debts(), states));
        self.exposure.saturating_sub(exposure.elsewhere(channel, states))
    }
}

impl Open {
    fn reserved(&self, channel: &ChannelId) -> Tal {
        self.lanes.get(channel).map_or(Tal::ZERO, |lane| lane.reserved)
    }
}

// === impl Claim ===

impl Claim {
    pub(super) fn cap(&self) -> Tal {
        self.cap
    }

    pub(super) fn payer(&self) -> PublicKey {
        self.payer
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        let Some(lane) = open.lanes.get_mut(&self.channel) else { return };
        lane.runs.remove(&self.sequence);
        lane.reserved = lane.reserved.saturating_sub(self.cap);
        if lane.runs.is_empty() {
            open.lanes.remove(&self.channel);
        }
    }
}

/// Each statement leaves the book whole, so a panic elsewhere says nothing about it.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
