//! Nodes to begin with, and relays: dialled again for as long as they are not there.
//!
//! Invariant: between two dials of one address lies a wait that doubles up to a minute, and is five minutes for a node
//! of another network.

use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, mdns};
use tokio::time::Instant;

use super::Task;
use crate::address;
use crate::options::StartError;
use crate::peers::Peer;

/// The first wait, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The wait for a node of another network: a person has to change something first.
const WAIT_REFUSED: Duration = Duration::from_secs(300);

/// Peers that a node wants at least: two meshes' worth, so that a liar or two in each leave enough.
const WANTED: usize = 8;
/// Between two looks for more of them.
const WANTED_WAIT: Duration = Duration::from_secs(10);

/// Nodes of the local network that are dialled at once when they are seen.
const NEARBY_MAX: usize = 32;

/// An address that is to be connected.
#[derive(Debug)]
pub(crate) struct Joining {
    address: Multiaddr,
    /// Whether this node is to be reached through it.
    is_relay: bool,
    /// Who answered there, or who is expected.
    peer: Option<PeerId>,
    dialling: Option<ConnectionId>,
    listener: Option<ListenerId>,
    next: Option<Instant>,
    wait: Duration,
}

/// What `join` and `relays` ask for.
pub(super) fn joining(
    join: &[Multiaddr],
    relays: &[Multiaddr],
) -> Result<Vec<Joining>, StartError> {
    let one = |address: &Multiaddr, is_relay| Joining {
        address: address.clone(),
        is_relay,
        peer: address::peer(address),
        dialling: None,
        listener: None,
        next: None,
        wait: WAIT_FIRST,
    };
    for relay in relays {
        if address::peer(relay).is_none() {
            return Err(StartError::Relay(relay.clone()));
        }
    }
    let mut all: Vec<Joining> = relays.iter().map(|address| one(address, true)).collect();
    all.extend(join.iter().filter(|address| !relays.contains(address)).map(|a| one(a, false)));
    Ok(all)
}

impl Joining {
    fn later(&mut self, now: Instant) {
        self.next = Some(now + self.wait);
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }
}

impl Task {
    /// Dials what is due.
    pub(super) fn dial_again(&mut self, now: Instant) {
        for joining in &mut self.joining {
            let entry = joining.peer.and_then(|peer| self.peers.get(&peer));
            if entry.is_some_and(Peer::is_joined) {
                joining.wait = WAIT_FIRST;
            }
            let is_there = match joining.is_relay {
                true => joining.listener.is_some(),
                false => entry.is_some() || joining.dialling.is_some(),
            };
            if is_there || joining.next.is_some_and(|next| next > now) {
                continue;
            }
            joining.later(now);
            if joining.is_relay {
                let through = joining.address.clone().with(Protocol::P2pCircuit);
                match self.swarm.listen_on(through) {
                    Ok(listener) => joining.listener = Some(listener),
                    Err(error) => tracing::warn!(%error, relay = %joining.address, "not usable"),
                }
                continue;
            }
            let options = match address::peer(&joining.address) {
                Some(peer) => DialOpts::peer_id(peer)
                    .addresses(vec![joining.address.clone()])
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .build(),
                None => DialOpts::unknown_peer_id().address(joining.address.clone()).build(),
            };
            joining.dialling = Some(options.connection_id());
            if let Err(error) = self.swarm.dial(options) {
                joining.dialling = None;
                tracing::debug!(%error, address = %joining.address, "not dialled");
            }
        }
    }

    /// Dials nodes of the table while there are fewer peers than wanted, and lets the table look for others.
    pub(super) fn dial_more(&mut self, now: Instant) {
        let joined = self.peers.joined();
        if joined >= WANTED || self.more_at.is_some_and(|at| at > now) {
            return;
        }
        self.more_at = Some(now + WANTED_WAIT);
        let peers = &self.peers;
        let kad = &mut self.swarm.behaviour_mut().kad;
        let known: Vec<PeerId> = kad
            .kbuckets()
            .flat_map(|bucket| bucket.iter().map(|e| *e.node.key.preimage()).collect::<Vec<_>>())
            .filter(|peer| peers.get(peer).is_none())
            .take(WANTED - joined)
            .collect();
        if joined > 0 && known.is_empty() {
            // An error says that the table is empty: nobody can be asked.
            let _ = kad.bootstrap();
        }
        for peer in known {
            let options =
                DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%error, %peer, "not dialled");
            }
        }
    }

    /// A connection stands: who was dialled there is known now.
    pub(super) fn dialled(&mut self, peer: PeerId, connection: ConnectionId) {
        for joining in &mut self.joining {
            if joining.dialling == Some(connection) {
                joining.dialling = None;
                joining.peer = Some(peer);
            }
        }
    }

    /// A peer is of another network: it is not dialled again soon.
    pub(super) fn not_again_soon(&mut self, peer: PeerId, now: Instant) {
        for joining in &mut self.joining {
            if joining.peer == Some(peer) {
                joining.next = Some(now + WAIT_REFUSED);
            }
        }
    }

    /// A dial failed.
    pub(super) fn not_dialled(
        &mut self,
        peer: Option<PeerId>,
        connection: ConnectionId,
        error: &DialError,
    ) {
        tracing::debug!(%error, "a dial failed");
        if let DialError::LocalPeerId { .. } = error {
            // One's own address among those to join, as in a list that all nodes share.
            self.joining.retain(|joining| joining.dialling != Some(connection));
        }
        for joining in &mut self.joining {
            if joining.dialling == Some(connection) {
                joining.dialling = None;
            }
        }
        if let Some(peer) = peer
            && self.peers.get(&peer).is_none()
        {
            self.forget_fetches(peer);
        }
    }

    /// A listener ended: if it was at a relay, it is asked again.
    pub(super) fn listener_closed(&mut self, listener: ListenerId) {
        for joining in &mut self.joining {
            if joining.listener == Some(listener) {
                joining.listener = None;
            }
        }
    }

    /// Dials an address once.
    pub(super) fn dial(&mut self, address: Multiaddr) {
        if let Err(error) = self.swarm.dial(address) {
            tracing::debug!(%error, "not dialled");
        }
    }

    /// Nodes of the local network were seen.
    pub(super) fn nearby(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(seen) = event else { return };
        for (peer, address) in seen.into_iter().take(NEARBY_MAX) {
            let options = DialOpts::peer_id(peer)
                .addresses(vec![address])
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%error, "a node nearby was not dialled");
            }
        }
    }
}
