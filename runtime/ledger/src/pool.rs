//! The pending pool: transactions that were accepted and are not in the chain of the head.
//!
//! Invariants: nothing leaves silently. What is taken out is either in a block of the head's line, or stands
//! among the rejected with a reason, for as many finalised blocks as the network keeps reasons. A transaction is
//! admitted only from an account that can pay its fee and those of all its pending ones at the head, the next one out
//! of what it brings itself: so an account with nothing has one pending transaction, a redeem that pays for itself. All
//! quantities are bounded: transactions and bytes in all, transactions of a sender, rejected ones.
//!
//! Two pending transactions can have one sender and nonce: when a branch that held one is lost, it comes back
//! beside the other. One of them is final some day; the other is then rejected as `nonce-used`.
//!
//! Absent: an order by fee. The fee is fixed by the network; room is shared between senders instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::codec::{self, DecodeError, Decoder, Encoder, Field, record};
use crate::id::{PublicKey, TransactionId};
use crate::transaction::VerifiedTransaction;
use crate::units::{Height, Nonce, Tal};

#[cfg(test)]
mod tests;

/// Most pending transactions. 16 blocks of the largest number.
pub const POOL_COUNT_MAX: usize = 65_536;
/// Most bytes of pending transactions: 16 bodies of the greatest length.
pub const POOL_LEN_MAX: usize = 64 * 1024 * 1024;
/// Most pending transactions of one sender: what a busy host sends in a few slots.
pub const SENDER_COUNT_MAX: usize = 256;
/// Most reasons that are kept. When they are that many, new transactions are refused until blocks are final.
pub const REJECTED_MAX: usize = 65_536;
/// After so many finalised blocks a transaction that never fitted is rejected with the last reason it failed for.
pub const PENDING_BLOCKS_MAX: u64 = 256;
/// Longest reason: the longest code of the rules has about 30 letters.
pub const REASON_LEN_MAX: usize = 64;

/// Why a transaction was refused, evicted or rejected: a stable code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason(String);

/// The bounds of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most transactions.
    pub count_max: usize,
    /// Most bytes.
    pub len_max: usize,
    /// Most transactions of one sender.
    pub sender_max: usize,
    /// Most reasons.
    pub rejected_max: usize,
}

/// What the ledger says of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The nonce of its next transaction.
    pub nonce: Nonce,
    /// What it can pay: what it has and, for the next transaction, what that one brings.
    pub balance: Tal,
}

/// A pending transaction.
#[derive(Debug, Clone)]
struct Pending {
    transaction: Arc<VerifiedTransaction>,
    fee: Tal,
    /// The finalised height when it came.
    since: Height,
    /// Why it did not fit into a block when it was tried.
    failed: Option<Reason>,
}

record! {
    /// A transaction that will not be in the chain, and why.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Rejected {
        /// The finalised height at that time: from here its reason is kept for the network's retention.
        "at" => pub at: Height,
        /// Which.
        "id" => pub id: TransactionId,
        /// Why.
        "reason" => pub reason: Reason,
    }
}

impl Rejected {
    /// The bytes to be stored.
    pub fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self, <Self as Field>::LEN_MAX)
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(bytes, <Self as Field>::LEN_MAX)
    }
}

/// What is pending, and what was rejected.
#[derive(Debug, Clone)]
pub struct Pool {
    bounds: Bounds,
    retention: u64,
    pending: BTreeMap<TransactionId, Pending>,
    senders: BTreeMap<PublicKey, BTreeSet<(Nonce, TransactionId)>>,
    len: usize,
    rejected: BTreeMap<TransactionId, (Reason, Height)>,
    finalised: Height,
}

impl Bounds {
    /// The bounds of a node.
    pub const NODE: Self = Self {
        count_max: POOL_COUNT_MAX,
        len_max: POOL_LEN_MAX,
        sender_max: SENDER_COUNT_MAX,
        rejected_max: REJECTED_MAX,
    };
}

// === impl Reason ===

impl Reason {
    /// A reason of this code, cut at [`REASON_LEN_MAX`] bytes.
    pub fn new(code: &str) -> Self {
        Self(code.chars().filter(char::is_ascii_graphic).take(REASON_LEN_MAX).collect())
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&self.0)
    }
}

impl Field for Reason {
    const LEN_MAX: usize = 2 + REASON_LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.text(&self.0);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.text(REASON_LEN_MAX).map(|text| Self(text.to_owned()))
    }
}

// === impl Pool ===

impl Pool {
    /// An empty pool, when `finalised` is final.
    pub fn new(bounds: Bounds, retention: u64, finalised: Height) -> Self {
        Self {
            bounds,
            retention,
            pending: BTreeMap::new(),
            senders: BTreeMap::new(),
            len: 0,
            rejected: BTreeMap::new(),
            finalised,
        }
    }

    /// How many are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// A pending transaction.
    pub fn get(&self, id: &TransactionId) -> Option<&Arc<VerifiedTransaction>> {
        self.pending.get(id).map(|pending| &pending.transaction)
    }

    /// The first nonce of a sender that is free, when `next` is the one after those in the chain.
    pub fn next_nonce(&self, sender: &PublicKey, next: Nonce) -> Nonce {
        let own = self.senders.get(sender).into_iter().flatten();
        own.fold(
            next,
            |free, (nonce, _)| {
                if *nonce == free { Nonce(free.0.saturating_add(1)) } else { free }
            },
        )
    }

    /// Pending ids from `after` on.
    pub fn ids_after(&self, after: Option<TransactionId>) -> impl Iterator<Item = TransactionId> {
        use core::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.pending.range((from, Bound::Unbounded)).map(|(id, _)| *id)
    }

    /// Why a transaction was rejected, while that is kept.
    pub fn rejection(&self, id: &TransactionId) -> Option<(&Reason, Height)> {
        self.rejected.get(id).map(|(reason, at)| (reason, *at))
    }

    /// Takes a transaction that is new here. When another had to give way it is among the rejected, and returned.
    pub fn admit(
        &mut self,
        transaction: Arc<VerifiedTransaction>,
        fee: Tal,
        standing: Standing,
    ) -> Result<Option<Rejected>, Reason> {
        let sender = transaction.sender();
        self.admissible(&sender, transaction.nonce(), fee, standing)?;
        let count = self.senders.get(&sender).map_or(0, BTreeSet::len);
        let evicted = self.make_room(count, transaction.bytes().len())?;
        self.put(transaction, fee);
        Ok(evicted)
    }

    /// Whether a transaction of this sender, nonce and fee can be taken, as far as that shows without a look at what
    /// it orders: what is asked before any signature is verified.
    pub fn admissible(
        &self,
        sender: &PublicKey,
        nonce: Nonce,
        fee: Tal,
        standing: Standing,
    ) -> Result<(), Reason> {
        if nonce < standing.nonce {
            return Err(Reason::new("nonce-used"));
        }
        let own = self.senders.get(sender);
        let count = own.map_or(0, BTreeSet::len);
        if nonce.0.saturating_sub(standing.nonce.0) >= self.bounds.sender_max as u64 {
            return Err(Reason::new("nonce-gap"));
        }
        if own.is_some_and(|own| own.iter().any(|(taken, _)| *taken == nonce)) {
            return Err(Reason::new("nonce-taken"));
        }
        if self.fees_of(sender).saturating_add(fee) > standing.balance {
            return Err(Reason::new("cannot-pay"));
        }
        if count >= self.bounds.sender_max {
            return Err(Reason::new("sender-full"));
        }
        if self.rejected.len() >= self.bounds.rejected_max {
            return Err(Reason::new("pool-busy"));
        }
        Ok(())
    }

    /// Takes back a transaction of a lost branch, or one that was accepted before a restart: it was accepted once,
    /// so it is not refused again. When there is no room another gives way.
    pub fn give_back(
        &mut self,
        transaction: Arc<VerifiedTransaction>,
        fee: Tal,
    ) -> Option<Rejected> {
        if self.pending.contains_key(&transaction.id()) {
            return None;
        }
        self.rejected.remove(&transaction.id());
        self.put(transaction, fee);
        let full = self.pending.len() > self.bounds.count_max || self.len > self.bounds.len_max;
        if full { self.evict() } else { None }
    }

    /// Remembers a rejection that was written before a restart.
    pub fn restore(&mut self, rejected: Rejected) {
        self.rejected.insert(rejected.id, (rejected.reason, rejected.at));
    }

    /// Takes out what is in a block of the head's line.
    pub fn include(&mut self, id: &TransactionId) {
        self.remove(id);
    }

    /// Notes why a transaction did not fit into a block.
    pub fn note_failure(&mut self, id: &TransactionId, reason: Reason) {
        if let Some(pending) = self.pending.get_mut(id) {
            pending.failed = Some(reason);
        }
    }

    /// Rejects a pending transaction.
    pub fn reject(&mut self, id: &TransactionId, reason: Reason) -> Option<Rejected> {
        self.remove(id)?;
        self.rejected.insert(*id, (reason.clone(), self.finalised));
        Some(Rejected { id: *id, reason, at: self.finalised })
    }

    /// Remembers why a transaction that is not pending will not be in the chain.
    pub fn refuse(&mut self, id: TransactionId, reason: Reason) -> Rejected {
        self.rejected.insert(id, (reason.clone(), self.finalised));
        Rejected { id, reason, at: self.finalised }
    }

    /// Pending transactions that have been here for some finalised blocks, at most `count`: what stands in their
    /// way is worth a look.
    pub fn lingering(&self, blocks: u64, count: usize) -> Vec<Arc<VerifiedTransaction>> {
        let before = self.finalised.0.saturating_sub(blocks);
        self.pending
            .values()
            .filter(|pending| pending.since.0 < before)
            .take(count)
            .map(|pending| Arc::clone(&pending.transaction))
            .collect()
    }

    /// A block is final: transactions whose nonce is used up, whose sender cannot pay any more, or that never
    /// fitted, are rejected, and old reasons forgotten.
    pub fn finalise(
        &mut self,
        height: Height,
        standing: impl Fn(&PublicKey) -> Standing,
    ) -> Vec<Rejected> {
        self.finalised = height;
        let retention = self.retention;
        self.rejected.retain(|_, (_, at)| at.0.saturating_add(retention) >= height.0);
        let mut gone = Vec::new();
        for (sender, own) in &self.senders {
            let standing = standing(sender);
            let mut fees = Tal::ZERO;
            for (nonce, id) in own {
                let Some(pending) = self.pending.get(id) else { continue };
                fees = fees.saturating_add(pending.fee);
                let is_old = height.0.saturating_sub(pending.since.0) > PENDING_BLOCKS_MAX;
                if *nonce < standing.nonce {
                    gone.push((*id, Reason::new("nonce-used")));
                } else if fees > standing.balance && pending.failed.is_some() {
                    gone.push((*id, Reason::new("cannot-pay")));
                } else if is_old {
                    let reason = pending.failed.clone().unwrap_or_else(|| Reason::new("expired"));
                    gone.push((*id, reason));
                }
            }
        }
        gone.into_iter().filter_map(|(id, reason)| self.reject(&id, reason)).collect()
    }

    /// What a block could hold, given every sender's next nonce: of each sender the next, then of each the one
    /// after, and so on, so that no sender crowds out the others.
    pub fn candidates(
        &self,
        count_max: usize,
        len_max: usize,
        next: impl Fn(&PublicKey) -> Nonce,
    ) -> Vec<Arc<VerifiedTransaction>> {
        let mut queues: Vec<_> = self
            .senders
            .iter()
            .map(|(sender, own)| {
                let nonce = next(sender);
                let zero = TransactionId::new([0; 32]);
                (nonce, own.range((nonce, zero)..))
            })
            .collect();
        let mut chosen = Vec::new();
        let mut len = 0_usize;
        while !queues.is_empty() && chosen.len() < count_max {
            queues.retain_mut(|(wanted, own)| {
                // The first of a nonce; others of the same nonce are passed over.
                let found = own.by_ref().find(|(nonce, _)| *nonce >= *wanted);
                let Some((_, id)) = found.filter(|(nonce, _)| *nonce == *wanted) else {
                    return false;
                };
                let Some(pending) = self.pending.get(id) else { return false };
                let longer = len.saturating_add(pending.transaction.bytes().len());
                if longer > len_max || chosen.len() >= count_max {
                    return false;
                }
                len = longer;
                chosen.push(Arc::clone(&pending.transaction));
                *wanted = Nonce(wanted.0.saturating_add(1));
                true
            });
        }
        chosen
    }

    fn put(&mut self, transaction: Arc<VerifiedTransaction>, fee: Tal) {
        let id = transaction.id();
        self.len = self.len.saturating_add(transaction.bytes().len());
        self.senders.entry(transaction.sender()).or_default().insert((transaction.nonce(), id));
        let since = self.finalised;
        self.pending.insert(id, Pending { transaction, fee, since, failed: None });
    }

    fn remove(&mut self, id: &TransactionId) -> Option<Pending> {
        let pending = self.pending.remove(id)?;
        self.len = self.len.saturating_sub(pending.transaction.bytes().len());
        let sender = pending.transaction.sender();
        if let Some(own) = self.senders.get_mut(&sender) {
            own.remove(&(pending.transaction.nonce(), *id));
            if own.is_empty() {
                self.senders.remove(&sender);
            }
        }
        Some(pending)
    }

    fn fees_of(&self, sender: &PublicKey) -> Tal {
        let own = self.senders.get(sender).into_iter().flatten();
        own.filter_map(|(_, id)| self.pending.get(id))
            .fold(Tal::ZERO, |sum, pending| sum.saturating_add(pending.fee))
    }

    /// Room for a transaction of a sender that has `count` others: taken from a sender that has more.
    fn make_room(&mut self, count: usize, len: usize) -> Result<Option<Rejected>, Reason> {
        let is_full = self.pending.len() >= self.bounds.count_max
            || self.len.saturating_add(len) > self.bounds.len_max;
        if !is_full {
            return Ok(None);
        }
        let most = self.senders.values().map(BTreeSet::len).max().unwrap_or(0);
        if most <= count.saturating_add(1) {
            return Err(Reason::new("pool-full"));
        }
        // Only one gives way: a long transaction does not push out many short ones.
        let freed = self.victim().and_then(|id| self.pending.get(&id));
        let freed = freed.map_or(0, |pending| pending.transaction.bytes().len());
        if self.len.saturating_sub(freed).saturating_add(len) > self.bounds.len_max {
            return Err(Reason::new("pool-full"));
        }
        Ok(self.evict())
    }

    fn evict(&mut self) -> Option<Rejected> {
        let id = self.victim()?;
        self.reject(&id, Reason::new("evicted"))
    }

    /// The last transaction of the sender that has most.
    fn victim(&self) -> Option<TransactionId> {
        let (_, own) = self.senders.iter().max_by_key(|(_, own)| own.len())?;
        own.last().map(|(_, id)| *id)
    }
}
