//! Channels: escrow of one payer towards one host, paid by voucher, given back at the end.
//!
//! Invariants: what a channel pays is never more than what was put into it; a voucher pays what it owes above all
//! that was paid before, so no order and no repetition of vouchers pays anything twice; from the deadline on
//! nothing is redeemed, and anyone can have the rest returned to the payer.

use super::Rejection;
use super::draft::Draft;
use super::record::{Channel, Key, SessionKey, Window};
use crate::id::{ChannelId, PublicKey};
use crate::session::Session;
use crate::transaction::{CloseChannel, OpenChannel, Part, Redeem, RevokeSession, Signer, TopUp};
use crate::units::{Sequence, Tal};
use crate::voucher::Voucher;

pub(super) fn open(draft: &mut Draft<'_>, action: &OpenChannel) -> Result<(), Rejection> {
    if action.escrow == Tal::ZERO {
        return Err(Rejection::Zero);
    }
    if action.expires <= draft.place.slot {
        return Err(Rejection::Deadline { found: action.expires, least: draft.place.slot });
    }
    let payer = draft.sender;
    if action.host == payer {
        return Err(Rejection::SelfChannel);
    }
    draft.debit(&payer, action.escrow)?;
    let channel = Channel {
        host: action.host,
        last: draft.id,
        used: Window::EMPTY,
        payer,
        escrow: action.escrow,
        opened: draft.place.slot,
        batched: Tal::ZERO,
        closing: None,
        expires: action.expires,
        settled: Sequence::ZERO,
        vouched: Tal::ZERO,
        batch_cap: action.batch_cap,
        redeemed: Tal::ZERO,
        watermark: action.watermark,
    };
    draft.put_channel(&ChannelId::opened_by(&draft.id), channel);
    Ok(())
}

/// The channel, if something can still be redeemed from it.
pub(super) fn live(draft: &Draft<'_>, id: &ChannelId) -> Result<Channel, Rejection> {
    let channel = draft.get_channel(id).ok_or(Rejection::Unknown("channel"))?;
    let deadline = channel.deadline();
    if draft.place.slot < deadline { Ok(channel) } else { Err(Rejection::ChannelExpired(deadline)) }
}

/// The live channel, if the sender is its host.
pub(super) fn own(draft: &Draft<'_>, id: &ChannelId) -> Result<Channel, Rejection> {
    let channel = live(draft, id)?;
    let owner = channel.host;
    if draft.sender == owner { Ok(channel) } else { Err(Rejection::NotOwner { owner }) }
}

pub(super) fn top_up(draft: &mut Draft<'_>, action: &TopUp) -> Result<(), Rejection> {
    let mut channel = live(draft, &action.channel)?;
    if let Some(closing) = channel.closing {
        return Err(Rejection::ChannelClosing(closing));
    }
    if action.amount == Tal::ZERO && action.expires.is_none() {
        return Err(Rejection::Zero);
    }
    if let Some(expires) = action.expires {
        if draft.sender != channel.payer {
            return Err(Rejection::NotOwner { owner: channel.payer });
        }
        if expires <= channel.expires {
            return Err(Rejection::Deadline { found: expires, least: channel.expires });
        }
        channel.expires = expires;
    }
    let sender = draft.sender;
    draft.debit(&sender, action.amount)?;
    channel.escrow = channel.escrow.checked_add(action.amount).ok_or(Rejection::Overflow)?;
    channel.last = draft.id;
    draft.put_channel(&action.channel, channel);
    Ok(())
}

/// The payer begins the closing window, in which the host redeems what it holds. The host gives the rest back
/// at once: what it has not redeemed by then it renounces.
pub(super) fn close(draft: &mut Draft<'_>, action: &CloseChannel) -> Result<(), Rejection> {
    let mut channel = draft.get_channel(&action.channel).ok_or(Rejection::Unknown("channel"))?;
    if draft.sender == channel.host {
        return refund(draft, &action.channel, &channel);
    }
    if draft.sender != channel.payer {
        return Err(Rejection::NotOwner { owner: channel.payer });
    }
    if let Some(closing) = channel.closing {
        return Err(Rejection::ChannelClosing(closing));
    }
    channel.closing = Some(draft.place.slot.after(draft.network.params().close_window));
    channel.last = draft.id;
    draft.put_channel(&action.channel, channel);
    Ok(())
}

/// The payer ends a session in a channel. The host has the closing window to redeem what the key has signed.
pub(super) fn revoke_session(
    draft: &mut Draft<'_>,
    action: &RevokeSession,
) -> Result<(), Rejection> {
    let mut channel = live(draft, &action.channel)?;
    if draft.sender != channel.payer {
        return Err(Rejection::NotOwner { owner: channel.payer });
    }
    let key = SessionKey { channel: action.channel, session: action.session };
    let mut record = draft.get_session(&key).unwrap_or_default();
    if record.until.is_some() {
        return Err(Rejection::Taken("session's end"));
    }
    record.until = Some(draft.place.slot.after(draft.network.params().close_window));
    draft.put_session(&key, record);
    channel.last = draft.id;
    draft.put_channel(&action.channel, channel);
    Ok(())
}

/// Gives the rest of a channel back whose deadline has passed.
pub(super) fn settle(draft: &mut Draft<'_>, id: &ChannelId) -> Result<(), Rejection> {
    let channel = draft.get_channel(id).ok_or(Rejection::Unknown("channel"))?;
    if draft.place.slot < channel.deadline() {
        return Err(Rejection::Held(channel.deadline()));
    }
    refund(draft, id, &channel)
}

fn refund(draft: &mut Draft<'_>, id: &ChannelId, channel: &Channel) -> Result<(), Rejection> {
    draft.remove(Key::Channel(*id));
    draft.credit(&channel.payer, channel.escrow)
}

pub(super) fn redeem(
    draft: &mut Draft<'_>,
    action: &Redeem,
    voucher: &Voucher,
    signer: &Signer,
) -> Result<(), Rejection> {
    let mut channel = own(draft, &voucher.channel)?;
    if signer.payer() != channel.payer {
        return Err(Rejection::WrongPayer { payer: channel.payer, found: signer.payer() });
    }
    if voucher.owed < channel.vouched || voucher.settled < channel.settled {
        return Err(Rejection::VoucherBackwards);
    }
    let payment = voucher.owed.saturating_sub(channel.redeemed);
    let rises = voucher.owed > channel.vouched || voucher.settled > channel.settled;
    if payment == Tal::ZERO && !rises {
        return Err(Rejection::NothingOwed);
    }
    let short = Rejection::Escrow { wanted: payment, escrow: channel.escrow };
    channel.escrow = channel.escrow.checked_sub(payment).ok_or(short)?;
    if let Signer::Session(id, session) = signer {
        let key = SessionKey { channel: voucher.channel, session: *id };
        spend(draft, &key, session, payment)?;
    }
    channel.redeemed = channel.redeemed.checked_add(payment).ok_or(Rejection::Overflow)?;
    channel.used = channel.used.moved(voucher.settled.0.saturating_sub(channel.settled.0));
    channel.settled = voucher.settled;
    channel.vouched = voucher.owed;
    channel.last = draft.id;
    draft.put_channel(&voucher.channel, channel);
    pay_parts(draft, &channel.host, &action.split, payment)
}

/// Pays the parts of a payment, which must add up to it, none of them empty.
fn pay_parts(
    draft: &mut Draft<'_>,
    host: &PublicKey,
    parts: &[Part],
    payment: Tal,
) -> Result<(), Rejection> {
    if parts.iter().any(|part| part.amount == Tal::ZERO) {
        return Err(Rejection::Zero);
    }
    let sum = parts.iter().try_fold(Tal::ZERO, |sum, part| sum.checked_add(part.amount));
    let found = sum.ok_or(Rejection::Overflow)?;
    if found != payment {
        return Err(Rejection::Split { found, expected: payment });
    }
    parts.iter().try_for_each(|part| draft.pay(host, &part.function, part.royalty, part.amount))
}

/// Counts what a session spends of a channel; what it signed counts until its grant expires, or is revoked and the
/// host's time has passed.
pub(super) fn spend(
    draft: &mut Draft<'_>,
    key: &SessionKey,
    session: &Session,
    amount: Tal,
) -> Result<(), Rejection> {
    if draft.network.slot_start(draft.place.slot) >= session.expires {
        return Err(Rejection::SessionExpired);
    }
    let mut record = draft.get_session(key).unwrap_or_default();
    if record.until.is_some_and(|until| draft.place.slot >= until) {
        return Err(Rejection::SessionExpired);
    }
    let over = Rejection::SessionTotal { total: session.total, spent: record.spent };
    let spent = record.spent.checked_add(amount).filter(|spent| *spent <= session.total);
    record.spent = spent.ok_or(over)?;
    draft.put_session(key, record);
    Ok(())
}
