//! What the ledger says about a channel, and how far a host may count on what is not final.
//!
//! Invariants: cover is the finalised state's; what only the head has counts up to one bound over all channels.
//! What the head takes away counts at once: a channel that closes there closes.
//! Absent: the ledger itself. The node hands in its states.

use std::collections::HashMap;

use talea_ledger::rules::record::{Channel, SessionKey, SessionRecord};
use talea_ledger::{ChannelId, Sealed, Sequence, Session, SessionId, Slot, State, Tal, Verified};

use super::ChannelsError;

/// What the ledger and the till say. The node hands in both.
pub trait Escrow: Send + Sync + std::fmt::Debug {
    /// The ledger's states now.
    fn states(&self) -> States;

    /// What vouchers at hand say about a channel.
    fn vouched(&self, channel: &ChannelId) -> Vouched;

    /// Keeps the grant of a session key whose run is taken, which a redeem has to show. On the disk when it
    /// returns; one that is kept already costs nothing.
    fn keep_grant(&self, grant: &Verified<Session>, sealed: &Sealed) -> Result<(), ChannelsError>;
}

/// The ledger at one moment. A state is cheap to clone.
#[derive(Debug, Clone)]
pub struct States {
    /// After the last finalised block.
    pub finalised: State,
    /// After the last block.
    pub head: State,
}

/// The best voucher at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vouched {
    /// What it owes.
    pub owed: Tal,
    /// What it has settled.
    pub settled: Sequence,
}

impl States {
    /// What a session has spent of a channel, by the later of both states.
    pub(super) fn spent(&self, channel: ChannelId, grant: Option<&Verified<Session>>) -> Tal {
        let spent = self.sessions(channel, grant).map(|record| record.spent);
        spent.into_iter().max().unwrap_or_default()
    }

    /// Whether the payer has ended the session: in either state, since what the head says counts at once.
    pub(super) fn has_revoked(
        &self,
        channel: ChannelId,
        grant: Option<&Verified<Session>>,
    ) -> bool {
        self.sessions(channel, grant).iter().any(|record| record.until.is_some())
    }

    /// What head and finalised state have of a session; nothing of none.
    fn sessions(
        &self,
        channel: ChannelId,
        grant: Option<&Verified<Session>>,
    ) -> [SessionRecord; 2] {
        let Some(grant) = grant else { return Default::default() };
        let key = SessionKey { channel, session: SessionId::of(grant.payload()) };
        [&self.head, &self.finalised].map(|state| state.session(&key).copied().unwrap_or_default())
    }
}

/// A channel as a host may see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// With what is final in it.
    pub(super) channel: Channel,
    /// What the head holds beyond that.
    pub(super) pending: Tal,
    /// What has been paid from it at the head.
    pub(super) redeemed: Tal,
    /// An earlier deadline that the head says.
    pub(super) closing: Option<Slot>,
}

/// All that was ever put into a channel.
fn sum(channel: &Channel) -> Tal {
    channel.redeemed.saturating_add(channel.escrow)
}

impl Sight {
    pub(super) fn of(states: &States, id: &ChannelId) -> Option<Self> {
        match (states.finalised.channel(id), states.head.channel(id)) {
            (None, None) => None,
            (Some(known), Some(head)) => Some(Self {
                channel: *known,
                pending: sum(head).saturating_sub(sum(known)),
                redeemed: head.redeemed,
                // Whoever asks to close is served no more: the host gives back what is left as soon as it can.
                closing: head.closing.map(|_| Slot::ZERO),
            }),
            // It was given back at the head: it ends before any slot.
            (Some(known), None) => Some(Self {
                channel: *known,
                pending: Tal::ZERO,
                redeemed: known.redeemed,
                closing: Some(Slot::ZERO),
            }),
            (None, Some(head)) => Some(Self {
                channel: Channel { escrow: Tal::ZERO, redeemed: Tal::ZERO, ..*head },
                pending: sum(head),
                redeemed: head.redeemed,
                closing: head.closing.map(|_| Slot::ZERO),
            }),
        }
    }
}

/// What each channel may come to owe beyond its final cover.
#[derive(Debug)]
pub(super) struct Exposure {
    needed: HashMap<ChannelId, Tal>,
}

impl Exposure {
    /// From what is owed: a node that was started again risks what it risked before.
    pub(super) fn of(debts: Vec<(ChannelId, Tal)>, states: &States) -> Self {
        let open = |id: &ChannelId| states.head.channel(id).is_some();
        Self { needed: debts.into_iter().filter(|(id, _)| open(id)).collect() }
    }

    /// Notes what a channel may owe now.
    pub(super) fn put(&mut self, channel: ChannelId, needed: Tal) {
        self.needed.insert(channel, needed);
    }

    /// The sum over all other channels. Forgets those that are final by now.
    pub(super) fn elsewhere(&mut self, channel: &ChannelId, states: &States) -> Tal {
        let mut total = Tal::ZERO;
        self.needed.retain(|id, needed| {
            let covered = states.finalised.channel(id).map_or(Tal::ZERO, sum);
            let risk = needed.saturating_sub(covered);
            // One that the head no longer has was given back; nothing more is lost or won there.
            let counts = risk > Tal::ZERO && states.head.channel(id).is_some();
            if counts && id != channel {
                total = total.saturating_add(risk);
            }
            counts
        });
        total
    }
}
