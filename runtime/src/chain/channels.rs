//! What each channel owes this host, and which sequence numbers are used.
//!
//! Format of a checkpoint: `u8` version 2, `u32` count, then per channel, sorted by id: id 32, owed `u64`, floor
//! `u64`, `u8` number of words, as many `u64` of the window. Little-endian.
//!
//! Invariants: `owed` is the sum of the bills of a channel in journal order; a sequence is used once; everything
//! at or below `floor` counts as used. The floor rises when the sequence after it is used, and when a sequence is
//! used that lies above the window: gaps below are then lost, which costs nothing. So the journal alone says which
//! sequences are used, whatever vouchers have settled since.
//! Absent: cover, who pays, and how far above the settled sequence a run may lie: decided before it is executed.

use std::collections::HashMap;

use talea_ledger::{ChannelId, Receipt, Sequence, Tal};
use thiserror::Error;

use crate::limits::SEQUENCE_WINDOW;
use crate::store::CHECKPOINT_LEN_MAX;

/// Channels of one host. All of them are in every segment's checkpoint.
pub const CHANNELS_MAX: usize = 65_536;

const WORDS: usize = SEQUENCE_WINDOW as usize / 64;
const CHANNEL_LEN_MAX: usize = 32 + 8 + 8 + 1 + WORDS * 8;
const VERSION: u8 = 2;
const _: () = assert!(SEQUENCE_WINDOW.is_multiple_of(64) && WORDS < 256);
const _: () = assert!(5 + CHANNELS_MAX * CHANNEL_LEN_MAX + 8 <= CHECKPOINT_LEN_MAX);

/// One channel's account with this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    owed: Tal,
    floor: Sequence,
    /// Bit `i`: the sequence `floor + 1 + i` is used.
    window: Window,
}

/// The sequences above the floor.
type Window = [u64; WORDS];

/// What may be done with a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has used it.
    Fresh,
    /// A receipt has it, or it was passed over.
    Used,
}

/// Why a receipt does not fit into a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChannelError {
    /// Another receipt has the sequence.
    #[error("the sequence {0} is used")]
    Used(Sequence),
    /// The sum of all bills would not fit into 64 bits.
    #[error("the channel cannot owe more than 2^64 - 1 tal")]
    Overflow,
    /// The host has as many channels as it may have.
    #[error("this host keeps no more than {CHANNELS_MAX} channels")]
    TooMany,
}

impl Channel {
    /// The sum of all bills.
    pub fn owed(&self) -> Tal {
        self.owed
    }

    /// Every sequence up to this one counts as used.
    pub fn floor(&self) -> Sequence {
        self.floor
    }

    /// The highest sequence that is used.
    pub fn highest(&self) -> Sequence {
        let top =
            self.window.iter().rposition(|&word| word != 0).map_or(0, |word| {
                word as u64 * 64 + u64::from(64 - self.window[word].leading_zeros())
            });
        Sequence(self.floor.0.saturating_add(top))
    }

    /// What may be done with a sequence. The first one is 1.
    pub fn standing(&self, sequence: Sequence) -> Standing {
        match self.bit(sequence) {
            None => Standing::Used,
            Some(bit) if bit < SEQUENCE_WINDOW && self.has(bit) => Standing::Used,
            Some(_) => Standing::Fresh,
        }
    }

    /// Uses a sequence and adds its bill. Answers what is owed after it.
    pub fn take(&mut self, sequence: Sequence, bill: Tal) -> Result<Tal, ChannelError> {
        if self.standing(sequence) == Standing::Used {
            return Err(ChannelError::Used(sequence));
        }
        self.owed = self.owed.checked_add(bill).ok_or(ChannelError::Overflow)?;
        if let Some(above) = self.bit(sequence).and_then(|bit| bit.checked_sub(SEQUENCE_WINDOW - 1))
        {
            self.shift(above);
        }
        if let Some(bit) = self.bit(sequence) {
            self.window[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        self.settle();
        Ok(self.owed)
    }

    /// Its place above the floor; none at or below it.
    fn bit(&self, sequence: Sequence) -> Option<u64> {
        sequence.0.checked_sub(self.floor.0)?.checked_sub(1)
    }

    fn has(&self, bit: u64) -> bool {
        self.window[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    /// Moves the floor behind the sequences that are used without a gap.
    fn settle(&mut self) {
        let whole = self.window.iter().take_while(|&&word| word == u64::MAX).count();
        let part = self.window.get(whole).map_or(0, |word| word.trailing_ones());
        self.shift(whole as u64 * 64 + u64::from(part));
    }

    /// Raises the floor.
    fn shift(&mut self, by: u64) {
        self.floor = Sequence(self.floor.0.saturating_add(by));
        let (words, bits) = ((by / 64).min(WORDS as u64) as usize, by % 64);
        let old = self.window;
        for (at, word) in self.window.iter_mut().enumerate() {
            let low = old.get(at + words).copied().unwrap_or(0);
            let high = old.get(at + words + 1).copied().unwrap_or(0);
            *word = if bits == 0 { low } else { low >> bits | high << (64 - bits) };
        }
    }

    fn encode(&self, id: &ChannelId, into: &mut Vec<u8>) {
        into.extend_from_slice(id.as_bytes());
        into.extend_from_slice(&self.owed.0.to_le_bytes());
        into.extend_from_slice(&self.floor.0.to_le_bytes());
        let words = self.window.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        into.push(u8::try_from(words).expect("a window has fewer than 256 words"));
        for word in &self.window[..words] {
            into.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<(ChannelId, Self)> {
        let id = ChannelId::new(take(bytes)?);
        let owed = Tal(u64::from_le_bytes(take(bytes)?));
        let floor = Sequence(u64::from_le_bytes(take(bytes)?));
        let [words] = take(bytes)?;
        let mut window = [0; WORDS];
        for word in window.get_mut(..usize::from(words))? {
            *word = u64::from_le_bytes(take(bytes)?);
        }
        Some((id, Self { owed, floor, window }))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

/// All channels of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Channels {
    by_id: HashMap<ChannelId, Channel>,
}

/// The journal contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// A checkpoint is not one.
    #[error("the journal's checkpoint cannot be read")]
    Checkpoint,
    /// A receipt does not fit into its channel.
    #[error("a receipt of channel {channel} does not follow those before it: {error}")]
    Receipt {
        /// The channel.
        channel: ChannelId,
        /// Why.
        error: ChannelError,
    },
    /// A receipt's sum is not that of the bills before it.
    #[error("a receipt of channel {channel} says that {found} is owed, the bills say {expected}")]
    Owed {
        /// The channel.
        channel: ChannelId,
        /// By the bills.
        expected: Tal,
        /// By the receipt.
        found: Tal,
    },
}

impl Channels {
    pub(super) fn get(&self, id: &ChannelId) -> Option<&Channel> {
        self.by_id.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// What each owes.
    pub(super) fn debts(&self) -> Vec<(ChannelId, Tal)> {
        self.by_id.iter().map(|(id, channel)| (*id, channel.owed)).collect()
    }

    pub(super) fn put(&mut self, id: ChannelId, channel: Channel) {
        self.by_id.insert(id, channel);
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let mut sorted: Vec<_> = self.by_id.iter().collect();
        sorted.sort_unstable_by_key(|(id, _)| **id);
        into.push(VERSION);
        let count = u32::try_from(sorted.len()).expect("channels are bounded far below 2^32");
        into.extend_from_slice(&count.to_le_bytes());
        for (id, channel) in sorted {
            channel.encode(id, into);
        }
    }

    /// The state that a checkpoint holds; an empty one is that of a journal without commits.
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, ReplayError> {
        let mut channels = Self::default();
        if bytes.is_empty() {
            return Ok(channels);
        }
        let head = take(&mut bytes).zip(take(&mut bytes));
        let Some(([VERSION], count)) = head else { return Err(ReplayError::Checkpoint) };
        for _ in 0..u32::from_le_bytes(count) {
            let (id, channel) = Channel::decode(&mut bytes).ok_or(ReplayError::Checkpoint)?;
            channels.put(id, channel);
        }
        if bytes.is_empty() { Ok(channels) } else { Err(ReplayError::Checkpoint) }
    }

    /// Does again what a receipt of the journal did.
    pub(super) fn replay(&mut self, receipt: &Receipt) -> Result<(), ReplayError> {
        let Some(payment) = &receipt.payment else { return Ok(()) };
        let id = payment.channel;
        let channel = self.by_id.entry(id).or_default();
        let owed = channel
            .take(payment.sequence, receipt.bill)
            .map_err(|error| ReplayError::Receipt { channel: id, error })?;
        if owed != payment.owed {
            let found = payment.owed;
            return Err(ReplayError::Owed { channel: id, expected: owed, found });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sequence_is_taken_once_and_the_window_moves_with_the_highest() {
        let mut channel = Channel::default();
        assert_eq!(channel.standing(Sequence(0)), Standing::Used, "the first is 1");
        assert_eq!(channel.take(Sequence(2), Tal(5)), Ok(Tal(5)));
        assert_eq!(channel.take(Sequence(2), Tal(5)), Err(ChannelError::Used(Sequence(2))));
        assert_eq!(channel.floor(), Sequence(0));
        assert_eq!(channel.take(Sequence(1), Tal(3)), Ok(Tal(8)));
        assert_eq!(channel.floor(), Sequence(2));
        // 3 stays open until a sequence is used that lies more than a window above it.
        assert_eq!(channel.take(Sequence(2 + SEQUENCE_WINDOW), Tal(1)), Ok(Tal(9)));
        assert_eq!(channel.standing(Sequence(3)), Standing::Fresh);
        assert_eq!(channel.take(Sequence(3 + SEQUENCE_WINDOW), Tal(1)), Ok(Tal(10)));
        assert_eq!((channel.floor(), channel.standing(Sequence(3))), (Sequence(3), Standing::Used));
        assert_eq!(channel.take(Sequence(9), Tal(u64::MAX)), Err(ChannelError::Overflow));
        assert_eq!(channel.owed(), Tal(10));
        assert_eq!(channel.take(Sequence(u64::MAX), Tal(1)), Ok(Tal(11)));
        assert_eq!(channel.highest(), Sequence(u64::MAX));
    }

    proptest! {
        /// The window against a plain set of what was used.
        #[test]
        fn the_window_agrees_with_a_set(steps in prop::collection::vec(0_u64..1400, 1..600)) {
            let mut channel = Channel::default();
            let (mut used, mut floor, mut owed) = (BTreeSet::new(), 0_u64, 0_u64);
            for step in steps {
                // Mostly dense from the bottom, so that the window moves.
                let sequence = if step % 3 == 0 { floor + 1 } else { floor + step };
                let is_used = sequence <= floor || used.contains(&sequence);
                let expected = if is_used { Standing::Used } else { Standing::Fresh };
                prop_assert_eq!(channel.standing(Sequence(sequence)), expected);
                let taken = channel.take(Sequence(sequence), Tal(step));
                prop_assert_eq!(taken.is_ok(), !is_used);
                if taken.is_ok() {
                    used.insert(sequence);
                    owed += step;
                    floor = floor.max(sequence.saturating_sub(SEQUENCE_WINDOW));
                    while used.contains(&(floor + 1)) {
                        floor += 1;
                    }
                }
                prop_assert_eq!((channel.floor().0, channel.owed().0), (floor, owed));
                prop_assert_eq!(channel.highest().0, used.last().copied().unwrap_or(0).max(floor));
            }
            let mut channels = Channels::default();
            channels.put(ChannelId::new([9; 32]), channel.clone());
            channels.put(ChannelId::new([8; 32]), Channel::default());
            let mut bytes = Vec::new();
            channels.encode(&mut bytes);
            prop_assert_eq!(Channels::decode(&bytes), Ok(channels));
            prop_assert_eq!(Channels::decode(&bytes[1..]), Err(ReplayError::Checkpoint));
        }
    }
}
