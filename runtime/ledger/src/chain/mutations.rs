//! Rules broken on purpose: the simulator must notice each of them.
//!
//! The simulator's sources are those of `tests/sim`; here they are part of the unit tests, where a chain has a
//! field that no other build has.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    dead_code,
    unused_qualifications,
    reason = "a test may fail loudly; the simulator has more doors than these tests use"
)]

use super::Chain;

#[path = "../../tests/sim/world.rs"]
mod world;

use world::{Plan, World};

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// A lost branch's transactions are not pending again.
    ForgetsReturned,
    /// The head is the longest line, whatever is final.
    IgnoresFinality,
}

/// Storms with many partitions and crashes: where these rules matter.
fn storm(seed: u64) -> Plan {
    Plan {
        authorities: 4,
        stormy: 16,
        quiet: 8,
        loss: 50,
        delay_ms: 200,
        crash: 120,
        partition: 300,
        traffic: 300,
        ..Plan::calm(seed, 4)
    }
}

/// The first seed that notices, and what it says.
fn noticed(hasty: bool, tweak: fn(&mut Chain)) -> Option<(u64, String)> {
    (0..400).find_map(|seed| {
        let plan = Plan { hasty, ..storm(seed) };
        World::new(plan, tweak).run().err().map(|fault| (seed, fault))
    })
}

#[test]
fn the_rules_as_they_are_pass_these_storms() {
    for seed in 0..40 {
        World::new(storm(seed), |chain| chain.flaw = Flaw::None).run().unwrap();
    }
}

#[test]
fn a_pool_that_forgets_a_lost_branch_is_noticed() {
    let (seed, fault) = noticed(false, |chain| chain.flaw = Flaw::ForgetsReturned).unwrap();
    assert!(fault.contains("vanished"), "seed {seed}: {fault}");
}

#[test]
fn a_fork_choice_that_ignores_finality_is_noticed() {
    let (seed, fault) = noticed(false, |chain| chain.flaw = Flaw::IgnoresFinality).unwrap();
    assert!(fault.contains("final"), "seed {seed}: {fault}");
}

#[test]
fn votes_sent_before_they_are_written_are_noticed() {
    let (seed, fault) = noticed(true, |_| {}).unwrap();
    assert!(
        fault.contains("voted twice") || fault.contains("two blocks") || fault.contains("vanished"),
        "seed {seed}: {fault}"
    );
}
