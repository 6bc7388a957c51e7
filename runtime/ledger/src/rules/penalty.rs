//! Proven fraud: recorded once for a host and channel, at the price of the host's whole stake.
//!
//! The stake is burned, none of it goes to the reporter: a host could otherwise save its stake by reporting itself.

use super::Rejection;
use super::draft::Draft;
use super::record::{FraudKey, FraudRecord, Key};
use crate::fraud::Fraud;
use crate::units::Tal;

pub(super) fn report(draft: &mut Draft<'_>, fraud: &Fraud) -> Result<(), Rejection> {
    let key = FraudKey { channel: fraud.channel, host: fraud.host };
    if draft.get_fraud(&key).is_some() {
        return Err(Rejection::Taken("report"));
    }
    let slashed = match draft.get_stake(&fraud.host) {
        None => Tal::ZERO,
        Some(stake) => stake.amount.checked_add(stake.leaving).ok_or(Rejection::Overflow)?,
    };
    if slashed > Tal::ZERO {
        draft.remove(Key::Stake(fraud.host));
        let mut totals = draft.get_totals().unwrap_or_default();
        totals.burned = totals.burned.checked_add(slashed).ok_or(Rejection::Overflow)?;
        draft.put_totals(totals);
    }
    let [first, second] = fraud.receipts;
    let record = FraudRecord {
        reporter: draft.sender,
        transaction: draft.id,
        kind: fraud.kind,
        slot: draft.place.slot,
        first,
        second,
        slashed,
    };
    draft.put_fraud(&key, record);
    Ok(())
}
