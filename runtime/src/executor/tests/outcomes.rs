//! Every way a run can end.

use talea_ledger::outcome::{LimitKind, Outcome, TrapCode};
use talea_ledger::output::Output;
use talea_ledger::units::{Fuel, Pages};

use super::bench::{Bench, Call, handler};

const HELLO: &str = r#"(data (i32.const 0) "hello")"#;
const WRITE: &str = "(drop (call $w (i32.const 0) (i32.const 5)))";

#[tokio::test]
async fn a_return_and_an_exit_keep_their_output() {
    let bench = Bench::new();
    let cases = [
        (handler(HELLO, &format!("{WRITE} (i32.const 0)")), Outcome::Ok),
        (handler(HELLO, &format!("{WRITE} (i32.const 7)")), Outcome::exit(7)),
        (handler(HELLO, &format!("{WRITE} (i32.const -1)")), Outcome::exit(u32::MAX)),
    ];
    for (call, outcome) in cases {
        let found = bench.check(&call).await;
        assert_eq!((found.outcome, &found.output_body[..]), (outcome, &b"hello"[..]));
        assert_eq!((found.output.body_len, found.output.status.get()), (5, 200));
        assert_eq!(found.peak_pages, Pages(1));
        assert!(found.host_fuel > Fuel(0) && found.fuel > found.host_fuel);
    }
}

#[tokio::test]
async fn proc_exit_ends_a_command_wherever_it_is() {
    let bench = Bench::new();
    for code in [0, 1, 126, 255, u32::MAX] {
        let call = Call::wat(&format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (import "wasi_snapshot_preview1" "fd_write"
                    (func $write (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "\10\00\00\00\05\00\00\00") (data (i32.const 16) "hello")
                (func $deep (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                    (call $exit (i32.const {code})))
                (func (export "_start") (call $deep) unreachable))"#,
            code = code.cast_signed()
        ));
        let found = bench.check(&call).await;
        assert_eq!((found.outcome, &found.output_body[..]), (Outcome::exit(code), &b"hello"[..]));
    }
}

/// A body for every trap a guest can raise. Each logs and writes first, and works for a while.
const TRAPS: [(TrapCode, &str); 9] = [
    (TrapCode::Unreachable, "unreachable"),
    (TrapCode::MemoryOutOfBounds, "(i32.load (i32.const 65533))"),
    (TrapCode::TableOutOfBounds, "(drop (table.get 0 (i32.const 2))) (i32.const 0)"),
    (TrapCode::TableOutOfBounds, "(call_indirect (result i32) (i32.const 2))"),
    (TrapCode::IndirectCallToNull, "(call_indirect (result i32) (i32.const 1))"),
    (TrapCode::IndirectCallTypeMismatch, "(call_indirect (result i32) (i32.const 0))"),
    (TrapCode::IntegerDivideByZero, "(i32.div_u (i32.const 1) (local.get $i))"),
    (
        TrapCode::IntegerOverflow,
        "(i32.div_s (i32.const 0x80000000) (i32.sub (local.get $i) (i32.const 1)))",
    ),
    (TrapCode::InvalidConversionToInteger, "(i32.trunc_f32_s (f32.const nan))"),
];

#[tokio::test]
async fn every_trap_is_decided_by_the_exact_variant() {
    let bench = Bench::new();
    let mut fuels = Vec::new();
    for (code, body) in TRAPS {
        let items = format!("{HELLO} (table 2 funcref) (elem (i32.const 0) $f) (func $f)");
        let body = format!(
            "(local $i i32) {WRITE} (drop (call $l (i32.const 0) (i32.const 0) (i32.const 5)))
             (local.set $i (i32.const 1000))
             (loop $again (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
             {body}"
        );
        let found = bench.check(&handler(&items, &body)).await;
        assert_eq!(found.outcome, Outcome::Trap(code));
        assert_eq!((&found.output, found.output_body.len()), (&Output::empty(), 0));
        // Work before a trap is not free, and the log is written once.
        assert!(found.fuel > Fuel(10_000 + 1_000));
        assert_eq!(&found.log[..], b"error hello\n");
        fuels.push(found.fuel);
    }
    assert_eq!(bench.executor.gauges().repeats, TRAPS.len() as u64);
    assert_eq!(bench.executor.gauges().instances, 0);
}

#[tokio::test]
async fn a_trap_while_instantiating_bills_the_static_charge() {
    let bench = Bench::new();
    for (code, items) in [
        (TrapCode::MemoryOutOfBounds, r#"(data (i32.const 65536) "x")"#),
        (TrapCode::TableOutOfBounds, "(table 1 funcref) (elem (i32.const 1) $f) (func $f)"),
    ] {
        let call = handler(items, "(i32.const 0)");
        let found = bench.check(&call).await;
        assert_eq!(found.outcome, Outcome::Trap(code));
        assert_eq!(found.fuel, call.explain().fixed);
        assert_eq!(found.host_fuel, Fuel(0));
    }
}

#[tokio::test]
async fn out_of_fuel_bills_the_limit_and_keeps_the_log() {
    let bench = Bench::new();
    let work =
        "(drop (call $l (i32.const 2) (i32.const 0) (i32.const 5))) (loop $again (br $again))";
    let mut call = handler(HELLO, &format!("{WRITE} {work} (i32.const 0)"));
    for fuel in [5_000_000, 60_000] {
        call.limits.fuel = Fuel(fuel);
        let found = bench.check(&call).await;
        assert_eq!((found.outcome, found.fuel), (Outcome::OutOfFuel, Fuel(fuel)));
        assert_eq!((&found.output, &found.log[..]), (&Output::empty(), &b"info hello\n"[..]));
    }
    // Below the static charge nothing runs at all.
    call.limits.fuel = Fuel(100);
    let found = bench.check(&call).await;
    assert_eq!((found.outcome, found.fuel), (Outcome::OutOfFuel, Fuel(100)));
    assert_eq!((found.log.len(), found.peak_pages), (0, Pages(0)));
}

/// The fast variant looks at its counter every few turns only: it meets the trap, and the repeat finds
/// that the run was stopped before it.
#[tokio::test]
async fn a_trap_or_a_host_call_after_the_limit_is_out_of_fuel() {
    let bench = Bench::new();
    let turns = "(local $i i32) (local.set $i (i32.const 5))
        (loop $again (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))";
    for end in ["unreachable", &format!("{WRITE} (i32.const 0)")] {
        let mut call = handler(HELLO, &format!("{turns} {end}"));
        let enough = bench.check(&call).await.fuel.0;
        // Wherever the limit falls between the first turn and the end; 6,200 is what the call costs.
        for less in (1..40).chain(6_190..6_240) {
            call.limits.fuel = Fuel(enough - less);
            let found = bench.check(&call).await;
            assert_eq!((found.outcome, found.fuel), (Outcome::OutOfFuel, call.limits.fuel));
            assert!(found.output_body.is_empty());
        }
    }
}

#[tokio::test]
async fn the_limit_itself_is_enough_and_one_less_is_not() {
    let bench = Bench::new();
    let trap = "(drop (i32.load (i32.const -1))) (i32.const 0)";
    for body in [format!("{WRITE} (i32.const 0)"), trap.into()] {
        let mut call = handler(HELLO, &body);
        let free = bench.check(&call).await;
        call.limits.fuel = free.fuel;
        assert_eq!(bench.check(&call).await, free);
        call.limits.fuel = Fuel(free.fuel.0 - 1);
        let found = bench.check(&call).await;
        assert_eq!((found.outcome, found.fuel), (Outcome::OutOfFuel, call.limits.fuel));
        assert_eq!(found.output, Output::empty());
    }
}

#[tokio::test]
async fn endless_recursion_is_a_limit_of_the_stack() {
    let bench = Bench::new();
    for locals in ["", "(local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)"] {
        let items = format!("(func $f (result i32) {locals} (i32.add (call $f) (i32.const 1)))");
        let found = bench.check(&handler(&items, "(call $f)")).await;
        assert_eq!(found.outcome, Outcome::Limit(LimitKind::Stack), "{locals}");
        assert!(found.fuel > Fuel(100_000));
    }
}

#[tokio::test]
async fn a_run_that_only_fast_cannot_hold_is_billed_once() {
    let bench = Bench::new();
    // Deep enough for the fast variant's native stack, not for the depth limit of the profile.
    let items = "(func $f (param i32) (result i32) (if (result i32) (local.get 0)
        (then (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (local.get 0)))
        (else (i32.const 0))))";
    let found =
        bench.check(&handler(items, "(drop (call $f (i32.const 100000))) (i32.const 0)")).await;
    assert_eq!(found.outcome, Outcome::Ok);
    assert_eq!(bench.executor.gauges().repeats, 1);
}

#[tokio::test]
async fn an_initial_memory_above_the_limit_never_runs() {
    let bench = Bench::new();
    let mut call = handler("", "(i32.const 0)");
    call.limits.memory = Pages(1);
    assert_eq!(bench.check(&call).await.outcome, Outcome::Ok);
    call.limits.memory = Pages(0);
    let found = bench.check(&call).await;
    assert_eq!(found.outcome, Outcome::Limit(LimitKind::Memory));
    assert_eq!((found.fuel, found.peak_pages), (call.explain().fixed, Pages(0)));
}

#[tokio::test]
async fn growth_above_a_limit_is_minus_one_and_charged() {
    let bench = Bench::new();
    // Writes what each growth answered, one byte each.
    let grow = |by: i64| {
        format!(
            "(i32.store8 (local.get $p) (memory.grow (i32.const {by})))
         (local.set $p (i32.add (local.get $p) (i32.const 1)))"
        )
    };
    let steps: String = [2, 1, 65_535, -1, 0].into_iter().map(grow).collect();
    let body = format!(
        "(local $p i32) {steps} (drop (call $w (i32.const 0) (local.get $p))) (i32.const 0)"
    );
    let mut call = handler("", &body);
    call.limits.memory = Pages(3);
    // Asking for 2^32 - 1 pages is what it costs most.
    call.limits.fuel = Fuel(u64::MAX);
    let found = bench.check(&call).await;
    assert_eq!(&found.output_body[..], [1, 255, 255, 255, 3]);
    assert_eq!(found.peak_pages, Pages(3));
    // What was asked for is paid for, whatever the answer.
    assert!(found.fuel > Fuel(2 * 65_535 * 100));

    let own = r#"(module (import "talea" "output_write" (func $w (param i32 i32) (result i32)))
        (memory (export "memory") 1 2)
        (func (export "talea_handle") (result i32)
            (i32.store8 (i32.const 0) (memory.grow (i32.const 2)))
            (i32.store8 (i32.const 1) (memory.grow (i32.const 1)))
            (drop (call $w (i32.const 0) (i32.const 2))) (i32.const 0)))"#;
    let found = bench.check(&Call::wat(own)).await;
    assert_eq!((&found.output_body[..], found.peak_pages), (&[255, 1][..], Pages(2)));

    let table = "(table $t 10 funcref)";
    let body = "(i32.store8 (i32.const 0) (table.grow $t (ref.null func) (i32.const 90)))
        (i32.store8 (i32.const 1) (table.grow $t (ref.null func) (i32.const 100000)))
        (drop (call $w (i32.const 0) (i32.const 2))) (i32.const 0)";
    assert_eq!(&bench.check(&handler(table, body)).await.output_body[..], [10, 255]);
}

#[tokio::test]
async fn a_write_at_the_bound_is_taken_and_one_above_ends_the_run() {
    let bench = Bench::new();
    let twice = format!("{WRITE} {WRITE} (i32.const 0)");
    let mut call = handler(HELLO, &twice);
    call.limits.output = 10;
    assert_eq!(&bench.check(&call).await.output_body[..], b"hellohello");
    call.limits.output = 9;
    let found = bench.check(&call).await;
    assert_eq!(found.outcome, Outcome::Limit(LimitKind::Output));
    assert_eq!(found.output, Output::empty());

    let mut call = handler(
        HELLO,
        "(drop (call $l (i32.const 1) (i32.const 0) (i32.const 5)))
        (call $l (i32.const 0) (i32.const 0) (i32.const 5))",
    );
    call.limits.log = 11 + 12;
    let found = bench.check(&call).await;
    assert_eq!((found.outcome, &found.log[..]), (Outcome::Ok, &b"warn hello\nerror hello\n"[..]));
    call.limits.log = 11 + 11;
    let found = bench.check(&call).await;
    assert_eq!(found.outcome, Outcome::Limit(LimitKind::Log));
    // A line is written whole or not at all.
    assert_eq!(&found.log[..], b"warn hello\n");
}

#[tokio::test]
async fn start_and_initialize_run_first_and_are_metered() {
    let bench = Bench::new();
    let items = r#"(global $g (mut i32) (i32.const 0))
        (func $start (global.set $g (i32.const 1)))
        (func (export "_initialize") (global.set $g (i32.add (i32.mul (global.get $g) (i32.const 10)) (i32.const 2))))
        (start $start)"#;
    let body = "(i32.add (i32.mul (global.get $g) (i32.const 10)) (i32.const 3))";
    let found = bench.check(&handler(items, body)).await;
    assert_eq!(found.outcome, Outcome::exit(123));
    let trap = bench.check(&handler("(func $s unreachable) (start $s)", "(i32.const 0)")).await;
    assert_eq!(trap.outcome, Outcome::Trap(TrapCode::Unreachable));
}
