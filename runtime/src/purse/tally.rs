//! What a channel was billed, as far as the payer has seen the receipts: what it may promise to pay.
//!
//! Invariants: a voucher is signed only for bills that were seen and checked here, without a gap from the first one
//! on; a receipt that counts money twice is refused. Absent: the host's own sum, which is not believed.

use serde::{Deserialize, Serialize};
use talea_ledger::{Sequence, Tal};

/// The bills of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Every bill up to this sum was seen.
    owed: u64,
    /// The highest sequence of those bills.
    settled: u64,
    /// Bills above a gap, in order.
    beyond: Vec<Stretch>,
    /// The last sum that the host has a voucher for.
    vouched: u64,
}

/// One bill: the stretch `(from, to]` of what the channel owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stretch {
    from: u64,
    to: u64,
    sequence: u64,
}

/// Two receipts count the same money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bills of sequence {0} and {1} count the same money")]
pub struct Overlap(u64, u64);

// === impl Tally ===

impl Tally {
    /// A tally of which only the last voucher is known.
    pub fn promised(owed: Tal, settled: Sequence) -> Self {
        Self { owed: owed.0, settled: settled.0, beyond: Vec::new(), vouched: owed.0 }
    }

    /// Counts a bill. One that was counted before changes nothing.
    pub fn count(&mut self, sequence: Sequence, bill: Tal, owed: Tal) -> Result<(), Overlap> {
        let new = Stretch { from: owed.0.saturating_sub(bill.0), to: owed.0, sequence: sequence.0 };
        if new.to <= self.owed || bill == Tal::ZERO || self.beyond.contains(&new) {
            return Ok(());
        }
        if new.from < self.owed {
            return Err(Overlap(self.settled, new.sequence));
        }
        let overlaps = |old: &&Stretch| old.from < new.to && new.from < old.to;
        if let Some(old) = self.beyond.iter().find(overlaps) {
            return Err(Overlap(old.sequence, new.sequence));
        }
        let at = self.beyond.partition_point(|old| old.from < new.from);
        self.beyond.insert(at, new);
        while let Some(next) = self.beyond.first().filter(|next| next.from == self.owed) {
            self.owed = next.to;
            self.settled = self.settled.max(next.sequence);
            self.beyond.remove(0);
        }
        Ok(())
    }

    /// What a voucher may promise: the sum and the highest sequence in it.
    pub fn promise(&self) -> (Tal, Sequence) {
        (Tal(self.owed), Sequence(self.settled))
    }

    /// The highest sum that any receipt said.
    pub fn highest(&self) -> Tal {
        Tal(self.beyond.last().map_or(self.owed, |last| last.to))
    }

    /// Whether bills below the last one are missing.
    pub fn has_gap(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// What the host has a voucher for.
    pub fn vouched(&self) -> Tal {
        Tal(self.vouched)
    }

    /// Notes that the host has a voucher.
    pub fn vouch(&mut self, owed: Tal) {
        self.vouched = self.vouched.max(owed.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(
        tally: &mut Tally,
        sequence: u64,
        bill: u64,
        owed: u64,
    ) -> Result<(u64, u64), Overlap> {
        tally.count(Sequence(sequence), Tal(bill), Tal(owed))?;
        let (owed, settled) = tally.promise();
        Ok((owed.0, settled.0))
    }

    #[test]
    fn only_what_was_seen_without_a_gap_is_promised() {
        let mut tally = Tally::default();
        assert_eq!(count(&mut tally, 2, 5, 5), Ok((5, 2)));
        assert_eq!(count(&mut tally, 4, 3, 15), Ok((5, 2)), "7 tal before it were not seen");
        assert_eq!(count(&mut tally, 3, 2, 12), Ok((5, 2)));
        assert!(tally.has_gap());
        assert_eq!(tally.highest(), Tal(15));
        assert_eq!(count(&mut tally, 1, 5, 10), Ok((15, 4)));
        assert!(!tally.has_gap());
        assert_eq!(count(&mut tally, 1, 5, 10), Ok((15, 4)), "seen before");
        assert_eq!(count(&mut tally, 9, 0, 15), Ok((15, 4)), "a bill of nothing");
    }

    #[test]
    fn money_is_not_counted_twice() {
        let mut tally = Tally::default();
        count(&mut tally, 1, 5, 5).unwrap();
        assert_eq!(count(&mut tally, 2, 3, 7), Err(Overlap(1, 2)));
        count(&mut tally, 3, 5, 20).unwrap();
        assert_eq!(count(&mut tally, 4, 9, 24), Err(Overlap(3, 4)));
        assert_eq!(count(&mut tally, 4, 6, 16), Err(Overlap(3, 4)));
        assert_eq!(count(&mut tally, 2, 3, 8), Ok((8, 2)));
    }
}
