//! Reading the ledger: the view of this moment, and what is stored of blocks and transactions.
//!
//! [`Reader::view`] never waits. All other calls read the disk and may wait for it: an async caller runs them
//! where waiting is allowed.
//! Invariant: a block that is handed out has the hash that was asked for; bytes that changed on the disk are an
//! error that names their place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use talea_ledger::block::body_root;
use talea_ledger::{
    Block, BlockError, BlockId, Document as _, Header, Height, Nonce, PublicKey, SignedHeader,
    Slot, TransactionId, VerifiedBlock,
};
use thiserror::Error;
use tokio::sync::watch;

use super::mailbox::Refusal;
use super::record;
use super::view::View;
use crate::store::ledger::{
    LedgerDatabase, LedgerLogReader, LogPlace, LookupError, ReadLogError, TransactionStanding,
};

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Accepted, and in no block of the head's line.
    Pending,
    /// In a block of the head's line.
    Included {
        /// The block.
        block: BlockId,
        /// Its height.
        height: Height,
        /// The transaction's place in it.
        index: u32,
        /// Whether the block can never be undone.
        is_final: bool,
    },
    /// It will not be in the chain.
    Rejected {
        /// Why.
        reason: Refusal,
        /// The finalised height at that time. For so many finalised blocks as the network's parameters say the
        /// reason is kept.
        at: Height,
    },
}

/// A block as it is stored.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    /// Its name.
    pub id: BlockId,
    /// Its header.
    pub header: Header,
    /// The signed header and the transactions.
    pub block: Block,
    /// Whether it can never be undone.
    pub is_final: bool,
    /// Where its bytes lie.
    pub place: LogPlace,
}

/// Why nothing was read.
#[derive(Debug, Error)]
pub enum LedgerReadError {
    /// The database did not answer.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] ReadLogError),
    /// The bytes are not the block that was written there.
    #[error("{file} is damaged at byte {offset}: not block {block}")]
    Damaged {
        /// The file.
        file: String,
        /// The first byte of the block.
        offset: u64,
        /// The block that lay there.
        block: BlockId,
    },
    /// A block that does not hold.
    #[error("a stored block does not hold: {0}")]
    Block(Box<BlockError>),
}

impl From<BlockError> for LedgerReadError {
    fn from(error: BlockError) -> Self {
        Self::Block(Box::new(error))
    }
}

/// Log and database, for reading.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    pub(super) database: Arc<LedgerDatabase>,
    pub(super) log: LedgerLogReader,
}

/// The head's line above the finalised block, and what waits for a block: what no database has in this form, since it
/// can be undone.
#[derive(Debug, Default)]
pub(super) struct Recent {
    pub(super) line: BTreeMap<Height, BlockId>,
    pub(super) included: HashMap<TransactionId, (BlockId, Height, u32)>,
    /// What is pending, and by sender.
    pub(super) waiting: HashMap<TransactionId, (PublicKey, Nonce)>,
    pub(super) nonces: BTreeSet<(PublicKey, Nonce, TransactionId)>,
}

/// Slots that a node which was in step may fall behind its peers before it is not any more.
const BEHIND_SLOTS: u64 = 16;

/// Where a peer stands, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The height of its best block.
    pub height: Height,
    /// That block's slot.
    pub slot: Slot,
    /// The height of the last block it holds for final.
    pub finalised: Height,
}

impl Told {
    /// Whether a view is as far, but for some slots; or has the same final blocks, where there are any.
    fn is_level(&self, view: &View, slack: u64) -> bool {
        let is_final = view.finalised_height() >= self.finalised && self.finalised > Height::ZERO;
        view.slot().0.saturating_add(slack) >= self.slot.0 || is_final
    }
}

/// What the ledger's thread makes and readers see.
#[derive(Debug)]
pub(super) struct Shared {
    /// Where the connected peers stand.
    pub(super) told: RwLock<HashMap<PublicKey, Told>>,
    /// Whether this node was in step when it was asked last.
    pub(super) in_step: AtomicBool,
    pub(super) view: RwLock<Arc<View>>,
    pub(super) recent: RwLock<Recent>,
    /// Transactions refused or rejected since the start.
    pub(super) rejected: AtomicU64,
}

/// A handle for reading; clones share everything.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) archive: Archive,
    pub(super) shared: Arc<Shared>,
    pub(super) changes: watch::Receiver<u64>,
}

// === impl Reader ===

impl Reader {
    /// What the ledger says now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.shared.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts up with every new view, for those who follow.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// How many transactions were refused or rejected since the start.
    pub fn rejected(&self) -> u64 {
        // Relaxed: a count for operators, which nothing else hangs on.
        self.shared.rejected.load(Ordering::Relaxed)
    }

    /// The nonce of the next transaction of this key: behind those that the head counts and those that are pending.
    pub fn next_nonce(&self, key: &PublicKey) -> Nonce {
        let mut next = self.view().head.account(key).nonce;
        let zero = TransactionId::new([0; 32]);
        let recent = self.recent();
        let own = recent.nonces.range((*key, next, zero)..);
        for (_, nonce, _) in own.take_while(|(sender, ..)| sender == key) {
            if *nonce > next {
                break;
            }
            next = Nonce(nonce.0.saturating_add(1));
        }
        next
    }

    /// What became of a transaction; nothing when it was never accepted here, or its rejection is forgotten.
    pub fn transaction(&self, id: &TransactionId) -> Result<Option<Status>, LedgerReadError> {
        if let Some((block, height, index)) = self.recent().included.get(id).copied() {
            return Ok(Some(Status::Included { block, height, index, is_final: false }));
        }
        Ok(match self.archive.database.standing(id)? {
            None => None,
            Some(TransactionStanding::Pending(_)) => Some(Status::Pending),
            Some(TransactionStanding::Rejected { at, code }) => {
                Some(Status::Rejected { reason: Refusal::new(code), at })
            }
            Some(TransactionStanding::Final(place)) => {
                let block = self.archive.database.line(place.height)?;
                let damaged = LookupError::Damaged("a finalised transaction without its block");
                let (height, index) = (place.height, place.index);
                let block = block.ok_or(damaged)?;
                // The disk knows it a moment before the view: who is told of it may ask the view next.
                let is_final = height <= self.view().finalised_height();
                Some(Status::Included { block, height, index, is_final })
            }
        })
    }

    /// A block by its name, on the head's line or beside it.
    pub fn block(&self, id: &BlockId) -> Result<Option<StoredBlock>, LedgerReadError> {
        self.archive.block(id)
    }

    /// The block at a height of the head's line.
    pub fn block_at(&self, height: Height) -> Result<Option<StoredBlock>, LedgerReadError> {
        let recent = self.recent().line.get(&height).copied();
        let id = match recent {
            Some(id) => Some(id),
            None => self.archive.database.line(height)?,
        };
        id.map_or(Ok(None), |id| self.archive.block(&id))
    }

    /// Blocks of the head's line above a height, lowest first, at most so many.
    pub fn blocks(&self, after: Height, limit: usize) -> Result<Vec<StoredBlock>, LedgerReadError> {
        let from = Height(after.0.saturating_add(1));
        let mut ids = self.archive.database.line_from(from, limit)?;
        let next = ids.last().map_or(from, |(height, _)| Height(height.0.saturating_add(1)));
        let room = limit.saturating_sub(ids.len());
        ids.extend(self.recent().line.range(next..).take(room).map(|(height, id)| (*height, *id)));
        let blocks = ids.iter().map(|(_, id)| self.archive.block(id));
        // One that was lost between the two steps is left out.
        blocks.filter_map(Result::transpose).collect()
    }

    /// A block with all its signatures checked again, for proofs.
    pub fn verified(&self, stored: &StoredBlock) -> Result<VerifiedBlock, LedgerReadError> {
        Ok(record::verified(stored.block.clone(), &self.view().network)?)
    }

    /// Why a block at this height, or one above it, is final: the encoded commit.
    pub fn commit_from(&self, height: Height) -> Result<Option<Vec<u8>>, LedgerReadError> {
        Ok(self.archive.database.commit_from(height)?)
    }

    /// The commit of the highest block up to one height, if that is above another; else of the lowest above that.
    pub(super) fn commit_between(
        &self,
        above: Height,
        upto: Height,
    ) -> Result<Option<Vec<u8>>, LedgerReadError> {
        let best = self.archive.database.commit_upto(upto)?;
        if let Some((_, commit)) = best.filter(|(height, _)| *height > above) {
            return Ok(Some(commit));
        }
        self.commit_from(Height(above.0.saturating_add(1)))
    }

    /// The height of a block of the head's line.
    pub(super) fn height_on_line(&self, id: &BlockId) -> Result<Option<Height>, LedgerReadError> {
        let Some(stored) = self.archive.database.block(id)? else { return Ok(None) };
        let height = stored.height;
        let recent = self.recent().line.get(&height).copied();
        let on_line = match recent {
            Some(on_line) => Some(on_line),
            None => self.archive.database.line(height)?,
        };
        Ok((on_line == Some(*id)).then_some(height))
    }

    /// Where peers said last that they stand.
    pub fn told(&self) -> Vec<(PublicKey, Told)> {
        let told = self.shared.told.read().unwrap_or_else(PoisonError::into_inner);
        told.iter().map(|(key, told)| (*key, *told)).collect()
    }

    /// Whether this node's chain is as far as that of at least half of the peers that have said where they stand, give
    /// or take a slot. Without such peers nobody can tell, and the answer is no.
    ///
    /// A node that was in step stays so until it is [`BEHIND_SLOTS`] behind: under load the others are often a little
    /// ahead, and a node that is only that is as good as any.
    pub fn is_in_step(&self) -> bool {
        let view = self.view();
        // Relaxed: two readers at once may both decide, from the same facts.
        let was = self.shared.in_step.load(Ordering::Relaxed);
        let told = self.shared.told.read().unwrap_or_else(PoisonError::into_inner);
        if told.is_empty() {
            return was;
        }
        let slack = if was { BEHIND_SLOTS } else { 1 };
        let level = told.values().filter(|told| told.is_level(&view, slack)).count();
        let is = 2 * level >= told.len();
        self.shared.in_step.store(is, Ordering::Relaxed);
        is
    }

    /// The header of a state's block; none for the network's beginning.
    pub fn header(&self, id: &BlockId) -> Result<Option<SignedHeader>, LedgerReadError> {
        let Some(stored) = self.archive.block(id)? else { return Ok(None) };
        Ok(Some(SignedHeader::verify(&stored.block.head, &self.view().network, Slot::MAX)?))
    }

    fn recent(&self) -> std::sync::RwLockReadGuard<'_, Recent> {
        self.shared.recent.read().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Archive ===

impl Archive {
    /// A stored block; its bytes are held against its name.
    pub(super) fn block(&self, id: &BlockId) -> Result<Option<StoredBlock>, LedgerReadError> {
        let Some(at) = self.database.block(id)? else { return Ok(None) };
        let bytes = self.log.read(at.place)?;
        let damaged = || LedgerReadError::Damaged {
            file: self.log.file_of(at.place),
            offset: at.place.offset,
            block: *id,
        };
        let block = Block::decode(&bytes).map_err(|_| damaged())?;
        let header = Header::decode(block.head.payload()).map_err(|_| damaged())?;
        let is_whole = BlockId::of(block.head.payload()) == *id
            && body_root(&block.body).ok() == Some(header.body);
        if !is_whole {
            return Err(damaged());
        }
        let is_final = self.database.line(header.height)? == Some(*id);
        Ok(Some(StoredBlock { id: *id, header, block, is_final, place: at.place }))
    }
}
