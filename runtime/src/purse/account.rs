//! One channel that this node pays from: its numbers, what is under way on it, and what was counted.
//!
//! Absent: the disk and the ledger; both are handed in by the purse.

use talea_ledger::rules::record::Channel;
use talea_ledger::{ChannelId, PublicKey, Sealed, Sequence, Slot, Tal, Voucher};

use super::tally::{Overlap, Tally};
use crate::store::OwnChannel;

/// One channel.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) host: PublicKey,
    /// When it ends, as far as is known.
    pub(super) ends: Slot,
    tally: Tally,
    /// The last number that was used.
    used: Sequence,
    /// Numbers up to this one may be used without another write.
    given_out: Sequence,
    /// Caps of runs under way.
    caps: Tal,
    /// What the channel's sum will be when all that was handed in is in a block.
    pub(super) asked: Tal,
    /// Handed in and not seen on the ledger yet.
    pub(super) is_new: bool,
    /// The host may have billed what was not counted.
    pub(super) is_doubtful: bool,
    pub(super) is_giving: bool,
    /// How far the host's list of its receipts was read.
    pub(super) listed: Option<u64>,
    voucher: Option<Sealed>,
}

/// Whether a channel pays for one more run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Enough,
    /// It will, when what the head holds is final.
    NotFinal,
    /// So much is missing.
    Lacks(Tal),
}

/// Why a bill is not counted, though its receipt holds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// Its money was counted before.
    #[error(transparent)]
    Overlap(#[from] Overlap),
    /// The sum is one that the channel cannot pay.
    #[error("{owed} tal are said to be owed on a channel that was never given more than {most}")]
    Beyond {
        /// What the receipt says.
        owed: Tal,
        /// What was put into the channel, or is on its way.
        most: Tal,
    },
}

/// A channel, for who asks.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its name.
    pub channel: ChannelId,
    /// Who is paid.
    pub host: PublicKey,
    /// What the head has locked in it; nothing when it is not there.
    pub escrow: Tal,
    /// What the head has paid from it.
    pub redeemed: Tal,
    /// What was billed and counted.
    pub owed: Tal,
    /// The highest number of those bills.
    pub settled: Sequence,
    /// What the host has a voucher for.
    pub vouched: Tal,
    /// Caps of runs under way.
    pub under_way: Tal,
    /// The last voucher.
    pub voucher: Option<Sealed>,
}

// === impl Account ===

impl Account {
    /// A channel of which nothing is known but that it was opened: no number of it was ever used.
    pub(super) fn opened(host: PublicKey, ends: Slot) -> Self {
        Self {
            host,
            ends,
            tally: Tally::default(),
            used: Sequence::ZERO,
            given_out: Sequence::ZERO,
            caps: Tal::ZERO,
            asked: Tal::ZERO,
            is_new: false,
            is_doubtful: false,
            is_giving: false,
            listed: None,
            voucher: None,
        }
    }

    /// A channel as the shelf has it. What was billed after the last voucher is for the host to say.
    pub(super) fn kept(own: OwnChannel) -> Self {
        let OwnChannel { host, given_out, ends, voucher } = own;
        let opened = voucher.as_ref().and_then(|sealed| sealed.verify::<Voucher>().ok());
        let promised = opened.map(|voucher| (voucher.document().owed, voucher.document().settled));
        let (owed, settled) = promised.unwrap_or_default();
        Self {
            tally: Tally::promised(owed, settled),
            used: given_out,
            given_out,
            is_doubtful: given_out > Sequence::ZERO,
            voucher,
            ..Self::opened(host, ends)
        }
    }

    /// As it is to be kept.
    pub(super) fn own(&self) -> OwnChannel {
        let Self { host, given_out, ends, .. } = *self;
        OwnChannel { host, given_out, ends, voucher: self.voucher.clone() }
    }

    /// Whether it pays for a run of this cap, when the head has put `held` into it and `known` of that is final.
    pub(super) fn room(&self, cap: Tal, held: Tal, known: Tal) -> Room {
        let needed = self.tally.highest().saturating_add(self.caps).saturating_add(cap);
        let coming = held.max(self.asked);
        if needed <= known {
            Room::Enough
        } else if needed <= coming {
            Room::NotFinal
        } else {
            Room::Lacks(needed.saturating_sub(coming))
        }
    }

    /// Uses the next number and holds back a cap; or what is to be kept before that can be.
    pub(super) fn take(&mut self, cap: Tal, more: u64) -> Result<Sequence, Box<OwnChannel>> {
        let next = self.used.saturating_add(Sequence(1));
        if next > self.given_out {
            let given_out = self.given_out.saturating_add(Sequence(more));
            return Err(Box::new(OwnChannel { given_out, ..self.own() }));
        }
        self.used = next;
        self.caps = self.caps.saturating_add(cap);
        Ok(next)
    }

    /// Numbers up to this one lie on the disk as given out.
    pub(super) fn given_out(&mut self, upto: Sequence) {
        self.given_out = self.given_out.max(upto);
    }

    pub(super) fn release(&mut self, cap: Tal) {
        self.caps = self.caps.saturating_sub(cap);
    }

    /// Counts a bill, when the head has put `held` into the channel: nobody can be owed more than was ever put there.
    pub(super) fn count(
        &mut self,
        sequence: Sequence,
        bill: Tal,
        owed: Tal,
        held: Tal,
    ) -> Result<(), CountError> {
        let most = held.max(self.asked);
        if owed > most {
            return Err(CountError::Beyond { owed, most });
        }
        Ok(self.tally.count(sequence, bill, owed)?)
    }

    /// Whether bills below the last one were not seen.
    pub(super) fn has_gap(&self) -> bool {
        self.tally.has_gap()
    }

    /// Whether the host may have billed what was not counted here.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful || self.tally.has_gap()
    }

    pub(super) fn promise(&self) -> (Tal, Sequence) {
        self.tally.promise()
    }

    /// What is to be promised, if it is more than was.
    pub(super) fn owing(&self) -> Option<(Tal, Sequence)> {
        let (owed, settled) = self.tally.promise();
        (owed > self.tally.vouched()).then_some((owed, settled))
    }

    pub(super) fn vouch(&mut self, owed: Tal, sealed: Sealed) {
        self.tally.vouch(owed);
        self.voucher = Some(sealed);
    }

    /// What is locked in it, or on its way to be.
    pub(super) fn locked(&self, head: Option<&Channel>) -> Tal {
        match head {
            Some(channel) => {
                let sum = channel.redeemed.saturating_add(channel.escrow);
                channel.escrow.saturating_add(self.asked.saturating_sub(sum))
            }
            None if self.is_new => self.asked,
            None => Tal::ZERO,
        }
    }

    pub(super) fn shown(&self, channel: ChannelId, head: Option<&Channel>) -> Shown {
        let (owed, settled) = self.tally.promise();
        Shown {
            channel,
            host: self.host,
            escrow: head.map_or(Tal::ZERO, |channel| channel.escrow),
            redeemed: head.map_or(Tal::ZERO, |channel| channel.redeemed),
            owed,
            settled,
            vouched: self.tally.vouched(),
            under_way: self.caps,
            voucher: self.voucher.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use talea_ledger::SecretKey;

    use super::*;

    fn account() -> Account {
        Account::opened(SecretKey::from_bytes(&[1; 32]).public(), Slot(100))
    }

    #[test]
    fn a_number_is_used_only_when_it_lies_on_the_disk_and_never_again_after_a_restart() {
        let mut account = account();
        let own = account.take(Tal(5), 2).unwrap_err();
        assert_eq!(own.given_out, Sequence(2));
        assert_eq!(account.take(Tal(5), 2), Err(own.clone()), "until it is kept");
        account.given_out(own.given_out);
        assert_eq!(account.take(Tal(5), 2), Ok(Sequence(1)));
        assert!(!account.is_doubtful());
        // It ends here; the second number may have been used or not.
        let mut again = Account::kept(account.own());
        assert!(again.is_doubtful());
        let own = again.take(Tal(5), 2).unwrap_err();
        again.given_out(own.given_out);
        assert_eq!(again.take(Tal(5), 2), Ok(Sequence(3)));
    }

    #[test]
    fn what_is_under_way_and_what_was_billed_is_held_back() {
        let mut account = account();
        account.asked = Tal(100);
        account.is_new = true;
        assert_eq!(account.room(Tal(60), Tal(0), Tal(0)), Room::NotFinal);
        assert_eq!(account.room(Tal(101), Tal(0), Tal(0)), Room::Lacks(Tal(1)));
        account.given_out(Sequence(9));
        assert_eq!(account.room(Tal(60), Tal(100), Tal(100)), Room::Enough);
        account.take(Tal(60), 2).unwrap();
        assert_eq!(account.room(Tal(60), Tal(100), Tal(100)), Room::Lacks(Tal(20)));
        account.count(Sequence(1), Tal(10), Tal(10), Tal(100)).unwrap();
        account.release(Tal(60));
        assert_eq!(account.room(Tal(90), Tal(100), Tal(100)), Room::Enough);
        assert_eq!(account.room(Tal(91), Tal(100), Tal(100)), Room::Lacks(Tal(1)));
        assert_eq!(account.owing(), Some((Tal(10), Sequence(1))));
        assert_eq!(account.locked(None), Tal(100));
    }

    #[test]
    fn a_bill_over_more_than_the_channel_ever_held_is_not_counted() {
        let mut account = account();
        account.asked = Tal(100);
        let beyond = CountError::Beyond { owed: Tal(101), most: Tal(100) };
        assert_eq!(account.count(Sequence(1), Tal(10), Tal(101), Tal(40)), Err(beyond));
        assert_eq!(account.promise(), (Tal::ZERO, Sequence::ZERO));
        assert!(!account.has_gap(), "what is not counted leaves no gap");
        assert_eq!(account.count(Sequence(1), Tal(10), Tal(100), Tal(40)), Ok(()));
        assert!(account.has_gap() && account.owing().is_none());
    }
}
