//! Functions that are ready to run: compiled once, loaded while they are wanted, forgotten when not.
//!
//! Owns: the shelf of loaded functions and the way onto it (artefact file, else compiler). Invariants:
//! concurrent first calls of a function share one build; a build goes on when its callers leave, and
//! ends by the compiler's clock; the shelf is bounded in functions and bytes, and what is least lately
//! used goes first; a failure is remembered for a while, so that a bomb costs little when called
//! again. Absent: any trust in a file; see `artefact`.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use talea_ledger::id::FunctionId;
use talea_meter::{Kind, Refusal};
use tokio::runtime::Handle;
use tokio::sync::watch;
use wasmtime::{InstancePre, ModuleExport};

use super::artefact::{self, Artefact, ArtefactFault, Facts, Key, MacKey};
use super::code::Code;
use super::compile::{CompileError, Compiler};
use super::host::Guest;
use super::house::House;
use super::loaders::Loaders;
use super::{ExecuteError, bounds};
use crate::clock::Deadline;
use crate::store::artefacts::ArtefactFolder;

/// Where the executor gets the bytes of a function from.
pub trait FunctionSource: Send + Sync {
    /// The module's bytes, `None` if this node does not hold them. May block on a disk.
    fn wasm(&self, function: FunctionId) -> io::Result<Option<Vec<u8>>>;
}

/// A function, ready to be instantiated.
pub(super) struct Loaded {
    pub(super) pre: InstancePre<Guest>,
    pub(super) kind: Kind,
    pub(super) facts: Facts,
    pub(super) exports: Exports,
    /// Bytes that its code and image hold.
    bytes: usize,
}

/// Where the exports stand.
pub(super) struct Exports {
    pub(super) memory: Option<ModuleExport>,
    pub(super) start: Option<ModuleExport>,
    pub(super) initialize: Option<ModuleExport>,
    pub(super) entry: ModuleExport,
}

/// Why a function is not ready.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// This node does not hold the function.
    #[error("the function is not here")]
    Missing,
    /// What the store gave has another hash.
    #[error("the stored bytes are not the function's")]
    Damaged,
    /// The store could not be read.
    #[error("the function could not be read: {0}")]
    Source(#[source] Arc<io::Error>),
    /// No function under this profile.
    #[error(transparent)]
    Refused(Refusal),
    /// It could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The engine did not take what was compiled.
    #[error("the engine refused the artefact: {0}")]
    Engine(String),
    /// The build ended by a panic.
    #[error("the build panicked")]
    Panicked,
}

impl LoadError {
    /// Whether asking again soon would give the same.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Compile(_) | Self::Engine(_) | Self::Panicked => true,
            Self::Missing | Self::Damaged | Self::Source(_) => false,
        }
    }
}

type Built = Result<Arc<Loaded>, LoadError>;

enum Place {
    Building(watch::Receiver<Option<Built>>),
    Ready(Arc<Loaded>),
    Failed(LoadError, Deadline),
}

struct Entry {
    place: Place,
    used: u64,
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<Key, Entry>,
    building: usize,
    bytes: usize,
    /// Counts uses, to order them.
    tick: u64,
}

/// Bounds of the shelf.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShelfBounds {
    pub(super) functions: usize,
    pub(super) bytes: usize,
}

/// The shelf and what it takes to fill it.
pub(super) struct Modules {
    shelf: Mutex<Shelf>,
    bounds: ShelfBounds,
    folder: Option<(ArtefactFolder, MacKey)>,
    loaders: Loaders,
    compiler: Compiler,
    source: Arc<dyn FunctionSource>,
    compilers: Mutex<usize>,
    compiler_free: Condvar,
    compiled: AtomicU64,
    cached: AtomicU64,
    refused_artefacts: AtomicU64,
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modules").field("loaded", &self.loaded()).finish_non_exhaustive()
    }
}

impl Modules {
    pub(super) fn new(
        bounds: ShelfBounds,
        folder: Option<(ArtefactFolder, MacKey)>,
        compiler: Compiler,
        source: Arc<dyn FunctionSource>,
    ) -> io::Result<Self> {
        Ok(Self {
            shelf: Mutex::default(),
            bounds,
            folder,
            loaders: Loaders::start()?,
            compiler,
            source,
            compilers: Mutex::new(0),
            compiler_free: Condvar::new(),
            compiled: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            refused_artefacts: AtomicU64::new(0),
        })
    }

    /// Functions on the shelf and the bytes they hold.
    pub(super) fn loaded(&self) -> (usize, usize) {
        let shelf = self.lock();
        (shelf.entries.len(), shelf.bytes)
    }

    /// How many modules were compiled, how many were taken from their artefact files, and how many of
    /// those files were refused.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.compiled), read(&self.cached), read(&self.refused_artefacts))
    }

    /// The function, ready to run; built by this call or by one that came before. `wasm` saves asking
    /// the source when the caller has the bytes at hand.
    pub(super) async fn get(
        self: &Arc<Self>,
        house: &Arc<House>,
        key: Key,
        wasm: Option<Vec<u8>>,
    ) -> Result<Arc<Loaded>, ExecuteError> {
        let mut building = match self.look_up(house, key, wasm)? {
            Found::Ready(loaded) => return Ok(loaded),
            Found::Building(building) => building,
        };
        let built = match building.wait_for(Option::is_some).await {
            Ok(built) => built.clone(),
            Err(_) => None,
        };
        built.unwrap_or(Err(LoadError::Panicked)).map_err(|e| ExecuteError::load(key.function, e))
    }

    fn look_up(
        self: &Arc<Self>,
        house: &Arc<House>,
        key: Key,
        wasm: Option<Vec<u8>>,
    ) -> Result<Found, ExecuteError> {
        let mut shelf = self.lock();
        let tick = shelf.tick;
        shelf.tick = tick.wrapping_add(1);
        if let Some(entry) = shelf.entries.get_mut(&key) {
            entry.used = tick;
            match &entry.place {
                Place::Ready(loaded) => return Ok(Found::Ready(Arc::clone(loaded))),
                Place::Building(building) => return Ok(Found::Building(building.clone())),
                Place::Failed(error, until) if !until.passed() => {
                    return Err(ExecuteError::load(key.function, error.clone()));
                }
                Place::Failed(..) => {}
            }
        }
        if shelf.building >= bounds::BUILDS_MAX {
            return Err(ExecuteError::Saturated);
        }
        let (sender, receiver) = watch::channel(None);
        shelf.building += 1;
        let place = Place::Building(receiver.clone());
        shelf.entries.insert(key, Entry { place, used: tick });
        drop(shelf);
        let (modules, house, runtime) = (Arc::clone(self), Arc::clone(house), Handle::current());
        // Not the caller's to cancel: whoever asks next would begin anew. It ends by the compiler's
        // clock, and there are at most BUILDS_MAX. Callers hear last, when nothing of theirs is held here: who
        // ends the executor then ends it alone.
        self.loaders.give(Box::new(move |piece| {
            let loaded = catch_unwind(AssertUnwindSafe(|| modules.load_file(&house, key, piece)));
            if let Some(loaded) = loaded.transpose() {
                modules.finish(house, key, loaded.map(Ok), &sender);
                return;
            }
            runtime.spawn_blocking(move || {
                let built = catch_unwind(AssertUnwindSafe(|| modules.build(&house, key, wasm)));
                modules.finish(house, key, built, &sender);
            });
        }));
        Ok(Found::Building(receiver))
    }

    /// Shelves what a thread came to, lets go of what it held, and tells all who wait.
    fn finish(
        self: Arc<Self>,
        house: Arc<House>,
        key: Key,
        built: std::thread::Result<Result<Loaded, LoadError>>,
        all: &watch::Sender<Option<Built>>,
    ) {
        let built = built.unwrap_or(Err(LoadError::Panicked)).map(Arc::new);
        self.shelve(key, &built);
        drop((self, house));
        // Callers who went away do not want to know.
        let _ = all.send(Some(built));
    }

    fn shelve(&self, key: Key, built: &Built) {
        let mut shelf = self.lock();
        shelf.building = shelf.building.saturating_sub(1);
        let place = match built {
            Ok(loaded) => {
                shelf.bytes = shelf.bytes.saturating_add(loaded.bytes);
                Some(Place::Ready(Arc::clone(loaded)))
            }
            Err(error) if error.is_lasting() => {
                Some(Place::Failed(error.clone(), Deadline::after(bounds::FAILURE_MEMORY)))
            }
            Err(_) => None,
        };
        match place {
            Some(place) => {
                let used = shelf.tick;
                shelf.entries.insert(key, Entry { place, used });
            }
            None => {
                shelf.entries.remove(&key);
            }
        }
        while shelf.entries.len() > self.bounds.functions || shelf.bytes > self.bounds.bytes {
            if !shelf.evict() {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Nothing inside the lock can panic between two halves of a change.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === Building, on a blocking thread ===

    fn build(&self, house: &House, key: Key, wasm: Option<Vec<u8>>) -> Result<Loaded, LoadError> {
        let wasm = match wasm {
            Some(wasm) => wasm,
            None => self
                .source
                .wasm(key.function)
                .map_err(|error| LoadError::Source(Arc::new(error)))?
                .ok_or(LoadError::Missing)?,
        };
        if FunctionId::of(&wasm) != key.function {
            return Err(LoadError::Damaged);
        }
        // Bounded work in this process: what it refuses never reaches a compiler.
        talea_meter::inspect(&wasm, house.profile).map_err(LoadError::Refused)?;
        let artefact = {
            let _turn = self.compiler_turn();
            self.compiled.fetch_add(1, Ordering::Relaxed);
            let wall = bounds::COMPILE_WALL;
            self.compiler.compile(&wasm, house.profile, house.profile_id, key.variant, wall)?
        };
        self.to_file(house, key, &artefact);
        load(house, key, artefact.facts, Code::Bytes(artefact.code))
    }

    /// Waits for one of the few compilers.
    fn compiler_turn(&self) -> CompilerTurn<'_> {
        let mut busy = self.compilers.lock().unwrap_or_else(PoisonError::into_inner);
        while *busy >= bounds::COMPILERS_MAX {
            busy = self.compiler_free.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        *busy += 1;
        CompilerTurn(self)
    }

    /// The function from its artefact file. A file that is not ours is removed, and all else about
    /// files is only logged: the function can always be compiled again.
    fn load_file(&self, house: &House, key: Key, piece: &mut [u8]) -> Option<Loaded> {
        let (folder, mac_key) = self.folder.as_ref()?;
        let name = key.file_name();
        let path = || folder.path(&name).display().to_string();
        let engine = &house.machine(key.variant).id;
        let file = folder.open_file(&name).transpose()?.map_err(ArtefactFault::Disk);
        let opened = file.and_then(|file| {
            let mut code = Code::new();
            artefact::open(file, mac_key, engine, &key, piece, &mut code).map(|facts| (facts, code))
        });
        match opened {
            Ok((facts, code)) => match load(house, key, facts, code) {
                Ok(loaded) => {
                    self.cached.fetch_add(1, Ordering::Relaxed);
                    return Some(loaded);
                }
                Err(error) => tracing::warn!(path = path(), %error, "artefact not loaded"),
            },
            Err(ArtefactFault::Disk(error)) => {
                tracing::warn!(path = path(), %error, "artefact not read");
                return None;
            }
            Err(fault) => tracing::warn!(path = path(), %fault, "artefact refused, compiling anew"),
        }
        self.refused_artefacts.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = folder.remove(&name) {
            tracing::warn!(path = path(), %error, "artefact not removed");
        }
        None
    }

    fn to_file(&self, house: &House, key: Key, artefact: &Artefact) {
        let Some((folder, mac_key)) = &self.folder else { return };
        let name = key.file_name();
        let head = artefact::head(artefact, mac_key, &house.machine(key.variant).id, &key);
        if let Err(error) = folder.write(&name, &[&head, &artefact.code]) {
            // A full disk costs a compilation at the next start, not this call.
            tracing::warn!(path = %folder.path(&name).display(), %error, "artefact not kept");
        }
    }
}

enum Found {
    Ready(Arc<Loaded>),
    Building(watch::Receiver<Option<Built>>),
}

struct CompilerTurn<'a>(&'a Modules);

impl Drop for CompilerTurn<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.compilers.lock().unwrap_or_else(PoisonError::into_inner);
        *busy = busy.saturating_sub(1);
        self.0.compiler_free.notify_one();
    }
}

impl Shelf {
    /// Removes what was least lately used and is not being built; false if there is no such entry.
    /// A walk over all entries: it happens when a function is loaded, which costs a thousand times it.
    fn evict(&mut self) -> bool {
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| !matches!(entry.place, Place::Building(_)))
            .min_by_key(|(_, entry)| entry.used)
            .map(|(key, _)| *key);
        let Some(entry) = oldest.and_then(|key| self.entries.remove(&key)) else { return false };
        if let Place::Ready(loaded) = entry.place {
            self.bytes = self.bytes.saturating_sub(loaded.bytes);
        }
        true
    }
}

/// Loads code that this process or its child made, or whose MAC is this node's.
#[allow(unsafe_code, reason = "code that was compiled before can only be loaded so")]
pub(super) fn load(house: &House, key: Key, facts: Facts, code: Code) -> Result<Loaded, LoadError> {
    let machine = house.machine(key.variant);
    let failed = |error: wasmtime::Error| LoadError::Engine(format!("{error:#}"));
    // SAFETY: the bytes are what `precompile_module` returned, in this process, in the child that
    // this process started, or in an earlier life of this node, which then authenticated them.
    let module = unsafe { code.load(&machine.engine) }.map_err(failed)?;
    let image = module.image_range();
    // Now rather than in the first call.
    module.initialize_copy_on_write_image().map_err(failed)?;
    let export = |name: &str| module.get_export_index(name);
    let (kind, entry) =
        match (export(talea_meter::ENTRY_COMMAND), export(talea_meter::ENTRY_HANDLER)) {
            (Some(entry), None) => (Kind::Command, entry),
            (None, Some(entry)) => (Kind::Handler, entry),
            _ => return Err(LoadError::Engine("not one entry point".into())),
        };
    let exports = Exports {
        memory: export(talea_meter::EXPORT_MEMORY),
        start: export(talea_meter::EXPORT_START),
        initialize: export(talea_meter::ENTRY_INITIALIZE),
        entry,
    };
    let pre = machine.linker.instantiate_pre(&module).map_err(failed)?;
    Ok(Loaded { pre, kind, facts, exports, bytes: image.end.addr() - image.start.addr() })
}
