//! Functions and papers from other nodes: asked for when a call needs one that is not here, and served to who asks.
//!
//! A call that names a function this node does not hold waits while it is brought: connected peers and announced
//! holders are asked for its registration, the bytes come from one that has it, piece after piece, and are held against
//! the hash; then it is compiled and shelved like one that was deployed here. Calls that wait for the same function
//! wait for one transfer.
//!
//! # Invariants
//! Nothing is shelved whose bytes are not those of its hash and whose registration its owner has not signed. What is
//! brought gives no name here: names come from the ledger. All that is brought together has a bound, and so have the
//! transfers under way; beyond it the call is told so.
//!
//! # Absent
//! Which call may ask for a function (`gateway`), and giving room back by dropping what is used least.

pub mod papers;
mod serve;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use talea_gossip::{FetchError, Gossip, PIECE_LEN_MAX, Wanted, fetch_checked};
use talea_ledger::{Digest, FunctionId, ProfileId, PublicKey, Registration, Sealed, Verified};
use tokio::sync::{Mutex as Turn, Semaphore};
use tokio::task::JoinSet;

use crate::auth::Auth;
use crate::chain::ReceiptReader;
use crate::clock::Clock;
use crate::executor::{Executor, PrepareError};
use crate::store::{FunctionShelf, ShelfError};

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
/// Functions remembered as absent.
const ABSENT_MAX: usize = 1024;

/// What the door is made of.
#[derive(Debug)]
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
    /// Longest module.
    pub module_len_max: u64,
    /// Bytes of functions above which none is brought.
    pub len_max: u64,
}

/// The door to functions of other nodes.
pub struct Supply {
    parts: SupplyParts,
    /// Who is on the way: calls of one function share its turn, and what has come of it.
    under_way: Mutex<HashMap<FunctionId, Weak<Turn<Vec<u8>>>>>,
    transfers: Semaphore,
    /// When nobody had a function.
    absent: Mutex<HashMap<FunctionId, u64>>,
    /// Bytes on the shelf.
    held: AtomicU64,
    /// Functions by what their registrations are asked for under.
    registered: RwLock<HashMap<Digest, FunctionId>>,
    /// The function that was served last, whose next piece will be asked for.
    last_served: Mutex<Option<(FunctionId, Arc<Vec<u8>>)>>,
    reads: Arc<Semaphore>,
    brought: AtomicU64,
}

/// Why a function was not brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// Nobody who was asked has it.
    #[error("no node that was asked holds the function {0}")]
    Absent(FunctionId),
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
    /// No room for more.
    #[error("{held} bytes of functions are held here, at most {max} with those of other nodes")]
    Full {
        /// What is held.
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

/// A node that holds the function, and the registration it gave.
struct Holder {
    peer: PublicKey,
    registration: Verified<Registration>,
    sealed: Sealed,
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
        let this = Self {
            parts,
            under_way: Mutex::default(),
            transfers: Semaphore::new(TRANSFERS_MAX),
            absent: Mutex::default(),
            held: AtomicU64::new(0),
            registered: RwLock::default(),
            last_served: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            brought: AtomicU64::new(0),
        };
        let mut after = None;
        loop {
            let page = this.parts.shelf.list(after, crate::limits::PAGE_LEN_MAX)?;
            for function in page.functions {
                this.announce(function.registration.function, function.wasm_len);
            }
            after = page.next;
            if after.is_none() {
                return Ok(this);
            }
        }
    }

    /// A function of this length has come onto the shelf: others may ask here for it.
    pub fn announce(&self, function: FunctionId, len: u64) {
        let key = registration_key(function);
        let mut registered = self.registered.write().unwrap_or_else(PoisonError::into_inner);
        if registered.insert(key, function).is_some() {
            return;
        }
        // Relaxed: a sum that nothing else hangs on.
        self.held.fetch_add(len, Ordering::Relaxed);
        self.parts.gossip.provide(function.digest());
    }

    /// How many functions were brought since the start.
    pub fn brought(&self) -> u64 {
        self.brought.load(Ordering::Relaxed)
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
        let mut held = turn.lock().await;
        // Somebody may have brought it while we waited.
        if self.parts.shelf.get(function)?.is_some() {
            return Ok(());
        }
        if self.is_absent(function) {
            return Err(BringError::Absent(function));
        }
        let max = self.parts.len_max;
        let lies = self.held.load(Ordering::Relaxed);
        if lies >= max {
            return Err(BringError::Full { held: lies, max });
        }
        let _place = self.transfers.try_acquire().map_err(|_| BringError::Busy)?;
        let began = self.parts.clock.now();
        let holders = self.holders(function, owner).await;
        if holders.is_empty() {
            self.note_absent(function);
            return Err(BringError::Absent(function));
        }
        let mut last = FetchError::NotHere;
        for holder in holders {
            match self.fetch(&holder, function, &mut held).await {
                Ok(()) => {
                    let wasm = std::mem::take(&mut *held);
                    let len = wasm.len() as u64;
                    let from = holder.peer;
                    self.keep(holder, wasm, profile).await?;
                    let nanos = self.parts.clock.now().0.saturating_sub(began.0);
                    self.brought.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(%function, %from, bytes = len, millis = nanos / 1_000_000, "brought a function");
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(BringError::Withheld { function, source: last })
    }

    async fn fetch(
        &self,
        holder: &Holder,
        function: FunctionId,
        held: &mut Vec<u8>,
    ) -> Result<(), FetchError> {
        let wanted = Wanted::Function(function);
        let (gossip, max) = (&self.parts.gossip, self.parts.module_len_max);
        let fetched = fetch_checked(gossip, holder.peer, wanted, max, held).await;
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
        let (shelf, len) = (Arc::clone(&self.parts.shelf), wasm.len() as u64);
        tokio::task::spawn_blocking(move || shelf.bring(&registration, &sealed, &wasm)).await??;
        self.announce(function, len);
        Ok(())
    }

    /// Nodes that hold the function, the best first: connected ones and those that have announced it are asked at once.
    async fn holders(&self, function: FunctionId, owner: Option<PublicKey>) -> Vec<Holder> {
        let gossip = &self.parts.gossip;
        let connected = gossip.peers();
        let joined = connected.iter().filter(|peer| peer.joined).map(|peer| peer.key);
        let mut asked: Vec<PublicKey> = joined.take(ASKED_MAX).collect();
        let mut answers = JoinSet::new();
        for peer in &asked {
            answers.spawn(ask(gossip.clone(), *peer, function));
        }
        let mut found = Vec::new();
        let searched = tokio::time::timeout(ASK_TIME_MAX, async {
            // Whoever is connected and has it answers before the announcements are found.
            self.gather(function, owner, &mut answers, &mut found).await;
            if !found.is_empty() {
                return;
            }
            for peer in gossip.providers(function.digest()).await {
                if asked.len() < 2 * ASKED_MAX && !asked.contains(&peer) {
                    asked.push(peer);
                    answers.spawn(ask(gossip.clone(), peer, function));
                }
            }
            self.gather(function, owner, &mut answers, &mut found).await;
        });
        // Who has answered in time is enough.
        let _ = searched.await;
        // The owner's word before anybody else's.
        found.sort_by_key(|holder: &Holder| Some(*holder.registration.signer()) != owner);
        found
    }

    /// Takes answers until one is as good as can be.
    async fn gather(
        &self,
        function: FunctionId,
        owner: Option<PublicKey>,
        answers: &mut JoinSet<(PublicKey, Option<Vec<u8>>)>,
        found: &mut Vec<Holder>,
    ) {
        while let Some(answer) = answers.join_next().await {
            let Ok((peer, Some(bytes))) = answer else { continue };
            let now = self.parts.clock.now();
            match self.parts.auth.registered(&bytes, function, now) {
                Ok((registration, sealed)) => {
                    let is_best = owner.is_none_or(|owner| *registration.signer() == owner);
                    found.push(Holder { peer, registration, sealed });
                    if is_best {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "a peer gave a registration that does not hold");
                    self.parts.gossip.blame(peer, "bad-registration");
                }
            }
        }
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

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply").field("held", &self.held).finish_non_exhaustive()
    }
}

/// Asks one node for the registration of a function: whoever has the function has it.
async fn ask(
    gossip: Gossip,
    peer: PublicKey,
    function: FunctionId,
) -> (PublicKey, Option<Vec<u8>>) {
    let wanted = Wanted::Document(registration_key(function));
    let piece = gossip.fetch(peer, wanted, 0, PIECE_LEN_MAX).await;
    let whole = piece.ok().filter(|piece| piece.total == piece.bytes.len() as u64);
    (peer, whole.map(|piece| piece.bytes))
}
