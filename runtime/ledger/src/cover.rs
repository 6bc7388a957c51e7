//! Cover: whether a channel pays for a run, decided before it is executed.
//!
//! Invariants: what is accepted can be redeemed. The channel given is that of the *finalised* state; the sum of all
//! bills, of caps under way and of this run's cap never goes above what the channel has paid and still holds, but
//! by what the host takes upon itself ([`Standing::at_risk`]). Nothing is accepted near a deadline after which
//! it could not be redeemed.
//!
//! Absent: what only the host knows how to judge (profile, limits, its clock against the run's), and the case of a
//! run that is sent again, which the host answers from its receipts before it asks here.

use crate::id::{ChannelId, NetworkId, PublicKey, SessionId};
use crate::params::Network;
use crate::params::SEQUENCE_WINDOW;
use crate::price::{Price, bill};
use crate::rules::record::Channel;
use crate::run::{Payment, Run};
use crate::session::Session;
use crate::sign::Verified;
use crate::units::{Sequence, Slot, Tal, UnixNanos};

/// What a host asks of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The host.
    pub host: PublicKey,
    /// What it asks for at least.
    pub price: Price,
    /// The most work without a voucher that it lets arise in one channel.
    pub watermark: Tal,
}

/// The time, in both measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the host's clock.
    pub time: UnixNanos,
    /// The later of the clock's slot and the finalised block's.
    pub slot: Slot,
}

/// What the host knows about a channel beyond its finalised record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The sum of all bills ever made out on the channel.
    pub owed: Tal,
    /// The caps of runs under way.
    pub reserved: Tal,
    /// What the best voucher at hand owes, redeemed or not.
    pub vouched: Tal,
    /// What that voucher has settled.
    pub settled: Sequence,
    /// Whether the run's sequence has been used.
    pub is_used: bool,
    /// An earlier deadline that a block says which is not final yet.
    pub closing: Option<Slot>,
    /// What this host takes upon itself for this channel: escrow that is not final yet.
    pub at_risk: Tal,
    /// Whether the payer has ended the run's session, in a block that is final or not.
    pub is_revoked: bool,
    /// What the run's session has spent of this channel or may have: on the ledger, and here in bills and caps
    /// beyond it.
    pub session_spent: Tal,
}

/// A run that is paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// The channel.
    pub channel: ChannelId,
    /// The run's number in it.
    pub sequence: Sequence,
    /// What the bill will be at most.
    pub cap: Tal,
    /// Who pays.
    pub payer: PublicKey,
    /// Under which session, if the payer did not sign itself.
    pub session: Option<SessionId>,
    /// What of the cap is not final cover but the host's own risk.
    pub risk: Tal,
}

/// Why a run is not paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Of another network.
    #[error("the run is of network {found}")]
    WrongNetwork {
        /// Which.
        found: NetworkId,
    },
    /// A free run.
    #[error("the run carries no payment")]
    Unpaid,
    /// It names another channel.
    #[error("the run is of channel {found}")]
    WrongChannel {
        /// Which.
        found: ChannelId,
    },
    /// It or its channel names another host.
    #[error("the run is for host {found}")]
    WrongHost {
        /// Which.
        found: PublicKey,
    },
    /// Signed neither by the payer nor by a key of its session.
    #[error("the channel's payer is {payer}, not {found}")]
    WrongPayer {
        /// Who pays.
        payer: PublicKey,
        /// Who signed or granted.
        found: PublicKey,
    },
    /// Its time has passed.
    #[error("the run expired at {0}")]
    Expired(UnixNanos),
    /// The sequence has been used.
    #[error("sequence {0} is used")]
    SequenceUsed(Sequence),
    /// The sequence lies at or below the settled one, or above the window.
    #[error("sequence {found} is not within {first} to {last}")]
    SequenceWindow {
        /// What the run says.
        found: Sequence,
        /// The lowest that may be.
        first: Sequence,
        /// The highest.
        last: Sequence,
    },
    /// The price is below the offer.
    #[error("{part} of {found} is below the offer's {least}")]
    PriceLow {
        /// Which part of it.
        part: &'static str,
        /// What the run says.
        found: u64,
        /// What the host asks for.
        least: u64,
    },
    /// The run's own limits allow a higher bill than its cap.
    #[error("a cap of {cap} where the bill can be {needed}")]
    CapLow {
        /// What the run says.
        cap: Tal,
        /// What it would have to be.
        needed: Tal,
    },
    /// The channel holds too little.
    #[error("{needed} would be owed, the channel covers {covered}")]
    NotCovered {
        /// With this run's cap.
        needed: Tal,
        /// What was paid and what is left.
        covered: Tal,
    },
    /// Too much work has no voucher yet.
    #[error("{unvouched} would be without a voucher, at most {watermark} may be")]
    Watermark {
        /// With this run's cap.
        unvouched: Tal,
        /// The lower of the host's and the payer's bound.
        watermark: Tal,
    },
    /// The channel ends soon.
    #[error("the channel ends at slot {0}")]
    NearDeadline(Slot),
    /// The session does not allow it.
    #[error("the session does not cover this: {0}")]
    SessionScope(&'static str),
    /// The session ends soon, or has ended.
    #[error("the session ends at {0}")]
    SessionExpired(UnixNanos),
    /// The payer has ended the session.
    #[error("the payer has revoked the session")]
    SessionRevoked,
    /// The session has too little left.
    #[error("the session may spend {total}, {needed} would be needed")]
    SessionTotal {
        /// Its bound.
        total: Tal,
        /// With this run's cap.
        needed: Tal,
    },
}

impl Refusal {
    /// The stable text for callers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongNetwork { .. } => "wrong-network",
            Self::Unpaid => "unpaid",
            Self::WrongChannel { .. } => "wrong-channel",
            Self::WrongHost { .. } => "wrong-host",
            Self::WrongPayer { .. } => "wrong-payer",
            Self::Expired(_) => "run-expired",
            Self::SequenceUsed(_) => "sequence-used",
            Self::SequenceWindow { .. } => "sequence-window",
            Self::PriceLow { .. } => "price-low",
            Self::CapLow { .. } => "cap-low",
            Self::NotCovered { .. } => "not-covered",
            Self::Watermark { .. } => "watermark",
            Self::NearDeadline(_) => "near-deadline",
            Self::SessionScope(_) => "session-scope",
            Self::SessionExpired(_) => "session-expired",
            Self::SessionRevoked => "session-revoked",
            Self::SessionTotal { .. } => "session-total",
        }
    }
}

/// Decides whether `channel`, named `id`, pays for `run`. Signatures are behind `run` and `grant`.
pub fn decide(
    network: &Network,
    (id, channel): (&ChannelId, &Channel),
    run: &Verified<Run>,
    grant: Option<&Verified<Session>>,
    terms: &Terms,
    standing: &Standing,
    now: Now,
) -> Result<Cover, Refusal> {
    let order = run.document();
    if order.network != network.id() {
        return Err(Refusal::WrongNetwork { found: order.network });
    }
    let payment = order.payment.as_ref().ok_or(Refusal::Unpaid)?;
    if payment.channel != *id {
        return Err(Refusal::WrongChannel { found: payment.channel });
    }
    let named = payment.host.unwrap_or(channel.host);
    if let Some(found) = [named, channel.host].into_iter().find(|host| *host != terms.host) {
        return Err(Refusal::WrongHost { found });
    }
    let session = signed_for(network, channel, run, grant, terms, standing, now)?;
    if payment.expires <= now.time {
        return Err(Refusal::Expired(payment.expires));
    }
    in_window(channel, payment.sequence, standing)?;
    priced(order, payment.cap, &terms.price)?;
    let margin = network.params().redeem_margin;
    let deadline = standing.closing.map_or(channel.deadline(), |slot| slot.min(channel.deadline()));
    if now.slot.after(margin) >= deadline {
        return Err(Refusal::NearDeadline(deadline));
    }
    let risk = held(channel, payment, terms, standing)?;
    Ok(Cover {
        channel: *id,
        sequence: payment.sequence,
        cap: payment.cap,
        payer: channel.payer,
        session,
        risk,
    })
}

/// Whose signature it is: the payer's, or that of a session key within its grant.
fn signed_for(
    network: &Network,
    channel: &Channel,
    run: &Verified<Run>,
    grant: Option<&Verified<Session>>,
    terms: &Terms,
    standing: &Standing,
    now: Now,
) -> Result<Option<SessionId>, Refusal> {
    let (payer, signer) = (channel.payer, *run.signer());
    if signer == payer {
        return Ok(None);
    }
    let Some(grant) = grant else {
        return Err(Refusal::WrongPayer { payer, found: signer });
    };
    let session = grant.document();
    if session.network != network.id() {
        return Err(Refusal::WrongNetwork { found: session.network });
    }
    if session.payer != payer {
        return Err(Refusal::WrongPayer { payer, found: session.payer });
    }
    let order = run.document();
    let runs_until = order.payment.as_ref().map_or(UnixNanos::MAX, |payment| payment.expires);
    let scope = [
        (session.key == signer, "another key signed"),
        (session.has_host(&terms.host), "not for this host"),
        (session.has_function(&order.function), "not for this function"),
        (runs_until <= session.expires, "the run outlives it"),
    ];
    if let Some((_, why)) = scope.into_iter().find(|(holds, _)| !holds) {
        return Err(Refusal::SessionScope(why));
    }
    // What it signs must still count when the host comes to redeem it.
    let last = network.slot_start(now.slot.after(network.params().redeem_margin));
    if session.expires <= last || session.expires <= now.time {
        return Err(Refusal::SessionExpired(session.expires));
    }
    if standing.is_revoked {
        return Err(Refusal::SessionRevoked);
    }
    let needed = standing.session_spent.saturating_add(order.cap());
    if needed > session.total {
        return Err(Refusal::SessionTotal { total: session.total, needed });
    }
    Ok(Some(SessionId::of(grant.payload())))
}

fn in_window(channel: &Channel, found: Sequence, standing: &Standing) -> Result<(), Refusal> {
    // A voucher at hand moves the window as soon as the host redeems it.
    let settled = channel.settled.max(standing.settled);
    let first = settled.saturating_add(Sequence(1));
    let last = settled.saturating_add(Sequence(SEQUENCE_WINDOW));
    if found <= settled || found > last {
        return Err(Refusal::SequenceWindow { found, first, last });
    }
    let is_paid = channel.place(found).is_some_and(|place| channel.used.has(place));
    if standing.is_used || is_paid {
        return Err(Refusal::SequenceUsed(found));
    }
    Ok(())
}

fn priced(run: &Run, cap: Tal, offer: &Price) -> Result<(), Refusal> {
    let parts = [
        ("per_call", run.price.per_call.0, offer.per_call.0),
        ("rate", run.price.rate, offer.rate),
        ("per_kib", run.price.per_kib.0, offer.per_kib.0),
    ];
    if let Some((part, found, least)) = parts.into_iter().find(|(_, found, least)| found < least) {
        return Err(Refusal::PriceLow { part, found, least });
    }
    let bytes = run.input_len.saturating_add(run.output_limit);
    let needed = bill(&run.price, run.fuel_limit, bytes, Tal::MAX);
    if cap < needed { Err(Refusal::CapLow { cap, needed }) } else { Ok(()) }
}

/// Whether the channel holds enough and enough is vouched for. Gives what lies beyond the final cover.
fn held(
    channel: &Channel,
    payment: &Payment,
    terms: &Terms,
    standing: &Standing,
) -> Result<Tal, Refusal> {
    let needed = standing.owed.saturating_add(standing.reserved).saturating_add(payment.cap);
    let final_cover = channel.redeemed.saturating_add(channel.escrow);
    let covered = final_cover.saturating_add(standing.at_risk);
    // A saturated sum proves nothing about cover.
    if needed > covered || needed == Tal::MAX {
        return Err(Refusal::NotCovered { needed, covered });
    }
    let vouched = standing.vouched.max(channel.redeemed);
    let unvouched = needed.saturating_sub(vouched);
    let watermark = channel.watermark.min(terms.watermark);
    if unvouched > watermark {
        return Err(Refusal::Watermark { unvouched, watermark });
    }
    Ok(needed.saturating_sub(final_cover))
}
