//! Self-proving fraud: two receipts of one host that cannot both be honest.
//!
//! A host gives each sequence of a channel one receipt, and the stretches (owed - bill, owed] of a channel's
//! receipts never overlap. Two signed receipts that break either rule are proof without any other fact. Free
//! receipts have neither field and are outside the rule; so are two copies of one receipt.

use crate::id::{ChannelId, PublicKey, ReceiptId};
use crate::receipt::Receipt;

/// What two receipts prove against their host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fraud {
    /// The host.
    pub host: PublicKey,
    /// The channel.
    pub channel: ChannelId,
    /// Which rule was broken.
    pub kind: FraudKind,
    /// The receipts, the lower id first.
    pub receipts: [ReceiptId; 2],
}

/// The rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FraudKind {
    /// One sequence has two receipts.
    Sequence,
    /// Two bills count the same money.
    Owed,
}

impl FraudKind {
    /// The stable text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Owed => "owed",
        }
    }
}

/// Compares two receipts. Whether they are signed is asked of [`verify_receipt`](crate::batch::verify_receipt).
pub fn check(first: &Receipt, second: &Receipt) -> Option<Fraud> {
    let (one, other) = (first.payment.as_ref()?, second.payment.as_ref()?);
    let is_one_account = first.host == second.host
        && first.network == second.network
        && one.channel == other.channel;
    let mut receipts = [first.id(), second.id()];
    receipts.sort_unstable();
    if !is_one_account || receipts[0] == receipts[1] {
        return None;
    }
    let kind = if one.sequence == other.sequence {
        FraudKind::Sequence
    } else {
        let start = |receipt: &Receipt, owed: crate::units::Tal| owed.saturating_sub(receipt.bill);
        let begin = start(first, one.owed).max(start(second, other.owed));
        if begin >= one.owed.min(other.owed) {
            return None;
        }
        FraudKind::Owed
    };
    Some(Fraud { host: first.host, channel: one.channel, kind, receipts })
}
