//! What the design promises about availability, shown on simulated networks: one node left goes on, final takes
//! more than two thirds, and the larger side of a partition wins. Two tables set this beside a system that takes
//! nothing without a quorum.

use talea_ledger::chain::TransactionStatus;

use crate::world::{Plan, World};

/// Authorities that must vote for a block to be final.
fn threshold(authorities: usize) -> usize {
    authorities - (authorities - 1) / 3
}

fn network(authorities: usize) -> World {
    World::new(Plan::calm(authorities as u64, authorities), |_| {})
}

/// What a network does while only the first `up` of its authorities reach each other.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    accepts: bool,
    authored: u64,
    is_final: bool,
}

fn show(authorities: usize, up: usize, slots: u64) -> Shown {
    let mut world = network(authorities);
    for node in up..authorities {
        world.stop(node);
    }
    world.submit(0, 0).unwrap();
    world.pass(slots).unwrap();
    let chain = world.chain(0);
    let (head, finalised) = (chain.head().height.0, chain.finalised().height.0);
    Shown { accepts: world.audit.figures.accepted == 1, authored: head, is_final: finalised > 0 }
}

/// Law 6, first: whoever is left takes transactions and makes the blocks of its own slots.
#[test]
fn one_node_left_goes_on() {
    for authorities in [1, 2, 3, 4, 7, 10] {
        let rounds = 3;
        let shown = show(authorities, 1, rounds * authorities as u64);
        assert!(shown.accepts, "{authorities}");
        assert_eq!(shown.is_final, authorities == 1, "{authorities}");
        if authorities > 1 {
            // One block in each turn of the slots: its share.
            assert!(shown.authored.abs_diff(rounds) <= 1, "{authorities}: {shown:?}");
        }
    }
}

/// Law 6, second: a block is final only with more than two thirds of the authorities, and with them it is.
#[test]
fn final_takes_more_than_two_thirds() {
    for authorities in 1..=10 {
        for up in 1..=authorities {
            let shown = show(authorities, up, 3 * authorities as u64 + 4);
            let enough = 3 * up > 2 * authorities;
            assert_eq!(up >= threshold(authorities), enough);
            assert_eq!(shown.is_final, enough, "{up} of {authorities}");
        }
    }
}

/// Law 6, third: after a partition both sides are one line again, and it is the larger side's.
#[test]
fn the_larger_side_wins() {
    for (authorities, larger) in [(3, 2), (4, 3), (5, 3), (7, 4), (7, 5), (10, 6)] {
        let mut world = network(authorities);
        let sides: Vec<u8> = (0..authorities).map(|node| u8::from(node >= larger)).collect();
        world.split(&sides);
        world.submit(0, 0).unwrap();
        world.submit(larger, 1).unwrap();
        world.pass(4 * authorities as u64).unwrap();
        let (ours, theirs) = (world.chain(0).head(), world.chain(larger).head());
        // With more than two thirds it is final already, and rests; else it has more slots and is longer.
        let is_final = larger >= threshold(authorities);
        assert_eq!(world.chain(0).finalised() == ours, is_final);
        assert!(is_final || ours.height > theirs.height, "{larger} of {authorities}");
        assert_eq!(world.chain(0).block(&theirs.id), None, "they do not know of each other");
        world.calm_down().unwrap();
        world.pass(authorities as u64 + 6).unwrap();
        let head = world.chain(0).head();
        for node in 0..authorities {
            let chain = world.chain(node);
            assert_eq!(chain.head(), head);
            assert_eq!(chain.block_at(ours.height), Some(ours.id), "the larger side's line");
            assert_eq!(chain.finalised(), head, "all of it is final now");
        }
        // What the smaller side had taken is in the chain all the same.
        assert!(world.chain(larger).pool().is_empty());
        world.audit.nothing_vanished(larger, world.chain(larger)).unwrap();
        let known = world.audit.unsettled(larger, world.chain(larger));
        assert_eq!(known, 0, "the smaller side's transactions are final");
    }
}

/// What a reader of a submission's answer can rely on, in every state of it.
#[test]
fn a_transaction_is_pending_then_included_then_final() {
    let mut world = network(4);
    world.submit(2, 3).unwrap();
    let id = world.chain(2).pool().ids_after(None).next().unwrap();
    assert_eq!(world.chain(2).transaction_status(&id), TransactionStatus::Pending);
    world.pass(8).unwrap();
    assert_eq!(world.audit.unsettled(2, world.chain(2)), 0);
    assert_eq!(world.chain(2).transaction_status(&id), TransactionStatus::Unknown, "long final");
}

/// The first table, of lost nodes: what still works. Measured, not computed.
#[test]
fn table_of_lost_nodes() {
    println!(
        "authorities | lost | takes transactions | makes blocks | final | quorum (majority) | quorum (2/3)"
    );
    for authorities in [1, 2, 3, 4, 7, 10] {
        for lost in 0..authorities {
            let up = authorities - lost;
            let shown = show(authorities, up, 2 * authorities as u64 + 4);
            let (majority, two_thirds) = (2 * up > authorities, 3 * up > 2 * authorities);
            println!(
                "{authorities:11} | {lost:4} | {:18} | {:12} | {:5} | {:17} | {}",
                yes(shown.accepts),
                yes(shown.authored > 0),
                yes(shown.is_final),
                yes(majority),
                yes(two_thirds),
            );
            assert!(shown.accepts && shown.authored > 0, "the ledger itself never stops");
            assert_eq!(shown.is_final, two_thirds, "what is final is as safe as with a quorum");
        }
    }
}

/// The second table, of availability: the share of time in which a client is served when each node is up so
/// often and fails by itself.
#[test]
fn table_of_availability() {
    println!("nodes | each up | any one (this ledger) | majority quorum | two-thirds quorum");
    for nodes in [1_u32, 2, 3, 4, 5, 7, 10, 20] {
        for up in [0.9, 0.99, 0.999] {
            let at_least =
                |least: u32| -> f64 { (least..=nodes).map(|k| exactly(nodes, k, up)).sum() };
            let (any, majority) = (at_least(1), at_least(nodes / 2 + 1));
            let two_thirds = at_least(nodes - (nodes - 1) / 3);
            println!("{nodes:5} | {up:7} | {any:21.9} | {majority:15.9} | {two_thirds:.9}");
            let all_down = (1.0_f64 - up).powi(nodes as i32);
            assert!((any + all_down - 1.0).abs() < 1e-9);
            assert!(any + 1e-12 >= majority && majority + 1e-12 >= two_thirds);
        }
    }
}

/// The chance that exactly `k` of `n` are up.
fn exactly(n: u32, k: u32, up: f64) -> f64 {
    let ways = (0..k).fold(1.0, |ways, i| ways * f64::from(n - i) / f64::from(i + 1));
    ways * up.powi(k as i32) * (1.0 - up).powi((n - k) as i32)
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
