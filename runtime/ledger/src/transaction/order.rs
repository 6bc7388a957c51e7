//! The order of transactions inside a block, which anyone can recompute.
//!
//! A transaction stands after those of its sender with lower nonces, after the one it builds on, and after those
//! that make what it uses; among all that may come next, the lowest id does. So the order depends on the set
//! alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::{Action, Carried, Resource, VerifiedTransaction};
use crate::id::{ChannelId, PublicKey, TransactionId};
use crate::units::Nonce;

/// Transactions that wait for each other: none of them can come first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} transactions wait for each other", .0.len())]
pub struct OrderError(
    /// Their places.
    pub Vec<usize>,
);

impl VerifiedTransaction {
    /// The resource it is about; none for those that are refused for now.
    pub fn resource(&self) -> Option<Resource> {
        match self.carried() {
            Carried::Voucher(voucher, _) => Some(Resource::Channel(voucher.channel)),
            Carried::Fraud(fraud) => Some(Resource::Fraud(fraud.host, fraud.channel)),
            _ => self.action().resource(self.sender()),
        }
    }

    /// What it makes that others can use: the channel it opens, the claim it raises, the function it registers.
    pub fn creates(&self) -> Option<Resource> {
        match self.action() {
            Action::OpenChannel(_) => Some(Resource::Channel(ChannelId::opened_by(&self.id()))),
            Action::RedeemBatch(_) => Some(Resource::Claim(self.id())),
            Action::RegisterFunction(action) => Some(Resource::Function(action.function)),
            _ => None,
        }
    }

    /// What it needs to be there.
    fn uses(&self) -> [Option<Resource>; 2] {
        let function = match self.action() {
            Action::RegisterName(action) => Some(Resource::Function(action.function)),
            Action::UpdateName(action) => action.function.map(Resource::Function),
            _ => None,
        };
        [self.resource().filter(|_| self.creates() != self.resource()), function]
    }
}

/// The places of `transactions` in canonical order.
pub fn canonical_order(
    transactions: &[Arc<VerifiedTransaction>],
) -> Result<Vec<usize>, OrderError> {
    let (mut waits, follows) = edges(transactions);
    let mut ready: BinaryHeap<Reverse<(TransactionId, usize)>> = transactions
        .iter()
        .enumerate()
        .filter(|(at, _)| waits[*at] == 0)
        .map(|(at, transaction)| Reverse((transaction.id(), at)))
        .collect();
    let mut order = Vec::with_capacity(transactions.len());
    while let Some(Reverse((_, at))) = ready.pop() {
        order.push(at);
        for next in &follows[at] {
            waits[*next] = waits[*next].saturating_sub(1);
            if waits[*next] == 0 {
                ready.push(Reverse((transactions[*next].id(), *next)));
            }
        }
    }
    if order.len() == transactions.len() {
        return Ok(order);
    }
    Err(OrderError((0..transactions.len()).filter(|at| waits[*at] > 0).collect()))
}

/// Whether `transactions` stand in canonical order.
pub fn is_canonical(transactions: &[Arc<VerifiedTransaction>]) -> bool {
    canonical_order(transactions)
        .is_ok_and(|order| order.iter().enumerate().all(|(place, at)| place == *at))
}

/// How many others each waits for, and who waits for it.
fn edges(transactions: &[Arc<VerifiedTransaction>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut by_id: BTreeMap<TransactionId, usize> = BTreeMap::new();
    let mut by_sender: BTreeMap<PublicKey, Vec<(Nonce, usize)>> = BTreeMap::new();
    let mut makers: BTreeMap<Resource, Vec<usize>> = BTreeMap::new();
    for (at, transaction) in transactions.iter().enumerate() {
        by_id.insert(transaction.id(), at);
        by_sender.entry(transaction.sender()).or_default().push((transaction.nonce(), at));
        if let Some(made) = transaction.creates() {
            makers.entry(made).or_default().push(at);
        }
    }
    let mut waits = vec![0_usize; transactions.len()];
    let mut follows: Vec<Vec<usize>> = vec![Vec::new(); transactions.len()];
    let mut edge = |before: usize, after: usize| {
        if before != after {
            follows[before].push(after);
            waits[after] = waits[after].saturating_add(1);
        }
    };
    for sent in by_sender.values_mut() {
        sent.sort_unstable();
        for pair in sent.windows(2) {
            // Two of one nonce exclude each other, whichever comes first.
            if let [(low, before), (high, after)] = pair
                && low < high
            {
                edge(*before, *after);
            }
        }
    }
    for (at, transaction) in transactions.iter().enumerate() {
        if let Some(before) = transaction.transaction().builds_on.and_then(|id| by_id.get(&id)) {
            edge(*before, at);
        }
        for used in transaction.uses().into_iter().flatten() {
            for before in makers.get(&used).into_iter().flatten() {
                edge(*before, at);
            }
        }
    }
    (waits, follows)
}
