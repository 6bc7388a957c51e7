//! What this node owes another host: vouchers for what was counted, and receipts that were missed.
//!
//! Invariant: a voucher promises what the purse has counted from checked receipts, never what a host says. One that is not
//! taken costs nothing: the next one says more.

use std::sync::Arc;

use talea_ledger::{ChannelId, Tal, Voucher};

use super::hop::{Base, Given, HopError};
use super::{Forwarder, Gateway};

/// Pages of a host's list that are read for one voucher: 200 receipts each.
const PAGES_MAX: usize = 16;

/// Gives the host vouchers until it has one for all that was counted. Whoever finds another at it leaves it to him.
pub(super) async fn settle(
    gateway: &Arc<Gateway>,
    forwarder: &Forwarder,
    base: &Base,
    channel: ChannelId,
) {
    let purse = &forwarder.purse;
    loop {
        if purse.is_doubtful(&channel) {
            recover(gateway, forwarder, base, channel).await;
        }
        let Some(voucher) = purse.begin_giving(&channel) else { return };
        match give(forwarder, base, voucher).await {
            Ok(true) => {}
            // The host redeems what it was promised, and takes the rest with the next call.
            Ok(false) => return,
            Err(error) => {
                purse.not_given(&channel);
                tracing::warn!(%channel, %error, "a voucher was not taken; the next one says more");
                return;
            }
        }
    }
}

/// Gives one voucher, or as much of it as one redeem lists. Says whether it was the whole.
async fn give(forwarder: &Forwarder, base: &Base, whole: Voucher) -> Result<bool, HopError> {
    let purse = &forwarder.purse;
    let sealed = purse.sign(&whole);
    let (voucher, sealed) = match forwarder.hop.give(base, &sealed).await? {
        Given::Taken => (whole, sealed),
        Given::AtMost(owed, settled) => {
            // It may ask for less than was counted, never for more.
            if owed > whole.owed || settled > whole.settled || owed == Tal::ZERO {
                return Err(HopError::Meaning("a voucher over more than it billed".to_owned()));
            }
            let part = Voucher { owed, settled, ..whole };
            let sealed = purse.sign(&part);
            match forwarder.hop.give(base, &sealed).await? {
                Given::Taken => (part, sealed),
                Given::AtMost(..) => {
                    return Err(HopError::Meaning("no voucher is little enough".to_owned()));
                }
            }
        }
    };
    let is_whole = voucher.owed == whole.owed;
    if let Err(error) = purse.given(&voucher, sealed).await {
        // It is given all the same; after a restart it is given again.
        tracing::warn!(%error, "a voucher that was given could not be noted");
    }
    Ok(is_whole)
}

/// Counts receipts that the host made out and this node has not seen: their answers were lost, or this node was
/// started again.
pub(super) async fn recover(
    gateway: &Arc<Gateway>,
    forwarder: &Forwarder,
    base: &Base,
    channel: ChannelId,
) {
    let purse = &forwarder.purse;
    for _ in 0..PAGES_MAX {
        let Some((after, counted)) = purse.missed(&channel) else { return };
        let now = gateway.doors.clock.now();
        let page = match forwarder.hop.list(base, purse, channel, after, now).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%channel, %error, "a host's list of receipts cannot be had");
                return;
            }
        };
        for receipt in page.receipts.iter().filter(|(_, owed)| *owed > counted) {
            let papers = forwarder.hop.papers(base, purse, receipt.0, now).await;
            let Ok(bundle) = papers else { return };
            let Ok(checked) = bundle.check() else { return };
            let said = checked.receipt().document();
            let payment = said.payment.as_ref();
            let is_own = payment.is_some_and(|payment| {
                payment.channel == channel && payment.payer == purse.payer()
            });
            if !is_own {
                return;
            }
            if let Err(error) = purse.count(said) {
                tracing::error!(%channel, %error, "a host's bill cannot be counted");
                return;
            }
        }
        purse.listed(&channel, page.upto, page.next.is_none());
        if page.next.is_none() {
            return;
        }
    }
}
