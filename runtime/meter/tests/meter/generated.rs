//! Twenty thousand modules from wasm-smith, seeded: a failure names its seed.
//!
//! Per module: all variants' output validates; exact under the interpreter equals fast under the
//! compiler where the run ends well, and fast faults where exact traps; the oracle agrees. Every tenth
//! module also runs exact and explained under the compiler at full optimisation.

use arbitrary::Unstructured;
use talea_ledger::profile::Profile;
use talea_meter::{Inspection, RefusalReason, Variant};
use wasm_smith::{Config, Module};

use crate::compiled::{self, Effort};
use crate::fitting;
use crate::host::{ENTRIES_MAX, Ending, PAGES_MAX, Report, UNFIT, metered, on_deep_stack};
use crate::interpreted;

/// Enough for loops to turn, little enough for an interpreter.
const LIMIT: u64 = 30_000;
const SLICE: u64 = 1_000;
const PER_CHUNK: u64 = 1_000;

macro_rules! chunks {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(#[test] fn $name() { chunk($number); })*
    };
}

// 20 x 1,000 modules; apart, so that the test runner spreads them over the cores.
chunks! {
    modules_00 = 0, modules_01 = 1, modules_02 = 2, modules_03 = 3, modules_04 = 4,
    modules_05 = 5, modules_06 = 6, modules_07 = 7, modules_08 = 8, modules_09 = 9,
    modules_10 = 10, modules_11 = 11, modules_12 = 12, modules_13 = 13, modules_14 = 14,
    modules_15 = 15, modules_16 = 16, modules_17 = 17, modules_18 = 18, modules_19 = 19,
}

/// How the runs of a chunk ended.
#[derive(Debug, Default)]
struct Census {
    returned: u64,
    trapped: u64,
    out_of_fuel: u64,
    stack: u64,
    exited: u64,
    fuel: u64,
}

fn chunk(number: u64) {
    let census = on_deep_stack(|| {
        let mut census = Census::default();
        let mut accepted = 0;
        for attempt in 0.. {
            let seed = number * 1_000_000 + attempt;
            if let Some(wasm) = generate(seed)
                && let Some(report) = examine(seed, &wasm)
            {
                census.count(&report);
                accepted += 1;
                if accepted == PER_CHUNK {
                    break;
                }
            }
        }
        census
    });
    // A generator that only made trivial modules would prove nothing.
    assert!(census.returned > PER_CHUNK / 5 && census.trapped > 10, "{census:?}");
    assert!(census.fuel / census.returned > 50, "{census:?}");
}

/// A module, or nothing if the seed's bytes ran out.
fn generate(seed: u64) -> Option<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::new();
    while bytes.len() < 6_000 {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend((word ^ (word >> 31)).to_le_bytes());
    }
    let mut source = Unstructured::new(&bytes);
    let module = Module::new(config(seed), &mut source).ok()?.to_bytes();
    fitting::fit(&module, seed)
}

fn config(seed: u64) -> Config {
    Config {
        allow_start_export: seed % 5 < 2,
        canonicalize_nans: true,
        disallow_traps: seed % 4 < 2,
        // Half of what refers to functions by value also holds `externref`, which no profile allows.
        reference_types_enabled: seed.is_multiple_of(8),
        simd_enabled: seed % 3 == 1,
        max_instructions: if seed.is_multiple_of(16) { 1_500 } else { 200 },
        max_funcs: 12,
        min_funcs: 1,
        max_memories: 1,
        max_tables: 1 + usize::from(seed.is_multiple_of(8)),
        max_table_elements: 1_000,
        max_globals: 10,
        max_types: 20,
        max_data_segments: 4,
        max_element_segments: 4,
        max_imports: 0,
        max_exports: 4,
        bulk_memory_enabled: true,
        multi_value_enabled: true,
        exceptions_enabled: false,
        gc_enabled: false,
        relaxed_simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        extended_const_enabled: seed % 7 == 3,
        memory64_enabled: false,
        ..Config::default()
    }
}

/// The report of the exact variant, or nothing if the module is one that no host would start.
fn examine(seed: u64, wasm: &[u8]) -> Option<Report> {
    let inspection = match talea_meter::inspect(wasm, &Profile::v1()) {
        Ok(inspection) => inspection,
        Err(refusal) => {
            let other = wasmparser::Validator::new().validate_all(wasm).err();
            let reason = refusal.reason;
            assert_eq!(
                reason,
                RefusalReason::ForbiddenFeature,
                "seed {seed}: {refusal}, {other:?}"
            );
            return None;
        }
    };
    if !startable(&inspection) {
        return None;
    }
    let exact = metered(wasm, Variant::Exact);
    let fast = metered(wasm, Variant::Fast);
    let explained = metered(wasm, Variant::Explained);
    for output in [&exact, &fast, &explained] {
        if let Err(error) = wasmparser::Validator::new().validate_all(output) {
            panic!("seed {seed}: {error}");
        }
    }
    let report = interpreted::run_exact(&exact, LIMIT, SLICE);
    let quick = compiled::run(&fast, Variant::Fast, Effort::None, LIMIT, SLICE);
    match report.ending {
        // A trap above the limit is a trap in fast, and the repeat says out of fuel.
        Ending::OutOfFuel if matches!(quick.ending, Ending::Trapped(_)) => {}
        Ending::Returned(_) | Ending::Exited(_) | Ending::OutOfFuel => {
            if !matches!(quick.ending, Ending::NativeOverflow | Ending::Stack) {
                assert_eq!(quick, report, "seed {seed}: fast against exact");
            }
        }
        Ending::Trapped(_) => assert!(
            quick.ending == report.ending
                || matches!(quick.ending, Ending::NativeOverflow | Ending::Stack),
            "seed {seed}: fast {quick:?}, exact {report:?}"
        ),
        Ending::Stack => assert!(
            matches!(quick.ending, Ending::NativeOverflow | Ending::Stack),
            "seed {seed}: fast {quick:?}, exact {report:?}"
        ),
        Ending::NativeOverflow => panic!("seed {seed}: {report:?}"),
    }
    let ran = report.ending != Ending::Trapped(UNFIT);
    if ran && matches!(report.ending, Ending::Returned(_) | Ending::Exited(_) | Ending::Trapped(_))
    {
        let oracle = interpreted::run_oracle(wasm);
        assert_eq!(oracle.ending, report.ending, "seed {seed}: oracle's ending");
        assert_eq!(oracle.calls, report.calls, "seed {seed}: oracle's host calls");
        assert!(oracle.fuel <= report.fuel, "seed {seed}: oracle {oracle:?}, exact {report:?}");
        if matches!(report.ending, Ending::Returned(_)) {
            assert_eq!(oracle, report, "seed {seed}: oracle against exact");
        }
    }
    if seed.is_multiple_of(10) {
        let again = compiled::run(&exact, Variant::Exact, Effort::Speed, LIMIT, LIMIT);
        assert_eq!(again, report, "seed {seed}: exact under two engines");
        let lines = compiled::run(&explained, Variant::Explained, Effort::Speed, LIMIT, SLICE);
        assert_eq!(lines, report, "seed {seed}: explained");
        let fast = compiled::run(&fast, Variant::Fast, Effort::Speed, LIMIT, LIMIT);
        if matches!(report.ending, Ending::Returned(_) | Ending::OutOfFuel)
            && !matches!(fast.ending, Ending::NativeOverflow | Ending::Stack | Ending::Trapped(_))
        {
            assert_eq!(fast, report, "seed {seed}: fast, optimised");
        }
    }
    Some(report)
}

fn startable(inspection: &Inspection) -> bool {
    inspection.memory_pages <= PAGES_MAX
        && inspection.tables.iter().all(|entries| *entries <= ENTRIES_MAX)
}

impl Census {
    fn count(&mut self, report: &Report) {
        match report.ending {
            Ending::Returned(_) => {
                self.returned += 1;
                self.fuel += report.fuel;
            }
            Ending::Trapped(_) => self.trapped += 1,
            Ending::OutOfFuel => self.out_of_fuel += 1,
            Ending::Exited(_) => self.exited += 1,
            Ending::Stack | Ending::NativeOverflow => self.stack += 1,
        }
    }
}
