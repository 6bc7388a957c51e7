//! What comes in, and how much of it may wait.
//!
//! Invariants: what waits is bounded for each peer and in all, in messages and in bytes, so no peer can fill the
//! inbox for the others; nothing of a peer comes before its `Joined` or after its `Left`; the network's task never
//! waits for the reader.

use std::sync::Arc;

use talea_ledger::PublicKey;
use talea_ledger::chain::message::MESSAGE_LEN_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::fetch::{NotHere, Piece, Wanted};
use crate::topics::{GossipId, Topic};

/// Messages of one peer that wait at most: as many as come while the ledger's thread syncs a block, 0.4 s at 5,000
/// transactions a second.
pub const PEER_WAITING_MAX: usize = 2048;
/// Bytes of one peer that wait at most: two of the longest chain messages.
const PEER_BYTES_MAX: usize = 2 * MESSAGE_LEN_MAX;
/// Bytes that wait at most in all: eight peers with as much as a peer may have.
const ALL_BYTES_MAX: usize = 8 * PEER_BYTES_MAX;
/// What a message takes besides its bytes, rounded up.
const OVERHEAD: usize = 256;
/// Places in the inbox: the bytes run out before they do.
const ALL_COUNT_MAX: usize = ALL_BYTES_MAX / OVERHEAD + 1024;
const _: () = assert!(MESSAGE_LEN_MAX + OVERHEAD <= PEER_BYTES_MAX);

/// What the network tells the node.
#[derive(Debug)]
pub enum Incoming {
    /// A peer of this network is there.
    Joined(PublicKey),
    /// It is gone.
    Left(PublicKey),
    /// It sent this node a chain message.
    Sent {
        /// The peer.
        from: PublicKey,
        /// The message, at most `MESSAGE_LEN_MAX` bytes; not looked into.
        bytes: Vec<u8>,
    },
    /// A gossiped message came; it is passed on only after [`crate::Gossip::verdict`].
    Gossiped {
        /// Its name, for the verdict.
        id: GossipId,
        /// Who passed it on, for the verdict. Not who made it.
        from: PublicKey,
        /// What it is about.
        topic: Topic,
        /// Its bytes, at most [`Topic::len_max`]; not looked into.
        bytes: Vec<u8>,
    },
    /// A peer wants some bytes.
    Asked {
        /// The peer.
        from: PublicKey,
        /// What it wants.
        wanted: Wanted,
        /// From which byte on.
        offset: u64,
        /// How many bytes at most; a longer piece is not sent.
        len: u32,
        /// Where the answer goes. Dropped: the peer is told that this node is busy.
        reply: oneshot::Sender<Result<Piece, NotHere>>,
    },
}

/// The node's end: yields what came, in order, and makes room for more.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<(Incoming, Option<Held>)>);

impl Inbox {
    /// The next of what came; `None` after the network's task has ended.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.0.recv().await.map(|(incoming, _)| incoming)
    }

    /// The next of what came, if there is any now.
    pub fn try_recv(&mut self) -> Option<Incoming> {
        self.0.try_recv().ok().map(|(incoming, _)| incoming)
    }

    /// As [`Inbox::recv`], for a thread outside of the runtime.
    pub fn blocking_recv(&mut self) -> Option<Incoming> {
        self.0.blocking_recv().map(|(incoming, _)| incoming)
    }
}

/// The network's end.
pub(crate) type Deliveries = mpsc::Sender<(Incoming, Option<Held>)>;

pub(crate) fn inbox() -> (Deliveries, Inbox) {
    let (sender, receiver) = mpsc::channel(ALL_COUNT_MAX);
    (sender, Inbox(receiver))
}

/// The room that a message takes while it waits; dropped when it is taken out.
#[derive(Debug)]
pub(crate) struct Held {
    _count: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// The room that a message of `len` bytes takes.
fn taken(len: usize) -> Option<u32> {
    u32::try_from(len.checked_add(OVERHEAD)?).ok()
}

/// What one peer may have waiting, within what all may.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl Share {
    /// The bytes of all peers together.
    pub(crate) fn all() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(ALL_BYTES_MAX))
    }

    /// The share of one peer.
    pub(crate) fn new(all: Arc<Semaphore>) -> Self {
        Self {
            count: Arc::new(Semaphore::new(PEER_WAITING_MAX)),
            bytes: Arc::new(Semaphore::new(PEER_BYTES_MAX)),
            all,
        }
    }

    /// Whether nothing of the peer waits.
    pub(crate) fn is_free(&self) -> bool {
        self.count.available_permits() == PEER_WAITING_MAX
    }

    /// Room for a message of `len` bytes, as soon as there is some. `len` is at most [`MESSAGE_LEN_MAX`].
    pub(crate) async fn hold(&self, len: u32) -> Option<Held> {
        let len = taken(usize::try_from(len).ok()?)?;
        // The peer's own bounds first: who waits for them holds nothing of the others' room.
        let count = self.count.clone().acquire_owned().await.ok()?;
        let bytes = self.bytes.clone().acquire_many_owned(len).await.ok()?;
        let all = self.all.clone().acquire_many_owned(len).await.ok()?;
        Some(Held { _count: count, _bytes: bytes, _all: all })
    }

    /// Room for a message of `len` bytes, if there is some now.
    pub(crate) fn try_hold(&self, len: usize) -> Option<Held> {
        let len = taken(len)?;
        let count = self.count.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(len).ok()?;
        let all = self.all.clone().try_acquire_many_owned(len).ok()?;
        Some(Held { _count: count, _bytes: bytes, _all: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_peer_fills_its_share_and_leaves_the_rest() {
        let all = Share::all();
        let (loud, quiet) = (Share::new(all.clone()), Share::new(all));
        let held: Vec<Held> = std::iter::from_fn(|| loud.try_hold(1)).collect();
        assert_eq!(held.len(), PEER_WAITING_MAX);
        assert!(quiet.try_hold(MESSAGE_LEN_MAX).is_some());
        drop(held);
        let long: Vec<Held> =
            std::iter::from_fn(|| loud.try_hold(MESSAGE_LEN_MAX - OVERHEAD)).collect();
        assert_eq!(long.len(), 2);
        assert!(loud.try_hold(0).is_none() && !loud.is_free());
        drop(long);
        assert!(loud.is_free());
    }

    #[tokio::test]
    async fn bytes_of_all_run_out_before_places_do() {
        let all = Share::all();
        let mut held = Vec::new();
        while let Some(one) = Share::new(all.clone()).try_hold(0) {
            held.push(one);
        }
        assert!(held.len() < ALL_COUNT_MAX);
    }
}
