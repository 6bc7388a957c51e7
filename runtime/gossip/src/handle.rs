//! The node's handle of its network: orders go into a bounded queue, nothing waits.
//!
//! Invariants: no call blocks; a full queue is an error that the caller sees, except for verdicts and blame, which
//! have room of their own and are counted if even that is full. When the last handle is dropped, the network ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libp2p::Multiaddr;
use talea_ledger::chain::message::MESSAGE_LEN_MAX;
use talea_ledger::{Digest, PublicKey};
use tokio::sync::{mpsc, oneshot, watch};

use crate::fetch::{Ask, FetchError, PIECE_LEN_MAX, Piece, Wanted};
use crate::topics::{GossipId, Topic};
use crate::view::{Counters, PeerView, Tally};

/// Messages that wait for the network's task: a tenth of a second of the most a node of 5,000 transactions a second
/// has to say.
const MESSAGES_MAX: usize = 4096;
/// Bytes that wait for it: eight of the longest messages.
const BYTES_MAX: usize = 8 * MESSAGE_LEN_MAX;
/// Orders of all kinds that wait: as many verdicts as messages besides them.
pub(crate) const ORDERS_MAX: usize = 2 * MESSAGES_MAX;

/// The network's task cannot keep up, or has ended; the message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overloaded {
    /// Too many messages or bytes wait.
    #[error("too many messages wait for the network")]
    Full,
    /// Longer than its protocol allows.
    #[error("a message of {found} bytes, at most {max} are allowed")]
    TooLong {
        /// Its length.
        found: usize,
        /// The longest.
        max: usize,
    },
    /// The network was closed.
    #[error("the network is closed")]
    Closed,
}

/// What a gossiped message is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds: pass it on.
    Accept,
    /// Not to be passed on, and nobody's fault: known, too old, or not judged.
    Ignore,
    /// No honest node would have passed it on.
    Reject,
}

/// An order to the network's task.
#[derive(Debug)]
pub(crate) enum Order {
    Send(PublicKey, Vec<u8>),
    Publish(Topic, Vec<u8>),
    Verdict(GossipId, PublicKey, Verdict),
    Blame(PublicKey, &'static str),
    Provide(Digest),
    Unprovide(Digest),
    Providers(Digest, oneshot::Sender<Vec<PublicKey>>),
    Fetch(PublicKey, Ask, oneshot::Sender<Result<Piece, FetchError>>),
    Dial(Multiaddr),
    Close(oneshot::Sender<()>),
}

/// How much of what waits is messages.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// The node's handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gossip {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) peers: watch::Receiver<Arc<Vec<PeerView>>>,
    pub(crate) addresses: watch::Receiver<Arc<Vec<Multiaddr>>>,
}

// === impl Waiting ===

impl Waiting {
    /// Counts a message in, unless too much waits.
    fn enter(&self, len: usize) -> bool {
        // Relaxed: two callers at once may pass the bound by one message each, which the queue's own bound ends.
        if self.messages.load(Ordering::Relaxed) >= MESSAGES_MAX
            || self.bytes.load(Ordering::Relaxed) + len > BYTES_MAX
        {
            return false;
        }
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len, Ordering::Relaxed);
        true
    }

    /// Counts it out.
    pub(crate) fn leave(&self, len: usize) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(len, Ordering::Relaxed);
    }
}

// === impl Gossip ===

impl Gossip {
    /// Sends one peer a chain message of at most `MESSAGE_LEN_MAX` bytes. It is dropped, and counted, when the peer is
    /// not there or does not read as fast.
    pub fn send(&self, to: PublicKey, message: Vec<u8>) -> Result<(), Overloaded> {
        let len = message.len();
        self.message(len, MESSAGE_LEN_MAX, Order::Send(to, message))
    }

    /// Tells all peers. While nobody listens, the message waits for some time.
    pub fn publish(&self, topic: Topic, message: Vec<u8>) -> Result<(), Overloaded> {
        let len = message.len();
        self.message(len, topic.len_max(), Order::Publish(topic, message))
    }

    /// Says what a gossiped message is worth; it is passed on only if accepted.
    pub fn verdict(&self, id: GossipId, from: PublicKey, verdict: Verdict) {
        self.order(Order::Verdict(id, from, verdict));
    }

    /// Holds something against a peer that only the node can know of. At a bound it is banned for a time.
    pub fn blame(&self, who: PublicKey, offence: &'static str) {
        self.order(Order::Blame(who, offence));
    }

    /// Announces that this node holds something, from now on and again.
    pub fn provide(&self, key: Digest) {
        self.order(Order::Provide(key));
    }

    /// Announces it no longer.
    pub fn unprovide(&self, key: Digest) {
        self.order(Order::Unprovide(key));
    }

    /// Who says that it holds something; not this node itself. Nobody is obliged to.
    pub async fn providers(&self, key: Digest) -> Vec<PublicKey> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Providers(key, reply));
        answer.await.unwrap_or_default()
    }

    /// Fetches some bytes from one node, which is dialled if it is not connected. At most [`PIECE_LEN_MAX`] come,
    /// fewer where it ends. Their hash is the caller's to check: see [`crate::fetch_checked`].
    pub async fn fetch(
        &self,
        from: PublicKey,
        wanted: Wanted,
        offset: u64,
        len: u32,
    ) -> Result<Piece, FetchError> {
        let ask = Ask { wanted, offset, len: len.min(PIECE_LEN_MAX) };
        let (reply, answer) = oneshot::channel();
        self.order(Order::Fetch(from, ask, reply));
        answer.await.unwrap_or(Err(FetchError::Overloaded))
    }

    /// Dials one more address, once.
    pub fn dial(&self, address: Multiaddr) {
        self.order(Order::Dial(address));
    }

    /// The peers, as they were at most a second ago, and for some minutes those that were refused.
    pub fn peers(&self) -> Arc<Vec<PeerView>> {
        self.peers.borrow().clone()
    }

    /// The same, to wait on.
    pub fn watch_peers(&self) -> watch::Receiver<Arc<Vec<PeerView>>> {
        self.peers.clone()
    }

    /// The counters, as they are.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// Where this node listens and is known to be reached, each address ending in `/p2p/` and its name.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.addresses.borrow().to_vec()
    }

    /// The same, to wait on: ports that the operating system chooses are known soon after the start.
    pub fn watch_addresses(&self) -> watch::Receiver<Arc<Vec<Multiaddr>>> {
        self.addresses.clone()
    }

    /// Ends the network and waits until it has ended.
    pub async fn close(self) {
        let (reply, ended) = oneshot::channel();
        // Waits for its place in the queue: this is the last order.
        if self.orders.send(Order::Close(reply)).await.is_ok() {
            // An error is the task's end, too.
            let _ = ended.await;
        }
    }

    fn message(&self, found: usize, max: usize, order: Order) -> Result<(), Overloaded> {
        if found > max {
            return Err(Overloaded::TooLong { found, max });
        }
        if !self.waiting.enter(found) {
            self.tally.overloaded.one();
            return Err(Overloaded::Full);
        }
        self.orders.try_send(order).map_err(|error| {
            self.waiting.leave(found);
            self.tally.overloaded.one();
            match error {
                mpsc::error::TrySendError::Full(_) => Overloaded::Full,
                mpsc::error::TrySendError::Closed(_) => Overloaded::Closed,
            }
        })
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            self.tally.overloaded.one();
        }
    }
}
