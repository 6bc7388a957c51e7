//! Runs that do not end well: the exact bill, under both engines, and that fast never hides them.

use talea_meter::Variant;

use crate::compiled::{self, Effort};
use crate::host::{Ending, Report, metered, on_deep_stack, wat};
use crate::interpreted;

/// The exact report, the same under every engine, effort and slice; fast must fault.
fn exact(text: &str, limit: u64) -> Report {
    let wasm = wat(text);
    on_deep_stack(|| {
        let (exact, fast) = (metered(&wasm, Variant::Exact), metered(&wasm, Variant::Fast));
        let report = interpreted::run_exact(&exact, limit, limit);
        for effort in [Effort::None, Effort::Speed] {
            for slice in [limit, 1_009] {
                let again = compiled::run(&exact, Variant::Exact, effort, limit, slice);
                assert_eq!(again, report, "{effort:?} {slice}");
                let quick = compiled::run(&fast, Variant::Fast, effort, limit, slice);
                match report.ending {
                    // A trap above the limit is a trap in fast, and the repeat says out of fuel.
                    Ending::OutOfFuel if matches!(quick.ending, Ending::Trapped(_)) => {}
                    Ending::OutOfFuel => assert_eq!(quick, report, "fast"),
                    Ending::Trapped(_) => assert_eq!(quick.ending, report.ending, "fast"),
                    _ => assert!(matches!(quick.ending, Ending::Stack | Ending::NativeOverflow)),
                }
            }
        }
        report
    })
}

/// A handler that charges 1 fuel per `local.set` before it traps, and whose trap stands in a segment
/// of its own.
fn check(trap: &str, code: &'static str, fuel: u64) {
    let text = format!(
        r#"(module (memory 1) (table 1 funcref) (type $t (func (param i32) (result i32)))
          (func $other (result i64) i64.const 0) (elem declare func $other)
          (func (export "talea_handle") (result i32) (local i32)
            (local.set 0 (i32.const 0)) (local.set 0 (i32.const 0))
            (if (i32.eqz (local.get 0)) (then {trap}))
            (local.set 0 (i32.const 0)) (i32.const 1)))"#
    );
    let report = exact(&text, 1 << 30);
    assert_eq!((report.ending, report.fuel), (Ending::Trapped(code), fuel), "{trap}");
}

#[test]
fn every_trap_kind_is_billed_for_the_segments_entered() {
    // 4 at entry (3 + 1 for a local) and 5 for the first segment: three sets, eqz, if. The tail after
    // the `if` belongs to it, so the third set is charged before the trap.
    let first = 4 + 5;
    check("unreachable", "unreachable", first + 1);
    check("(drop (i32.load (i32.const 65536)))", "memory_out_of_bounds", first + 2);
    check("(drop (table.get (i32.const 1)))", "table_out_of_bounds", first + 10);
    check(
        "(drop (call_indirect (type $t) (i32.const 0) (i32.const 0)))",
        "indirect_call_to_null",
        first + 24,
    );
    check(
        "(drop (call_indirect (type $t) (i32.const 0) (i32.const 9)))",
        "table_out_of_bounds",
        first + 24,
    );
    check(
        "(table.set (i32.const 0) (ref.func $other))
         (drop (call_indirect (type $t) (i32.const 0) (i32.const 0)))",
        "bad_signature",
        first + 10 + 60 + 24,
    );
    check(
        "(drop (i32.div_s (i32.const -2147483648) (i32.const -1)))",
        "integer_overflow",
        first + 20,
    );
    check("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", "integer_divide_by_zero", first + 32);
    check("(drop (i32.trunc_f32_s (f32.const nan)))", "bad_conversion_to_integer", first + 5);
    // Charged by size before the effect: 64 per KiB and 70,000 bytes, rounded up.
    check(
        "(memory.fill (i32.const 0) (i32.const 0) (i32.const 70000))",
        "memory_out_of_bounds",
        first + 60 + 4_375,
    );
}

#[test]
fn ten_million_steps_before_a_division_by_zero_are_billed() {
    let report = exact(
        r#"(module (func (export "talea_handle") (result i32) (local i32)
          (loop (br_if 0 (i32.lt_u
            (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10000000))))
          (i32.div_u (i32.const 1) (i32.const 0))))"#,
        1 << 40,
    );
    assert_eq!(report.ending, Ending::Trapped("integer_divide_by_zero"));
    // 4 at entry, 20 for the division, and tee, add, compare, branch per turn.
    assert_eq!(report.fuel, 4 + 20 + 10_000_000 * 4);
}

#[test]
fn out_of_fuel_costs_the_limit() {
    let endless =
        r#"(module (func (export "talea_handle") (result i32) (loop (br 0)) i32.const 0))"#;
    for limit in [0, 1, 2, 1_000, 1_000_003] {
        let report = exact(endless, limit);
        assert_eq!((report.ending, report.fuel), (Ending::OutOfFuel, limit));
    }
    // A trap, a return and an exit above the limit are out of fuel too: no check stands after them.
    let above = |end: &str| {
        format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (func (export "talea_handle") (result i32) (local i32)
                (if (i32.eqz (local.get 0)) (then {} {end})) (i32.const 0)))"#,
            "(local.set 0 (i32.const 1))".repeat(100)
        )
    };
    for end in ["(unreachable)", "(return (i32.const 1))", "(call $exit (i32.const 0))"] {
        let report = exact(&above(end), 60);
        assert_eq!((report.ending, report.fuel), (Ending::OutOfFuel, 60), "{end}");
    }
}

#[test]
fn bulk_operations_and_growth_are_checked_before_their_effect() {
    for bomb in [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const -1)) (i32.const 0)",
        "(memory.grow (i32.const 3))",
        // Charged as asked: four billion pages.
        "(memory.grow (i32.const -1))",
        "(table.grow (ref.null func) (i32.const 15000))",
    ] {
        let text = format!(
            r#"(module (memory 1) (table 1 funcref)
              (func (export "talea_handle") (result i32) {bomb}))"#
        );
        let report = exact(&text, 5_000);
        assert_eq!((report.ending, report.fuel), (Ending::OutOfFuel, 5_000), "{bomb}");
    }
}

#[test]
fn endless_recursion_ends_at_the_same_place_everywhere() {
    let text = r#"(module
      (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0))))
      (func (export "talea_handle") (result i32) (call $down (i32.const 0))))"#;
    let report = exact(text, 1 << 40);
    // Weight 1 each, the entry too: the function that would make it D + 1 is entered and charged
    // (entry 3, add 1, call 6), the entry itself is 3 and a call.
    let depth = talea_ledger::profile::Profile::v1().stack.depth_max;
    assert_eq!((report.ending, report.fuel), (Ending::Stack, (3 + 6) + depth * (3 + 1 + 6)));
}
