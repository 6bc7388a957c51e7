//! Claims: a redeem by batch, paid when its dispute window has passed without a successful challenge.
//!
//! Invariants: a claim takes its money out of the channel when it is made, so what is claimed can be paid; a bill
//! is claimed only if its sequence lies above the settled one and was not claimed before, and counts as redeemed
//! from then on, so a voucher that counts it too pays it no second time. A bill whose challenge was not answered
//! is void: its money goes back to where it came from, and its sequence stays used.
//! Nothing happens by itself: after the window anyone's `settle` pays.

use super::Rejection;
use super::channel::{own, spend};
use super::draft::Draft;
use super::record::{Channel, Claim, ClaimedBill, FraudKey, Key, SessionKey};
use crate::codec::List;
use crate::id::{ChannelId, ReceiptId, TransactionId};
use crate::transaction::{Answer, Bills, Challenge, ProvenBill, RedeemBatch};
use crate::units::{Sequence, Tal};

pub(super) fn redeem_batch(
    draft: &mut Draft<'_>,
    action: &RedeemBatch,
    bills: &Bills,
) -> Result<(), Rejection> {
    let mut channel = own(draft, &action.channel)?;
    if draft.get_fraud(&FraudKey { channel: action.channel, host: channel.host }).is_some() {
        return Err(Rejection::Fraudulent);
    }
    let mut claimed = Vec::with_capacity(bills.items().len());
    let mut sum = Tal::ZERO;
    for bill in bills.items() {
        claimed.push(take(draft, (&action.channel, &mut channel), bills, bill)?);
        sum = sum.checked_add(bill.amount).ok_or(Rejection::Overflow)?;
    }
    if sum == Tal::ZERO {
        return Err(Rejection::NothingOwed);
    }
    let short = Rejection::Escrow { wanted: sum, escrow: channel.escrow };
    channel.escrow = channel.escrow.checked_sub(sum).ok_or(short)?;
    channel.batched = channel.batched.checked_add(sum).ok_or(Rejection::Overflow)?;
    if channel.batched > channel.batch_cap {
        return Err(Rejection::BatchCap { claimed: channel.batched, cap: channel.batch_cap });
    }
    channel.redeemed = channel.redeemed.checked_add(sum).ok_or(Rejection::Overflow)?;
    channel.last = draft.id;
    draft.put_channel(&action.channel, channel);
    let id = draft.id;
    let claim = Claim {
        due: draft.place.slot.after(draft.network.params().dispute_window),
        channel: action.channel,
        host: channel.host,
        last: id,
        bills: List::try_from(claimed).map_err(|_| Rejection::Overflow)?,
        payer: channel.payer,
    };
    draft.put_claim(&id, claim);
    Ok(())
}

/// Takes one bill into a claim: marks its sequence and counts its session.
fn take(
    draft: &mut Draft<'_>,
    (id, channel): (&ChannelId, &mut Channel),
    bills: &Bills,
    bill: &ProvenBill,
) -> Result<ClaimedBill, Rejection> {
    let payer = bills.payer(bill);
    if payer != channel.payer {
        return Err(Rejection::WrongPayer { payer: channel.payer, found: payer });
    }
    if bill.sequence <= channel.settled {
        return Err(Rejection::SequencePaid(bill.sequence));
    }
    let place = channel.place(bill.sequence).ok_or(Rejection::SequenceWindow(bill.sequence))?;
    if channel.used.has(place) {
        return Err(Rejection::SequencePaid(bill.sequence));
    }
    channel.used.set(place);
    let grant = bill.grant.and_then(|at| bills.grants().get(at));
    if let Some((session_id, session)) = grant {
        let key = SessionKey { channel: *id, session: *session_id };
        spend(draft, &key, session, bill.amount)?;
    }
    Ok(ClaimedBill {
        function: bill.function,
        royalty: bill.royalty,
        sequence: bill.sequence,
        grant: grant.map(|(id, _)| *id),
        until: None,
        amount: bill.amount,
        receipt: bill.receipt,
        answered: false,
    })
}

/// The claim with the place of the bill of this sequence.
fn find(
    draft: &Draft<'_>,
    id: &TransactionId,
    sequence: Sequence,
) -> Result<(Claim, usize), Rejection> {
    let claim = draft.get_claim(id).ok_or(Rejection::Unknown("claim"))?;
    let place = claim.bills.iter().position(|bill| bill.sequence == sequence);
    place.map(|place| (claim, place)).ok_or(Rejection::Unknown("bill"))
}

/// Writes a claim back with one bill changed.
fn put_bill(draft: &mut Draft<'_>, id: &TransactionId, mut claim: Claim, bill: ClaimedBill) {
    let mut bills = claim.bills.into_vec();
    if let Some(place) = bills.iter().position(|other| other.sequence == bill.sequence) {
        bills[place] = bill;
    }
    claim.bills = List::try_from(bills).unwrap_or_default();
    claim.last = draft.id;
    draft.put_claim(id, claim);
}

pub(super) fn challenge(draft: &mut Draft<'_>, action: &Challenge) -> Result<(), Rejection> {
    let (claim, place) = find(draft, &action.claim, action.sequence)?;
    if draft.sender != claim.payer {
        return Err(Rejection::NotOwner { owner: claim.payer });
    }
    if draft.place.slot >= claim.due {
        return Err(Rejection::Late(claim.due));
    }
    let mut bill = claim.bills[place];
    if bill.answered || bill.until.is_some() {
        return Err(Rejection::Challenged);
    }
    bill.until = Some(draft.place.slot.after(draft.network.params().answer_window));
    put_bill(draft, &action.claim, claim, bill);
    Ok(())
}

pub(super) fn answer(
    draft: &mut Draft<'_>,
    action: &Answer,
    receipt: &ReceiptId,
) -> Result<(), Rejection> {
    let (claim, place) = find(draft, &action.claim, action.sequence)?;
    if draft.sender != claim.host {
        return Err(Rejection::NotOwner { owner: claim.host });
    }
    let mut bill = claim.bills[place];
    let until = bill.until.ok_or(Rejection::NotChallenged)?;
    if draft.place.slot >= until {
        return Err(Rejection::Late(until));
    }
    if bill.receipt != *receipt {
        return Err(Rejection::WrongAnswer);
    }
    bill.until = None;
    bill.answered = true;
    put_bill(draft, &action.claim, claim, bill);
    Ok(())
}

/// Pays what stood, gives back what is void. All bills are void when fraud of the host in this channel is proven.
pub(super) fn settle(draft: &mut Draft<'_>, id: &TransactionId) -> Result<(), Rejection> {
    let claim = draft.get_claim(id).ok_or(Rejection::Unknown("claim"))?;
    let open = claim.bills.iter().filter_map(|bill| bill.until);
    let end = open.fold(claim.due, |end, until| end.max(until));
    if draft.place.slot < end {
        return Err(Rejection::Held(end));
    }
    let key = FraudKey { channel: claim.channel, host: claim.host };
    let is_fraud = draft.get_fraud(&key).is_some();
    draft.remove(Key::Claim(*id));
    for bill in claim.bills.iter() {
        if is_fraud || bill.until.is_some() {
            give_back(draft, &claim, bill)?;
        } else {
            draft.pay(&claim.host, &bill.function, bill.royalty, bill.amount)?;
        }
    }
    Ok(())
}

/// Undoes a void bill: into the channel, or to the payer where the channel is gone.
fn give_back(draft: &mut Draft<'_>, claim: &Claim, bill: &ClaimedBill) -> Result<(), Rejection> {
    let key = bill.grant.map(|session| SessionKey { channel: claim.channel, session });
    if let Some(key) = key
        && let Some(mut session) = draft.get_session(&key)
    {
        session.spent = session.spent.saturating_sub(bill.amount);
        draft.put_session(&key, session);
    }
    let Some(mut channel) = draft.get_channel(&claim.channel) else {
        return draft.credit(&claim.payer, bill.amount);
    };
    channel.escrow = channel.escrow.checked_add(bill.amount).ok_or(Rejection::Overflow)?;
    channel.redeemed = channel.redeemed.saturating_sub(bill.amount);
    channel.batched = channel.batched.saturating_sub(bill.amount);
    draft.put_channel(&claim.channel, channel);
    Ok(())
}
