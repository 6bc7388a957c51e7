//! The peers of a node: where each stands, what it used, what is held against it.
//!
//! Invariants: a peer is admitted at most once for all its connections; what is held against a key outlives its
//! connections, fades with time, and is remembered for a bounded number of keys. Time is an argument.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use talea_ledger::PublicKey;
use tokio::time::Instant;

use crate::address;
use crate::hello::Hello;
use crate::options::Limits;
use crate::rates::Bucket;
use crate::view::{Direction, Flow, PeerView};

/// What one offence weighs.
pub(crate) const OFFENCE: f64 = 20.0;
/// What is held against a peer when it is banned: five offences within a minute or two, or more over time.
pub(crate) const BAN_AT: f64 = 90.0;
/// How long until half of what is held against a peer is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// The first ban. Each one after it is twice as long.
const BAN_FIRST: Duration = Duration::from_secs(600);
/// The longest ban: a day at most, after eight of them.
const BAN_DOUBLINGS_MAX: u32 = 7;
/// Keys of which something is remembered. A key costs nothing, so the oldest is forgotten first.
const RECORDS_MAX: usize = 4096;
/// Refused peers that are shown, and for how long.
const REFUSALS_MAX: usize = 64;
const REFUSAL_SHOWN: Duration = Duration::from_secs(600);

/// Where a peer stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// Its hello is awaited until then.
    Awaited(Instant),
    /// It is of this network.
    Joined(Hello),
    /// It was refused and told so; its connections close now or then.
    Refused(Instant),
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) address: Multiaddr,
    pub(crate) is_dialled: bool,
}

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: PublicKey,
    pub(crate) standing: Standing,
    /// Whether the node was told that it joined, and is to be told when it leaves, whatever happens in between.
    pub(crate) was_told: bool,
    pub(crate) lines: BTreeMap<ConnectionId, Line>,
    pub(crate) since: Instant,
    pub(crate) direction: Direction,
    /// Where it says it listens.
    pub(crate) listens: Vec<Multiaddr>,
    pub(crate) rtt: Option<Duration>,
    /// Pings in a row that were not answered.
    pub(crate) unanswered: u32,
    pub(crate) hellos: Bucket,
    pub(crate) gossip: Bucket,
    pub(crate) fetches: Bucket,
    /// Questions of it that are being answered.
    pub(crate) asked: usize,
    pub(crate) received: Flow,
    pub(crate) sent: Flow,
    pub(crate) dropped: u64,
    pub(crate) ignored: u64,
}

/// What is remembered of a key beyond its connections.
#[derive(Debug)]
struct Record {
    held: f64,
    at: Instant,
    bans: u32,
    banned_until: Option<Instant>,
}

/// A peer that was cut off.
#[derive(Debug)]
struct Refusal {
    view: PeerView,
    at: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    connected: HashMap<PeerId, Peer>,
    records: HashMap<PeerId, Record>,
    refusals: VecDeque<Refusal>,
}

// === impl Peer ===

impl Peer {
    fn new(key: PublicKey, direction: Direction, limits: &Limits, now: Instant) -> Self {
        let hellos = crate::rates::Rate { messages: 1, bytes: 4096, burst: 8 };
        Self {
            key,
            standing: Standing::Awaited(now + limits.hello),
            was_told: false,
            lines: BTreeMap::new(),
            since: now,
            direction,
            listens: Vec::new(),
            rtt: None,
            unanswered: 0,
            hellos: Bucket::full(hellos, now),
            gossip: Bucket::full(limits.gossip, now),
            fetches: Bucket::full(limits.fetch, now),
            asked: 0,
            received: Flow::default(),
            sent: Flow::default(),
            dropped: 0,
            ignored: 0,
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.standing, Standing::Joined(_))
    }

    fn view(&self, score: f64, now: Instant) -> PeerView {
        let hello = match &self.standing {
            Standing::Joined(hello) => Some(hello),
            _ => None,
        };
        let mut addresses: Vec<Multiaddr> =
            self.lines.values().map(|line| line.address.clone()).collect();
        addresses.extend(
            self.listens.iter().filter(|a| !addresses.contains(a)).cloned().collect::<Vec<_>>(),
        );
        PeerView {
            key: self.key,
            addresses,
            since: now.saturating_duration_since(self.since),
            direction: self.direction,
            agent: hello.map(|hello| hello.agent.clone()).unwrap_or_default(),
            endpoint: hello.and_then(|hello| hello.endpoint.clone()),
            rtt: self.rtt,
            score,
            received: self.received.get(),
            sent: self.sent.get(),
            dropped: self.dropped,
            ignored: self.ignored,
            joined: hello.is_some(),
            relayed: !self.lines.is_empty()
                && self.lines.values().all(|line| address::is_relayed(&line.address)),
            refused: None,
        }
    }
}

// === impl Peers ===

impl Peers {
    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.connected.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.connected.get_mut(peer)
    }

    /// A peer that said hello and is of this network.
    pub(crate) fn joined_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.connected.get_mut(peer).filter(|peer| peer.is_joined())
    }

    /// How many peers said hello and are of this network.
    pub(crate) fn joined(&self) -> usize {
        self.connected.values().filter(|peer| peer.is_joined()).count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.connected.iter()
    }

    /// A connection was made. Whether its peer has joined already.
    pub(crate) fn connect(
        &mut self,
        peer: PeerId,
        key: PublicKey,
        connection: ConnectionId,
        line: Line,
        limits: &Limits,
        now: Instant,
    ) -> bool {
        let direction = if line.is_dialled { Direction::Dialled } else { Direction::Accepted };
        let entry =
            self.connected.entry(peer).or_insert_with(|| Peer::new(key, direction, limits, now));
        entry.lines.insert(connection, line);
        entry.is_joined()
    }

    /// A connection is gone; the peer, if it was its last.
    pub(crate) fn disconnect(&mut self, peer: &PeerId, connection: ConnectionId) -> Option<Peer> {
        let entry = self.connected.get_mut(peer)?;
        entry.lines.remove(&connection);
        if entry.lines.is_empty() { self.connected.remove(peer) } else { None }
    }

    /// Remembers for some minutes why a peer was cut off.
    pub(crate) fn refuse(&mut self, peer: &PeerId, reason: String, now: Instant) {
        let Some(entry) = self.connected.get(peer) else { return };
        let mut view = entry.view(-self.held(peer, now), now);
        view.joined = false;
        view.refused = Some(reason);
        self.refusals.retain(|refusal| refusal.view.key != view.key);
        if self.refusals.len() == REFUSALS_MAX {
            self.refusals.pop_front();
        }
        self.refusals.push_back(Refusal { view, at: now });
    }

    /// What is held against a key now.
    pub(crate) fn held(&self, peer: &PeerId, now: Instant) -> f64 {
        self.records.get(peer).map_or(0.0, |record| record.faded(now))
    }

    /// Holds more against a key. How long it is banned, if this was too much.
    pub(crate) fn hold(&mut self, peer: PeerId, weight: f64, now: Instant) -> Option<Duration> {
        if self.records.len() >= RECORDS_MAX && !self.records.contains_key(&peer) {
            let oldest = self.records.iter().min_by_key(|(_, record)| record.at).map(|(p, _)| *p);
            if let Some(oldest) = oldest {
                self.records.remove(&oldest);
            }
        }
        let record = self.records.entry(peer).or_insert(Record {
            held: 0.0,
            at: now,
            bans: 0,
            banned_until: None,
        });
        record.held = record.faded(now) + weight;
        record.at = now;
        if record.held < BAN_AT || record.banned_until.is_some() {
            return None;
        }
        let ban = BAN_FIRST * 2_u32.pow(record.bans.min(BAN_DOUBLINGS_MAX));
        record.bans = record.bans.saturating_add(1);
        record.banned_until = Some(now + ban);
        // It comes back with a small account: one more offence than a stranger may not commit.
        record.held = OFFENCE;
        Some(ban)
    }

    /// Keys whose ban has ended by now.
    pub(crate) fn pardoned(&mut self, now: Instant) -> Vec<PeerId> {
        let mut pardoned = Vec::new();
        for (peer, record) in &mut self.records {
            if record.banned_until.is_some_and(|until| until <= now) {
                record.banned_until = None;
                pardoned.push(*peer);
            }
        }
        pardoned
    }

    /// Peers whose time for a hello, or for leaving, is over.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<PeerId> {
        let is_overdue = |peer: &Peer| match peer.standing {
            Standing::Awaited(until) | Standing::Refused(until) => until <= now,
            Standing::Joined(_) => false,
        };
        self.connected.iter().filter(|(_, peer)| is_overdue(peer)).map(|(id, _)| *id).collect()
    }

    /// All of it for the eye, in the order of keys; `score` is gossip's, which knows what is held against a peer.
    pub(crate) fn views(&mut self, score: impl Fn(&PeerId) -> f64, now: Instant) -> Vec<PeerView> {
        self.refusals.retain(|refusal| now.saturating_duration_since(refusal.at) < REFUSAL_SHOWN);
        let mut views: Vec<PeerView> = self
            .connected
            .iter()
            .filter(|(_, peer)| !matches!(peer.standing, Standing::Refused(_)))
            .map(|(id, peer)| peer.view(score(id), now))
            .collect();
        for refusal in &self.refusals {
            if !views.iter().any(|view| view.key == refusal.view.key && view.joined) {
                views.retain(|view| view.key != refusal.view.key);
                let since = now.saturating_duration_since(refusal.at);
                views.push(PeerView { since, ..refusal.view.clone() });
            }
        }
        views.sort_by_key(|view| view.key);
        views
    }
}

// === impl Record ===

impl Record {
    fn faded(&self, now: Instant) -> f64 {
        let lives = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.held * 0.5_f64.powf(lives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn offences_add_up_fade_and_ban_for_longer_each_time() {
        let (mut peers, who, mut now) = (Peers::default(), PeerId::random(), Instant::now());
        for _ in 0..4 {
            assert_eq!(peers.hold(who, OFFENCE, now), None);
        }
        assert_eq!(peers.hold(who, OFFENCE, now), Some(BAN_FIRST));
        assert_eq!(peers.hold(who, BAN_AT, now), None, "a banned peer is not banned again");
        assert!(peers.pardoned(now).is_empty());
        now += BAN_FIRST;
        assert_eq!(peers.pardoned(now), [who]);
        assert_eq!(peers.hold(who, BAN_AT, now), Some(BAN_FIRST * 2));

        let other = PeerId::random();
        for _ in 0..4 {
            assert_eq!(peers.hold(other, OFFENCE, now), None);
        }
        now += HALF_LIFE;
        assert!((peers.held(&other, now) - 40.0).abs() < 1e-6);
        assert_eq!(peers.hold(other, OFFENCE, now), None, "half of it is forgotten");
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        for i in 0..RECORDS_MAX as u64 + 100 {
            peers.hold(PeerId::random(), OFFENCE, now + Duration::from_secs(i));
        }
        assert_eq!(peers.records.len(), RECORDS_MAX);
    }
}
