//! Floods: what one peer sends too much of is lost to that peer, counted, and nobody else waits for it.
//!
//! Everything is compared by counts of messages, never by time.

use talea_gossip::{Counters, Incoming, Limits, PEER_WAITING_MAX, Rate, Topic, Verdict};

use crate::node::{counted, key, trio};

/// What one peer may have in another's inbox.
const WAITING: u64 = PEER_WAITING_MAX as u64;

#[tokio::test]
async fn a_flood_of_chain_messages_leaves_the_inbox_to_the_others() {
    let [mut a, loud, quiet] = trio(Limits::default()).await;
    // Nobody reads a's inbox. The flood goes on until its share of it is full, and then the sender's own queue.
    let is_full = |of_a: Counters, of_loud: Counters| {
        of_a.received.messages >= WAITING && of_loud.dropped > 0
    };
    // In bursts of more than the sender's queue holds, and between them the nodes have the thread to themselves: a loop
    // that never waits would take it from them.
    let mut looks = loud.gossip.watch_peers();
    while !is_full(a.gossip.counters(), loud.gossip.counters()) {
        for _ in 0..1024 {
            let _ = loud.gossip.send(a.key, vec![0; 1000]);
        }
        looks.changed().await.unwrap();
    }
    for i in 0..50_u8 {
        quiet.gossip.send(a.key, vec![i]).unwrap();
    }
    // All of the quiet one's are in the inbox, with as much of the flood as one peer may have there.
    counted(&a, |counters| counters.received.messages >= WAITING + 50).await;
    let (mut of_loud, mut of_quiet) = (0, 0);
    while of_quiet < 50 {
        match a.next().await {
            Incoming::Sent { from, .. } if from == key(2) => of_loud += 1,
            Incoming::Sent { bytes, .. } => {
                assert_eq!(bytes, [of_quiet]);
                of_quiet += 1;
            }
            _ => {}
        }
    }
    // What came while these were taken out may have come after the first of them.
    assert!((1..=WAITING + 50).contains(&of_loud), "{of_loud} of the flood came first");
}

#[tokio::test]
async fn a_flood_of_gossip_is_left_aside_and_ends_in_a_ban() {
    // As little as can be, so that on no machine much of the flood is within it.
    let slow = Rate { messages: 1, bytes: 1 << 20, burst: 2 };
    let limits = Limits { gossip: slow, ..Limits::default() };
    let [mut a, loud, mut quiet] = trio(limits).await;
    // The quiet one would pass the flood on: as an honest node it judges what it hears.
    let mut published = 0_u32;
    let (mut of_loud, mut of_quiet, mut is_banned) = (0_u32, 0_u32, false);
    while !is_banned {
        assert!(published < 100_000, "{:?}", a.gossip.counters());
        for _ in 0..64 {
            let _ = loud.gossip.publish(Topic::Offer, published.to_le_bytes().to_vec());
            published += 1;
        }
        quiet.gossip.send(a.key, b"still here".to_vec()).unwrap();
        let mut is_heard = false;
        while !is_heard && !is_banned {
            match a.next().await {
                Incoming::Gossiped { id, from, .. } => {
                    a.gossip.verdict(id, from, Verdict::Ignore);
                    of_loud += 1;
                }
                Incoming::Sent { .. } => {
                    of_quiet += 1;
                    is_heard = true;
                }
                // Without a ban it comes back, and the flood goes on.
                Incoming::Left(_) => is_banned = a.gossip.counters().banned > 0,
                _ => {}
            }
        }
        // The flood fills the inbox of the quiet one as well; it does not judge, so it passes nothing on.
        while quiet.inbox.try_recv().is_some() {}
    }
    let counters = a.gossip.counters();
    assert!(of_quiet > 0);
    assert_eq!(counters.banned, 1);
    assert!(counters.topic(Topic::Offer).overrun >= 5 * 256, "{counters:?}");
    assert!(of_loud < published / 2, "{of_loud} of {published} were listened to");
}
