//! Every construct by hand: oracle, exact under two engines, explained and fast give one number.

use talea_meter::Variant;

use crate::compiled::{self, Effort};
use crate::host::{Ending, Report, metered, on_deep_stack, wat};
use crate::interpreted;

const LIMIT: u64 = 1 << 40;

/// Runs one module every way there is; all ways must agree. The report is the common one.
pub(crate) fn all_ways(wasm: &[u8]) -> Report {
    on_deep_stack(|| {
        let (exact, fast) = (metered(wasm, Variant::Exact), metered(wasm, Variant::Fast));
        let report = compiled::run(&exact, Variant::Exact, Effort::Speed, LIMIT, LIMIT);
        for effort in [Effort::None, Effort::Speed] {
            // Slices, however small, never change a bill.
            for slice in [LIMIT, 97] {
                let run = |wasm, variant| compiled::run(wasm, variant, effort, LIMIT, slice);
                assert_eq!(run(&exact, Variant::Exact), report, "exact");
                assert_eq!(run(&fast, Variant::Fast), report, "fast");
                let explained = metered(wasm, Variant::Explained);
                assert_eq!(run(&explained, Variant::Explained), report, "explained");
            }
        }
        assert_eq!(interpreted::run_exact(&exact, LIMIT, 97), report, "exact, second engine");
        if matches!(report.ending, Ending::Returned(_)) {
            assert_eq!(interpreted::run_oracle(wasm), report, "oracle");
        }
        report
    })
}

/// Runs a handler's body; it must return `result`.
fn check(text: &str, result: i32) {
    let report = all_ways(&wat(text));
    assert_eq!(report.ending, Ending::Returned(vec![i64::from(result)]), "{text}");
}

/// A handler whose body is this.
fn body(body: &str) -> String {
    format!(r#"(module (memory 1 4) (func (export "talea_handle") (result i32) {body}))"#)
}

#[test]
fn straight_line() {
    check(&body("i32.const 2 i32.const 3 i32.mul i32.const 4 i32.add"), 10);
    check(&body("nop i32.const 1 drop i32.const 7"), 7);
    check(&body("(select (i32.const 1) (i32.const 2) (i32.const 0))"), 2);
    check(
        &body("(local i64) (local.set 0 (i64.const 5)) (i32.wrap_i64 (local.tee 0 (local.get 0)))"),
        5,
    );
}

#[test]
fn blocks_left_early_and_not() {
    check(&body("(block (br 0)) i32.const 1"), 1);
    check(&body("(block (br_if 0 (i32.const 1)) nop) i32.const 1"), 1);
    check(&body("(block (block (br_if 1 (i32.const 1))) (drop (i32.const 9))) i32.const 1"), 1);
    check(
        &body("(block (block (br_if 1 (i32.const 0))) (drop (i32.clz (i32.const 9)))) i32.const 1"),
        1,
    );
    check(&body("(block (result i32) (br 0 (i32.const 3)) (i32.add (i32.const 1)))"), 3);
    check(
        &body("(block (result i32) (drop (br_if 0 (i32.const 3) (i32.const 1))) i32.const 4)"),
        3,
    );
}

#[test]
fn returns_from_inside() {
    check(&body("(block (return (i32.const 5))) i32.const 1"), 5);
    check(&body("(if (i32.const 1) (then (return (i32.const 5)))) i32.const 1"), 5);
    check(&body("(if (i32.const 0) (then (return (i32.const 5)))) i32.const 1"), 1);
    check(
        &body("(loop (block (loop (br_if 2 (i32.const 0)) (return (i32.const 8))))) unreachable"),
        8,
    );
    check(&body("i32.const 5 return"), 5);
    check(&body("i32.const 1 i32.const 5 return unreachable"), 5);
    // A branch to the function's own label is a return.
    check(&body("(block (br 1 (i32.const 6))) i32.const 1"), 6);
    check(&body("(br_if 0 (i32.const 6) (i32.const 1)) drop i32.const 1"), 6);
}

#[test]
fn ifs() {
    check(&body("(if (result i32) (i32.const 1) (then (i32.const 2)) (else (i32.const 3)))"), 2);
    check(&body("(if (result i32) (i32.const 0) (then (i32.const 2)) (else (i32.const 3)))"), 3);
    check(
        &body(
            "(if (i32.const 0) (then (drop (i32.div_u (i32.const 1) (i32.const 1))))) i32.const 1",
        ),
        1,
    );
    check(
        &body(
            "(block (if (i32.const 1) (then (br 1)) (else (drop (i32.ctz (i32.const 1))))) (drop (i32.clz (i32.const 1)))) i32.const 1",
        ),
        1,
    );
    // The then arm ends in dead code, the else arm does not.
    check(&body("(if (result i32) (i32.const 0) (then (unreachable)) (else (i32.const 3)))"), 3);
}

#[test]
fn loops() {
    let counting = "(local i32) (loop (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get 0) (i32.const 1000)))) local.get 0";
    check(&body(counting), 1000);
    let nested = "(local i32 i32 i32)
      (block $out (loop $a
        (local.set 1 (i32.const 0))
        (loop $b
          (local.set 2 (i32.add (local.get 2) (i32.const 1)))
          (br_if $out (i32.gt_u (local.get 2) (i32.const 500)))
          (if (i32.and (local.get 2) (i32.const 1)) (then (br_if $b (i32.const 0))) (else (nop)))
          (br_if $b (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 10))))
        (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br $a)))
      local.get 0";
    check(&body(nested), 50);
    // A loop that is never repeated, and one with a parameter.
    check(&body("(loop (result i32) i32.const 4)"), 4);
    let parameter = r#"(module (func (export "talea_handle") (result i32)
      i32.const 10 (loop (param i32) (result i32)
        i32.const 1 i32.sub (br_if 0 (i32.const 0)) )))"#;
    check(parameter, 9);
    // A loop whose body begins with a branch out of it.
    check(
        &body(
            "(local i32) (block (loop (br_if 1 (i32.eq (local.get 0) (i32.const 3))) (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br 0))) local.get 0",
        ),
        3,
    );
}

/// Small loops have several turns written out: every way in, on and out, for every count of turns.
#[test]
fn turns_written_out() {
    let step = "(local.tee 0 (i32.add (local.get 0) (i32.const 1)))";
    for count in 1..20 {
        let more = format!("(i32.lt_u (local.get 0) (i32.const {count}))");
        let last = format!("(i32.eq (local.get 0) (i32.const {count}))");
        let odd = "(i32.and (local.get 0) (i32.const 1))";
        let inside = [
            // Leaves through its end; by a branch; by a branch that carries a value; by a return.
            format!("(drop {step}) (br_if $l {more})"),
            format!("(drop {step}) (br_if $out {last}) (br $l)"),
            format!("(drop {step}) (drop (br_if $with (local.get 0) {last})) (br $l)"),
            format!("(drop {step}) (if {last} (then (return (local.get 0)))) (br $l)"),
            // Goes on from two places, after different charges.
            format!(
                "(drop {step}) (br_if $out {last})
                 (br_if $l {odd}) (drop (i32.mul (local.get 0) (i32.const 3))) (br $l)"
            ),
            format!(
                "(drop {step}) (if {odd} (then (br_if $l {more})) (else (drop (i32.clz {odd}))
                   (br_if $l {more}) (nop))) (br_if $out (i32.const 1)) (br $l)"
            ),
            // Never goes on.
            format!("(local.set 0 (i32.const {count})) (br_if $out {odd})"),
            format!("(local.set 0 (i32.const {count})) (br $out)"),
        ];
        for inside in inside {
            check(
                &body(&format!(
                    "(local i32) (block $with (result i32)
                       (block $out (loop $l {inside})) (local.get 0))"
                )),
                count,
            );
        }
    }
}

/// The smallest loops grow most: their head, their payment and their check are longer than they are, and
/// the turns written out are bounded by the body's length.
#[test]
fn the_output_of_many_small_loops_is_bounded() {
    let loops = "(loop (br_if 0 (local.get 0)))".repeat(20_000);
    let wasm = wat(&body(&format!("(local i32) {loops} (i32.const 1)")));
    for variant in [Variant::Exact, Variant::Fast, Variant::Explained] {
        let factor = metered(&wasm, variant).len() / wasm.len();
        assert!(factor < 16, "{variant:?}: {factor}");
    }
}

/// What is owed on the ways to a label differs, also below zero, and where values are carried.
#[test]
fn ways_that_meet() {
    for which in 0..4 {
        let dear = "(drop (i32.div_u (i32.const 7) (i32.const 2)))";
        let is = |n: u32| format!("(i32.eq (i32.const {which}) (i32.const {n}))");
        check(
            &body(&format!(
                "(block $a (block $b {dear} (br_if $b {}) {dear} (br_if $a {}) (br_if $b {}) {dear})
                   {dear} (br_if $a {})) (i32.const 1)",
                is(0),
                is(1),
                is(2),
                is(3)
            )),
            1,
        );
        check(
            &body(&format!(
                "(block $a (result i32) (drop (br_if $a (i32.const 1) {})) {dear}
                   (drop (br_if $a (i32.const 1) {})) {dear} {dear} (i32.const 1))",
                is(0),
                is(1)
            )),
            1,
        );
        // A table among other ways, into blocks and back to a loop.
        check(
            &body(&format!(
                "(local i32) (loop $l (block $a (block $b {dear}
                   (br_if $a (i32.eq (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9)))
                   (br_table $a $b $l $b (i32.rem_u (local.get 0) (i32.const {})))) {dear}
                   (br_if $l (i32.lt_u (local.get 0) (i32.const 20))))) (local.get 0)",
                which + 3
            )),
            [3, 4, 5, 6][which as usize],
        );
        // Arms of an `if` that end apart, or do not end.
        check(
            &body(&format!(
                "(block $out (if {} (then {dear} (br $out)) (else (nop))) {dear}
                   (if {} (then {dear}) (else (br $out)))) (i32.const 1)",
                is(0),
                is(1)
            )),
            1,
        );
    }
}

#[test]
fn branch_tables() {
    for (index, result) in [(0, 10), (1, 20), (2, 30), (3, 40), (99, 40)] {
        let table = format!(
            "(block $d (block $c (block $b (block $a
               (br_table $a $b $c $d (i32.const {index})))
               (return (i32.const 10)))
               (return (i32.const 20)))
               (return (i32.const 30)))
             i32.const 40"
        );
        check(&body(&table), result);
        // The function's own label among the targets.
        let own = format!(
            "(block $b (result i32) (i32.const 7) (br_table $b 1 (i32.const {index}))) i32.const 1 i32.add"
        );
        check(&body(&own), if index == 0 { 8 } else { 7 });
    }
}

#[test]
fn dead_code_is_free() {
    check(
        &body(
            "(block (br 0) (block (loop (if (i32.const 1) (then (br 3)) (else (unreachable))))) (i32.div_u)  drop) i32.const 1",
        ),
        1,
    );
    check(&body("(return (i32.const 2)) (block (result i32) (br 0 (i32.const 1)))"), 2);
    check(
        &body(
            "(if (i32.const 1) (then (return (i32.const 2)) (if (i32.const 1) (then) (else))) (else (nop))) i32.const 1",
        ),
        2,
    );
}

#[test]
fn calls_and_recursion() {
    let fib = r#"(module
      (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
          (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                         (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
      (func (export "talea_handle") (result i32) (call $fib (i32.const 15))))"#;
    check(fib, 610);
    let several = r#"(module
      (func $pair (param i32 i64) (result i64 i32) local.get 1 local.get 0)
      (func $three (result i32 i32 i32)
         (block (br 1 (i32.const 1) (i32.const 2) (i32.const 3))) unreachable)
      (func (export "talea_handle") (result i32) (local i64)
        i32.const 4 i64.const 5 call $pair drop local.set 0
        call $three i32.add i32.add))"#;
    check(several, 6);
    let mutual = r#"(module
      (func $even (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0))
        (then (i32.const 1)) (else (call $odd (i32.sub (local.get 0) (i32.const 1))))))
      (func $odd (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0))
        (then (i32.const 0)) (else (call $even (i32.sub (local.get 0) (i32.const 1))))))
      (func (export "talea_handle") (result i32) (call $even (i32.const 2001))))"#;
    check(mutual, 0);
}

#[test]
fn memory_and_tables() {
    check(&body("(i32.store (i32.const 8) (i32.const 77)) (i32.load8_u (i32.const 8))"), 77);
    check(
        &body(
            "(memory.fill (i32.const 0) (i32.const 7) (i32.const 5000)) (i32.load8_u (i32.const 4999))",
        ),
        7,
    );
    check(
        &body(
            "(memory.fill (i32.const 0) (i32.const 7) (i32.const 0)) (memory.copy (i32.const 100) (i32.const 0) (i32.const 1025)) (memory.size)",
        ),
        1,
    );
    check(&body("(memory.grow (i32.const 2))"), 1);
    check(&body("(drop (memory.grow (i32.const 100))) (memory.grow (i32.const 60000))"), -1);
    let passive = r#"(module (memory 1) (data $d "hello, world") (data (i32.const 50) "x")
      (func (export "talea_handle") (result i32)
        (memory.init $d (i32.const 0) (i32.const 7) (i32.const 5)) (data.drop $d)
        (i32.load8_u (i32.const 4))))"#;
    check(passive, i32::from(b'd'));
    let tables = r#"(module (table $t 4 50 funcref) (table $u 2 funcref) (elem $e func $a $b)
      (func $a (result i32) i32.const 1) (func $b (result i32) i32.const 2)
      (func (export "talea_handle") (result i32)
        (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2)) (elem.drop $e)
        (table.copy $u $t (i32.const 0) (i32.const 0) (i32.const 2))
        (drop (table.grow $t (ref.func $b) (i32.const 3)))
        (table.fill $t (i32.const 2) (ref.func $a) (i32.const 2))
        (table.set $t (i32.const 3) (table.get $u (i32.const 1)))
        (drop (table.grow $t (ref.null func) (i32.const 1000)))
        (i32.add (call_indirect $t (result i32) (i32.const 3))
          (i32.add (call_indirect $u (result i32) (i32.const 0))
            (i32.mul (table.size $t) (i32.add (ref.is_null (table.get $t (i32.const 6)))
              (call_indirect $t (result i32) (i32.const 5))))))))"#;
    check(tables, 17);
}

#[test]
fn globals_floats_and_vectors() {
    let text = r#"(module (global $g (mut i32) (i32.const 3)) (global f64 (f64.const 1))
      (memory 1)
      (func (export "talea_handle") (result i32) (local v128 f32)
        (global.set $g (i32.add (global.get $g) (i32.const 1)))
        (local.set 1 (f32.sqrt (f32.const 16)))
        (local.set 0 (i32x4.splat (i32.trunc_sat_f32_s (local.get 1))))
        (v128.store (i32.const 16) (i32x4.mul (local.get 0) (local.get 0)))
        (i32.add (global.get $g)
          (i32x4.extract_lane 2 (v128.load (i32.const 16))))))"#;
    check(text, 20);
}

#[test]
fn start_initialize_and_host_calls() {
    let text = r#"(module
      (import "talea" "clock_ns" (func $clock (result i64)))
      (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory 1) (global $g (mut i32) (i32.const 0))
      (func $begin (global.set $g (i32.const 40)) (drop (call $yield)))
      (start $begin)
      (func (export "_initialize") (global.set $g (i32.add (global.get $g) (i32.const 2)))
        (drop (call $clock)))
      (func (export "talea_handle") (result i32)
        (drop (call $write (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)))
        global.get $g))"#;
    check(text, 42);
    let metered = metered(&wat(text), Variant::Fast);
    let exports = compiled::exports(&metered);
    assert_eq!(exports, ["memory", "talea:start", "_initialize", "talea_handle"]);
}

#[test]
fn a_command_that_exits() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func $deep (call $exit (i32.const 3)) (unreachable))
      (func (export "_start") (call $deep)))"#;
    let report = all_ways(&wat(text));
    assert_eq!(report.ending, Ending::Exited(3));
}
