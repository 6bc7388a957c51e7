//! Why a transaction does not apply. The codes are stable: callers, stores and tests name them.

use crate::id::{PublicKey, TransactionId};
use crate::units::{Nonce, Sequence, Slot, Tal};

/// Why a transaction does not apply to a state. The state is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// Of another network.
    #[error("the transaction is of another network")]
    Network,
    /// The nonce was used before.
    #[error("nonce {found} was used, the next is {expected}")]
    NonceUsed {
        /// What the transaction says.
        found: Nonce,
        /// What the account says.
        expected: Nonce,
    },
    /// Transactions before this one are missing.
    #[error("nonce {found} leaves a gap, the next is {expected}")]
    NonceGap {
        /// What the transaction says.
        found: Nonce,
        /// What the account says.
        expected: Nonce,
    },
    /// The resource has changed since, or does not exist.
    #[error("it builds on another transaction than the last one on its resource")]
    Stale {
        /// The last one, if there is any.
        last: Option<TransactionId>,
    },
    /// The account cannot pay the fee.
    #[error("the fee is {fee}, the account has {balance}")]
    Fee {
        /// What it costs.
        fee: Tal,
        /// What is there.
        balance: Tal,
    },
    /// The account cannot pay.
    #[error("{wanted} is needed, the account has {balance}")]
    Balance {
        /// What is needed.
        wanted: Tal,
        /// What is there.
        balance: Tal,
    },
    /// More than can be written.
    #[error("the sum overflows")]
    Overflow,
    /// An amount of nothing where nothing changes.
    #[error("the amount is zero")]
    Zero,
    /// An update that changes nothing.
    #[error("nothing changes")]
    Nothing,
    /// What it speaks of is not there.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// What it makes is there already.
    #[error("the {0} is taken")]
    Taken(&'static str),
    /// It belongs to another key.
    #[error("it belongs to {owner}")]
    NotOwner {
        /// Whose it is.
        owner: PublicKey,
    },
    /// A deadline that lies behind, or before the one there is.
    #[error("the deadline {found} is not after {least}")]
    Deadline {
        /// What was asked for.
        found: Slot,
        /// What it must be after.
        least: Slot,
    },
    /// A channel to oneself.
    #[error("payer and host are the same")]
    SelfChannel,
    /// The channel's deadline has passed.
    #[error("the channel ended at slot {0}")]
    ChannelExpired(Slot),
    /// The channel is closing already.
    #[error("the channel closes at slot {0}")]
    ChannelClosing(Slot),
    /// A lock whose time has not passed.
    #[error("it is held until slot {0}")]
    Held(Slot),
    /// The voucher or run was signed for another payer.
    #[error("signed for {found}, the channel's payer is {payer}")]
    WrongPayer {
        /// Who pays.
        payer: PublicKey,
        /// For whom it was signed.
        found: PublicKey,
    },
    /// The session is over.
    #[error("the session has expired")]
    SessionExpired,
    /// More than the session may spend.
    #[error("the session may spend {total} in sum and has spent {spent}")]
    SessionTotal {
        /// The bound.
        total: Tal,
        /// What was spent before.
        spent: Tal,
    },
    /// A voucher behind one that was redeemed.
    #[error("the voucher is behind one that was redeemed")]
    VoucherBackwards,
    /// Nothing is left to be paid.
    #[error("nothing is owed")]
    NothingOwed,
    /// More than the channel holds.
    #[error("{wanted} is owed, the channel holds {escrow}")]
    Escrow {
        /// What is owed.
        wanted: Tal,
        /// What is there.
        escrow: Tal,
    },
    /// The parts do not add up to the payment.
    #[error("the parts add up to {found}, the payment is {expected}")]
    Split {
        /// Their sum.
        found: Tal,
        /// The payment.
        expected: Tal,
    },
    /// The sequence was paid, or lies at or below the settled one.
    #[error("sequence {0} is paid")]
    SequencePaid(Sequence),
    /// The sequence lies above the window.
    #[error("sequence {0} lies above the window")]
    SequenceWindow(Sequence),
    /// More than the payer lets be claimed without a voucher.
    #[error("{claimed} would be claimed by batch, the cap is {cap}")]
    BatchCap {
        /// With this transaction.
        claimed: Tal,
        /// The bound.
        cap: Tal,
    },
    /// Fraud of this host in this channel is proven.
    #[error("the host is proven to have cheated in this channel")]
    Fraudulent,
    /// The time for it has passed.
    #[error("its time ended at slot {0}")]
    Late(Slot),
    /// The bill was challenged before.
    #[error("the bill was challenged before")]
    Challenged,
    /// The bill is not challenged.
    #[error("the bill is not challenged")]
    NotChallenged,
    /// The answer is of another receipt.
    #[error("the answer is of another receipt")]
    WrongAnswer,
    /// Batches out of order.
    #[error("the batches do not follow those anchored before")]
    AnchorOrder,
    /// Money would appear or vanish. No rule lets this happen; the check stands behind all of them.
    #[error("money would not be conserved")]
    Conservation,
    /// Not part of the rules yet.
    #[error("{0} is not part of this network's rules")]
    Unsupported(&'static str),
}

impl Rejection {
    /// The stable text for callers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Network => "wrong-network",
            Self::NonceUsed { .. } => "nonce-used",
            Self::NonceGap { .. } => "nonce-gap",
            Self::Stale { .. } => "stale",
            Self::Fee { .. } => "fee",
            Self::Balance { .. } => "balance",
            Self::Overflow => "overflow",
            Self::Zero => "zero",
            Self::Nothing => "nothing",
            Self::Unknown(_) => "unknown",
            Self::Taken(_) => "taken",
            Self::NotOwner { .. } => "not-owner",
            Self::Deadline { .. } => "deadline",
            Self::SelfChannel => "self-channel",
            Self::ChannelExpired(_) => "channel-expired",
            Self::ChannelClosing(_) => "channel-closing",
            Self::Held(_) => "held",
            Self::WrongPayer { .. } => "wrong-payer",
            Self::SessionExpired => "session-expired",
            Self::SessionTotal { .. } => "session-total",
            Self::VoucherBackwards => "voucher-backwards",
            Self::NothingOwed => "nothing-owed",
            Self::Escrow { .. } => "escrow",
            Self::Split { .. } => "split",
            Self::SequencePaid(_) => "sequence-paid",
            Self::SequenceWindow(_) => "sequence-window",
            Self::BatchCap { .. } => "batch-cap",
            Self::Fraudulent => "fraudulent",
            Self::Late(_) => "late",
            Self::Challenged => "challenged",
            Self::NotChallenged => "not-challenged",
            Self::WrongAnswer => "wrong-answer",
            Self::AnchorOrder => "anchor-order",
            Self::Conservation => "conservation",
            Self::Unsupported(_) => "unsupported",
        }
    }

    /// Whether a later state may take the transaction: a gap can be filled, money can come, time can pass.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NonceGap { .. }
                | Self::Stale { .. }
                | Self::Fee { .. }
                | Self::Balance { .. }
                | Self::Unknown(_)
                | Self::Held(_)
                | Self::Escrow { .. }
                | Self::Split { .. }
                | Self::NothingOwed
                | Self::SequenceWindow(_)
        )
    }
}
