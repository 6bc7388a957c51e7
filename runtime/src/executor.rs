//! `Invocation` -> `Execution`: runs guests, and is the only user of wasmtime.
//!
//! Owns: engines, compiled functions, the guest's world, and the number on the bill. Invariants: an
//! execution depends on its invocation alone (function, input, clock, seed, limits, profile), never on
//! this machine, this moment or the neighbours; what the guest did is a value, what went wrong with us
//! is an error and has no bill; a panic of ours ends one run. Absent: receipts, money, HTTP, and any
//! trust in code that this node did not compile itself.
//!
//! # A run's way
//!
//! The fast variant runs first, on the caller's own task for about a millisecond (`attempt`, and one
//! `turn` of it). A run that is still going then moves to a few threads of low priority (`long`), one
//! slice a turn. If the fast variant meets a trap or an end of stack, all it did is thrown away and the
//! exact variant runs the same invocation from the start: runs are repeatable, so the repeat is the bill.

mod artefact;
mod attempt;
mod bounds;
mod code;
mod compile;
mod engine;
mod explain;
mod host;
mod house;
mod limiter;
mod loaders;
mod long;
mod modules;
mod outcome;
mod rerun;
mod slots;
mod turns;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use talea_ledger::id::{FunctionId, ProfileId};
use talea_ledger::input::Input;
use talea_ledger::outcome::{Outcome, TrapCode};
use talea_ledger::output::Output;
use talea_ledger::profile;
use talea_ledger::units::{Fuel, Pages, UnixNanos};
use talea_meter::Variant;
pub use talea_meter::{Inspection, Refusal};

use artefact::Key;
pub use artefact::MacKey;
use attempt::{Attempt, Verdict};
pub use compile::{COMPILE_WORKER, CompileError, Compiler, compile_worker_main};
pub use explain::{Explanation, explain};
use house::{House, Room};
use long::{LongRuns, Work, turn};
pub use modules::{FunctionSource, LoadError};
use modules::{Modules, ShelfBounds};
pub use rerun::{RerunError, rerun};
pub use turns::ask_for_short_turns;
use watch::Watch;

use crate::store::artefacts::ArtefactFolder;

/// Everything that fixes an execution.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The function.
    pub function: FunctionId,
    /// The rules of execution and metering.
    pub profile: ProfileId,
    /// The input document.
    pub input: Input,
    /// Its body, which the caller has checked against the document.
    pub body: Bytes,
    /// Where the guest's clock starts.
    pub clock: UnixNanos,
    /// What the guest's generator starts from.
    pub seed: [u8; 32],
    /// Its limits.
    pub limits: RunLimits,
    /// Whether a CGI header block on standard output is honoured.
    pub cgi: bool,
    /// Whether nobody pays: then the run ends when its caller goes away. It changes nothing else.
    pub free: bool,
}

/// The limits of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Fuel.
    pub fuel: Fuel,
    /// Pages of memory.
    pub memory: Pages,
    /// Bytes of the output's body.
    pub output: u64,
    /// Bytes of the log.
    pub log: u64,
}

/// What a run did: the facts of its receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// Fuel used, at most the limit.
    pub fuel: Fuel,
    /// Of it, what host calls took.
    pub host_fuel: Fuel,
    /// The most pages its memory had.
    pub peak_pages: Pages,
    /// The output document.
    pub output: Output,
    /// The output's body.
    pub output_body: Bytes,
    /// What it logged.
    pub log: Bytes,
}

/// Why there is no execution. All of it is ours: no receipt, no bill.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// More is running, or being compiled, than this node takes on.
    #[error("the executor is saturated")]
    Saturated,
    /// This node does not hold the function.
    #[error("{0} is not here")]
    FunctionMissing(FunctionId),
    /// This node does not know the profile.
    #[error("profile {0} is not known")]
    ProfileUnknown(ProfileId),
    /// The module is no function.
    #[error("{function} is refused")]
    Refused {
        /// Which.
        function: FunctionId,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The function could not be made ready.
    #[error("{function} could not be loaded")]
    Load {
        /// Which.
        function: FunctionId,
        /// Why.
        #[source]
        error: LoadError,
    },
    /// The node's wall-clock limit has passed.
    #[error("the wall-clock limit has passed")]
    Deadline,
    /// The caller of a free run went away, or the node is stopping.
    #[error("cancelled")]
    Cancelled,
    /// The fast variant met a trap that the exact one did not.
    #[error("a trap ({expected}) did not appear again in the exact variant")]
    Disagreement {
        /// The trap.
        expected: TrapCode,
    },
    /// The exact variant used up a stack that its depth limit should never exhaust.
    #[error("the native stack of the exact variant is used up")]
    NativeStack,
    /// The engine failed.
    #[error("the engine failed: {detail}")]
    Engine {
        /// Its words.
        detail: String,
    },
    /// The host panicked inside the run.
    #[error("the host panicked inside a run")]
    Panicked,
}

/// Why a module cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It is no function.
    #[error(transparent)]
    Refused(Refusal),
    /// The bytes are not those of the function named.
    #[error("the bytes are not those of {0}")]
    WrongFunction(FunctionId),
    /// It could not be made ready.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// What an executor is made with.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Where compiled artefacts lie; `None` keeps none.
    pub cache_dir: Option<PathBuf>,
    /// Where modules are compiled.
    pub compiler: Compiler,
    /// The node's key for its own artefacts.
    pub mac_key: MacKey,
    /// How long one run may take on the wall's clock.
    pub wall_limit: Duration,
    /// Fuel of one slice.
    pub slice: Fuel,
    /// Instances of the fast engine at once.
    pub fast_slots: u32,
    /// Instances of the exact engine at once.
    pub exact_slots: u32,
    /// Threads for runs past their first slice.
    pub long_threads: usize,
    /// Runs past their first slice at once.
    pub long_runs: usize,
    /// Functions that stay loaded.
    pub loaded_functions: usize,
    /// Bytes that loaded functions may hold.
    pub loaded_bytes: usize,
}

impl ExecutorConfig {
    /// The usual bounds.
    #[must_use]
    pub fn new(cache_dir: Option<PathBuf>, compiler: Compiler, mac_key: MacKey) -> Self {
        Self {
            cache_dir,
            compiler,
            mac_key,
            wall_limit: bounds::WALL_LIMIT,
            slice: Fuel(bounds::SLICE_FUEL),
            fast_slots: bounds::FAST_SLOTS_MAX,
            exact_slots: bounds::EXACT_SLOTS_MAX,
            long_threads: bounds::LONG_THREADS,
            long_runs: bounds::LONG_RUNS_MAX,
            loaded_functions: bounds::LOADED_MAX,
            loaded_bytes: bounds::LOADED_BYTES_MAX,
        }
    }
}

/// Why an executor could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine could not be built: no address space, or a processor below the preset.
    #[error("the engine could not be built: {detail}")]
    Engine {
        /// Its words.
        detail: String,
    },
    /// The artefact folder could not be opened.
    #[error("the artefact folder {path} could not be opened")]
    Cache {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The threads for long runs could not be started.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// Counts for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Instances alive.
    pub instances: u32,
    /// Runs past their first slice.
    pub long_runs: usize,
    /// Functions loaded.
    pub loaded: usize,
    /// Bytes that they hold.
    pub loaded_bytes: usize,
    /// Modules compiled since the start.
    pub compiled: u64,
    /// Modules taken from the artefact cache since the start.
    pub cached: u64,
    /// Artefact files refused since the start.
    pub refused_artefacts: u64,
    /// Runs repeated in the exact variant since the start.
    pub repeats: u64,
}

/// Runs functions.
pub struct Executor {
    houses: Vec<Arc<House>>,
    modules: Arc<Modules>,
    long: LongRuns,
    wall_limit: Duration,
    slice: u64,
    repeats: AtomicU64,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("gauges", &self.gauges()).finish_non_exhaustive()
    }
}

/// What a module is under a profile, without compiling it.
pub fn inspect(wasm: &[u8], profile: ProfileId) -> Result<Inspection, PrepareError> {
    let profile = profile::by_id(profile).ok_or(ExecuteError::ProfileUnknown(profile))?;
    talea_meter::inspect(wasm, profile).map_err(PrepareError::Refused)
}

// === impl Executor ===

impl Executor {
    /// Builds the engines of every known profile, reserves their pools, and starts the threads.
    pub fn new(
        config: ExecutorConfig,
        source: Arc<dyn FunctionSource>,
    ) -> Result<Self, StartError> {
        let room = Room { fast: config.fast_slots, exact: config.exact_slots };
        let mut houses = Vec::new();
        for (profile_id, profile) in profile::all() {
            let house = House::build(profile, *profile_id, room)
                .map_err(|error| StartError::Engine { detail: format!("{error:#}") })?;
            houses.push(Arc::new(house));
        }
        let folder = match config.cache_dir {
            Some(path) => {
                let engines = engine::digest(houses.iter().flat_map(|house| house.engine_ids()));
                let folder = ArtefactFolder::open(&path, &engines)
                    .map_err(|error| StartError::Cache { path, error })?;
                Some((folder, config.mac_key))
            }
            None => None,
        };
        let shelf = ShelfBounds { functions: config.loaded_functions, bytes: config.loaded_bytes };
        Ok(Self {
            houses,
            modules: Modules::new(shelf, folder, config.compiler, source)
                .map(Arc::new)
                .map_err(StartError::Thread)?,
            long: LongRuns::start(config.long_threads, config.long_runs)
                .map_err(StartError::Thread)?,
            wall_limit: config.wall_limit,
            slice: config.slice.0,
            repeats: AtomicU64::new(0),
        })
    }

    /// Checks a module that is being deployed and makes it ready to run, so that what cannot be
    /// compiled is refused now and the first call does not wait.
    pub async fn prepare(
        &self,
        function: FunctionId,
        profile: ProfileId,
        wasm: Vec<u8>,
    ) -> Result<Inspection, PrepareError> {
        if FunctionId::of(&wasm) != function {
            return Err(PrepareError::WrongFunction(function));
        }
        let house = self.house(profile)?;
        let inspection =
            talea_meter::inspect(&wasm, house.profile).map_err(PrepareError::Refused)?;
        let key = Key { function, profile, variant: Variant::Fast };
        self.modules.get(house, key, Some(wasm)).await?;
        Ok(inspection)
    }

    /// Runs a function. The first slice runs here and now; after it the run has its own threads.
    ///
    /// Dropping the future of a free run cancels it. A paid run goes on and ends, but its execution
    /// is then lost: who wants the receipt must keep the future alive in a task of its own.
    pub async fn run(&self, invocation: Invocation) -> Result<Execution, ExecuteError> {
        let house = self.house(invocation.profile)?;
        let invocation = Arc::new(invocation);
        let expected = match self.attempt(house, &invocation, Variant::Fast, None).await? {
            Verdict::Final(execution) => return Ok(*execution),
            Verdict::Repeat(expected) => expected,
        };
        self.repeats.fetch_add(1, Ordering::Relaxed);
        match self.attempt(house, &invocation, Variant::Exact, expected).await? {
            Verdict::Final(execution) => Ok(*execution),
            Verdict::Repeat(_) => Err(ExecuteError::engine("the exact variant asked for a repeat")),
        }
    }

    /// Counts for an operator.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let (loaded, loaded_bytes) = self.modules.loaded();
        let (compiled, cached, refused_artefacts) = self.modules.counts();
        Gauges {
            instances: self.houses.iter().map(|house| house.instances()).sum(),
            long_runs: self.long.live(),
            loaded,
            loaded_bytes,
            compiled,
            cached,
            refused_artefacts,
            repeats: self.repeats.load(Ordering::Relaxed),
        }
    }

    fn house(&self, profile: ProfileId) -> Result<&Arc<House>, ExecuteError> {
        let house = self.houses.iter().find(|house| house.profile_id == profile);
        house.ok_or(ExecuteError::ProfileUnknown(profile))
    }

    async fn attempt(
        &self,
        house: &Arc<House>,
        invocation: &Arc<Invocation>,
        variant: Variant,
        expected: Option<TrapCode>,
    ) -> Result<Verdict, ExecuteError> {
        let key = Key { function: invocation.function, profile: house.profile_id, variant };
        let loaded = self.modules.get(house, key, None).await?;
        let slot = house.machine(variant).slots.take().ok_or(ExecuteError::Saturated)?;
        // Compiling is not the run's time.
        let watch = Arc::new(Watch::new(self.wall_limit));
        let attempt = Attempt {
            profile: house.profile,
            loaded,
            invocation: Arc::clone(invocation),
            watch: Arc::clone(&watch),
            variant,
            slice: self.slice,
            expected,
        };
        self.drive(Box::pin(attempt.run(slot)), watch, invocation.free).await
    }

    async fn drive(
        &self,
        mut work: Work,
        watch: Arc<Watch>,
        is_free: bool,
    ) -> Result<Verdict, ExecuteError> {
        if let Poll::Ready(ended) = turn(&mut work) {
            return ended;
        }
        let _cancel = is_free.then(|| CancelOnDrop(Arc::clone(&watch)));
        let end = self.long.submit(work, watch)?;
        end.await.unwrap_or(Err(ExecuteError::Cancelled))
    }
}

/// Ends a free run whose caller is gone. Dropped after the run has ended it does nothing.
struct CancelOnDrop(Arc<Watch>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

// === impl Execution ===

impl Execution {
    /// The end of a run that has nothing to show.
    fn empty(outcome: Outcome, fuel: Fuel) -> Self {
        Self {
            outcome,
            fuel,
            host_fuel: Fuel::ZERO,
            peak_pages: Pages::ZERO,
            output: Output::empty(),
            output_body: Bytes::new(),
            log: Bytes::new(),
        }
    }
}

// === impl ExecuteError ===

impl ExecuteError {
    fn engine(detail: impl fmt::Display) -> Self {
        Self::Engine { detail: detail.to_string() }
    }

    fn load(function: FunctionId, error: LoadError) -> Self {
        match error {
            LoadError::Missing => Self::FunctionMissing(function),
            LoadError::Refused(refusal) => Self::Refused { function, refusal },
            error => Self::Load { function, error },
        }
    }
}

#[cfg(test)]
mod tests;
