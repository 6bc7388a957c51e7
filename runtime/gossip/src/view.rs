//! What a person and a dashboard see of the network: peers and counters.
//!
//! Invariant: counters only grow, and are read without disturbing the network's task.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libp2p::Multiaddr;
use talea_ledger::PublicKey;

use crate::topics::Topic;

/// Who made the first connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// This node.
    Dialled,
    /// The peer.
    Accepted,
}

/// Messages and their bytes, without what transports add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One peer, as it was at most a second ago.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerView {
    /// Its key, which is its host key.
    pub key: PublicKey,
    /// Where it is connected from or to, and where it says it listens.
    pub addresses: Vec<Multiaddr>,
    /// How long it has been connected; for a refused one, how long ago that was.
    pub since: Duration,
    /// Who made the first connection.
    pub direction: Direction,
    /// Name and version of its software, once it said hello.
    pub agent: String,
    /// Where its HTTP door is, if it tells.
    pub endpoint: Option<String>,
    /// From a ping to its answer.
    pub rtt: Option<Duration>,
    /// Gossip's score less what it was blamed for; 0 for a peer nothing is known of, negative for a bad one.
    pub score: f64,
    /// What came from it: chain messages, gossip, pieces.
    pub received: Traffic,
    /// What went to it: chain messages, pieces. Gossip goes to all.
    pub sent: Traffic,
    /// Messages for it that were dropped, because it does not read as fast as they are made.
    pub dropped: u64,
    /// Messages of it that were left aside, because they came too fast.
    pub ignored: u64,
    /// Whether it said hello and is of this network.
    pub joined: bool,
    /// Whether every connection to it goes through a relay.
    pub relayed: bool,
    /// Why it was cut off, if it was; such peers are shown for some minutes.
    pub refused: Option<String>,
}

/// One topic's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicCounters {
    /// Messages that this node made.
    pub published: Traffic,
    /// Messages that came, each counted once.
    pub received: Traffic,
    /// Of those, passed on.
    pub accepted: u64,
    /// Of those, not passed on, without blame.
    pub ignored: u64,
    /// Of those, not passed on, and held against who sent them.
    pub rejected: u64,
    /// Of those, left aside because their peer was too fast or the node too slow.
    pub overrun: u64,
    /// Own messages that were given up, since nobody listened for too long.
    pub unsent: u64,
}

/// All counters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Per topic, in the order of [`Topic::ALL`].
    pub topics: [TopicCounters; 5],
    /// Chain messages to peers.
    pub sent: Traffic,
    /// Chain messages from peers.
    pub received: Traffic,
    /// Chain messages to peers that were dropped: the peer's queue was full, or it was gone.
    pub dropped: u64,
    /// Calls of the handle that found its queue full.
    pub overloaded: u64,
    /// Pieces served.
    pub served: Traffic,
    /// Questions for pieces that were refused for their rate or number.
    pub unserved: u64,
    /// Pieces fetched.
    pub fetched: Traffic,
    /// Frames and answers that were malformed.
    pub malformed: u64,
    /// Peers refused: of another network or edition, or silent.
    pub refused: u64,
    /// Peers banned for what they did.
    pub banned: u64,
    /// Connections refused by their number.
    pub crowded: u64,
}

impl Counters {
    /// One topic's.
    pub fn topic(&self, topic: Topic) -> &TopicCounters {
        &self.topics[topic.index()]
    }
}

/// A counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    // Relaxed throughout: a counter says nothing about other memory.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Messages and bytes that are counted.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    messages: Count,
    bytes: Count,
}

impl Flow {
    pub(crate) fn one(&self, len: usize) {
        self.messages.one();
        self.bytes.add(len as u64);
    }

    pub(crate) fn get(&self) -> Traffic {
        Traffic { messages: self.messages.get(), bytes: self.bytes.get() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct TopicTally {
    pub(crate) published: Flow,
    pub(crate) received: Flow,
    pub(crate) accepted: Count,
    pub(crate) ignored: Count,
    pub(crate) rejected: Count,
    pub(crate) overrun: Count,
    pub(crate) unsent: Count,
}

/// What counts, where it happens.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    topics: [TopicTally; 5],
    pub(crate) sent: Flow,
    pub(crate) received: Flow,
    pub(crate) dropped: Count,
    pub(crate) overloaded: Count,
    pub(crate) served: Flow,
    pub(crate) unserved: Count,
    pub(crate) fetched: Flow,
    pub(crate) malformed: Count,
    pub(crate) refused: Count,
    pub(crate) banned: Count,
    pub(crate) crowded: Count,
}

impl Tally {
    pub(crate) fn topic(&self, topic: Topic) -> &TopicTally {
        &self.topics[topic.index()]
    }

    pub(crate) fn read(&self) -> Counters {
        Counters {
            topics: Topic::ALL.map(|topic| {
                let tally = self.topic(topic);
                TopicCounters {
                    published: tally.published.get(),
                    received: tally.received.get(),
                    accepted: tally.accepted.get(),
                    ignored: tally.ignored.get(),
                    rejected: tally.rejected.get(),
                    overrun: tally.overrun.get(),
                    unsent: tally.unsent.get(),
                }
            }),
            sent: self.sent.get(),
            received: self.received.get(),
            dropped: self.dropped.get(),
            overloaded: self.overloaded.get(),
            served: self.served.get(),
            unserved: self.unserved.get(),
            fetched: self.fetched.get(),
            malformed: self.malformed.get(),
            refused: self.refused.get(),
            banned: self.banned.get(),
            crowded: self.crowded.get(),
        }
    }
}
