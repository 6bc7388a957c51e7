//! Accounts and stakes: transfer, stake, unstake, and the end of a stake's window.

use super::Rejection;
use super::draft::Draft;
use super::record::{Key, StakeRecord};
use crate::id::PublicKey;
use crate::transaction::{Stake, Transfer, Unstake};
use crate::units::Tal;

pub(super) fn transfer(draft: &mut Draft<'_>, action: &Transfer) -> Result<(), Rejection> {
    if action.amount == Tal::ZERO {
        return Err(Rejection::Zero);
    }
    let sender = draft.sender;
    draft.debit(&sender, action.amount)?;
    draft.credit(&action.to, action.amount)
}

pub(super) fn stake(draft: &mut Draft<'_>, action: &Stake) -> Result<(), Rejection> {
    if action.amount == Tal::ZERO {
        return Err(Rejection::Zero);
    }
    let sender = draft.sender;
    draft.debit(&sender, action.amount)?;
    let mut record = draft.get_stake(&sender).unwrap_or(StakeRecord {
        last: draft.id,
        until: draft.place.slot,
        amount: Tal::ZERO,
        leaving: Tal::ZERO,
    });
    record.amount = record.amount.checked_add(action.amount).ok_or(Rejection::Overflow)?;
    record.last = draft.id;
    draft.put_stake(&sender, record);
    Ok(())
}

/// The window begins anew for all that is leaving: a stake cannot be made to leave early by parts.
pub(super) fn unstake(draft: &mut Draft<'_>, action: &Unstake) -> Result<(), Rejection> {
    if action.amount == Tal::ZERO {
        return Err(Rejection::Zero);
    }
    let sender = draft.sender;
    let mut record = draft.get_stake(&sender).ok_or(Rejection::Unknown("stake"))?;
    let short = Rejection::Balance { wanted: action.amount, balance: record.amount };
    record.amount = record.amount.checked_sub(action.amount).ok_or(short)?;
    record.leaving = record.leaving.checked_add(action.amount).ok_or(Rejection::Overflow)?;
    record.until = draft.place.slot.after(draft.network.params().unstake_window);
    record.last = draft.id;
    draft.put_stake(&sender, record);
    Ok(())
}

/// Pays out what has left.
pub(super) fn settle(draft: &mut Draft<'_>, owner: &PublicKey) -> Result<(), Rejection> {
    let mut record = draft.get_stake(owner).ok_or(Rejection::Unknown("stake"))?;
    if record.leaving == Tal::ZERO {
        return Err(Rejection::NothingOwed);
    }
    if draft.place.slot < record.until {
        return Err(Rejection::Held(record.until));
    }
    draft.credit(owner, record.leaving)?;
    record.leaving = Tal::ZERO;
    record.last = draft.id;
    if record.amount == Tal::ZERO {
        draft.remove(Key::Stake(*owner));
    } else {
        draft.put_stake(owner, record);
    }
    Ok(())
}
