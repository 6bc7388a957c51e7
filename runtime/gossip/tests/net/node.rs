//! A node for tests: its handle, its inbox, and waits for what it is told.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use talea_gossip::{
    Gossip, Inbox, Incoming, Limits, Multiaddr, Options, PeerView, Topic, Verdict, start,
};
use talea_ledger::codec::Document as _;
use talea_ledger::{NetworkId, NetworkParams, PublicKey, SecretKey};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long anything may take. Far above what it takes on a busy machine, so that a failure is one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for this as long as anything may take, or gives it up. Counted in seconds in which the process ran: a machine
/// that stood still for a minute has let nobody do anything.
pub(crate) async fn patiently<F: Future>(wanted: F) -> Option<F::Output> {
    let mut wanted = pin!(wanted);
    for _ in 0..PATIENCE.as_secs() {
        if let Ok(found) = timeout(Duration::from_secs(1), wanted.as_mut()).await {
            return Some(found);
        }
    }
    None
}

/// The parameters of a network with this number.
pub(crate) fn params(number: u8) -> Vec<u8> {
    let authority = SecretKey::from_bytes(&[number; 32]).public();
    NetworkParams::development(&[], authority).encode()
}

pub(crate) fn network(number: u8) -> NetworkId {
    NetworkParams::decode(&params(number)).unwrap().id()
}

pub(crate) fn secret(seed: u16) -> Zeroizing<[u8; 32]> {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&seed.to_le_bytes());
    Zeroizing::new(bytes)
}

pub(crate) fn key(seed: u16) -> PublicKey {
    SecretKey::from_bytes(&secret(seed)).public()
}

/// Options of a node of network 1 that listens on a port of loopback.
pub(crate) fn options(seed: u16) -> Options {
    let mut options = Options::new(secret(seed), network(1), params(1));
    options.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    options
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) key: PublicKey,
    pub(crate) gossip: Gossip,
    pub(crate) inbox: Inbox,
    pub(crate) address: Multiaddr,
}

/// Starts a node and waits until it listens.
pub(crate) async fn node_of(options: Options) -> Node {
    let key = SecretKey::from_bytes(&options.secret).public();
    let count = options.listen.len();
    let (gossip, inbox) = start(options).unwrap();
    let mut addresses = gossip.watch_addresses();
    let listened = patiently(addresses.wait_for(|all| all.len() >= count));
    let address =
        listened.await.unwrap().unwrap().first().cloned().unwrap_or_else(Multiaddr::empty);
    Node { key, gossip, inbox, address }
}

/// Starts a node that joins these.
pub(crate) async fn node(seed: u16, join: &[&Node]) -> Node {
    let mut options = options(seed);
    options.join = join.iter().map(|node| node.address.clone()).collect();
    node_of(options).await
}

/// The same with other limits.
pub(crate) async fn limited(seed: u16, join: &[&Node], limits: Limits) -> Node {
    let mut options = options(seed);
    options.join = join.iter().map(|node| node.address.clone()).collect();
    options.limits = limits;
    node_of(options).await
}

/// Two nodes that have joined each other.
pub(crate) async fn pair() -> (Node, Node) {
    guarded(Limits::default()).await
}

/// The same, the first with other limits.
pub(crate) async fn guarded(limits: Limits) -> (Node, Node) {
    let mut a = limited(1, &[], limits).await;
    let mut b = node(2, &[&a]).await;
    a.joined(b.key).await;
    b.joined(a.key).await;
    (a, b)
}

/// A node, a loud one that is going to say too much to it, and a quiet one.
pub(crate) async fn trio(limits: Limits) -> [Node; 3] {
    let a = limited(1, &[], limits).await;
    let (mut loud, mut quiet) = (node(2, &[&a]).await, node(3, &[&a]).await);
    // These say more than the node about a peer that does not come to it.
    loud.joined(a.key).await;
    quiet.joined(a.key).await;
    a.sees_joined(2).await;
    [a, loud, quiet]
}

/// Makes a node refuse another one that it has not met.
pub(crate) fn estrange(node: &Node, other: u16) {
    for _ in 0..5 {
        node.gossip.blame(key(other), "for this test");
    }
}

impl Node {
    /// The next that came.
    pub(crate) async fn next(&mut self) -> Incoming {
        patiently(self.inbox.recv()).await.expect("nothing came").unwrap()
    }

    /// The first of what comes that is wanted; the rest is left aside.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Incoming) -> Option<T>) -> T {
        let found = patiently(async {
            loop {
                if let Some(found) = wanted(self.inbox.recv().await.expect("the network ended")) {
                    return found;
                }
            }
        });
        match found.await {
            Some(found) => found,
            None => panic!("what is awaited did not come from: {:?}", self.gossip.peers()),
        }
    }

    pub(crate) async fn joined(&mut self, who: PublicKey) {
        self.until(|incoming| {
            matches!(incoming, Incoming::Joined(key) if key == who).then_some(())
        })
        .await;
    }

    pub(crate) async fn left(&mut self, who: PublicKey) {
        self.until(|incoming| matches!(incoming, Incoming::Left(key) if key == who).then_some(()))
            .await;
    }

    /// The next chain message of a peer.
    pub(crate) async fn sent(&mut self, who: PublicKey) -> Vec<u8> {
        self.until(|incoming| match incoming {
            Incoming::Sent { from, bytes } if from == who => Some(bytes),
            _ => None,
        })
        .await
    }

    /// The next gossiped message, judged at once.
    pub(crate) async fn gossiped(&mut self, verdict: Verdict) -> (Topic, PublicKey, Vec<u8>) {
        let gossip = self.gossip.clone();
        self.until(move |incoming| match incoming {
            Incoming::Gossiped { id, from, topic, bytes } => {
                gossip.verdict(id, from, verdict);
                Some((topic, from, bytes))
            }
            _ => None,
        })
        .await
    }

    /// Waits until the peers look like this.
    pub(crate) async fn sees(&self, mut wanted: impl FnMut(&[PeerView]) -> bool) -> Vec<PeerView> {
        let mut watch = self.gossip.watch_peers();
        let seen = patiently(watch.wait_for(|views| wanted(views)));
        match seen.await {
            Some(views) => views.unwrap().to_vec(),
            None => panic!("the peers never looked like that: {:?}", self.gossip.peers()),
        }
    }

    /// Waits until this many peers have joined.
    pub(crate) async fn sees_joined(&self, count: usize) {
        self.sees(|views| views.iter().filter(|view| view.joined).count() >= count).await;
    }
}

/// Waits until counters, looked at whenever the peers are shown, satisfy a condition.
pub(crate) async fn counted(
    node: &Node,
    mut wanted: impl FnMut(&talea_gossip::Counters) -> bool,
) -> talea_gossip::Counters {
    let mut watch = node.gossip.watch_peers();
    let seen = patiently(async {
        loop {
            let counters = node.gossip.counters();
            if wanted(&counters) {
                return counters;
            }
            watch.changed().await.unwrap();
        }
    });
    match seen.await {
        Some(counters) => counters,
        None => panic!("the counters never looked like that: {:?}", node.gossip.counters()),
    }
}
