//! Whole networks of the ledger's chain, simulated from seeds.
//!
//! `TALEA_SEED=n` runs one seed and prints what it was made of; `TALEA_SEEDS=n` runs that many, from
//! `TALEA_FIRST` on.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod paper;
#[path = "world.rs"]
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use world::audit::Figures;
use world::{Plan, World};

/// Seeds of a full run.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run(seed: u64) -> Result<Figures, String> {
    World::new(Plan::of(seed), |_| {}).run()
}

/// Safety at every step, and liveness after the storm, over all seeds.
#[test]
fn law_6_and_7_hold_over_seeds() {
    if let Some(seed) = number("TALEA_SEED") {
        println!("{:#?}", Plan::of(seed));
        match run(seed) {
            Ok(figures) => println!("{figures:?}"),
            Err(fault) => panic!("seed {seed}: {fault}"),
        }
        return;
    }
    let seeds = number("TALEA_SEEDS").unwrap_or(SEEDS);
    let first = number("TALEA_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let outcomes: Vec<(u64, Result<Figures, String>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut outcomes = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + seeds {
                            return outcomes;
                        }
                        outcomes.push((seed, run(seed)));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut sum = Figures::default();
    let mut faults = Vec::new();
    for (seed, outcome) in outcomes {
        match outcome {
            Ok(figures) => {
                sum.finalised += figures.finalised;
                sum.accepted += figures.accepted;
                sum.reorganised += figures.reorganised;
                sum.crashes += figures.crashes;
                sum.messages += figures.messages;
            }
            Err(fault) => faults.push((seed, fault)),
        }
    }
    println!("{seeds} seeds: {sum:?}");
    faults.sort();
    for (seed, fault) in faults.iter().take(20) {
        println!("seed {seed}: {fault}");
        println!("  again: TALEA_SEED={seed} cargo test -p talea-ledger --test sim law_6_and_7");
    }
    assert!(
        faults.is_empty(),
        "{} of {seeds} seeds failed, the first: {:?}",
        faults.len(),
        faults[0]
    );
    if seeds >= 200 {
        assert!(sum.finalised > seeds && sum.accepted > seeds && sum.crashes > 0);
        assert!(sum.reorganised > 0, "storms that never part the network test little");
    }
}
