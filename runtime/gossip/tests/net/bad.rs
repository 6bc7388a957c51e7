//! Garbage on every protocol, frames of wrong sizes, peers that do not read or say nothing: each costs itself.

use std::io::ErrorKind;
use std::time::Duration;

use talea_gossip::{
    EDITION, Hello, HelloQuestion, Incoming, Limits, PeerView, Topic, Verdict, frame,
};
use talea_ledger::chain::message::MESSAGE_LEN_MAX;
use tokio::net::{TcpSocket, TcpStream};

use crate::node::{Node, guarded, key, limited, network, node, pair, patiently};
use crate::raw::{Rogue, protocol};

/// Two honest nodes still talk to each other, both ways.
async fn still_talks(a: &mut Node, b: &mut Node) {
    a.gossip.send(b.key, b"there".to_vec()).unwrap();
    assert_eq!(b.sent(a.key).await, b"there");
    b.gossip.send(a.key, b"back".to_vec()).unwrap();
    assert_eq!(a.sent(b.key).await, b"back");
}

/// Waits until a peer is not among those that joined. That it left may have been told while others were listened to.
async fn gone(node: &Node, seed: u16) {
    let who = key(seed);
    node.sees(|views| !views.iter().any(|view| view.key == who && view.joined)).await;
}

fn refusal(seed: u16) -> impl Fn(&[PeerView]) -> bool {
    let who = key(seed);
    move |views| views.iter().any(|view| view.key == who && view.refused.is_some())
}

#[tokio::test]
async fn a_hello_of_garbage_or_of_wrong_length_is_refused() {
    let limits = Limits { hello: Duration::from_secs(3), ..Limits::default() };
    let (mut a, mut b) = guarded(limits).await;
    let hellos = [
        frame(b"garbage"),
        // A length far beyond what a hello may have, and one that is longer than what follows.
        vec![0xff; 4],
        [vec![200, 0, 0, 0], b"short".to_vec()].concat(),
        Vec::new(),
    ];
    for (seed, hello) in (10..).zip(hellos) {
        let mut rogue = Rogue::connect(seed, &a.address, &protocol("chain/1"), true).await;
        rogue.say_hello(hello).await;
        // What it sends without a hello is not delivered.
        rogue.write(frame(b"not yet"));
        rogue.until_cut().await;
    }
    still_talks(&mut a, &mut b).await;
    // The first two are malformed as far as they can be read; for the others the time for a hello ran out.
    let counters = a.gossip.counters();
    assert_eq!((counters.refused, counters.malformed), (4, 2));
}

#[tokio::test]
async fn a_peer_that_changes_its_network_leaves() {
    let mut a = node(1, &[]).await;
    let mut rogue = Rogue::joined(10, &mut a, &protocol("chain/1"), true).await;
    let hello =
        Hello { network: network(9), edition: EDITION, agent: "rogue/0".into(), endpoint: None };
    rogue.say_hello(frame(&HelloQuestion::Hello(hello).encode())).await;
    rogue.write(frame(b"not from there"));
    let rogue = rogue.keep_going();
    assert!(matches!(a.next().await, Incoming::Left(who) if who == key(10)));
    a.sees(refusal(10)).await;
    rogue.abort();
}

#[tokio::test]
async fn a_chain_message_that_is_too_long_ends_its_sender() {
    let (mut a, mut b) = pair().await;
    let mut rogue = Rogue::joined(10, &mut a, &protocol("chain/1"), true).await;
    let mut bytes = frame(b"well formed");
    bytes.extend(u32::try_from(MESSAGE_LEN_MAX + 1).unwrap().to_le_bytes());
    rogue.write(bytes);
    rogue.until_cut().await;
    assert_eq!(a.sent(key(10)).await, b"well formed");
    a.left(key(10)).await;
    a.sees(refusal(10)).await;
    still_talks(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_chain_message_that_does_not_end_in_time_ends_its_sender() {
    let limits = Limits { frame: Duration::from_millis(200), ..Limits::default() };
    let (mut a, mut b) = guarded(limits).await;
    // Reads nothing, and so keeps its own stream open.
    let mut rogue = Rogue::joined(10, &mut a, &protocol("chain/1"), false).await;
    // A stream that ends within a frame is only a broken one; the peer stays.
    rogue.write([1000_u32.to_le_bytes().to_vec(), vec![1; 10]].concat());
    let _rogue = rogue.keep_going();
    still_talks(&mut a, &mut b).await;
    // One that does not read what it is sent is cut off.
    let mut sent = 0;
    while a.gossip.counters().dropped == 0 && sent < 64 {
        a.gossip.send(key(10), vec![0; MESSAGE_LEN_MAX]).unwrap();
        sent += 1;
        still_talks(&mut a, &mut b).await;
    }
    a.left(key(10)).await;
    let views = a.sees(refusal(10)).await;
    let reason = views.iter().find_map(|view| view.refused.clone()).unwrap();
    assert!(reason.contains("does not read"), "{reason}");
    still_talks(&mut a, &mut b).await;
}

#[tokio::test]
async fn garbage_on_any_protocol_does_not_reach_the_node_nor_its_peers() {
    let (mut a, mut b) = pair().await;
    let names = ["fetch/1", "kad/1", "gossip/1.1.0"];
    for (seed, name) in (10..).zip(names) {
        let mut rogue = Rogue::joined(seed, &mut a, &protocol(name), true).await;
        for length in [0, 1, 4, 1000, 100_000] {
            rogue.write(vec![0xa5; length]);
            rogue.write(frame(&vec![0xa5; length]));
        }
        let rogue = rogue.keep_going();
        still_talks(&mut a, &mut b).await;
        rogue.abort();
        gone(&a, seed).await;
    }
    for (seed, protocol) in (20..).zip(["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/none/such"]) {
        let mut rogue = Rogue::joined(seed, &mut a, protocol, true).await;
        rogue.write(vec![0xa5; 5000]);
        let rogue = rogue.keep_going();
        still_talks(&mut a, &mut b).await;
        rogue.abort();
        gone(&a, seed).await;
    }
    a.gossip.publish(Topic::Vote, b"well".to_vec()).unwrap();
    assert_eq!(b.gossiped(Verdict::Accept).await.2, b"well");
}

#[tokio::test]
async fn malformed_questions_for_pieces_ban_their_sender() {
    let (mut a, mut b) = pair().await;
    let mut rogue = Rogue::joined(10, &mut a, &protocol("fetch/1"), true).await;
    for _ in 0..8 {
        rogue.write(frame(b"not a question"));
    }
    rogue.until_cut().await;
    a.left(key(10)).await;
    a.sees(refusal(10)).await;
    assert_eq!(a.gossip.counters().banned, 1);
    still_talks(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_peer_that_says_no_hello_is_cut_off() {
    let limits = Limits { hello: Duration::from_millis(200), ..Limits::default() };
    let mut a = limited(1, &[], limits).await;
    let mut rogue = Rogue::connect(10, &a.address, &protocol("chain/1"), true).await;
    rogue.write(frame(b"hear me"));
    rogue.until_cut().await;
    let views = a.sees(refusal(10)).await;
    assert!(views[0].refused.as_ref().unwrap().contains("hello"), "{views:?}");
    let b = node(2, &[&a]).await;
    assert!(
        matches!(a.next().await, Incoming::Joined(key) if key == b.key),
        "a stranger was heard"
    );
}

#[tokio::test]
async fn a_thousand_idle_connections_of_one_machine_leave_room_for_the_others() {
    let limits = Limits { per_ip_max: 8, ..Limits::default() };
    let mut a = limited(1, &[], limits).await;
    let port = a.address.to_string().split('/').nth(4).unwrap().parse::<u16>().unwrap();
    // Another machine, as far as addresses tell: all of 127.0.0.0/8 is this one.
    let mut idle: Vec<TcpStream> = Vec::new();
    let mut looks = a.gossip.watch_peers();
    for _ in 0..10 {
        for _ in 0..100 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let connected = socket.connect(([127, 0, 0, 1], port).into());
            idle.push(patiently(connected).await.unwrap().unwrap());
        }
        // Counted by what is still open, never by how many were refused: the node gives up on one that says nothing
        // after a while, and lets another one in.
        let few_are_left = patiently(async {
            loop {
                idle.retain(|stream| {
                    matches!(stream.try_read(&mut [0; 64]), Err(e) if e.kind() == ErrorKind::WouldBlock)
                });
                if idle.len() <= 8 {
                    return;
                }
                looks.changed().await.unwrap();
            }
        });
        few_are_left.await.expect("one machine has more connections than it may");
    }
    assert!(a.gossip.counters().crowded >= 500);
    let mut b = node(2, &[&a]).await;
    a.joined(b.key).await;
    b.joined(a.key).await;
    still_talks(&mut a, &mut b).await;
    drop(idle);
}
