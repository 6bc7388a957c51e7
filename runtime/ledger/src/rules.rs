//! The rules: from a state and a block to the next state.
//!
//! Invariants: [`apply`] depends on its arguments alone and never panics; a transaction applies wholly or not at
//! all, and a block with one that does not apply is no block; money is conserved by each transaction
//! (section "Law 5" of the tests, and a check behind every rule); the root covers every record.
//! Finality never enters here.
//!
//! Cost: a transaction touches a handful of records, each a walk of about log2(n) nodes; a block's changes are
//! hashed once, at its end. Signatures are no part of it: a [`VerifiedBlock`] has them behind it.
//!
//! Absent: clocks. Time is the slot of the block.

mod account;
mod channel;
mod claim;
mod draft;
mod penalty;
pub mod record;
mod registry;
mod rejection;
mod state;
pub mod tree;

pub use draft::share_of;
pub use rejection::Rejection;
pub use state::{ConservationError, Place, State, Tip};

use std::sync::Arc;

use crate::block::{Header, VerifiedBlock, body_root};
use crate::id::{BlockId, Digest, NetworkId, PublicKey, TransactionId};
use crate::transaction::{VerifiedTransaction, canonical_order, is_canonical};
use crate::units::{Height, Slot};

/// Why a block does not follow on a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Of another network.
    #[error("the block is of network {0}")]
    Network(NetworkId),
    /// It follows on another block.
    #[error("the parent is {found}, the state is that of {expected}")]
    Parent {
        /// What the header says.
        found: BlockId,
        /// The state's block.
        expected: BlockId,
    },
    /// Not the next height.
    #[error("height {found} after {tip}")]
    Height {
        /// What the header says.
        found: Height,
        /// The state's.
        tip: Height,
    },
    /// Not a later slot than the parent's.
    #[error("slot {found} is not after {tip}")]
    Slot {
        /// What the header says.
        found: Slot,
        /// The state's.
        tip: Slot,
    },
    /// A transaction does not apply at its place.
    #[error("transaction {id} at {index}: {rejection}")]
    Transaction {
        /// Its place.
        index: usize,
        /// Which.
        id: TransactionId,
        /// Why.
        #[source]
        rejection: Rejection,
    },
    /// The header promises another state.
    #[error("the state's root is {found}, the header says {expected}")]
    Root {
        /// What came out.
        found: Digest,
        /// What the header says.
        expected: Digest,
    },
}

impl ApplyError {
    /// The stable text for callers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Network(_) => "wrong-network",
            Self::Parent { .. } => "wrong-parent",
            Self::Height { .. } => "wrong-height",
            Self::Slot { .. } => "wrong-slot",
            Self::Transaction { .. } => "transaction-refused",
            Self::Root { .. } => "wrong-state-root",
        }
    }
}

/// The state after a block. The state before is as it was.
pub fn apply(state: &State, block: &VerifiedBlock) -> Result<State, ApplyError> {
    let header = block.header();
    let tip = state.tip();
    if header.network != state.network().id() {
        return Err(ApplyError::Network(header.network));
    }
    if header.parent != tip.id {
        return Err(ApplyError::Parent { found: header.parent, expected: tip.id });
    }
    if Some(header.height) != tip.height.checked_add(Height(1)) {
        return Err(ApplyError::Height { found: header.height, tip: tip.height });
    }
    if header.slot <= tip.slot {
        return Err(ApplyError::Slot { found: header.slot, tip: tip.slot });
    }
    let place = Place { height: header.height, slot: header.slot };
    let mut next = state.fork();
    for (index, transaction) in block.transactions().iter().enumerate() {
        let id = transaction.id();
        next.attempt(transaction, place).map_err(|rejection| ApplyError::Transaction {
            index,
            id,
            rejection,
        })?;
    }
    let found = next.root();
    if found != header.state {
        return Err(ApplyError::Root { found, expected: header.state });
    }
    next.advance(Tip { id: block.id(), height: header.height, slot: header.slot });
    Ok(next)
}

/// What the author of a slot makes of the transactions at hand.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The header to be signed.
    pub header: Header,
    /// The transactions that go into the block, in canonical order.
    pub transactions: Vec<Arc<VerifiedTransaction>>,
    /// Those that do not apply, and why. Those for which there was no room are in neither list.
    pub refused: Vec<(TransactionId, Rejection)>,
}

/// Chooses what applies, in canonical order and within the block's bounds, and makes the header.
/// Transactions that wait for each other in a circle are left out.
pub fn propose(
    state: &State,
    slot: Slot,
    author: PublicKey,
    candidates: &[Arc<VerifiedTransaction>],
) -> Proposal {
    let tip = state.tip();
    let place = Place { height: tip.height.saturating_add(Height(1)), slot };
    let mut refused = Vec::new();
    let mut chosen = candidates.to_vec();
    let next = loop {
        let Some(next) = choose(state, place, &mut chosen, &mut refused) else { continue };
        break next;
    };
    let body: Vec<&[u8]> = chosen.iter().map(|each| each.bytes()).collect();
    let len = body.iter().fold(0_usize, |sum, bytes| sum.saturating_add(bytes.len()));
    let header = Header {
        author,
        // Both are within the parameters' bounds, which are 32 bits wide.
        body_len: u32::try_from(len).unwrap_or(u32::MAX),
        network: state.network().id(),
        body: body_root(&body).unwrap_or(Digest::of(b"")),
        slot,
        count: u32::try_from(chosen.len()).unwrap_or(u32::MAX),
        state: next.root(),
        height: place.height,
        parent: tip.id,
    };
    Proposal { header, transactions: chosen, refused }
}

/// Keeps of `chosen` what applies and fits, in canonical order. Leaving some out can change the order of the
/// rest; then there is no answer yet, and the rest, which is smaller, is to be tried again.
fn choose(
    state: &State,
    place: Place,
    chosen: &mut Vec<Arc<VerifiedTransaction>>,
    refused: &mut Vec<(TransactionId, Rejection)>,
) -> Option<State> {
    let order = match canonical_order(chosen) {
        Ok(order) => order,
        Err(stuck) => {
            let mut at = 0_usize..;
            chosen.retain(|_| at.next().is_some_and(|at| stuck.0.binary_search(&at).is_err()));
            return None;
        }
    };
    let params = state.network().params();
    let mut next = state.fork();
    let mut kept = Vec::with_capacity(order.len());
    let mut len = 0_usize;
    for transaction in order.into_iter().filter_map(|at| chosen.get(at)) {
        let with = len.saturating_add(transaction.bytes().len());
        if kept.len() >= params.block_count_max as usize || with > params.block_len_max as usize {
            break;
        }
        match next.attempt(transaction, place) {
            Ok(()) => {
                len = with;
                kept.push(Arc::clone(transaction));
            }
            Err(rejection) => refused.push((transaction.id(), rejection)),
        }
    }
    let is_whole = kept.len() == chosen.len();
    *chosen = kept;
    (is_whole || is_canonical(chosen)).then_some(next)
}
