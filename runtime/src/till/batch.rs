//! A redeem by batch: runs, receipts and proofs in place of a voucher that never came. And the answer to whoever
//! doubts one of its bills.

use talea_ledger::codec::List;
use talea_ledger::rules::record::{Channel, Claim, ClaimedBill};
use talea_ledger::transaction::{
    ANSWER_BODY_MAX, Action, Answer, BATCHES_MAX, BILLS_MAX, Bill, GRANTS_MAX, RedeemBatch,
};
use talea_ledger::{ChannelId, Nonce, PublicKey, Sealed, Tal, Transaction, TransactionId};

use super::bills::{BillsError, Line};
use super::vouchers::Till;
use crate::chain::KeptReceipt;
use crate::store::RunBytes;

/// A redeem by batch that is being filled.
#[derive(Debug, Default)]
struct Filling {
    bills: Vec<Bill>,
    grants: Vec<Sealed>,
    batches: Vec<Sealed>,
}

/// As many of the lines as one transaction shows and the payer lets be claimed. `None` when that is none.
pub(super) fn redeem(
    till: &Till,
    host: PublicKey,
    (id, channel): (ChannelId, &Channel),
    lines: &[Line],
) -> Result<Option<Action>, BillsError> {
    let room = channel.batch_cap.saturating_sub(channel.batched).min(channel.escrow);
    let network = till.ledger().head().network().id();
    let mut open: Vec<&Line> = lines.iter().filter(|line| channel.is_open(line.sequence)).collect();
    open.sort_unstable_by_key(|line| line.sequence);
    let (mut filling, mut sum) = (Filling::default(), Tal::ZERO);
    for line in open {
        let with = sum.saturating_add(line.amount);
        if with > room {
            continue;
        }
        let kept = till.receipts.by_id(line.receipt)?.ok_or(BillsError::Run(line.receipt))?;
        if !filling.add(till, (id, channel), &kept) {
            continue;
        }
        let whole = Transaction {
            action: filling.action(id),
            network,
            sender: host,
            nonce: Nonce::MAX,
            builds_on: None,
        };
        if !whole.is_short_enough() {
            filling.bills.pop();
            break;
        }
        sum = with;
    }
    Ok((!filling.bills.is_empty()).then(|| filling.action(id)))
}

impl Filling {
    /// Adds a bill with what proves it, unless there is no room for that or its session's grant is not known.
    fn add(&mut self, till: &Till, channel: (ChannelId, &Channel), kept: &KeptReceipt) -> bool {
        let Some(bill) = self.bill(till, channel, kept) else { return false };
        self.bills.push(bill);
        true
    }

    fn bill(
        &mut self,
        till: &Till,
        channel: (ChannelId, &Channel),
        kept: &KeptReceipt,
    ) -> Option<Bill> {
        let signer = kept.receipt().payment.as_ref()?.payer;
        let RunBytes::Sealed(run) = kept.run() else { return None };
        let (run, proof) = (Sealed::decode(run).ok()?, kept.proof().ok()?);
        if self.bills.len() >= BILLS_MAX {
            return None;
        }
        if signer != channel.1.payer {
            let head = till.ledger().head();
            place(&mut self.grants, till.grant(&head, channel, &signer)?, GRANTS_MAX)?;
        }
        let batch = place(&mut self.batches, proof.batch, BATCHES_MAX)?;
        Some(Bill {
            run,
            path: proof.path,
            batch: u32::try_from(batch).ok()?,
            index: proof.index,
            receipt: kept.payload().to_vec().try_into().ok()?,
        })
    }

    /// The lists are within their bounds by [`place`] and the count above.
    fn action(&self, channel: ChannelId) -> Action {
        Action::RedeemBatch(Box::new(RedeemBatch {
            channel,
            bills: List::try_from(self.bills.clone()).unwrap_or_default(),
            grants: List::try_from(self.grants.clone()).unwrap_or_default(),
            batches: List::try_from(self.batches.clone()).unwrap_or_default(),
        }))
    }
}

/// Where a document stands in a list, at its end if it is new and there is room.
fn place(list: &mut Vec<Sealed>, document: Sealed, most: usize) -> Option<usize> {
    if let Some(at) = list.iter().position(|known| *known == document) {
        return Some(at);
    }
    if list.len() >= most {
        return None;
    }
    list.push(document);
    Some(list.len() - 1)
}

/// Input and receipt of a bill that the payer has challenged.
pub(super) fn answer(
    till: &Till,
    claim: TransactionId,
    bill: &ClaimedBill,
) -> Result<Option<Action>, BillsError> {
    let damaged = || BillsError::Run(bill.receipt);
    let kept = till.receipts.by_id(bill.receipt)?.ok_or_else(damaged)?;
    let body = if kept.receipt().input_len <= ANSWER_BODY_MAX as u64 {
        let body = till.receipts.input_body(&kept).map_err(|_| damaged())?.ok_or_else(damaged)?;
        Some(body.to_vec().try_into().map_err(|_| damaged())?)
    } else {
        None
    };
    Ok(Some(Action::Answer(Box::new(Answer {
        input: kept.input().to_vec().try_into().map_err(|_| damaged())?,
        sequence: bill.sequence,
        body,
        claim,
        receipt: kept.payload().to_vec().try_into().map_err(|_| damaged())?,
    }))))
}

/// The first bill of a claim that waits for its answer.
pub(super) fn challenged(claim: &Claim) -> Option<&ClaimedBill> {
    claim.bills.iter().find(|bill| bill.until.is_some() && !bill.answered)
}
