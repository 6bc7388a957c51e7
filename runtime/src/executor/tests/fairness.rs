//! Long runs: who waits for whom, and how they end.

use std::sync::Arc;
use std::time::Duration;

use talea_ledger::outcome::Outcome;
use talea_ledger::units::Fuel;

use super::bench::{Bench, Call, handler};
use crate::clock::Deadline;
use crate::executor::ExecuteError;

fn endless() -> Call {
    let mut call = handler("", "(loop $again (br $again)) (i32.const 0)");
    call.limits.fuel = Fuel(u64::MAX);
    call
}

async fn until(what: impl Fn() -> bool) {
    let patience = Deadline::after(Duration::from_secs(20));
    while !what() {
        assert!(!patience.passed(), "what was waited for did not come");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn short_calls_go_on_beside_endless_ones() {
    let bench = Bench::with(|config| {
        config.wall_limit = Duration::from_secs(2);
        config.slice = Fuel(100_000);
    });
    bench.library.add(&endless().wasm);
    let mut guests = Vec::new();
    for _ in 0..8 {
        let executor = Arc::clone(&bench.executor);
        guests.push(tokio::spawn(async move { executor.run(endless().invocation()).await }));
    }
    until(|| bench.executor.gauges().long_runs == 8).await;
    let short = handler("", "(i32.const 0)");
    bench.library.add(&short.wasm);
    let mut served = 0;
    while bench.executor.gauges().long_runs == 8 && served < 200 {
        assert_eq!(bench.executor.run(short.invocation()).await.unwrap().outcome, Outcome::Ok);
        served += 1;
    }
    assert_eq!(served, 200, "endless guests kept short ones waiting");
    // A run of several slices takes its turns among them and ends too.
    let mut long = handler("", "(local $i i32) (local.set $i (i32.const 300000))
        (loop $again (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (i32.const 0)");
    long.limits.fuel = Fuel(100_000_000);
    bench.library.add(&long.wasm);
    assert_eq!(bench.executor.run(long.invocation()).await.unwrap().outcome, Outcome::Ok);
    for guest in guests {
        assert!(matches!(guest.await.unwrap(), Err(ExecuteError::Deadline)));
    }
    assert_eq!((bench.executor.gauges().instances, bench.executor.gauges().long_runs), (0, 0));
}

#[tokio::test]
async fn a_free_run_ends_when_its_caller_goes_away_and_a_paid_one_does_not() {
    let bench = Bench::with(|config| config.wall_limit = Duration::from_secs(3600));
    bench.library.add(&endless().wasm);
    let start = |free: bool| {
        let executor = Arc::clone(&bench.executor);
        let mut invocation = endless().invocation();
        invocation.free = free;
        tokio::spawn(async move { executor.run(invocation).await })
    };
    let (free, paid) = (start(true), start(false));
    until(|| bench.executor.gauges().long_runs == 2).await;
    free.abort();
    until(|| bench.executor.gauges().long_runs == 1).await;
    assert_eq!(bench.executor.gauges().instances, 1);
    paid.abort();
    assert!(paid.await.unwrap_err().is_cancelled());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.executor.gauges().long_runs, 1, "a paid run goes on without its caller");
    // Dropping the executor ends it: the threads are joined, so this returns only if it does.
    drop(bench);
}

#[tokio::test]
async fn more_long_runs_than_there_is_room_for_are_refused() {
    let bench = Bench::with(|config| {
        config.long_runs = 2;
        config.wall_limit = Duration::from_secs(3600);
    });
    bench.library.add(&endless().wasm);
    let start = || {
        let executor = Arc::clone(&bench.executor);
        tokio::spawn(async move { executor.run(endless().invocation()).await })
    };
    let first = [start(), start()];
    until(|| bench.executor.gauges().long_runs == 2).await;
    assert!(matches!(start().await.unwrap(), Err(ExecuteError::Saturated)));
    assert_eq!(bench.executor.gauges().instances, 2, "the refused run left its slot");
    let short = handler("", "(i32.const 0)");
    bench.library.add(&short.wasm);
    assert_eq!(bench.executor.run(short.invocation()).await.unwrap().outcome, Outcome::Ok);
    for guest in first {
        guest.abort();
    }
    until(|| bench.executor.gauges().instances == 0).await;
}

#[tokio::test]
async fn no_slot_is_saturated_not_a_fault() {
    let bench = Bench::with(|config| {
        config.fast_slots = 1;
        config.wall_limit = Duration::from_secs(3600);
    });
    bench.library.add(&endless().wasm);
    let executor = Arc::clone(&bench.executor);
    let guest = tokio::spawn(async move { executor.run(endless().invocation()).await });
    until(|| bench.executor.gauges().instances == 1).await;
    let refused = bench.executor.run(endless().invocation()).await;
    assert!(matches!(refused, Err(ExecuteError::Saturated)));
    guest.abort();
    until(|| bench.executor.gauges().instances == 0).await;
}

#[tokio::test]
async fn a_loop_of_host_calls_yields_too() {
    let bench = Bench::with(|config| config.wall_limit = Duration::from_millis(200));
    let mut call = handler(
        "",
        "(loop $again (drop (call $w (i32.const 0) (i32.const 0))) (br $again)) (i32.const 0)",
    );
    call.limits.fuel = Fuel(u64::MAX);
    bench.library.add(&call.wasm);
    assert!(matches!(bench.executor.run(call.invocation()).await, Err(ExecuteError::Deadline)));
}
