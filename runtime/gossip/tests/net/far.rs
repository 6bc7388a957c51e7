//! Nodes that are far from each other: every line takes its time, and all hear everything all the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use talea_gossip::{Topic, Verdict};
use tokio::sync::mpsc;

use crate::line::{Line, line};
use crate::node::{Node, estrange, node_of, options, patiently};

const NODES: u16 = 20;
/// Each way. What this makes of the time until everybody has heard something is for the bench.
const DELAY: Duration = Duration::from_millis(25);

/// Twenty nodes in a ring, each linked by such lines with its two next neighbours on either side and with nobody else.
async fn ring() -> (Vec<Node>, Vec<Line>) {
    let (mut nodes, mut lines): (Vec<Node>, Vec<Line>) = Default::default();
    for seed in 1..=NODES {
        let mut options = options(seed);
        for other in 1..seed {
            let apart = (seed - other).min(NODES + other - seed);
            if apart <= 2 {
                let line = line(&nodes[usize::from(other) - 1].address, DELAY).await;
                options.join.push(line.address.clone());
                lines.push(line);
            }
        }
        let node = node_of(options).await;
        for other in (1..=NODES).filter(|other| *other != seed) {
            let apart = seed.abs_diff(other);
            if apart.min(NODES - apart) > 2 {
                estrange(&node, other);
            }
        }
        nodes.push(node);
    }
    for node in &nodes {
        node.sees_joined(4).await;
    }
    (nodes, lines)
}

#[tokio::test]
async fn a_message_reaches_all_of_twenty_over_slow_lines_and_several_hops() {
    let (nodes, lines) = ring().await;
    let lengths: BTreeSet<usize> =
        nodes.iter().map(|node| node.gossip.peers().iter().filter(|v| v.joined).count()).collect();
    assert_eq!(lengths, BTreeSet::from([4]), "a node has a shorter way");
    let carried = |line: &Line| line.carried.load(Ordering::Relaxed);
    assert!(lines.iter().all(|line| carried(line) > 0), "a line is not used");
    let mut nodes = nodes.into_iter();
    let author = nodes.next().expect("the first");
    let (tell, mut told) = mpsc::channel(64);
    for mut node in nodes {
        let tell = tell.clone();
        tokio::spawn(async move {
            // Every node judges what it hears, or nobody behind it hears it.
            loop {
                let (_, from, bytes) = node.gossiped(Verdict::Accept).await;
                if tell.send((node.key, from, bytes)).await.is_err() {
                    return;
                }
            }
        });
    }
    let (mut near, mut heard) = (BTreeSet::new(), HashMap::<Vec<u8>, BTreeSet<_>>::new());
    let mut looks = author.gossip.watch_peers();
    let all_heard_one = patiently(async {
        // Something new every half second: what is said while meshes still form may not go all the way.
        for number in 0_u32.. {
            author.gossip.publish(Topic::Transaction, number.to_le_bytes().to_vec()).unwrap();
            loop {
                tokio::select! {
                    Some((who, from, bytes)) = told.recv() => {
                        if from == author.key {
                            near.insert(who);
                        }
                        let by = heard.entry(bytes).or_default();
                        by.insert(who);
                        if by.len() + 1 == usize::from(NODES) {
                            return;
                        }
                    }
                    _ = looks.changed() => break,
                }
            }
        }
    });
    all_heard_one.await.expect("no message came to all");
    assert!((1..=4).contains(&near.len()), "{} heard it from its author", near.len());
}
