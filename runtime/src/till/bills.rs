//! The bills of each channel that the ledger has not paid yet, as the journal's receipts have them.
//!
//! Invariant: made from the journal alone; what is remembered here only saves reading it again. Bills of zero are
//! left out: nobody is paid for them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use talea_ledger::codec::List;
use talea_ledger::transaction::{PARTS_MAX, Part};
use talea_ledger::{
    ChannelId, Document as _, FunctionId, Ppm, PublicKey, ReceiptId, Run, Sealed, Sequence, Tal,
};
use thiserror::Error;

use crate::chain::{KeptReceipt, ReceiptReader};
use crate::store::{Filter, Position, ReadError, RunBytes};

/// Receipts looked at in one read of the journal.
const PAGE_LEN: usize = 256;

/// One bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) receipt: ReceiptId,
    /// The channel's sum after it.
    pub(super) owed: Tal,
    pub(super) amount: Tal,
    pub(super) sequence: Sequence,
    /// Who signed the run: the payer, or a key of its session.
    pub(super) signer: PublicKey,
    pub(super) function: FunctionId,
    pub(super) royalty: Ppm,
}

/// Why bills cannot be listed.
#[derive(Debug, Error)]
pub enum BillsError {
    /// The journal did not answer.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// A receipt's run cannot be read.
    #[error("the run of receipt {0} is damaged")]
    Run(ReceiptId),
    /// More functions than one redeem lists.
    #[error("bills of {0} functions and rates, one redeem lists at most {PARTS_MAX}")]
    Parts(usize),
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Bills {
    channels: HashMap<ChannelId, Known>,
}

#[derive(Debug, Default)]
struct Known {
    lines: Vec<Line>,
    after: Option<Position>,
}

impl Bills {
    /// Bills of a channel above what the ledger has paid by voucher, in the order of what is owed.
    pub(super) fn of(
        &mut self,
        receipts: &ReceiptReader,
        channel: ChannelId,
        paid: Tal,
    ) -> Result<&[Line], BillsError> {
        let known = self.channels.entry(channel).or_default();
        known.lines.retain(|line| line.owed > paid);
        let filter = Filter { channel: Some(channel), ..Filter::default() };
        let end = receipts.end();
        loop {
            let page = receipts.list(&filter, known.after, PAGE_LEN)?;
            for (position, id, receipt, _) in &page.receipts {
                known.after = known.after.max(Some(*position));
                let Some(payment) = &receipt.payment else { continue };
                if receipt.bill == Tal::ZERO || payment.owed <= paid {
                    continue;
                }
                let kept = receipts.by_id(*id)?.ok_or(BillsError::Run(*id))?;
                let run = run(&kept).ok_or(BillsError::Run(*id))?;
                known.lines.push(Line {
                    receipt: *id,
                    owed: payment.owed,
                    amount: receipt.bill,
                    sequence: payment.sequence,
                    signer: payment.payer,
                    function: receipt.function,
                    royalty: run.payment.map_or(Ppm::ZERO, |payment| payment.royalty_ppm),
                });
            }
            match page.next {
                Some(next) => known.after = known.after.max(Some(next)),
                None => break,
            }
        }
        // Everything before `end` was looked at.
        known.after = known.after.max(end.0.checked_sub(1).map(Position));
        Ok(&known.lines)
    }

    /// Forgets a channel that is gone.
    pub(super) fn forget(&mut self, channel: &ChannelId) {
        self.channels.remove(channel);
    }
}

/// The order a receipt is about.
pub(super) fn run(kept: &KeptReceipt) -> Option<Run> {
    match kept.run() {
        RunBytes::Free(payload) => Run::decode(payload).ok(),
        RunBytes::Sealed(sealed) => Run::decode(Sealed::decode(sealed).ok()?.payload()).ok(),
    }
}

/// What a payment is made of: the sum of each function at each rate.
///
/// Where the lines are more than the payment, the oldest were paid in another way; where they are less (a bill that
/// was claimed and became void, and is paid now), the newest function bears the rest.
pub(super) fn split(
    lines: impl DoubleEndedIterator<Item = Line>,
    payment: Tal,
) -> Result<List<Part, PARTS_MAX>, BillsError> {
    let mut sums: BTreeMap<(FunctionId, Ppm), Tal> = BTreeMap::new();
    let (mut left, mut last) = (payment, None);
    for line in lines.rev() {
        let amount = line.amount.min(left);
        if amount == Tal::ZERO {
            break;
        }
        left = left.saturating_sub(amount);
        let key = (line.function, line.royalty);
        last = last.or(Some(key));
        let sum = sums.entry(key).or_default();
        *sum = sum.saturating_add(amount);
    }
    if let (Some(key), true) = (last, left > Tal::ZERO)
        && let Some(sum) = sums.get_mut(&key)
    {
        *sum = sum.saturating_add(left);
    }
    let parts: Vec<Part> = sums
        .into_iter()
        .map(|((function, royalty), amount)| Part { function, royalty, amount })
        .collect();
    let count = parts.len();
    List::try_from(parts).map_err(|_| BillsError::Parts(count))
}

/// How far one voucher can go so that a redeem can list what it pays: the sum, and the highest sequence in it.
///
/// `lines` stand in the order of what is owed. Of them the oldest, up to what was `paid` already, are not listed.
pub(super) fn reach(lines: &[Line], paid: Tal) -> Option<(Tal, Sequence)> {
    let first = lines.first()?;
    let mut skip = paid.saturating_sub(first.owed.saturating_sub(first.amount));
    let mut listed = BTreeSet::new();
    let mut reached = None;
    for line in lines {
        if skip >= line.amount {
            skip = skip.saturating_sub(line.amount);
        } else {
            skip = Tal::ZERO;
            listed.insert((line.function, line.royalty));
            if listed.len() > PARTS_MAX {
                break;
            }
        }
        let highest = reached.map_or(Sequence::ZERO, |(_, highest)| highest);
        reached = Some((line.owed, line.sequence.max(highest)));
    }
    reached
}

#[cfg(test)]
mod tests {
    use talea_ledger::SecretKey;

    use super::*;

    fn line(function: &[u8], ppm: u32, amount: u64) -> Line {
        Line {
            receipt: ReceiptId::of(b""),
            owed: Tal(0),
            amount: Tal(amount),
            sequence: Sequence(1),
            signer: SecretKey::from_bytes(&[2; 32]).public(),
            function: FunctionId::of(function),
            royalty: Ppm::new(ppm).unwrap(),
        }
    }

    fn parts(lines: &[Line], payment: u64) -> Vec<(bool, u32, u64)> {
        let parts = split(lines.iter().copied(), Tal(payment)).unwrap();
        let mut parts: Vec<_> = parts
            .iter()
            .map(|part| (part.function == FunctionId::of(b"a"), part.royalty.get(), part.amount.0))
            .collect();
        parts.sort_unstable();
        parts
    }

    #[test]
    fn a_payment_is_listed_by_function_and_rate() {
        let lines = [line(b"a", 0, 5), line(b"b", 0, 7), line(b"a", 100, 1), line(b"a", 0, 2)];
        assert_eq!(parts(&lines, 15), [(false, 0, 7), (true, 0, 7), (true, 100, 1)]);
        assert_eq!(parts(&lines, 9), [(false, 0, 6), (true, 0, 2), (true, 100, 1)], "newest");
        assert_eq!(parts(&lines, 20), [(false, 0, 7), (true, 0, 12), (true, 100, 1)]);
        assert_eq!(parts(&lines, 0), []);
    }

    #[test]
    fn more_functions_than_a_redeem_lists_are_an_error() {
        let lines: Vec<Line> =
            (0..=PARTS_MAX).map(|number| line(&number.to_le_bytes(), 0, 1)).collect();
        let most = PARTS_MAX as u64;
        assert!(split(lines.iter().copied(), Tal(most)).is_ok());
        let found = split(lines.iter().copied(), Tal(most + 1)).unwrap_err();
        assert!(matches!(found, BillsError::Parts(count) if count == PARTS_MAX + 1));
    }

    /// Bills of 10 tal each, of so many functions in turn, owed one after the other; sequences go down.
    fn bills(count: u64, functions: u64) -> Vec<Line> {
        let bill = |at: u64| Line {
            owed: Tal(10 * (at + 1)),
            sequence: Sequence(1000 - at),
            ..line(&(at % functions).to_le_bytes(), 0, 10)
        };
        (0..count).map(bill).collect()
    }

    #[test]
    fn a_voucher_reaches_as_far_as_one_redeem_lists() {
        let most = PARTS_MAX as u64;
        assert_eq!(reach(&[], Tal(0)), None);
        let reached = |lines: &[Line], paid: u64| {
            let (owed, sequence) = reach(lines, Tal(paid)).unwrap();
            let counted = lines.iter().copied().filter(|line| line.owed <= owed);
            let payment = owed.saturating_sub(Tal(paid));
            assert!(split(counted, payment).is_ok(), "what it reaches can be listed");
            assert_eq!(sequence, Sequence(1000), "the highest, not the last");
            owed.0
        };
        assert_eq!(reached(&bills(most, most), 0), 10 * most, "all of them");
        assert_eq!(reached(&bills(most + 1, most + 1), 0), 10 * most, "one function too many");
        assert_eq!(reached(&bills(900, most), 0), 9000, "many bills of few functions");
        assert_eq!(reached(&bills(900, 100), 0), 10 * most);
        // What was paid by batch is not listed again, so that much more fits; a part of a bill is.
        assert_eq!(reached(&bills(200, 200), 300), 10 * (most + 30));
        assert_eq!(reached(&bills(200, 200), 305), 10 * (most + 30));
        let one_more = bills(200, 200);
        let next = one_more.iter().copied().filter(|line| line.owed <= Tal(10 * (most + 1)));
        assert!(split(next, Tal(10 * (most + 1))).is_err());
    }
}
