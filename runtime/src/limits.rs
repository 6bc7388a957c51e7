//! Bounds that more than one module must agree on, each with its arithmetic.
//!
//! A bound that only one module knows lies in that module. What a host may choose for itself lies in
//! `config`; the values here are the edges within which it may choose.
//! Absent: network parameters and profile limits, which are part of a document and not of a node.

/// 1,024 bytes.
pub const KIB: u64 = 1024;
/// 1,024 KiB.
pub const MIB: u64 = 1024 * KIB;

/// One request head: request line and headers. Holds a run (under 1 KiB sealed, 4/3 of it as text), a
/// signed request and a registration with room for a browser's own headers.
pub const HEAD_LEN_MAX: usize = 32 * KIB as usize;
/// Path and query of a request target; what a guest is given is part of it.
pub const TARGET_LEN_MAX: usize = 8 * KIB as usize;
/// One signed document in a header, as base64url text.
pub const CREDENTIAL_LEN_MAX: usize = 12 * KIB as usize;
/// Arguments of one call, after decoding.
pub const ARGS_MAX: usize = 64;
/// Bytes of all arguments of one call.
pub const ARGS_LEN_MAX: usize = 4 * KIB as usize;

/// The largest body a host may choose to accept. It is held in memory while the guest reads it:
/// 64 MiB x 16 such calls at once is 1 GiB, which the in-flight byte budget of the gateway allows.
pub const BODY_LEN_MAX: u64 = 64 * MIB;
/// The largest module a host may choose to accept.
pub const MODULE_LEN_MAX: u64 = 64 * MIB;
/// The largest output body of a run that a host may choose to allow.
pub const OUTPUT_LEN_MAX: u64 = 64 * MIB;
/// The largest log of a run that a host may choose to allow.
pub const LOG_LEN_MAX: u64 = 4 * MIB;
/// Pages of 64 KiB: the whole 4 GiB of a 32-bit memory.
pub const MEMORY_PAGES_MAX: u32 = 65_536;

/// How far above a channel's settled sequence a run may lie. Gaps cost nothing; the window is what a host
/// must remember of each channel: 128 bytes of bits.
pub const SEQUENCE_WINDOW: u64 = 1024;
/// How far a signed request's or run's clock may lie from the host's. Five minutes is what Kerberos and
/// most request-signing schemes allow for unsynchronised clients.
pub const CLOCK_SKEW_NANOS: u64 = 5 * 60 * 1_000_000_000;

/// Entries of one page of a list, if the caller asks for more.
pub const PAGE_LEN_MAX: usize = 200;
/// Entries of one page of a list, if the caller says nothing.
pub const PAGE_LEN: usize = 50;

/// Sum of the four receipt headers that `Prefer: return=receipt` adds: common clients (curl, node,
/// nginx as a proxy) take 16 KiB of response head; 4 KiB stay for the guest's own headers.
pub const RECEIPT_HEADERS_LEN_MAX: usize = 12 * KIB as usize;

const _: () = assert!(TARGET_LEN_MAX + 2 * CREDENTIAL_LEN_MAX <= HEAD_LEN_MAX);
const _: () = assert!(ARGS_LEN_MAX * 3 <= CREDENTIAL_LEN_MAX);
const _: () = assert!(PAGE_LEN <= PAGE_LEN_MAX);
const _: () = assert!(LOG_LEN_MAX <= OUTPUT_LEN_MAX && OUTPUT_LEN_MAX <= BODY_LEN_MAX);
