//! What the index is keyed by, taken from a receipt.

use talea_ledger::{ChannelId, FunctionId, PublicKey, Receipt, ReceiptId, Sequence};

use super::index::{Facts, Key, Tag};

impl Facts {
    /// What the index keeps of a receipt.
    pub fn of(receipt: &Receipt, id: ReceiptId) -> Self {
        let payment = receipt.payment.as_ref();
        Self {
            id: Key::of(id.digest().as_bytes()),
            payment: payment.map(|p| self::payment(&p.channel, p.sequence)),
            function: function(&receipt.function),
            payer: payment.map(|p| payer(&p.payer)).unwrap_or_default(),
            channel: payment.map(|p| channel(&p.channel)).unwrap_or_default(),
            at: receipt.at.0,
        }
    }
}

/// A channel's sequences must not lie side by side under one first byte: hashed, they spread.
pub(super) fn payment(channel: &ChannelId, sequence: Sequence) -> Key {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(channel.as_bytes());
    bytes[32..].copy_from_slice(&sequence.0.to_le_bytes());
    Key::of(talea_ledger::Digest::of(&bytes).as_bytes())
}

pub(super) fn function(id: &FunctionId) -> Tag {
    Tag::of(id.digest().as_bytes())
}

pub(super) fn payer(key: &PublicKey) -> Tag {
    Tag::of(key.as_bytes())
}

pub(super) fn channel(id: &ChannelId) -> Tag {
    Tag::of(id.as_bytes())
}
