//! Fetching by hash: providers are found, pieces come, and who lies about them is known.

use talea_gossip::{
    FetchError, Gossip, Incoming, Limits, NotHere, PIECE_LEN_MAX, Piece, Rate, Wanted,
    fetch_checked,
};
use talea_ledger::{Digest, FunctionId, PublicKey};

use crate::node::{Node, key, limited, node};

/// Bytes that are no run of equal ones.
fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

/// Serves these bytes for whatever is asked, for as long as the node lives. Only the network ends it.
fn serve(mut node: Node, bytes: Vec<u8>) -> (Gossip, tokio::task::JoinHandle<Vec<(u64, u32)>>) {
    let gossip = node.gossip.clone();
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        while let Some(incoming) = node.inbox.recv().await {
            if let Incoming::Asked { offset, len, reply, .. } = incoming {
                asked.push((offset, len));
                let from = usize::try_from(offset).unwrap();
                let to = bytes.len().min(from + usize::try_from(len).unwrap());
                let piece = Piece { total: bytes.len() as u64, bytes: bytes[from..to].to_vec() };
                let _ = reply.send(Ok(piece));
            }
        }
        asked
    });
    (gossip, served)
}

#[tokio::test]
async fn providers_are_found_through_others_and_forgotten_by_themselves() {
    let hub = node(1, &[]).await;
    let key = Digest::of(b"a function");
    // Announced before anybody listens.
    let a = node(2, &[&hub]).await;
    a.gossip.provide(key);
    hub.sees_joined(1).await;
    let b = node(3, &[&hub]).await;
    b.sees_joined(2).await;
    loop {
        let found = b.gossip.providers(key).await;
        if !found.is_empty() {
            assert_eq!(found, [a.key]);
            break;
        }
        // The announcement is on the way; the search itself waited for the network.
        tokio::task::yield_now().await;
    }
    assert_eq!(b.gossip.providers(Digest::of(b"nobody's")).await, []);
    // Who provides it does not find itself.
    assert_eq!(a.gossip.providers(key).await, []);
}

#[tokio::test]
async fn a_function_comes_in_pieces_and_a_broken_fetch_goes_on_where_it_was() {
    let a = node(1, &[]).await;
    let mut b = node(2, &[&a]).await;
    b.joined(a.key).await;
    let bytes = body(2 * 1024 * 1024 + 4321);
    let wanted = Wanted::Function(FunctionId::of(&bytes));
    let from = a.key;
    let (gossip, served) = serve(a, bytes.clone());
    let mut held = bytes[..PIECE_LEN_MAX as usize].to_vec();
    fetch_checked(&b.gossip, from, wanted, 4 << 20, &mut held).await.unwrap();
    assert_eq!(held, bytes);
    let counters = b.gossip.counters();
    assert_eq!((counters.fetched.messages, counters.fetched.bytes), (2, 1024 * 1024 + 4321));
    gossip.close().await;
    let max = u64::from(PIECE_LEN_MAX);
    assert_eq!(served.await.unwrap(), [(max, PIECE_LEN_MAX), (2 * max, PIECE_LEN_MAX)]);
}

#[tokio::test]
async fn wrong_bytes_are_found_out_and_nothing_of_them_is_kept() {
    let a = node(1, &[]).await;
    let mut b = node(2, &[&a]).await;
    b.joined(a.key).await;
    let from = a.key;
    let (_gossip, _served) = serve(a, body(100_000));
    let wanted = Wanted::Document(Digest::of(b"something else"));
    let mut held = Vec::new();
    let fetched = fetch_checked(&b.gossip, from, wanted, 1 << 20, &mut held).await;
    assert_eq!(fetched, Err(FetchError::Wrong));
    assert!(held.is_empty());
    let fetched = fetch_checked(&b.gossip, from, wanted, 99_999, &mut held).await;
    assert_eq!(fetched, Err(FetchError::TooLong { total: 100_000, max: 99_999 }));
}

#[tokio::test]
async fn what_is_not_held_or_not_there_is_said() {
    let mut a = node(1, &[]).await;
    let mut b = node(2, &[&a]).await;
    b.joined(a.key).await;
    let wanted = Wanted::Document(Digest::of(b"x"));
    let (handle, from) = (b.gossip.clone(), a.key);
    let fetching = tokio::spawn(async move { handle.fetch(from, wanted, 0, 10).await });
    let (who, what, offset, len, reply) = a
        .until(|incoming| match incoming {
            Incoming::Asked { from, wanted, offset, len, reply } => {
                Some((from, wanted, offset, len, reply))
            }
            _ => None,
        })
        .await;
    assert_eq!((who, what, offset, len), (b.key, wanted, 0, 10));
    reply.send(Err(NotHere)).unwrap();
    assert_eq!(fetching.await.unwrap(), Err(FetchError::NotHere));
    // A node that drops the question is busy; one that nobody knows cannot be reached.
    let handle = b.gossip.clone();
    let fetching = tokio::spawn(async move { handle.fetch(from, wanted, 0, 10).await });
    a.until(|incoming| matches!(incoming, Incoming::Asked { .. }).then_some(())).await;
    assert_eq!(fetching.await.unwrap(), Err(FetchError::Busy));
    assert_eq!(b.gossip.fetch(key(99), wanted, 0, 10).await, Err(FetchError::Unreachable));
}

#[tokio::test]
async fn a_piece_longer_than_asked_for_is_cut_to_it() {
    let a = node(1, &[]).await;
    let mut b = node(2, &[&a]).await;
    b.joined(a.key).await;
    let from: PublicKey = a.key;
    let bytes = body(5000);
    let (_gossip, _served) = serve(a, bytes.clone());
    let wanted = Wanted::Document(Digest::of(&bytes));
    let piece = b.gossip.fetch(from, wanted, 1000, 100).await.unwrap();
    assert_eq!(piece, Piece { total: 5000, bytes: bytes[1000..1100].to_vec() });
}

#[tokio::test]
async fn a_flood_of_questions_is_told_that_the_node_is_busy() {
    let few = Rate { messages: 2, bytes: 1 << 20, burst: 4 };
    let a = limited(1, &[], Limits { fetch: few, ..Limits::default() }).await;
    let mut b = node(2, &[&a]).await;
    b.joined(a.key).await;
    let from = a.key;
    let bytes = body(10);
    let wanted = Wanted::Document(Digest::of(&bytes));
    let refused = a.gossip.clone();
    let (_gossip, _served) = serve(a, bytes);
    let asked = (0..100).map(|_| {
        let handle = b.gossip.clone();
        tokio::spawn(async move { handle.fetch(from, wanted, 0, 10).await })
    });
    let (mut came, mut busy) = (0, 0);
    for fetching in asked.collect::<Vec<_>>() {
        match fetching.await.unwrap() {
            Ok(_) => came += 1,
            Err(FetchError::Busy) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(came >= 8 && busy >= 50, "{came} came, {busy} were told to wait");
    assert_eq!(refused.counters().unserved, busy);
}
