//! The two engines: fast, with the profile's native stack, and exact, with a stack that the
//! profile's own depth limit can never exhaust.
//!
//! Owns: every setting of wasmtime and the name of their sum, the engine id.
//! Invariants: nothing of the machine at hand enters the code (fixed triple and CPU preset), NaNs
//! are canonical, and all that influences an artefact is in the id. Absent: wasmtime's fuel and
//! epochs; the counter is in the module itself.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use talea_ledger::profile::Profile;
use wasmtime::{
    Config, Enabled, Engine, Inlining, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel,
    PoolingAllocationConfig, Strategy, WasmBacktraceDetails, WasmFeatures,
};

use super::bounds;

/// The exact version of wasmtime. Its own check compares only the major version, and a patch
/// release may fix the code generator; a test holds this against the lock file.
const WASMTIME_VERSION: &str = "48.0.8";

/// Goes up when the layout of an artefact file, or the meaning of what it holds, changes.
const ARTEFACT_REVISION: u32 = 1;

/// The triple and the CPU preset that code is made for. x86-64-v3 is every server processor since
/// 2013 (Haswell) and 2015 (Excavator); the 64-bit Arm baseline is the preset there.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const TARGET: (&str, &[&str]) = ("x86_64-unknown-linux-gnu", &["x86-64-v3"]);
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
const TARGET: (&str, &[&str]) = ("aarch64-unknown-linux-gnu", &[]);
#[cfg(all(target_arch = "aarch64", target_os = "macos"))]
const TARGET: (&str, &[&str]) = ("aarch64-apple-darwin", &[]);
#[cfg(all(target_arch = "x86_64", target_os = "macos"))]
const TARGET: (&str, &[&str]) = ("x86_64-apple-darwin", &["x86-64-v3"]);

/// What wasmtime would accept and a profile does not. The pass refuses these before; this is the
/// second door.
const FORBIDDEN: WasmFeatures = WasmFeatures::THREADS
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::STACK_SWITCHING)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::SHARED_EVERYTHING_THREADS);

/// Which of the two engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Tier {
    /// For the fast variant: stack N of the profile.
    Fast,
    /// For the exact and explained variants: a stack that D never exhausts.
    Exact,
}

/// What an engine is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Running guests in a pool of this many slots.
    Running {
        /// Instances, memories and stacks at once.
        slots: u32,
    },
    /// Compiling only: reserves nothing.
    Compiling,
}

/// SHA-256 over everything that influences an artefact: versions, triple, flags, features, tunables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EngineId(pub(super) [u8; 32]);

impl EngineId {
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One name for many engines: of the folder that holds the artefacts of all of them.
pub(super) fn digest(ids: impl Iterator<Item = EngineId>) -> String {
    let mut hash = Sha256::new();
    for id in ids {
        hash.update(id.0);
    }
    EngineId(hash.finalize().into()).to_string()
}

/// The engine of a tier, and the id of the artefacts it makes and takes.
pub(super) fn build(
    profile: &Profile,
    tier: Tier,
    purpose: Purpose,
) -> wasmtime::Result<(Engine, EngineId)> {
    let engine = Engine::new(&config(profile, tier, purpose)?)?;
    let id = identify(&engine);
    Ok((engine, id))
}

/// Bytes of native stack that wasm frames of this tier may take.
fn stack_of(profile: &Profile, tier: Tier) -> usize {
    match tier {
        Tier::Fast => size(profile.stack.native_fast_bytes),
        Tier::Exact => size(profile.stack.native_exact_bytes),
    }
}

/// A number of the profile as a size on this machine. A 32-bit machine fails at start, by wasmtime's
/// own refusal of what does not fit.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn config(profile: &Profile, tier: Tier, purpose: Purpose) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    target(&mut config)?;
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        // The pass marks the cold side of its checks.
        .wasm_branch_hinting(true)
        .compiler_inlining(Inlining::No)
        .module_version(ModuleVersionStrategy::Custom(version()))?;
    config.wasm_features(FORBIDDEN, false).shared_memory(false);
    config.consume_fuel(false).epoch_interruption(false).concurrency_support(false);
    // 4 GiB and a guard: every 32-bit address is either memory or a fault, so loads carry no check.
    config
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_may_move(false)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(bounds::SPARSE_IMAGE_MAX)
        .signals_based_traps(true);
    // Nobody reads a backtrace of a guest that trapped: the trap's code is the receipt's outcome.
    config
        .wasm_backtrace_max_frames(None)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .generate_address_map(false)
        .native_unwind_info(false)
        .debug_symbols(false);
    let stack = stack_of(profile, tier);
    config.max_wasm_stack(stack).async_stack_size(stack + bounds::HOST_STACK);
    // A deep guest leaves pages behind in its stack. The fast tier's are bounded by N for each slot;
    // the exact tier's stacks are too large for that and are given back after every run.
    config.async_stack_zeroing(tier == Tier::Exact);
    if let Purpose::Running { slots } = purpose {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(profile, slots)));
    }
    Ok(config)
}

#[allow(unsafe_code, reason = "the only door of wasmtime to a CPU preset")]
fn target(config: &mut Config) -> wasmtime::Result<()> {
    let (triple, presets) = TARGET;
    // An explicit triple stops wasmtime from asking the machine at hand what it can do.
    config.target(triple)?;
    for preset in presets {
        // SAFETY: the flag is a CPU preset that Cranelift itself defines; the engine compares it
        // with the processor when it loads code and refuses a mismatch.
        unsafe { config.cranelift_flag_enable(preset) };
    }
    Ok(())
}

fn pool(profile: &Profile, slots: u32) -> PoolingAllocationConfig {
    let tables = u32::try_from(profile.bounds.tables).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots)
        .total_memories(slots)
        .total_stacks(slots)
        .total_tables(slots.saturating_mul(tables.max(1)))
        .max_memories_per_module(1)
        .max_tables_per_module(tables)
        .max_memory_size(size(profile.bounds.memory_pages.saturating_mul(WASM_PAGE)))
        .table_elements(size(profile.bounds.table_entries))
        .linear_memory_keep_resident(bounds::KEEP_RESIDENT)
        .table_keep_resident(bounds::TABLE_KEEP_RESIDENT)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        // PAGEMAP_SCAN overlooks pages that were swapped out: the next guest could read them.
        .pagemap_scan(Enabled::No);
    pool
}

/// Bytes of an instance's own record: globals, imports, function references. The profile's largest
/// count of functions, 32 bytes each for those that are referenced, and its globals at 16 bytes.
const INSTANCE_BYTES_MAX: usize = 8 << 20;

/// Bytes of a page of linear memory.
const WASM_PAGE: u64 = 64 << 10;

fn version() -> String {
    format!("{WASMTIME_VERSION}+{}+{ARTEFACT_REVISION}", talea_meter::REVISION)
}

fn identify(engine: &Engine) -> EngineId {
    let mut hash = ShaHasher(Sha256::new());
    // Triple, ISA flags, tunables, features and the version string.
    engine.precompile_compatibility_hash().hash(&mut hash);
    // Shapes artefacts, but wasmtime neither hashes nor checks it.
    bounds::SPARSE_IMAGE_MAX.hash(&mut hash);
    hash.0.update(version());
    hash.0.update(env!("CARGO_PKG_VERSION"));
    EngineId(hash.0.finalize().into())
}

/// Lets `Hash` feed SHA-256. The id never leaves the machine, so native byte order is no matter.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked for: the digest is taken from the field.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use talea_ledger::profile;

    #[test]
    fn the_version_in_the_id_is_the_one_that_is_linked() {
        let lock = include_str!("../../../Cargo.lock");
        let line = format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n");
        assert!(lock.contains(&line), "another wasmtime is linked: set WASMTIME_VERSION");
        assert_eq!(lock.matches("name = \"wasmtime\"\n").count(), 1);
    }

    #[test]
    fn a_compiler_makes_what_a_running_engine_takes() {
        for (_, profile) in profile::all() {
            for tier in [Tier::Fast, Tier::Exact] {
                let (_, running) = build(profile, tier, Purpose::Running { slots: 1 }).unwrap();
                let (_, compiling) = build(profile, tier, Purpose::Compiling).unwrap();
                assert_eq!(running, compiling);
            }
        }
    }
}
