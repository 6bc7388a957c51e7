//! Cost of each instruction, by its opcode byte, so that the profile document alone fixes a bill.
//!
//! Owns: the three tables (plain opcodes, and those behind the prefixes 0xFC and 0xFD) and what grows
//! with an operand. Units: 1 fuel is about the time of one simple integer instruction in compiled
//! code. Instructions that compile to nothing (blocks, ends, reading a local, small constants) are
//! free; a branch is not, so that no loop iteration is free.
//!
//! Invariant: an opcode that the profile's features do not allow has cost 0 and is never looked up.

use crate::codec::record;

record! {
    /// Cost of each instruction.
    #[derive(Clone, PartialEq, Eq)]
    pub struct OpcodeCosts {
        /// By opcode byte.
        "plain" => pub plain: [u8; 256],
        /// Behind prefix 0xFC: saturating conversions, bulk memory, tables.
        "prefix_fc" => pub prefix_fc: [u8; 18],
        /// Behind prefix 0xFD: 128-bit vectors.
        "prefix_fd" => pub prefix_fd: [u8; 256],
    }
}

record! {
    /// Cost that grows with an operand, on top of the instruction's own.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BulkCosts {
        /// Per entry into a function.
        "entry" => pub entry: u64,
        /// Per KiB of `memory.copy`, rounded up.
        "copy_per_kib" => pub copy_per_kib: u64,
        /// Per KiB of `memory.fill`, rounded up.
        "fill_per_kib" => pub fill_per_kib: u64,
        /// Per KiB of `memory.init`, rounded up.
        "init_per_kib" => pub init_per_kib: u64,
        /// Per page asked of `memory.grow`.
        "grow_per_page" => pub grow_per_page: u64,
        /// Per entry into a function, for every so many of its declared locals, one more (rounded up).
        "locals_per_fuel" => pub locals_per_fuel: u64,
        /// Per entry of `table.fill`, `table.copy`, `table.init`, and asked of `table.grow`.
        "per_table_entry" => pub per_table_entry: u64,
    }
}

// The prices come from twenty kernels: how often each executes every class of instruction, against the
// time of their unmetered code. Between the kernels' time per fuel lies a factor of 3; a price is a
// whole number and at least its class's part in throughput, so that no sequence is a bargain
// (`benches/meter/kernels.rs` and `benches/meter/costs.rs` print both).
const LOCAL: u8 = 1;
const SIMPLE: u8 = 1;
const MULTIPLY: u8 = 3;
/// 18 to 30 cycles on older cores.
const DIVIDE_32: u8 = 20;
/// 26 cycles where it was measured, 40 and more on older cores.
const DIVIDE_64: u8 = 32;
const FLOAT_COMPARE: u8 = 3;
/// Every float result is compared with itself and replaced where it is not a number.
const FLOAT: u8 = 6;
/// A product of a subnormal number takes the processor 47 ns where any other takes 4, and nothing tells
/// them apart beforehand: 16 times the mean of the kernels at this price. Ten times would be 34, and
/// would charge a product of matrices more than four times what other code of the same time pays.
const FLOAT_MULTIPLY: u8 = 20;
/// As products: 55 ns for a quotient or root of a subnormal number.
const FLOAT_DIVIDE: u8 = 24;
const CONVERT: u8 = 5;
const MEMORY: u8 = 2;
const GLOBAL: u8 = 1;
const BRANCH: u8 = 1;
const BRANCH_TABLE: u8 = 5;
const CALL: u8 = 6;
/// Bounds of the table, the type, and a jump that the processor must guess.
const CALL_INDIRECT: u8 = 24;
const SELECT: u8 = 1;
const TABLE: u8 = 10;
/// A call into the engine's own runtime.
const BUILTIN: u8 = 60;
const GROW: u8 = 255;
const VECTOR: u8 = 1;
const VECTOR_FLOAT: u8 = 6;
const VECTOR_SLOW: u8 = 8;
const VECTOR_DIVIDE: u8 = 24;

// === impl OpcodeCosts ===

impl OpcodeCosts {
    /// The first edition's table.
    pub const fn v1() -> Self {
        Self { plain: plain_v1(), prefix_fc: prefix_fc_v1(), prefix_fd: prefix_fd_v1() }
    }
}

impl core::fmt::Debug for OpcodeCosts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OpcodeCosts { .. }")
    }
}

/// Sets a run of opcodes, both ends inclusive.
const fn set<const N: usize>(mut table: [u8; N], first: usize, last: usize, cost: u8) -> [u8; N] {
    let mut opcode = first;
    while opcode <= last {
        table[opcode] = cost;
        opcode = opcode.saturating_add(1);
    }
    table
}

const fn plain_v1() -> [u8; 256] {
    let mut t = [0u8; 256];
    // 0x00 unreachable, 0x01 nop, 0x02 block, 0x03 loop, 0x05 else, 0x0B end, 0x1A drop: nothing.
    t = set(t, 0x00, 0x00, SIMPLE);
    t = set(t, 0x04, 0x04, BRANCH); // if
    t = set(t, 0x0C, 0x0D, BRANCH); // br, br_if
    t = set(t, 0x0E, 0x0E, BRANCH_TABLE);
    t = set(t, 0x0F, 0x0F, BRANCH); // return
    t = set(t, 0x10, 0x10, CALL);
    t = set(t, 0x11, 0x11, CALL_INDIRECT);
    t = set(t, 0x1B, 0x1C, SELECT);
    // 0x20 local.get, 0x41..=0x44 constants: nothing.
    t = set(t, 0x21, 0x22, LOCAL); // local.set, local.tee
    t = set(t, 0x23, 0x24, GLOBAL);
    t = set(t, 0x25, 0x26, TABLE); // table.get, table.set
    t = set(t, 0x28, 0x3E, MEMORY);
    t = set(t, 0x3F, 0x3F, BUILTIN); // memory.size
    t = set(t, 0x40, 0x40, GROW);
    t = set(t, 0x45, 0x5A, SIMPLE); // integer comparisons
    t = set(t, 0x5B, 0x66, FLOAT_COMPARE);
    t = set(t, 0x67, 0x8A, SIMPLE); // integer arithmetic
    t = set(t, 0x6C, 0x6C, MULTIPLY);
    t = set(t, 0x6D, 0x70, DIVIDE_32);
    t = set(t, 0x7E, 0x7E, MULTIPLY);
    t = set(t, 0x7F, 0x82, DIVIDE_64);
    t = set(t, 0x8B, 0xA6, FLOAT);
    t = set(t, 0x91, 0x91, FLOAT_DIVIDE); // f32.sqrt
    t = set(t, 0x94, 0x94, FLOAT_MULTIPLY);
    t = set(t, 0x95, 0x95, FLOAT_DIVIDE);
    t = set(t, 0x9F, 0x9F, FLOAT_DIVIDE); // f64.sqrt
    t = set(t, 0xA2, 0xA2, FLOAT_MULTIPLY);
    t = set(t, 0xA3, 0xA3, FLOAT_DIVIDE);
    t = set(t, 0xA7, 0xA7, SIMPLE); // i32.wrap_i64
    t = set(t, 0xA8, 0xAB, CONVERT);
    t = set(t, 0xAC, 0xAD, SIMPLE); // i64.extend
    t = set(t, 0xAE, 0xBB, CONVERT);
    t = set(t, 0xBC, 0xBF, SIMPLE); // reinterpretations
    t = set(t, 0xC0, 0xC4, SIMPLE); // sign extensions
    t = set(t, 0xD1, 0xD1, SIMPLE); // ref.is_null
    set(t, 0xD2, 0xD2, BUILTIN) // ref.func
}

const fn prefix_fc_v1() -> [u8; 18] {
    let mut t = [0u8; 18];
    t = set(t, 0, 7, CONVERT);
    set(t, 8, 17, BUILTIN)
}

const fn prefix_fd_v1() -> [u8; 256] {
    let mut t = set([0u8; 256], 0x00, 0xFF, VECTOR); // loads and stores, too
    t = set(t, 0x54, 0x5D, 3); // loads and stores of one lane
    t = set(t, 0x5E, 0x5F, 6); // f32x4.demote_f64x2_zero, f64x2.promote_low_f32x4
    t = set(t, 0x62, 0x64, VECTOR_SLOW); // i8x16.popcnt, all_true, bitmask
    t = set(t, 0x6B, 0x6D, VECTOR_SLOW); // i8x16 shifts
    t = set(t, 0xD5, 0xD5, VECTOR_SLOW); // i64x2.mul
    t = set(t, 0xCB, 0xCD, 4); // i64x2 shifts
    t = set(t, 0xE0, 0xE2, VECTOR_FLOAT);
    t = set(t, 0xE3, 0xE3, VECTOR_DIVIDE); // f32x4.sqrt
    t = set(t, 0xE4, 0xE5, VECTOR_FLOAT);
    t = set(t, 0xE6, 0xE6, FLOAT_MULTIPLY); // f32x4.mul
    t = set(t, 0xE7, 0xE7, VECTOR_DIVIDE); // f32x4.div
    t = set(t, 0xE8, 0xEB, VECTOR_SLOW); // f32x4 min, max, pmin, pmax
    t = set(t, 0xEC, 0xEE, VECTOR_FLOAT);
    t = set(t, 0xEF, 0xEF, VECTOR_DIVIDE); // f64x2.sqrt
    t = set(t, 0xF0, 0xF1, VECTOR_FLOAT);
    t = set(t, 0xF2, 0xF2, FLOAT_MULTIPLY); // f64x2.mul
    t = set(t, 0xF3, 0xF3, VECTOR_DIVIDE); // f64x2.div
    t = set(t, 0xF4, 0xF7, VECTOR_SLOW); // f64x2 min, max, pmin, pmax
    set(t, 0xF8, 0xFF, VECTOR_SLOW) // conversions
}

// === impl BulkCosts ===

impl BulkCosts {
    /// The first edition's prices: about 16 bytes a fuel, a word per entry, and per page a tenth of what
    /// the sixteen page faults cost that touching all of it takes, measured beside the kernels (43 us on
    /// a machine that then took 0.27 ns per fuel).
    pub const V1: Self = Self {
        fill_per_kib: 64,
        copy_per_kib: 64,
        init_per_kib: 64,
        grow_per_page: 24_000,
        per_table_entry: 4,
        entry: 3,
        locals_per_fuel: 8,
    };
}
