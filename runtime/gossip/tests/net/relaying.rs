//! A host without an address of its own, reached through a relay.

use talea_gossip::{Multiaddr, Nat, Topic, Verdict};

use crate::node::{Node, node_of, options, patiently};

async fn relay() -> Node {
    let mut options = options(1);
    options.nat = Nat::On { relays: Vec::new(), serve: true };
    node_of(options).await
}

/// The address under which a node is reached through its relay, once it has one.
async fn through_a_relay(node: &Node) -> Multiaddr {
    let is_relayed = |address: &Multiaddr| address.to_string().contains("p2p-circuit");
    let mut addresses = node.gossip.watch_addresses();
    let waited = patiently(addresses.wait_for(|all| all.iter().any(is_relayed))).await;
    waited.unwrap().unwrap().iter().find(|address| is_relayed(address)).cloned().unwrap()
}

#[tokio::test]
async fn a_host_behind_a_router_is_reached_through_its_relay() {
    let relay = relay().await;
    let mut behind = options(2);
    behind.listen = Vec::new();
    behind.nat = Nat::On { relays: vec![relay.address.clone()], serve: false };
    let mut host = node_of(behind).await;
    host.joined(relay.key).await;
    let address = through_a_relay(&host).await;

    let mut guest = options(3);
    guest.listen = Vec::new();
    guest.join = vec![address];
    let mut guest = node_of(guest).await;
    guest.joined(host.key).await;
    host.joined(guest.key).await;
    let views =
        guest.sees(|views| views.iter().any(|view| view.key == host.key && view.joined)).await;
    assert!(views.iter().any(|view| view.key == host.key && view.relayed), "{views:?}");

    guest.gossip.send(host.key, vec![7; 1 << 20]).unwrap();
    assert_eq!(host.sent(guest.key).await.len(), 1 << 20);
    host.gossip.publish(Topic::Offer, b"cheap".to_vec()).unwrap();
    assert_eq!(guest.gossiped(Verdict::Accept).await.2, b"cheap");
}

#[tokio::test]
async fn two_nodes_that_can_reach_each_other_leave_the_relay() {
    let relay = relay().await;
    let mut behind = options(2);
    behind.nat = Nat::On { relays: vec![relay.address.clone()], serve: false };
    let mut host = node_of(behind).await;
    host.joined(relay.key).await;
    let mut guest = options(3);
    guest.nat = Nat::On { relays: Vec::new(), serve: false };
    guest.join = vec![through_a_relay(&host).await];
    let mut guest = node_of(guest).await;
    guest.joined(host.key).await;
    let is_direct = |views: &[talea_gossip::PeerView], who| {
        views.iter().any(|view| view.key == who && view.joined && !view.relayed)
    };
    guest.sees(|views| is_direct(views, host.key)).await;
    host.sees(|views| is_direct(views, guest.key)).await;
    guest.gossip.send(host.key, b"straight".to_vec()).unwrap();
    assert_eq!(host.sent(guest.key).await, b"straight");
}
