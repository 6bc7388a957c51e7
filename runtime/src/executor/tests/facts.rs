//! One number, however a run is cut, compiled or repeated.

use bytes::Bytes;
use talea_ledger::input::Input;
use talea_ledger::units::Fuel;

use super::bench::{Bench, Call, handler};
use crate::executor::{RerunError, rerun};

/// A guest that computes, calls the host, grows, and writes a sum.
fn busy(rounds: u32) -> Call {
    let items = r#"(import "talea" "random" (func $r (param i32 i32) (result i32)))
        (func $mix (param i32) (result i32)
            (i32.xor (i32.mul (local.get 0) (i32.const 0x9E3779B1)) (i32.shr_u (local.get 0) (i32.const 15))))"#;
    let body = format!(
        "(local $i i32) (local $sum i32)
        (local.set $i (i32.const {rounds}))
        (loop $again
            (local.set $sum (call $mix (i32.add (local.get $sum) (local.get $i))))
            (if (i32.eqz (i32.and (local.get $i) (i32.const 4095)))
                (then (drop (call $r (i32.const 100) (i32.const 64)))
                      (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 100))))
                      (memory.fill (i32.const 1000) (local.get $sum) (i32.const 3000))))
            (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (drop (memory.grow (i32.const 3)))
        (i32.store (i32.const 0) (local.get $sum))
        (drop (call $w (i32.const 0) (i32.const 4)))
        (i32.const 0)"
    );
    // The import must stand before the memory.
    let text = handler_text(items, &body);
    Call::wat(&text)
}

fn handler_text(items: &str, body: &str) -> String {
    let (imports, rest) = items.split_once('\n').unwrap();
    format!(
        r#"(module {imports}
            (import "talea" "output_write" (func $w (param i32 i32) (result i32)))
            (memory (export "memory") 1) {rest}
            (func (export "talea_handle") (result i32) {body}))"#
    )
}

#[tokio::test]
async fn the_size_of_a_slice_changes_nothing() {
    let mut found = Vec::new();
    for slice in [1_000, 12_345, 1_000_000, 1 << 40] {
        let bench = Bench::with(|config| config.slice = Fuel(slice));
        found.push(bench.check(&busy(200_000)).await);
    }
    assert!(found[0].fuel > Fuel(1_000_000), "long enough to be sliced");
    assert!(found.iter().all(|execution| *execution == found[0]));
}

#[tokio::test]
async fn the_same_invocation_gives_the_same_facts_in_another_executor() {
    let call = busy(10_000);
    let one = Bench::new().check(&call).await;
    let bench = Bench::new();
    for _ in 0..3 {
        assert_eq!(bench.check(&call).await, one);
    }
}

#[tokio::test]
async fn an_explanation_names_functions_and_host_calls_and_sums_up() {
    let call = busy(10_000);
    let found = call.explain();
    let names: Vec<&str> = found.lines.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"mix"), "{names:?}");
    let hosts: Vec<&str> = found.host_calls.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(hosts, ["talea.random", "talea.output_write"], "dearest first");
    let sum: u64 = found.lines.iter().chain(&found.host_calls).map(|(_, fuel)| fuel.0).sum();
    assert_eq!(sum + found.fixed.0, found.total.0);
    assert_eq!(found.unbilled, Fuel(0));

    let mut short = call;
    short.limits.fuel = Fuel(100_000);
    let found = short.explain();
    assert_eq!(found.total, Fuel(100_000));
    let sum: u64 = found.lines.iter().chain(&found.host_calls).map(|(_, fuel)| fuel.0).sum();
    assert_eq!(sum + found.fixed.0, found.total.0 + found.unbilled.0);
}

#[tokio::test]
async fn nan_has_one_pattern() {
    let body = "(f64.store (i32.const 0) (f64.div (f64.const 0) (f64.const 0)))
        (f64.store (i32.const 8) (f64.sqrt (f64.const -1)))
        (f64.store (i32.const 16) (f64.sub (f64.const inf) (f64.const inf)))
        (drop (call $w (i32.const 0) (i32.const 24))) (i32.const 0)";
    let found = Bench::new().check(&handler("", body)).await;
    let canonical = 0x7ff8_0000_0000_0000_u64.to_le_bytes();
    assert_eq!(&found.output_body[..], [canonical; 3].concat());
}

#[test]
fn a_rerun_takes_only_what_the_run_names() {
    let call = handler("", "(i32.const 0)");
    let other = handler("", "(i32.const 1)");
    let mut body = call.clone();
    body.body = b"x".to_vec();
    let (run, input) = (call.order(), call.input());
    let again = |wasm: &[u8], input: &Input, body: &'static [u8]| {
        rerun(wasm, &run, input, Bytes::from_static(body))
    };
    assert!(again(&call.wasm, &input, b"").is_ok());
    let found = again(&other.wasm, &input, b"");
    assert!(matches!(found, Err(RerunError::OtherFunction { .. })));
    let found = again(&call.wasm, &body.input(), b"x");
    assert!(matches!(found, Err(RerunError::OtherInput { .. })));
    assert!(matches!(again(&call.wasm, &input, b"x"), Err(RerunError::OtherBody { .. })));
}
