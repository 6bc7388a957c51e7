//! The chain of one node: blocks come in, a head and a finalised prefix come out.
//!
//! Owns: slots, fork choice, the pending pool, votes, the state after every block above the finalised one, and
//! what is said to peers. [`Chain::handle`] is a function of what came before, the time and one event; it does
//! no input or output, so a simulator runs a whole network of it from a seed.
//!
//! Invariants: the head is the best tip that descends from the finalised block. Every block in the tree was found
//! valid on its parent's state. Actions are one sequence, and none is carried out before the records that stand
//! before it are durable: own votes and blocks are written before they are sent, a transaction before it is
//! accepted. A transaction once accepted is in a block of the head's line, pending, or rejected with a reason.
//! Nothing a peer sends makes `handle` panic or grow without bound.
//!
//! Authoring: slot s belongs to authority s mod n, which makes a block on its head, unless that head is final and
//! nothing is pending. With nobody else reachable it goes on alone; what others made meanwhile is weighed when
//! they are back.
//!
//! Absent: clocks, keys, sockets, disks; indexes over finalised blocks, which whoever stores them keeps.

mod author;
mod event;
mod import;
pub mod message;
#[cfg(test)]
mod mutations;
mod peers;
mod sync;
#[cfg(test)]
mod tests;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use event::{Action, Event, Peer, Record, Submission};

use crate::block::{Block, BlockError, SignedBlock, VerifiedBlock};
use crate::draw::AGE_MAX;
use crate::finality::{Commit, Finality, Rounds, Setting, Signer, Target};
use crate::fork::{Place, Tree};
use crate::id::{BlockId, PublicKey, TransactionId};
use crate::params::Network;
use crate::pool::{Bounds, Pool, Reason, Rejected, Standing};
use crate::rules::{self, ApplyError, State};
use crate::sign::Sealed;
use crate::transaction::{Transaction, TransactionError, VerifiedTransaction};
use crate::units::{Height, Nanos, Slot, UnixNanos};
use peers::Peers;

/// Finalised blocks kept in memory, with their bodies, for peers that lag a little.
pub const RECENT_MAX: u64 = 64;
/// Most blocks beside the head's line. When there are more, the worst tip is dropped.
pub const SIDE_MAX: usize = 4_096;
/// Most blocks between the finalised one and the head: three days of one-second slots, at about 1 KB each when
/// they are empty. Beyond it this node makes and takes no block until finality moves.
pub const UNFINALISED_MAX: u64 = 262_144;
/// With nothing pending and all final, authorities make no blocks until the last one is this old: half of the age at
/// which no draw may use it any more, so that a gateway finds a block that is young enough.
pub const REST_MAX: Nanos = Nanos(AGE_MAX.0 / 2);
/// A block may be this many slots ahead of this node's clock.
pub const AHEAD_SLOTS: u64 = 1;
/// Ticks within a slot: votes wait for two and four of them.
const TICKS: u64 = 8;
/// Commits kept in memory for peers that lag a little.
const COMMITS_MAX: usize = 16;

/// A block in memory.
#[derive(Debug, Clone)]
struct Held {
    block: Arc<VerifiedBlock>,
    /// The state after it; none below the finalised block, whose header keeps the root.
    state: Option<State>,
}

/// What a node wrote before it stopped, or nothing but the beginning of the network.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The state after the finalised block.
    pub state: State,
    /// Finalised blocks, lowest first, ending with the finalised one: at least from the base of the round
    /// before the last, as far as there are blocks.
    pub line: Vec<Block>,
    /// The blocks above it, in any order.
    pub blocks: Vec<Block>,
    /// The last two rounds and their votes.
    pub rounds: Rounds,
    /// Transactions that were pending.
    pub pending: Vec<Vec<u8>>,
    /// Reasons that are still kept.
    pub rejected: Vec<Rejected>,
    /// The last slot in which this node made a block.
    pub authored: Slot,
}

/// Why records are not what a chain wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The finalised line does not end with the state's block.
    #[error("the finalised line ends with another block than the state's")]
    Line,
    /// A block does not hold.
    #[error("block: {0}")]
    Block(#[from] BlockError),
    /// A block does not follow on its parent.
    #[error("block {id}: {source}")]
    Apply {
        /// Which.
        id: BlockId,
        /// Why.
        #[source]
        source: Box<ApplyError>,
    },
    /// A block without its parent.
    #[error("block {0} stands on nothing")]
    Orphan(BlockId),
    /// A transaction does not hold.
    #[error("transaction: {0}")]
    Transaction(#[from] TransactionError),
}

/// What became of a transaction, as far as this node's memory goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStatus {
    /// In a block of the head's line.
    Included {
        /// The block.
        block: BlockId,
        /// Its height.
        height: Height,
    },
    /// Waiting.
    Pending,
    /// It will not be in the chain.
    Rejected(Reason),
    /// Not known here: finalised long ago, or never seen.
    Unknown,
}

/// The chain of one node.
pub struct Chain {
    network: Arc<Network>,
    signer: Box<dyn Signer + Send>,
    me: PublicKey,
    tree: Tree,
    blocks: BTreeMap<BlockId, Held>,
    genesis: State,
    finality: Finality,
    commits: BTreeMap<Height, Commit>,
    pool: Pool,
    /// Transactions in blocks of the head's line above the finalised block.
    included: BTreeMap<TransactionId, BlockId>,
    /// Headers seen by slot: a second one of a slot is evidence.
    slots: BTreeMap<Slot, Vec<(BlockId, Sealed)>>,
    peers: Peers,
    /// The last slot in which this node made a block.
    authored: Slot,
    /// The slot of the last turn.
    turned: Slot,
    pool_cursor: Option<TransactionId>,
    /// A commit whose blocks are still to come, and whom they were asked of.
    early_commit: Option<(Commit, Peer)>,
    /// A rule that is broken on purpose, to see whether the simulator notices.
    #[cfg(test)]
    flaw: mutations::Flaw,
}

// === impl Recovered ===

impl Recovered {
    /// A node that starts with the network.
    pub fn genesis(network: &Arc<Network>) -> Self {
        Self {
            state: State::genesis(Arc::clone(network)),
            line: Vec::new(),
            blocks: Vec::new(),
            rounds: Rounds::default(),
            pending: Vec::new(),
            rejected: Vec::new(),
            authored: Slot::ZERO,
        }
    }
}

// === impl Chain ===

impl Chain {
    /// Starts, or goes on from what was written. Every block is checked again.
    pub fn open(
        network: Arc<Network>,
        signer: Box<dyn Signer + Send>,
        bounds: Bounds,
        recovered: Recovered,
        now: UnixNanos,
    ) -> Result<(Self, Vec<Action>), OpenError> {
        let tip = recovered.state.tip();
        let (tree, blocks) = restore_line(&network, recovered.line, &recovered.state)?;
        let me = signer.public();
        let setting = Setting {
            network: network.id(),
            authorities: network.params().authorities.to_vec(),
            me: Some(me),
            pace: tick_len(&network),
        };
        // Blocks first, then votes on them.
        let retention = network.params().retention;
        let (finality, _) = Finality::open(setting.clone(), &tree, Rounds::default(), now);
        let mut this = Self {
            pool: Pool::new(bounds, retention, tip.height),
            me,
            signer,
            tree,
            blocks,
            genesis: recovered.state,
            finality,
            commits: BTreeMap::new(),
            included: BTreeMap::new(),
            slots: BTreeMap::new(),
            peers: Peers::default(),
            authored: recovered.authored,
            turned: Slot::ZERO,
            pool_cursor: None,
            early_commit: None,
            #[cfg(test)]
            flaw: mutations::Flaw::None,
            network,
        };
        this.restore_blocks(recovered.blocks)?;
        let (finality, effects) = Finality::open(setting, &this.tree, recovered.rounds, now);
        this.finality = finality;
        if let Some(commit) = this.finality.commit() {
            this.commits.insert(commit.height, commit.clone());
        }
        for rejected in recovered.rejected {
            this.pool.restore(rejected);
        }
        let mut actions = Vec::new();
        this.restore_pending(recovered.pending, &mut actions)?;
        this.apply_effects(effects, None, now, &mut actions);
        Ok((this, actions))
    }

    /// One event, and what it makes this node do.
    pub fn handle(&mut self, now: UnixNanos, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Submit { submission, envelope } => {
                self.submit(submission, &envelope, &mut actions);
            }
            Event::Joined(peer) => {
                self.peers.join(peer);
                actions.push(Action::Send { to: peer, message: self.status_message() });
            }
            Event::Left(peer) => self.peers.leave(peer),
            Event::Message { from, message } => self.hear(now, from, message, &mut actions),
            Event::Transaction { from, transaction, is_news } => {
                self.peers.join(from);
                self.take_transaction(from, *transaction, is_news, &mut actions);
            }
            Event::Tick => {}
        }
        self.go_on(now, &mut actions);
        actions
    }

    /// How often [`Event::Tick`] has to come.
    pub fn tick_len(&self) -> Nanos {
        tick_len(&self.network)
    }

    /// The network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The best tip.
    pub fn head(&self) -> Place {
        self.tree.head()
    }

    /// The last block that can never be undone.
    pub fn finalised(&self) -> Place {
        self.tree.finalised()
    }

    /// Why it is final: nothing for the network's beginning.
    pub fn commit(&self) -> Option<&Commit> {
        self.finality.commit()
    }

    /// The state after the head. What it holds above the finalised block may still be undone.
    pub fn head_state(&self) -> &State {
        self.state_of(&self.tree.head().id).unwrap_or(&self.genesis)
    }

    /// The state after the finalised block: what leaves the ledger, and what counts as cover, reads this one.
    pub fn finalised_state(&self) -> &State {
        self.state_of(&self.tree.finalised().id).unwrap_or(&self.genesis)
    }

    /// How many blocks the head is above the finalised one: what a node caps its exposure by.
    pub fn lag(&self) -> u64 {
        self.tree.head().height.0.saturating_sub(self.tree.finalised().height.0)
    }

    /// A block in memory: above the finalised one, or among the last below it.
    pub fn block(&self, id: &BlockId) -> Option<&Arc<VerifiedBlock>> {
        self.blocks.get(id).map(|held| &held.block)
    }

    /// The block at a height of the head's line, if it is in memory.
    pub fn block_at(&self, height: Height) -> Option<BlockId> {
        self.tree.at(height).copied()
    }

    /// The pending pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What became of a transaction.
    pub fn transaction_status(&self, id: &TransactionId) -> TransactionStatus {
        if let Some(block) = self.included.get(id) {
            let height = self.tree.get(block).map_or(Height::ZERO, |place| place.height);
            return TransactionStatus::Included { block: *block, height };
        }
        if self.pool.get(id).is_some() {
            return TransactionStatus::Pending;
        }
        match self.pool.rejection(id) {
            Some((reason, _)) => TransactionStatus::Rejected(reason.clone()),
            None => TransactionStatus::Unknown,
        }
    }

    fn state_of(&self, id: &BlockId) -> Option<&State> {
        match self.blocks.get(id) {
            Some(held) => held.state.as_ref(),
            None => (*id == self.genesis.tip().id).then_some(&self.genesis),
        }
    }

    fn standing(state: &State, key: &PublicKey) -> Standing {
        let account = state.account(key);
        Standing { nonce: account.nonce, balance: account.balance }
    }

    /// What the ledger says of a transaction's sender: with what the transaction itself brings, when it is the next.
    /// One further on may find that gone.
    fn standing_for(state: &State, transaction: &Transaction) -> Standing {
        let mut standing = Self::standing(state, &transaction.sender);
        if transaction.nonce == standing.nonce {
            standing.balance = standing.balance.saturating_add(state.income(transaction));
        }
        standing
    }

    fn slot_now(&self, now: UnixNanos) -> Slot {
        self.network.slot_at(now)
    }

    /// What is due after every event: blocks whose parents have come, votes, the own block of this slot, and
    /// once a slot a word to the peers.
    fn go_on(&mut self, now: UnixNanos, actions: &mut Vec<Action>) {
        self.apply_ready(now, actions);
        self.vote(now, actions);
        self.author(now, actions);
        self.ask_for_bodies(now, actions);
        let slot = self.slot_now(now);
        if slot > self.turned {
            self.turned = slot;
            self.take_turn(actions);
        }
    }

    fn restore_blocks(&mut self, mut blocks: Vec<Block>) -> Result<(), OpenError> {
        let mut open = Vec::new();
        for block in blocks.drain(..) {
            open.push(verify(&self.network, block)?);
        }
        open.sort_by_key(|block| (block.header().height, block.id()));
        for block in open {
            let (id, parent) = (block.id(), block.header().parent);
            let Some(state) = self.state_of(&parent) else { return Err(OpenError::Orphan(id)) };
            let state = rules::apply(state, &block)
                .map_err(|source| OpenError::Apply { id, source: Box::new(source) })?;
            self.tree.insert(place_of(&block)).map_err(|_| OpenError::Orphan(id))?;
            self.note_slot(&block.head().clone());
            self.blocks.insert(id, Held { block: Arc::new(block), state: Some(state) });
        }
        let base = self.tree.finalised().id;
        let head = self.tree.head().id;
        for id in self.tree.route(&base, &head).unwrap_or_default().applied {
            for transaction in self.transactions_of(&id) {
                self.included.insert(transaction.id(), id);
            }
        }
        Ok(())
    }

    /// What was pending, and what only lost branches hold, is pending again.
    fn restore_pending(
        &mut self,
        pending: Vec<Vec<u8>>,
        actions: &mut Vec<Action>,
    ) -> Result<(), OpenError> {
        for envelope in pending {
            let transaction = VerifiedTransaction::decode(&envelope, &self.network.id())?;
            self.give_back(Arc::new(transaction), actions);
        }
        let side: BTreeSet<BlockId> =
            self.blocks.keys().filter(|id| !self.is_on_line(id)).copied().collect();
        for id in side {
            for transaction in self.transactions_of(&id) {
                self.give_back(transaction, actions);
            }
        }
        Ok(())
    }

    fn is_on_line(&self, id: &BlockId) -> bool {
        self.tree.get(id).is_some_and(|place| self.tree.at(place.height) == Some(id))
    }

    fn transactions_of(&self, id: &BlockId) -> Vec<Arc<VerifiedTransaction>> {
        self.blocks.get(id).map(|held| held.block.transactions().to_vec()).unwrap_or_default()
    }
}

impl core::fmt::Debug for Chain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chain")
            .field("head", &self.tree.head().height)
            .field("slot", &self.tree.head().slot)
            .field("finalised", &self.tree.finalised().height)
            .field("finality", &self.finality)
            .field("pending", &self.pool.len())
            .finish_non_exhaustive()
    }
}

fn tick_len(network: &Network) -> Nanos {
    Nanos(network.params().slot_len.0.div_ceil(TICKS))
}

fn place_of(block: &VerifiedBlock) -> Place {
    let header = block.header();
    Place { id: block.id(), parent: header.parent, height: header.height, slot: header.slot }
}

/// The tree and the blocks of the finalised line, which ends with the state's block.
fn restore_line(
    network: &Network,
    line: Vec<Block>,
    state: &State,
) -> Result<(Tree, BTreeMap<BlockId, Held>), OpenError> {
    let (id, height, slot) = (network.genesis(), Height::ZERO, Slot::ZERO);
    let genesis = Place { id, parent: id, height, slot };
    let mut tree: Option<Tree> = None;
    let mut blocks = BTreeMap::new();
    for block in line {
        let block = Arc::new(verify(network, block)?);
        let place = place_of(&block);
        match &mut tree {
            None if place.parent != genesis.id => tree = Some(Tree::new(place)),
            line => {
                let tree = line.get_or_insert_with(|| Tree::new(genesis));
                tree.insert(place).map_err(|_| OpenError::Orphan(place.id))?;
            }
        }
        blocks.insert(place.id, Held { block, state: None });
    }
    let mut tree = tree.unwrap_or_else(|| Tree::new(genesis));
    let tip = state.tip().id;
    if tree.head().id != tip {
        return Err(OpenError::Line);
    }
    tree.finalise(&tip);
    if let Some(held) = blocks.get_mut(&tip) {
        held.state = Some(state.clone());
    }
    Ok((tree, blocks))
}

/// Checks a block of this node's own records: its slot has passed.
fn verify(network: &Network, block: Block) -> Result<VerifiedBlock, BlockError> {
    let signed = SignedBlock::verify(block, network, Slot::MAX)?;
    VerifiedBlock::verify(&signed, network)
}

/// What is final, for who asks by height.
impl From<Place> for Target {
    fn from(place: Place) -> Self {
        Self { id: place.id, height: place.height }
    }
}
