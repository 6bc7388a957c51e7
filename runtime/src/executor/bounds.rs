//! Bounds of the executor and where their numbers come from.
//!
//! Owns: what a node may choose without changing a bill. Absent: what a profile fixes (stack, costs,
//! largest memory and tables) and what a run asks for; both arrive as values.

use std::time::Duration;

/// Fuel of one slice. One unit is about one wasm instruction, 0.3 to 1 ns in compiled code: a slice
/// is about a millisecond, the longest a run may hold up other connections of the same thread.
pub(super) const SLICE_FUEL: u64 = 1_000_000;

/// Instances of the fast engine that may exist at once. A slot reserves 4 GiB and its guard of
/// address space, so this is 1 TiB of the 128 TiB that Linux gives a process, and no memory.
pub(super) const FAST_SLOTS_MAX: u32 = 256;

/// Instances of the exact engine at once. Repeats are rare and short of guests that trap by
/// profession, which then queue behind each other instead of taking the fast engine's place.
pub(super) const EXACT_SLOTS_MAX: u32 = 64;

/// Runs that are past their first slice and not yet ended. Each holds a slot; at one slice a turn on
/// two threads a new one waits at most 64 ms for its first turn.
pub(super) const LONG_RUNS_MAX: usize = 128;
const _: () =
    assert!(LONG_RUNS_MAX < FAST_SLOTS_MAX as usize, "short runs must always find a slot");

/// Threads that drive long runs. Two keep a machine of two cores busy with work of a lower
/// priority; the gateway's own threads pre-empt them.
pub(super) const LONG_THREADS: usize = 2;

/// Niceness of the threads above, out of 19: about a tenth of a normal thread's share.
pub(super) const LONG_NICENESS: i32 = 10;

/// Length of the turns that all other threads ask for: the shortest that Linux gives. With it a gateway beside two endless guests
/// on one core kept 0.84 of its throughput, without it 0.31 to 0.43; alone it was as fast.
pub(super) const PROMPT_TURN_NANOS: u64 = 100_000;

/// How long a run may take on the wall's clock before the host gives up on it, without a bill.
pub(super) const WALL_LIMIT: Duration = Duration::from_secs(10);

/// Loaded functions, both variants counted. Each with an initial memory holds one file descriptor
/// for its image, and the usual soft limit of a process is 1,024.
pub(super) const LOADED_MAX: usize = 256;

/// Bytes of code and images that the loaded functions may hold together.
pub(super) const LOADED_BYTES_MAX: usize = 512 << 20;

/// Functions whose first calls are being prepared at once: files read, code compiled. The rest of
/// the first calls is told that the node is saturated.
pub(super) const BUILDS_MAX: usize = 64;

/// Threads that load functions from their artefact files, a third to a whole millisecond of processor time each: two
/// more than the cores of a small machine, for those that wait for a disk.
pub(super) const LOADERS: usize = 4;

/// Bytes of a file that such a thread reads at once: they stay in a core's own cache until they are hashed and copied.
pub(super) const LOADER_PIECE: usize = 64 << 10;

/// Compilers at work at once. More than the cores would only make each of them miss its time.
pub(super) const COMPILERS_MAX: usize = 2;

/// How long a failure to compile is remembered. Long enough that a bomb called in a loop costs a
/// compiler 1 part in 10 of the time; short enough that a machine under load gets another chance.
pub(super) const FAILURE_MEMORY: Duration = Duration::from_secs(300);

/// Wall time of a compiler. The largest module the profile admits takes about 10 s of one core.
pub(super) const COMPILE_WALL: Duration = Duration::from_secs(30);

/// Processor seconds of a compiler, set by itself on itself, in case its parent has died.
pub(super) const COMPILE_CPU_SECONDS: u64 = 30;

/// Address space of a compiler: the largest admitted module needs about 1 GiB.
pub(super) const COMPILE_ADDRESS_SPACE: u64 = 4 << 30;

/// Bytes of linear memory that stay mapped in a slot between runs, reset by copying. Covers the
/// stack, data and first heap pages of a small Rust guest (3 to 6 pages of 4 KiB written).
pub(super) const KEEP_RESIDENT: usize = 64 << 10;

/// Bytes of table that stay mapped in a slot: 2,048 entries, more than most guests have.
pub(super) const TABLE_KEEP_RESIDENT: usize = 16 << 10;

/// Native stack for host functions, above what the guest may use. Debug builds use 20 KiB.
pub(super) const HOST_STACK: usize = 256 << 10;

/// Initial memory images that are built however sparse they are. A module can ask for an image of
/// any size with two bytes of data far apart; above this its segments must be dense.
pub(super) const SPARSE_IMAGE_MAX: u64 = 1 << 20;

/// Buffers of one vectored read or write. POSIX calls it IOV_MAX and Linux sets the same number.
pub(super) const IOVECS_MAX: u32 = 1024;

/// Subscriptions of one poll.
pub(super) const SUBSCRIPTIONS_MAX: u32 = 1024;

/// Largest slice that may be asked for: far from the ends of the counter's i64, whatever a segment
/// charges between two checks.
pub(super) const SLICE_FUEL_MAX: u64 = 1 << 40;
const _: () = assert!(SLICE_FUEL <= SLICE_FUEL_MAX, "the usual slice is an allowed one");
