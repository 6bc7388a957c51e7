//! What each payer owes this host, and which sequence numbers are used.
//!
//! Format of a checkpoint: `u8` version 1, `u32` count, then per channel, sorted by id: id 32, payer 32, owed
//! `u64`, settled `u64`, `u8` number of words, as many `u64` of the window. Little-endian.
//!
//! Invariants: `owed` is the sum of the bills of a channel in journal order; a sequence is used once; everything
//! at or below `settled` is used. Until vouchers settle a channel, `settled` rises when the sequence after it is
//! used; a gap that is never filled holds the window where it is.
//! Absent: cover. What a channel may owe is decided before a run is executed.

use std::collections::HashMap;

use talea_ledger::{ChannelId, PublicKey, Receipt, Sequence, Tal};
use thiserror::Error;

use crate::limits::SEQUENCE_WINDOW;
use crate::store::CHECKPOINT_LEN_MAX;

/// Channels of one host. All of them are in every segment's checkpoint.
pub const CHANNELS_MAX: usize = 65_536;

const WORDS: usize = SEQUENCE_WINDOW as usize / 64;
const CHANNEL_LEN_MAX: usize = 32 + 32 + 8 + 8 + 1 + WORDS * 8;
const VERSION: u8 = 1;
const _: () = assert!(SEQUENCE_WINDOW.is_multiple_of(64) && WORDS < 256);
const _: () = assert!(5 + CHANNELS_MAX * CHANNEL_LEN_MAX + 8 <= CHECKPOINT_LEN_MAX);

/// One payer's account with this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    payer: PublicKey,
    owed: Tal,
    settled: Sequence,
    /// Bit `i`: the sequence `settled + 1 + i` is used.
    window: [u64; WORDS],
}

/// What may be done with a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has used it.
    Fresh,
    /// A receipt has it.
    Used,
    /// It lies too far above the settled sequence.
    Beyond,
}

impl Standing {
    /// In a channel that has no receipt yet.
    pub fn of_unknown(sequence: Sequence) -> Self {
        match sequence.0 {
            0 => Self::Used,
            1..=SEQUENCE_WINDOW => Self::Fresh,
            _ => Self::Beyond,
        }
    }
}

/// Why a receipt does not fit into a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChannelError {
    /// Another receipt has the sequence.
    #[error("the sequence {0} is used")]
    Used(Sequence),
    /// Too far above the settled sequence.
    #[error("the sequence {found} is more than {SEQUENCE_WINDOW} above the settled {settled}")]
    Beyond {
        /// The sequence.
        found: Sequence,
        /// The highest below which all are used.
        settled: Sequence,
    },
    /// The sum of all bills would not fit into 64 bits.
    #[error("the channel cannot owe more than 2^64 - 1 tal")]
    Overflow,
    /// The channel is another payer's.
    #[error("the channel belongs to {0}")]
    Foreign(PublicKey),
    /// The host has as many channels as it may have.
    #[error("this host keeps no more than {CHANNELS_MAX} channels")]
    TooMany,
}

impl Channel {
    /// A channel without receipts.
    pub fn new(payer: PublicKey) -> Self {
        Self { payer, owed: Tal::ZERO, settled: Sequence(0), window: [0; WORDS] }
    }

    /// Who pays.
    pub fn payer(&self) -> PublicKey {
        self.payer
    }

    /// The sum of all bills.
    pub fn owed(&self) -> Tal {
        self.owed
    }

    /// Every sequence up to this one is used.
    pub fn settled(&self) -> Sequence {
        self.settled
    }

    /// The highest sequence that is used.
    pub fn highest(&self) -> Sequence {
        let top =
            self.window.iter().rposition(|&word| word != 0).map_or(0, |word| {
                word as u64 * 64 + u64::from(64 - self.window[word].leading_zeros())
            });
        Sequence(self.settled.0.saturating_add(top))
    }

    /// What may be done with a sequence. The first one is 1.
    pub fn standing(&self, sequence: Sequence) -> Standing {
        let Some(above) = sequence.0.checked_sub(self.settled.0).and_then(|n| n.checked_sub(1))
        else {
            return Standing::Used;
        };
        match usize::try_from(above).ok().filter(|_| above < SEQUENCE_WINDOW) {
            None => Standing::Beyond,
            Some(bit) if self.window[bit / 64] >> (bit % 64) & 1 == 1 => Standing::Used,
            Some(_) => Standing::Fresh,
        }
    }

    /// Uses a sequence and adds its bill. Answers what is owed after it.
    pub fn take(
        &mut self,
        payer: PublicKey,
        sequence: Sequence,
        bill: Tal,
    ) -> Result<Tal, ChannelError> {
        if payer != self.payer {
            return Err(ChannelError::Foreign(self.payer));
        }
        match self.standing(sequence) {
            Standing::Fresh => {}
            Standing::Used => return Err(ChannelError::Used(sequence)),
            Standing::Beyond => {
                return Err(ChannelError::Beyond { found: sequence, settled: self.settled });
            }
        }
        self.owed = self.owed.checked_add(bill).ok_or(ChannelError::Overflow)?;
        // `Fresh` says that the difference is from 1 to the window's length.
        let bit = (sequence.0 - self.settled.0 - 1) as usize;
        self.window[bit / 64] |= 1 << (bit % 64);
        self.settle();
        Ok(self.owed)
    }

    /// Moves the window behind the sequences that are used without a gap.
    fn settle(&mut self) {
        loop {
            let used = self.window[0].trailing_ones();
            if used == 0 {
                return;
            }
            self.settled = Sequence(self.settled.0.saturating_add(u64::from(used)));
            if used == 64 {
                self.window.rotate_left(1);
                self.window[WORDS - 1] = 0;
            } else {
                for word in 0..WORDS {
                    let above = self.window.get(word + 1).map_or(0, |above| above << (64 - used));
                    self.window[word] = self.window[word] >> used | above;
                }
            }
        }
    }

    fn encode(&self, id: &ChannelId, into: &mut Vec<u8>) {
        into.extend_from_slice(id.as_bytes());
        into.extend_from_slice(self.payer.as_bytes());
        into.extend_from_slice(&self.owed.0.to_le_bytes());
        into.extend_from_slice(&self.settled.0.to_le_bytes());
        let words = self.window.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        into.push(u8::try_from(words).expect("a window has fewer than 256 words"));
        for word in &self.window[..words] {
            into.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<(ChannelId, Self)> {
        let id = ChannelId::new(take(bytes)?);
        let payer = PublicKey::from_bytes(&take(bytes)?).ok()?;
        let owed = Tal(u64::from_le_bytes(take(bytes)?));
        let settled = Sequence(u64::from_le_bytes(take(bytes)?));
        let [words] = take(bytes)?;
        let mut window = [0; WORDS];
        for word in window.get_mut(..usize::from(words))? {
            *word = u64::from_le_bytes(take(bytes)?);
        }
        Some((id, Self { payer, owed, settled, window }))
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
        let channel = self.by_id.entry(id).or_insert_with(|| Channel::new(payment.payer));
        let owed = channel
            .take(payment.payer, payment.sequence, receipt.bill)
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

    use proptest::prelude::*;
    use talea_ledger::SecretKey;

    use super::*;

    fn payer(seed: u8) -> PublicKey {
        SecretKey::from_bytes(&[seed; 32]).public()
    }

    #[test]
    fn a_sequence_is_taken_once_within_the_window() {
        let mut channel = Channel::new(payer(1));
        assert_eq!(channel.standing(Sequence(0)), Standing::Used, "the first is 1");
        assert_eq!(channel.standing(Sequence(1024)), Standing::Fresh);
        assert_eq!(channel.standing(Sequence(1025)), Standing::Beyond);
        assert_eq!(channel.take(payer(1), Sequence(2), Tal(5)), Ok(Tal(5)));
        assert_eq!(
            channel.take(payer(1), Sequence(2), Tal(5)),
            Err(ChannelError::Used(Sequence(2)))
        );
        assert_eq!(channel.settled(), Sequence(0));
        assert_eq!(channel.take(payer(1), Sequence(1), Tal(3)), Ok(Tal(8)));
        assert_eq!(channel.settled(), Sequence(2));
        assert_eq!(channel.standing(Sequence(1026)), Standing::Fresh);
        assert_eq!(
            channel.take(payer(2), Sequence(3), Tal(1)),
            Err(ChannelError::Foreign(payer(1)))
        );
        assert_eq!(channel.take(payer(1), Sequence(3), Tal(u64::MAX)), Err(ChannelError::Overflow));
        assert_eq!(channel.owed(), Tal(8));
    }

    proptest! {
        /// The window against a plain set of what was used.
        #[test]
        fn the_window_agrees_with_a_set(steps in prop::collection::vec(0_u64..1400, 1..600)) {
            let mut channel = Channel::new(payer(1));
            let (mut used, mut settled, mut owed) = (BTreeSet::new(), 0_u64, 0_u64);
            for step in steps {
                // Mostly dense from the bottom, so that the window moves.
                let sequence = if step % 3 == 0 { settled + 1 } else { settled + step };
                let expected = if sequence <= settled || used.contains(&sequence) {
                    Standing::Used
                } else if sequence > settled + SEQUENCE_WINDOW {
                    Standing::Beyond
                } else {
                    Standing::Fresh
                };
                prop_assert_eq!(channel.standing(Sequence(sequence)), expected);
                let taken = channel.take(payer(1), Sequence(sequence), Tal(step));
                prop_assert_eq!(taken.is_ok(), expected == Standing::Fresh);
                if taken.is_ok() {
                    used.insert(sequence);
                    owed += step;
                    while used.contains(&(settled + 1)) {
                        settled += 1;
                    }
                }
                prop_assert_eq!((channel.settled().0, channel.owed().0), (settled, owed));
                prop_assert_eq!(channel.highest().0, used.last().copied().unwrap_or(0));
            }
            let mut channels = Channels::default();
            channels.put(ChannelId::new([9; 32]), channel.clone());
            channels.put(ChannelId::new([8; 32]), Channel::new(payer(2)));
            let mut bytes = Vec::new();
            channels.encode(&mut bytes);
            prop_assert_eq!(Channels::decode(&bytes), Ok(channels));
            prop_assert_eq!(Channels::decode(&bytes[1..]), Err(ReplayError::Checkpoint));
        }
    }
}
