//! Who meets whom, and who is told that it is in the wrong network.

use std::time::Duration;

use talea_gossip::{Direction, Incoming, JoinError, Overloaded, ask_params};
use talea_ledger::PublicKey;
use talea_ledger::chain::message::MESSAGE_LEN_MAX;

use crate::node::{Node, PATIENCE, key, network, node, node_of, options, pair, params, secret};

#[tokio::test]
async fn two_nodes_meet_by_join_and_see_each_other() {
    let (mut a, b) = pair().await;
    let of_a = a.sees(|views| views.iter().any(|view| view.joined)).await;
    let of_b = b.sees(|views| views.iter().any(|view| view.joined)).await;
    assert_eq!((of_a[0].key, of_b[0].key), (b.key, a.key));
    assert_eq!(of_a[0].direction, Direction::Accepted);
    assert_eq!(of_b[0].direction, Direction::Dialled);
    assert!(of_a[0].agent.starts_with("talea/"), "{:?}", of_a[0]);
    assert!(!of_a[0].relayed && of_a[0].refused.is_none());
    // A ping comes within seconds, and identify tells where the other listens.
    a.sees(|views| views[0].rtt.is_some()).await;
    let port = b.address.iter().nth(1);
    a.sees(|views| views[0].addresses.iter().any(|a| a.iter().nth(1) == port)).await;
    b.gossip.close().await;
    a.left(key(2)).await;
    a.sees(<[_]>::is_empty).await;
}

#[tokio::test]
async fn two_nodes_meet_over_quic_and_by_the_name_of_a_machine() {
    let mut options_a = options(1);
    options_a.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
    let mut a = node_of(options_a).await;
    let mut b = node(2, &[&a]).await;
    a.joined(b.key).await;
    b.joined(a.key).await;

    let port = b.address.to_string().split('/').nth(4).unwrap().to_owned();
    let mut options_c = options(3);
    options_c.join = vec![format!("/dns4/localhost/tcp/{port}").parse().unwrap()];
    let mut c = node_of(options_c).await;
    c.joined(b.key).await;
}

#[tokio::test]
async fn three_nodes_meet_through_one() {
    let mut hub = node(1, &[]).await;
    let mut a = node(2, &[&hub]).await;
    a.joined(hub.key).await;
    let mut b = node(3, &[&hub]).await;
    // Nobody told b about a, nor a about b.
    b.joined(a.key).await;
    a.joined(b.key).await;
    hub.joined(b.key).await;
}

#[tokio::test]
async fn a_node_waits_for_the_one_it_joins() {
    // A port that was free a moment ago: nobody listens there yet.
    let early = node(1, &[]).await;
    let address = early.address.clone();
    early.gossip.close().await;
    let mut options_b = options(2);
    options_b.join = vec![address.clone()];
    let mut b = node_of(options_b).await;
    let mut options_a = options(1);
    options_a.listen = vec![address.iter().take(2).collect()];
    let mut a = node_of(options_a).await;
    b.joined(a.key).await;
    // And again, when it has gone and comes back.
    a.joined(b.key).await;
    a.gossip.close().await;
    b.left(key(1)).await;
    let mut options_a = options(1);
    options_a.listen = vec![address.iter().take(2).collect()];
    let _a = node_of(options_a).await;
    b.joined(key(1)).await;
}

#[tokio::test]
async fn a_list_of_all_nodes_may_name_the_node_itself() {
    let a = node(1, &[]).await;
    let address = a.address.clone();
    a.gossip.close().await;
    let mut options_a = options(1);
    options_a.listen = vec![address.iter().take(2).collect()];
    options_a.join = vec![address];
    let mut a = node_of(options_a).await;
    let b = node(2, &[&a]).await;
    a.joined(b.key).await;
    a.sees(|views| views.len() == 1 && views[0].key == b.key).await;
}

fn refused(node: &Node, who: PublicKey) -> Option<String> {
    node.gossip.peers().iter().find(|view| view.key == who).and_then(|view| view.refused.clone())
}

#[tokio::test]
async fn a_foreign_network_is_refused_with_a_reason_on_both_sides() {
    let mut a = node(1, &[]).await;
    let mut foreign = options(2);
    foreign.network = network(9);
    foreign.params = params(9);
    foreign.join = vec![a.address.clone()];
    let b = node_of(foreign).await;
    a.sees(|views| views.iter().any(|view| view.key == key(2) && view.refused.is_some())).await;
    b.sees(|views| views.iter().any(|view| view.key == key(1) && view.refused.is_some())).await;
    for (node, who) in [(&a, b.key), (&b, a.key)] {
        let reason = refused(node, who).unwrap();
        assert!(reason.contains(&network(1).to_string()), "{reason}");
        assert!(reason.contains(&network(9).to_string()), "{reason}");
    }
    assert_eq!(a.gossip.counters().refused, 1);
    // It never joined: what comes first is the next node.
    let c = node(3, &[&a]).await;
    assert!(matches!(a.next().await, Incoming::Joined(key) if key == c.key));
}

#[tokio::test]
async fn a_node_with_an_empty_folder_learns_the_network() {
    let a = node(1, &[]).await;
    let learned = ask_params(secret(2), std::slice::from_ref(&a.address), PATIENCE).await;
    assert_eq!(learned.unwrap(), (network(1), params(1)));
}

#[tokio::test]
async fn asking_nobody_is_an_error_that_names_the_address() {
    let gone = node(1, &[]).await;
    let address = gone.address.clone();
    gone.gossip.close().await;
    let asked = ask_params(secret(2), std::slice::from_ref(&address), PATIENCE).await;
    let Err(error @ JoinError::Silent { .. }) = asked else { panic!("{asked:?}") };
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let nobody = ask_params(secret(2), &[], Duration::from_secs(1)).await;
    assert!(matches!(nobody, Err(JoinError::NoAddress)));
}

#[tokio::test]
async fn a_message_goes_to_one_peer_whole_and_in_order() {
    let (mut a, mut b) = pair().await;
    for length in [0, 1, 70_000, MESSAGE_LEN_MAX] {
        a.gossip.send(b.key, vec![5; length]).unwrap();
    }
    for length in [0, 1, 70_000, MESSAGE_LEN_MAX] {
        assert_eq!(b.sent(a.key).await.len(), length);
    }
    for i in 0..400_u32 {
        b.gossip.send(a.key, i.to_le_bytes().to_vec()).unwrap();
    }
    for i in 0..400_u32 {
        assert_eq!(a.sent(b.key).await, i.to_le_bytes());
    }
    let too_long = a.gossip.send(b.key, vec![0; MESSAGE_LEN_MAX + 1]);
    let (found, max) = (MESSAGE_LEN_MAX + 1, MESSAGE_LEN_MAX);
    assert_eq!(too_long, Err(Overloaded::TooLong { found, max }));
    assert_eq!(b.gossip.counters().received.messages, 4);
    assert_eq!(b.gossip.counters().sent.messages, 400);
    // To somebody who is not there: dropped, and counted.
    a.gossip.send(key(99), vec![1]).unwrap();
    crate::node::counted(&a, |counters| counters.dropped == 1).await;
}
