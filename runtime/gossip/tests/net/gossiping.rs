//! Gossip: it reaches everybody, only through verdicts, and lies cost who passes them on.

use talea_gossip::{Incoming, Overloaded, Topic, Verdict};

use crate::node::{Node, counted, estrange, key, node, pair};

/// Nodes in a ring of joins around one; every one has joined all others.
async fn nodes(count: u16) -> Vec<Node> {
    let mut nodes = vec![node(1, &[]).await];
    for seed in 2..=count {
        let next = node(seed, &[&nodes[0]]).await;
        nodes.push(next);
    }
    for node in &nodes {
        node.sees_joined(usize::from(count) - 1).await;
    }
    nodes
}

#[tokio::test]
async fn a_message_reaches_all_of_five_once() {
    let mut nodes = nodes(5).await;
    for (topic, from) in Topic::ALL.into_iter().zip(0..) {
        let message = format!("about {}", topic.word()).into_bytes();
        let (said, heard) = (nodes[from].key, message.clone());
        nodes[from].gossip.publish(topic, message).unwrap();
        for node in nodes.iter_mut().filter(|node| node.key != said) {
            let (about, _, bytes) = node.gossiped(Verdict::Accept).await;
            assert_eq!((about, bytes), (topic, heard.clone()));
        }
    }
    for node in &nodes {
        let counters = counted(node, |counters| {
            counters.topics.iter().all(|t| t.published.messages + t.accepted == 1)
        })
        .await;
        for counters in counters.topics {
            assert_eq!(counters.published.messages + counters.received.messages, 1, "{counters:?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_nobody_listens_to_yet_is_said_when_somebody_does() {
    let mut a = node(1, &[]).await;
    a.gossip.publish(Topic::Offer, b"early".to_vec()).unwrap();
    let mut b = node(2, &[&a]).await;
    b.joined(a.key).await;
    assert_eq!(b.gossiped(Verdict::Accept).await, (Topic::Offer, a.key, b"early".to_vec()));
    a.joined(b.key).await;
    assert_eq!(a.gossip.counters().topic(Topic::Offer).published.messages, 1);
}

#[tokio::test]
async fn a_message_is_passed_on_only_after_it_was_accepted() {
    // A line: the ends do not talk to each other.
    let a = node(1, &[]).await;
    estrange(&a, 3);
    counted(&a, |counters| counters.banned == 1).await;
    let mut b = node(2, &[&a]).await;
    let mut c = node(3, &[&b]).await;
    b.sees_joined(2).await;
    c.joined(b.key).await;
    a.gossip.publish(Topic::Block, b"first".to_vec()).unwrap();
    let (_, from, bytes) = b.gossiped(Verdict::Ignore).await;
    assert_eq!((from, bytes.as_slice()), (a.key, b"first".as_slice()));
    a.gossip.publish(Topic::Block, b"second".to_vec()).unwrap();
    b.gossiped(Verdict::Accept).await;
    let heard = c.gossiped(Verdict::Accept).await;
    assert_eq!(
        heard,
        (Topic::Block, b.key, b"second".to_vec()),
        "what was not accepted came first"
    );
    let counters = b.gossip.counters();
    let topic = counters.topic(Topic::Block);
    assert_eq!((topic.ignored, topic.accepted), (1, 1));
}

#[tokio::test]
async fn a_peer_that_passes_on_invalid_messages_is_scored_down_and_cut_off() {
    let (mut a, b) = pair().await;
    let mut count = 0_u32;
    let reason = loop {
        b.gossip.publish(Topic::Transaction, format!("lie {count}").into_bytes()).unwrap();
        count += 1;
        let gossip = a.gossip.clone();
        let gone = a
            .until(|incoming| match incoming {
                Incoming::Gossiped { id, from, .. } => {
                    gossip.verdict(id, from, Verdict::Reject);
                    Some(false)
                }
                Incoming::Left(who) => Some(who == key(2)),
                _ => None,
            })
            .await;
        if gone {
            let views = a.sees(|views| views.iter().any(|view| view.refused.is_some())).await;
            break views[0].refused.clone().unwrap();
        }
        let lies = a.gossip.counters().topic(Topic::Transaction).rejected;
        if count == 2 {
            a.sees(|views| views[0].score < 0.0).await;
        }
        if lies >= 5 {
            // The next look at the scores ends it.
            a.left(b.key).await;
            let views = a.sees(|views| views.iter().any(|view| view.refused.is_some())).await;
            break views[0].refused.clone().unwrap();
        }
    };
    assert!(reason.contains("banned") && reason.contains("invalid"), "{reason}");
    assert!(count <= 8, "{count} lies were listened to");
    assert_eq!(a.gossip.counters().banned, 1);
}

#[tokio::test]
async fn what_a_node_blames_a_peer_for_bans_it_in_the_end() {
    let mut a = node(1, &[]).await;
    let b = node(2, &[&a]).await;
    a.joined(b.key).await;
    for _ in 0..4 {
        a.gossip.blame(b.key, "a forged block");
    }
    a.sees(|views| views.iter().any(|view| view.score < -70.0 && view.refused.is_none())).await;
    a.gossip.blame(b.key, "a forged block");
    a.left(b.key).await;
    let views = a.sees(|views| views.iter().any(|view| view.refused.is_some())).await;
    assert!(views[0].refused.as_ref().unwrap().contains("a forged block"), "{views:?}");
    // It tries again, and is not heard; another one is.
    let c = node(3, &[&a]).await;
    assert!(matches!(a.next().await, Incoming::Joined(key) if key == c.key));
}

#[tokio::test]
async fn a_message_longer_than_its_topic_allows_is_an_error() {
    let a = node(1, &[]).await;
    for topic in Topic::ALL {
        let max = topic.len_max();
        let found = max + 1;
        assert_eq!(
            a.gossip.publish(topic, vec![0; found]),
            Err(Overloaded::TooLong { found, max })
        );
    }
}

#[tokio::test]
async fn the_longest_message_of_each_topic_passes() {
    let (a, mut b) = pair().await;
    for topic in Topic::ALL {
        a.gossip.publish(topic, vec![3; topic.len_max()]).unwrap();
        let (about, _, bytes) = b.gossiped(Verdict::Accept).await;
        assert_eq!((about, bytes.len()), (topic, topic.len_max()));
    }
}
