//! The execution profile: everything that fixes how a run is executed and what it costs.
//!
//! Owns: the rule book itself ([`Profile`]), its first edition ([`Profile::v1`]) and the look-up of
//! known editions by id. The profile's CID stands in every run and every receipt, so two nodes that
//! name the same profile charge the same fuel for the same run.
//!
//! Invariants:
//! - a profile is never changed: a bug in one is fixed by the next one, and old ones stay known for
//!   ever, since a receipt may be audited at any time;
//! - [`StackRule`]: a run that the fast variant lets live is one that the exact variant lets live,
//!   `heavy_max + native_fast_bytes / NATIVE_FRAME_BYTES_MIN + 1 <= depth_max`, and the exact
//!   variant's native stack holds whatever its counted depth admits,
//!   `depth_max * unit_bytes + frame_bytes_max <= native_exact_bytes`. The proof stands in
//!   talea-meter (`weight`); both relations are asserted below at compile time.
//!
//! Format: a DAG-CBOR map, drawn in `PROFILE.md` of talea-meter. There is no decoder: a node can run
//! only the editions it was built with, and finds them by id.
//!
//! Absent on purpose: any reading of wasm (talea-meter does that) and any host policy (prices, wall
//! clocks and pool sizes are a node's own taste and never change a bill).

pub mod costs;
pub mod host_calls;

pub use costs::{BulkCosts, OpcodeCosts};
pub use host_calls::HostCall;

use std::sync::LazyLock;

use crate::codec::{Encoder, Field, record};
use crate::id::ProfileId;

/// The smallest native frame of a function that calls another: return address and frame pointer on
/// both x86-64 and aarch64.
pub const NATIVE_FRAME_BYTES_MIN: u64 = 16;

/// The most time that a unit of fuel was seen to take under any edition's table, in nanoseconds: loads
/// whose address is what the last load gave, in a memory that no cache holds, take 95 ns for 3 fuel, 32
/// each; a quarter on top for slower machines. Everything else seen stays below 4. What it is for: a
/// host checks that its wall-clock limit covers a fuel limit. It is no part of the document, since it
/// never changes a bill.
pub const WORST_NANOS_PER_FUEL: u64 = 40;

/// Everything that fixes a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Edition number; 1 is the first.
    pub edition: u64,
    /// The instructions and encodings a function may use.
    pub features: Features,
    /// What a module must not exceed to be accepted.
    pub bounds: Bounds,
    /// Cost of each instruction, by opcode.
    pub opcodes: OpcodeCosts,
    /// Cost that grows with an operand, and cost of entering a function.
    pub bulk: BulkCosts,
    /// What is charged once per run, before the guest starts.
    pub fixed: StaticRule,
    /// Counted depth and native stacks.
    pub stack: StackRule,
    /// Every import a function may name, with its signature and price, ordered by module and name.
    pub host_calls: Vec<HostCall>,
    /// What guests see of time.
    pub clock: ClockRule,
    /// What guests see of chance.
    pub generator: GeneratorRule,
    /// Edition of the trap code table of `outcome`.
    pub trap_codes: u64,
    /// Where charges and checks stand.
    pub placement: PlacementRule,
}

/// A set of allowed WebAssembly proposals on top of the first release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(pub u64);

record! {
    /// What a module must not exceed. All bounds are inclusive.
    ///
    /// They bound the work of validation, rewriting and compilation, and leave room for what the pass
    /// adds: the output of the pass is held to the engine's limits, which are at least twice these.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Bounds {
        /// Entries of the type section.
        "types" => pub types: u64,
        /// Declared locals and parameters of one function.
        "locals" => pub locals: u64,
        /// Parameters of one function type.
        "params" => pub params: u64,
        /// Tables.
        "tables" => pub tables: u64,
        /// Exports.
        "exports" => pub exports: u64,
        /// Globals.
        "globals" => pub globals: u64,
        /// Imports.
        "imports" => pub imports: u64,
        /// Open blocks of one function at any point.
        "nesting" => pub nesting: u64,
        /// Results of one function type.
        "results" => pub results: u64,
        /// Entries of all element segments together.
        "elements" => pub elements: u64,
        /// Operand stack entries of one function.
        "operands" => pub operands: u64,
        /// Functions the module defines.
        "functions" => pub functions: u64,
        /// Bytes of one function body.
        "body_bytes" => pub body_bytes: u64,
        /// (Locals + 1) x (blocks + branches) of one function: the work of building its SSA form.
        "complexity" => pub complexity: u64,
        /// Bytes of all data segments together.
        "data_bytes" => pub data_bytes: u64,
        /// Initial pages of the memory.
        "memory_pages" => pub memory_pages: u64,
        /// Bytes of the module.
        "module_bytes" => pub module_bytes: u64,
        /// Data segments.
        "data_segments" => pub data_segments: u64,
        /// Initial entries of all tables together.
        "table_entries" => pub table_entries: u64,
        /// Targets of one `br_table`.
        "branch_targets" => pub branch_targets: u64,
        /// Element segments.
        "element_segments" => pub element_segments: u64,
    }
}

record! {
    /// What is charged once per run, outside the guest: the sum of all lines.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StaticRule {
        /// Per run.
        "flat" => pub flat: u64,
        /// Per initial page of memory.
        "per_page" => pub per_page: u64,
        /// Per global.
        "per_global" => pub per_global: u64,
        /// Per entry of an element segment.
        "per_element" => pub per_element: u64,
        /// Per KiB of all data segments' bytes, rounded up.
        "data_per_kib" => pub data_per_kib: u64,
        /// Per KiB of the module's bytes, rounded up.
        "module_per_kib" => pub module_per_kib: u64,
        /// Per initial entry of a table.
        "per_table_entry" => pub per_table_entry: u64,
    }
}

record! {
    /// Counted depth and native stacks.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StackRule {
        /// D: the exact variant stops a run whose weights would sum above it.
        "depth_max" => pub depth_max: u64,
        /// H: the fast variant stops a run whose weights above 1 would sum above it.
        "heavy_max" => pub heavy_max: u64,
        /// Bytes of native frame that one unit of weight stands for.
        "unit_bytes" => pub unit_bytes: u64,
        /// Bytes every frame is taken to have.
        "frame_bytes" => pub frame_bytes: u64,
        /// Bytes of a spilled value in a function without vectors.
        "value_bytes" => pub value_bytes: u64,
        /// Bytes of a spilled value in a function with vectors.
        "vector_bytes" => pub vector_bytes: u64,
        /// Largest frame a function may be taken to have; above it the module is refused.
        "frame_bytes_max" => pub frame_bytes_max: u64,
        /// Values the compiler may keep per instruction that calls out or checks a table.
        "values_per_call" => pub values_per_call: u64,
        /// N: native stack of the fast variant.
        "native_fast_bytes" => pub native_fast_bytes: u64,
        /// Native stack of the exact variant.
        "native_exact_bytes" => pub native_exact_bytes: u64,
        /// Values the compiler may keep per instruction that produces one.
        "values_per_instruction" => pub values_per_instruction: u64,
    }
}

record! {
    /// Guest time: starts at the run's clock, and every reading advances it by a fixed step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ClockRule {
        /// Nanoseconds added by every reading, after it.
        "step_ns" => pub step_ns: u64,
        /// What `clock_res_get` answers.
        "resolution_ns" => pub resolution_ns: u64,
    }
}

record! {
    /// Where charges and checks stand (see talea-meter, `segment`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PlacementRule {
        /// Edition of the rule.
        "edition" => pub edition: u64,
        /// A function that calls no function of the module is not checked at its entry if all its charges
        /// together are at most this.
        "leaf_unchecked" => pub leaf_unchecked: u64,
    }
}

/// Guest chance: one stream of bytes per run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeneratorRule {
    /// ChaCha20 keyed by the run's seed, nonce and counter zero, its key stream read in order.
    ChaCha20,
}

// === impl Features ===

impl Features {
    /// Import and export of mutable globals.
    pub const MUTABLE_GLOBAL: Self = Self(1);
    /// Float-to-integer conversions that saturate instead of trapping.
    pub const SATURATING_FLOAT_TO_INT: Self = Self(1 << 1);
    /// Sign extension instructions.
    pub const SIGN_EXTENSION: Self = Self(1 << 2);
    /// `funcref` values, several tables, table instructions. Not `externref`: no guest can get one.
    pub const REFERENCE_TYPES: Self = Self(1 << 3);
    /// Blocks and functions with several results, blocks with parameters.
    pub const MULTI_VALUE: Self = Self(1 << 4);
    /// `memory.copy`, `memory.fill`, passive segments.
    pub const BULK_MEMORY: Self = Self(1 << 5);
    /// 128-bit vectors, without the relaxed instructions.
    pub const SIMD: Self = Self(1 << 6);
    /// Additions and multiplications in constant expressions.
    pub const EXTENDED_CONST: Self = Self(1 << 7);
    /// Floating point.
    pub const FLOATS: Self = Self(1 << 8);

    /// Whether every proposal of `other` is in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

// === impl Profile ===

/// Edition 1's bounds. Where they come from: real functions of the size of an interpreter or an
/// image library stay well below each; engines differ above them.
const BOUNDS_V1: Bounds = Bounds {
    // A Rust handler is 10 KiB to 2 MiB, an interpreter 1 to 8 MiB.
    module_bytes: 8 << 20,
    types: 10_000,
    // The engine allows 1,000; the pass adds one.
    params: 255,
    results: 255,
    imports: 256,
    functions: 50_000,
    body_bytes: 512 << 10,
    locals: 4_096,
    operands: 16_384,
    nesting: 8_192,
    // 2^24: an interpreter loop of 2,000 locals and 8,000 branches.
    complexity: 1 << 24,
    branch_targets: 16_384,
    globals: 10_000,
    exports: 50_000,
    tables: 8,
    table_entries: 100_000,
    // 4 GiB; a run's own limit is what binds.
    memory_pages: 65_536,
    data_segments: 16_384,
    data_bytes: 8 << 20,
    element_segments: 1_024,
    elements: 100_000,
};

const STATIC_V1: StaticRule = StaticRule {
    flat: 10_000,
    module_per_kib: 10,
    data_per_kib: 10,
    per_element: 1,
    // As growth: a guest may touch all that it begins with, and the fault of a page that was there
    // from the start is no cheaper (62 us a page beside 43).
    per_page: 24_000,
    per_table_entry: 1,
    per_global: 1,
};

/// Edition 1's stacks: with frames of 1 KiB per unit the exact variant needs 120 MiB + one frame of
/// at most 8 MiB = 128 MiB of address space, of which a usual run touches a few pages; the fast one
/// gets 1 MiB, which holds at most 65,536 frames of 16 bytes, and H is what D leaves.
const STACK_V1: StackRule = StackRule {
    unit_bytes: 1 << 10,
    frame_bytes: 256,
    values_per_instruction: 4,
    values_per_call: 16,
    value_bytes: 8,
    vector_bytes: 16,
    frame_bytes_max: 8 << 20,
    depth_max: 120 << 10,
    heavy_max: (120 << 10) - (1 << 20) / NATIVE_FRAME_BYTES_MIN - 1,
    native_fast_bytes: 1 << 20,
    native_exact_bytes: 128 << 20,
};

const _: () = assert!(
    STACK_V1.heavy_max + STACK_V1.native_fast_bytes / NATIVE_FRAME_BYTES_MIN < STACK_V1.depth_max,
    "what the fast variant lets live, the exact one lets live"
);
const _: () = assert!(
    STACK_V1.depth_max * STACK_V1.unit_bytes + STACK_V1.frame_bytes_max
        <= STACK_V1.native_exact_bytes,
    "the exact variant's native stack holds what its counted depth admits"
);

/// Every edition this build knows, with its id.
pub fn all() -> &'static [(ProfileId, Profile)] {
    static ALL: LazyLock<[(ProfileId, Profile); 1]> = LazyLock::new(|| {
        let first = Profile::v1();
        [(first.id(), first)]
    });
    &*ALL
}

/// The edition of that id, if this build knows it.
pub fn by_id(id: ProfileId) -> Option<&'static Profile> {
    all().iter().find(|(known, _)| *known == id).map(|(_, profile)| profile)
}

impl Profile {
    /// The first edition.
    pub fn v1() -> Self {
        Self {
            edition: 1,
            features: Features(
                Features::MUTABLE_GLOBAL.0
                    | Features::SATURATING_FLOAT_TO_INT.0
                    | Features::SIGN_EXTENSION.0
                    | Features::REFERENCE_TYPES.0
                    | Features::MULTI_VALUE.0
                    | Features::BULK_MEMORY.0
                    | Features::SIMD.0
                    | Features::EXTENDED_CONST.0
                    | Features::FLOATS.0,
            ),
            bounds: BOUNDS_V1,
            opcodes: OpcodeCosts::v1(),
            bulk: BulkCosts::V1,
            fixed: STATIC_V1,
            stack: STACK_V1,
            host_calls: host_calls::v1(),
            clock: ClockRule {
                // Far above any real loop's need to see time move, far below a second.
                step_ns: 1_000,
                resolution_ns: 1_000,
            },
            generator: GeneratorRule::ChaCha20,
            trap_codes: 1,
            // A body of 512 KiB can call such a leaf 170,000 times before its next check: 44 million
            // fuel, some ten milliseconds, which is the longest that a run goes unwatched.
            placement: PlacementRule { edition: 1, leaf_unchecked: 256 },
        }
    }

    /// The import of that name, if the profile knows it.
    pub fn host_call(&self, module: &str, name: &str) -> Option<&HostCall> {
        self.host_calls
            .binary_search_by(|call| (call.module, call.name).cmp(&(module, name)))
            .ok()
            .and_then(|index| self.host_calls.get(index))
    }

    /// The document: the bytes that the profile's id names.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(4096);
        out.map(12);
        out.text("v");
        out.uint(self.edition);
        out.text("op");
        self.opcodes.put(&mut out);
        out.text("rng");
        out.text(match self.generator {
            GeneratorRule::ChaCha20 => "chacha20",
        });
        out.text("bulk");
        self.bulk.put(&mut out);
        out.text("host");
        out.array(self.host_calls.len() as u64);
        for call in &self.host_calls {
            call.put(&mut out);
        }
        out.text("stat");
        self.fixed.put(&mut out);
        out.text("trap");
        out.uint(self.trap_codes);
        out.text("clock");
        self.clock.put(&mut out);
        out.text("place");
        self.placement.put(&mut out);
        out.text("stack");
        self.stack.put(&mut out);
        out.text("bounds");
        self.bounds.put(&mut out);
        out.text("features");
        out.uint(self.features.0);
        out.finish()
    }

    /// The profile's name in runs and receipts.
    pub fn id(&self) -> ProfileId {
        ProfileId::of(&self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_editions_are_found_by_id_and_nothing_else_is() {
        let first = Profile::v1();
        assert_eq!(by_id(first.id()), Some(&first));
        let mut other = first.clone();
        other.opcodes.plain[0x6A] += 1;
        assert_eq!(by_id(other.id()), None, "one price changed is another profile");
    }

    /// Another implementation can be held to these bytes; a price that changes without a new edition
    /// changes them.
    #[test]
    fn the_first_edition_has_its_golden_bytes() {
        let hex = Profile::v1().encode().iter().fold(String::new(), |mut hex, byte| {
            use core::fmt::Write as _;
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        expect_test::expect_file!["../../../tests/conformance/profile/v1.hex"]
            .assert_eq(&format!("{hex}\n"));
    }

    #[test]
    fn host_calls_are_found_by_module_and_name() {
        let profile = Profile::v1();
        for call in &profile.host_calls {
            assert_eq!(profile.host_call(call.module, call.name), Some(call));
        }
        assert_eq!(profile.host_call("talea", "fd_write"), None);
        assert_eq!(profile.host_calls.len(), 46 + 8);
    }
}
