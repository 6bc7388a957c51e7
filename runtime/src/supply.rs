//! Functions and papers from other nodes: asked for when a call needs one that is not here, and served to who asks.
//!
//! A call that names a function this node does not hold waits while it is brought: connected peers and announced
//! holders are asked for its registration, the bytes come from one that has it, piece after piece, and are held against
//! the hash; then it is compiled and shelved like one that was deployed here. Calls that wait for the same function
//! wait for one transfer.
//!
//! # Invariants
//! Nothing is shelved whose bytes are not those of its hash and whose registration its owner has not signed. What is
//! brought gives no name here: names come from the ledger. All that is held together has a bound above which what was
//! brought gives way, the least lately used first, and so have the transfers under way; what finds no room is refused.
//! A function stays while it is pinned, deployed here, in use, or named by a paid receipt that may still be disputed.
//!
//! # Absent
//! Which call may ask for a function, and who may pin one (`gateway`).

mod holders;
mod holdings;
pub mod papers;
mod serve;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::time::Duration;

use talea_gossip::{FetchError, Gossip, Wanted, fetch_checked};
use talea_ledger::{Digest, FunctionId, ProfileId, PublicKey, Registration};
use tokio::sync::{Mutex as Turn, Semaphore};

use self::holders::{Holder, Search};
use self::holdings::Holdings;
pub use self::holdings::InUse;

use crate::auth::Auth;
use crate::chain::ReceiptReader;
use crate::clock::Clock;
use crate::executor::{Executor, PrepareError};
use crate::store::{FunctionShelf, Keeping, ShelfError};

/// Functions that are brought at once: each holds a module in memory, 16 x 16 MiB.
const TRANSFERS_MAX: usize = 16;
/// Modules read at once for other nodes: the disk answers no faster for more.
const READS_MAX: usize = 8;
/// Peers that are asked for one function: enough to meet a holder in a mesh, few enough that a call of a function that
/// nobody has costs little.
const ASKED_MAX: usize = 12;
/// How long nodes are asked whether they hold it.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a function that nobody had is not asked for again.
const ABSENT_NANOS: u64 = 5_000_000_000;
/// Registrations remembered of functions that are not here: half a KiB each.
const KNOWN_MAX: usize = 1024;
/// Functions remembered as absent.
const ABSENT_MAX: usize = 1024;

/// What the door is made of.
pub struct SupplyParts {
    /// The network.
    pub gossip: Gossip,
    /// Where functions lie.
    pub shelf: Arc<FunctionShelf>,
    /// Compiles what is brought.
    pub executor: Arc<Executor>,
    /// Checks registrations.
    pub auth: Arc<Auth>,
    /// Receipts kept here.
    pub receipts: ReceiptReader,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whether functions are brought here; otherwise others are only told and served.
    pub brings: bool,
    /// Longest module.
    pub module_len_max: u64,
    /// Bytes of functions above which what was brought gives way.
    pub len_max: u64,
    /// How long a paid run may be disputed: its function stays as long.
    pub dispute_window: Duration,
    /// Told of each function that is here no more.
    pub forget: Box<dyn Fn(FunctionId) + Send + Sync>,
}

/// The door to functions of other nodes.
pub struct Supply {
    parts: SupplyParts,
    /// Who is on the way: calls of one function share its turn, and what has come of it.
    under_way: Mutex<HashMap<FunctionId, Weak<Turn<Vec<u8>>>>>,
    transfers: Semaphore,
    /// When nobody had a function.
    absent: Mutex<HashMap<FunctionId, u64>>,
    /// Registrations of functions that are not here.
    known: Mutex<HashMap<FunctionId, Registration>>,
    /// What is on the shelf.
    holdings: RwLock<Holdings>,
    /// Held while something comes onto the shelf and others give way to it.
    placing: Turn<()>,
    /// The function that was served last, whose next piece will be asked for.
    last_served: Mutex<Option<(FunctionId, Arc<Vec<u8>>)>>,
    reads: Arc<Semaphore>,
    brought: AtomicU64,
    evicted: AtomicU64,
}

/// Why a function was not brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// Nobody who was asked has it.
    #[error("no node that was asked holds the function {0}")]
    Absent(FunctionId),
    /// This node brings none.
    #[error("the function {0} is not here, and this node brings none from others")]
    Off(FunctionId),
    /// Those who have it did not give it.
    #[error("the nodes that hold the function {function} did not give it")]
    Withheld {
        /// Which.
        function: FunctionId,
        /// What the last of them did.
        #[source]
        source: FetchError,
    },
    /// Too many functions are under way.
    #[error("too many functions are being brought from other nodes")]
    Busy,
    /// No room for it, and nothing that could give way.
    #[error("{held} bytes of functions have to stay here, of at most {max} with this one")]
    Full {
        /// What has to stay.
        held: u64,
        /// The bound.
        max: u64,
    },
    /// It is not one that this node can run.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It could not be shelved.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// A task that waits for the disk ended badly.
    #[error("a task ended badly")]
    Task(#[from] tokio::task::JoinError),
}

/// The name under which a function's registration is asked for: not the hash of its bytes, which nobody knows before
/// he has it; the owner's signature says what it is.
pub fn registration_key(function: FunctionId) -> Digest {
    let mut bytes = b"talea registration of function v1".to_vec();
    bytes.extend_from_slice(function.digest().as_bytes());
    Digest::of(&bytes)
}

// === impl Supply ===

impl Supply {
    /// The door, and what is held so far announced.
    pub fn open(parts: SupplyParts) -> Result<Self, ShelfError> {
        let window = u64::try_from(parts.dispute_window.as_nanos()).unwrap_or(u64::MAX);
        let this = Self {
            parts,
            under_way: Mutex::default(),
            transfers: Semaphore::new(TRANSFERS_MAX),
            absent: Mutex::default(),
            known: Mutex::default(),
            holdings: RwLock::new(Holdings::new(window)),
            placing: Turn::default(),
            last_served: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            brought: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        };
        let mut after = None;
        loop {
            let page = this.parts.shelf.list(after, crate::limits::PAGE_LEN_MAX)?;
            for shelved in page.functions {
                let function = shelved.registration.function;
                let kept = this.parts.shelf.keeping(function)?;
                this.enter(function, shelved.wasm_len, shelved.is_brought, kept);
            }
            after = page.next;
            if after.is_none() {
                return Ok(this);
            }
        }
    }

    /// A function of this length was deployed here: others may ask for it, and what was brought gives way to it.
    pub async fn deployed(&self, function: FunctionId, len: u64) {
        let _placing = self.placing.lock().await;
        self.enter(function, len, false, Keeping::default());
        // It is here in any case; what has to stay stays.
        if let Err(fault) = self.make_room(0).await {
            tracing::warn!(%fault, "more is held here than is to be");
        }
    }

    /// A call is about to run a function. It stays here until the answer is dropped; nothing for one that never goes.
    ///
    /// The first paid use within an hour is noted on the disk before the run, so that no crash can make the node forget
    /// that somebody may dispute its bill.
    pub async fn begin(
        &self,
        function: FunctionId,
        is_paid: bool,
    ) -> Result<Option<InUse>, BringError> {
        let now = self.parts.clock.now();
        let Some(begun) = self.held().begin(function, now, is_paid) else { return Ok(None) };
        if begun.is_to_note {
            let shelf = Arc::clone(&self.parts.shelf);
            tokio::task::spawn_blocking(move || shelf.note_use(function, now, is_paid)).await??;
            self.held().noted(function, now, is_paid);
        }
        Ok(Some(begun.in_use))
    }

    /// Keeps a function here whatever was used later, or no longer. False when it is not here.
    pub async fn pin(&self, function: FunctionId, is_pinned: bool) -> Result<bool, BringError> {
        let _placing = self.placing.lock().await;
        let shelf = Arc::clone(&self.parts.shelf);
        let is_here = tokio::task::spawn_blocking(move || shelf.pin(function, is_pinned)).await??;
        if is_here {
            self.held_mut().pin(function, is_pinned);
        }
        Ok(is_here)
    }

    /// How many functions were brought since the start.
    pub fn brought(&self) -> u64 {
        self.brought.load(Ordering::Relaxed)
    }

    /// How many have given way since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Functions that are held, and their bytes.
    pub fn holds(&self) -> (usize, u64) {
        let held = self.held();
        (held.count(), held.bytes())
    }

    /// Brings a function that is not here. `owner` is who the ledger says owns the name it was called by: his
    /// registration is taken before any other. Dropping the future leaves what has come to those who wait too.
    pub async fn bring(
        &self,
        function: FunctionId,
        owner: Option<PublicKey>,
        profile: ProfileId,
    ) -> Result<(), BringError> {
        let turn = self.turn(function);
        let mut come = turn.lock().await;
        // Somebody may have brought it while we waited.
        if self.parts.shelf.get(function)?.is_some() {
            return Ok(());
        }
        if !self.parts.brings {
            return Err(BringError::Off(function));
        }
        if self.is_absent(function) {
            return Err(BringError::Absent(function));
        }
        let room = self.room();
        if room == 0 {
            return Err(self.full());
        }
        let _place = self.transfers.try_acquire().map_err(|_| BringError::Busy)?;
        let began = self.parts.clock.now();
        let mut search = Search::begin(&self.parts, function, owner);
        let mut last = None;
        while let Some(holder) = search.next().await {
            match self.fetch(&holder, function, room, &mut come).await {
                Ok(()) => {
                    let wasm = std::mem::take(&mut *come);
                    let len = wasm.len() as u64;
                    let from = holder.peer;
                    self.keep(holder, wasm, profile).await?;
                    let nanos = self.parts.clock.now().0.saturating_sub(began.0);
                    self.brought.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(%function, %from, bytes = len, millis = nanos / 1_000_000, "brought a function");
                    return Ok(());
                }
                Err(FetchError::TooLong { total, .. }) if total <= self.parts.module_len_max => {
                    return Err(self.full());
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(source) => Err(BringError::Withheld { function, source }),
            None => {
                self.note_absent(function);
                Err(BringError::Absent(function))
            }
        }
    }

    /// The registration of a function, from here or from another node, without the function itself.
    pub async fn registration(
        &self,
        function: FunctionId,
        owner: Option<PublicKey>,
    ) -> Result<Registration, BringError> {
        if let Some(shelved) = self.parts.shelf.get(function)? {
            return Ok(shelved.registration);
        }
        let known = self.known().get(&function).cloned();
        if let Some(registration) = known.filter(|it| owner.is_none_or(|key| it.owner == key)) {
            return Ok(registration);
        }
        if self.is_absent(function) {
            return Err(BringError::Absent(function));
        }
        let _place = self.transfers.try_acquire().map_err(|_| BringError::Busy)?;
        let Some(holder) = Search::begin(&self.parts, function, owner).next().await else {
            self.note_absent(function);
            return Err(BringError::Absent(function));
        };
        let registration = holder.registration.document().clone();
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            // All at once: asking again costs a question to a peer, and this needs no order of use.
            known.clear();
        }
        known.insert(function, registration.clone());
        Ok(registration)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<FunctionId, Registration>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(
        &self,
        holder: &Holder,
        function: FunctionId,
        room: u64,
        come: &mut Vec<u8>,
    ) -> Result<(), FetchError> {
        let wanted = Wanted::Function(function);
        let (gossip, max) = (&self.parts.gossip, self.parts.module_len_max.min(room));
        let fetched = fetch_checked(gossip, holder.peer, wanted, max, come).await;
        if let Err(FetchError::Wrong | FetchError::Malformed) = fetched {
            gossip.blame(holder.peer, "wrong-bytes");
        }
        fetched
    }

    /// Compiles and shelves what has come.
    async fn keep(
        &self,
        holder: Holder,
        wasm: Vec<u8>,
        profile: ProfileId,
    ) -> Result<(), BringError> {
        let Holder { registration, sealed, .. } = holder;
        let function = registration.document().function;
        self.parts.executor.prepare(function, profile, wasm.clone()).await?;
        let len = wasm.len() as u64;
        let _placing = self.placing.lock().await;
        self.make_room(len).await?;
        let (shelf, now) = (Arc::clone(&self.parts.shelf), self.parts.clock.now());
        let shelved = tokio::task::spawn_blocking(move || {
            shelf.bring(&registration, &sealed, &wasm)?;
            shelf.note_use(function, now, false)
        });
        shelved.await??;
        self.enter(function, len, true, Keeping { used: now, ..Keeping::default() });
        Ok(())
    }

    /// Counts a function in and announces it.
    fn enter(&self, function: FunctionId, len: u64, is_brought: bool, kept: Keeping) {
        if self.held_mut().enter(function, len, is_brought, kept) {
            self.parts.gossip.provide(function.digest());
        }
    }

    /// Bytes that what is brought next may have, after everything has given way that can.
    fn room(&self) -> u64 {
        let now = self.parts.clock.now();
        self.parts.len_max.saturating_sub(self.held().staying(now))
    }

    fn full(&self) -> BringError {
        let held = self.held().staying(self.parts.clock.now());
        BringError::Full { held, max: self.parts.len_max }
    }

    /// Lets what was least lately used give way until so many more bytes have room.
    async fn make_room(&self, len: u64) -> Result<(), BringError> {
        let now = self.parts.clock.now();
        let going = self.held_mut().give_way(self.parts.len_max, len, now);
        for function in going.ok_or_else(|| self.full())? {
            let shelf = Arc::clone(&self.parts.shelf);
            let dropping = tokio::task::spawn_blocking(move || shelf.drop_brought(function));
            let is_dropped = dropping.await??;
            // Whoever deployed or pinned it meanwhile has entered it again, or the shelf still says how long it is.
            if !is_dropped && let Some(shelved) = self.parts.shelf.get(function)? {
                let kept = self.parts.shelf.keeping(function)?;
                self.enter(function, shelved.wasm_len, shelved.is_brought, kept);
                continue;
            }
            (self.parts.forget)(function);
            self.parts.gossip.unprovide(function.digest());
            self.forget_served(function);
            self.evicted.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%function, "gave the room of a function to others");
        }
        Ok(())
    }

    // What holds these locks cannot panic between two halves of a change.

    fn held(&self) -> RwLockReadGuard<'_, Holdings> {
        self.holdings.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_mut(&self) -> RwLockWriteGuard<'_, Holdings> {
        self.holdings.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of a function: one for all who want it.
    fn turn(&self, function: FunctionId) -> Arc<Turn<Vec<u8>>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = under_way.get(&function).and_then(Weak::upgrade) {
            return turn;
        }
        under_way.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::new(Vec::new()));
        under_way.insert(function, Arc::downgrade(&turn));
        turn
    }

    fn is_absent(&self, function: FunctionId) -> bool {
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.parts.clock.now().0;
        absent.get(&function).is_some_and(|since| now.saturating_sub(*since) < ABSENT_NANOS)
    }

    fn note_absent(&self, function: FunctionId) {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.parts.clock.now().0;
        if absent.len() >= ABSENT_MAX {
            absent.retain(|_, since| now.saturating_sub(*since) < ABSENT_NANOS);
        }
        if absent.len() < ABSENT_MAX {
            absent.insert(function, now);
        }
    }
}

impl fmt::Debug for SupplyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupplyParts").field("len_max", &self.len_max).finish_non_exhaustive()
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply").field("holds", &self.holds()).finish_non_exhaustive()
    }
}
