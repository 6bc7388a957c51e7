//! Connections: who is there, where this node is reached, who is cut off.

use std::sync::Arc;

use libp2p::swarm::{ConnectionId, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, ping};
use tokio::time::Instant;

use super::Task;
use crate::address;
use crate::behaviour::BehaviourEvent;
use crate::inbox::Incoming;
use crate::key;
use crate::peers::{BAN_AT, Line, OFFENCE, Standing};
use crate::score::GRAYLIST_THRESHOLD;

/// Pings in a row without an answer after which a connection is closed: the first may have met a busy moment.
const UNANSWERED_MAX: u32 = 2;

/// Addresses that are kept of one peer.
const LISTENS_MAX: usize = 16;

impl Task {
    pub(super) fn connection_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let is_dialled = endpoint.is_dialer();
                let line = Line { address: endpoint.get_remote_address().clone(), is_dialled };
                self.connected(peer_id, connection_id, line);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.disconnected(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                self.not_dialled(peer_id, connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError {
                error: ListenError::Denied { cause }, ..
            } => {
                tracing::debug!(%cause, "a connection was refused");
                self.tally.crowded.one();
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if self.is_relay && !address::is_relayed(&address) {
                    self.swarm.add_external_address(address);
                }
                self.show_addresses();
            }
            SwarmEvent::ExpiredListenAddr { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. } => self.show_addresses(),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                tracing::debug!(?reason, "a listener ended");
                self.listener_closed(listener_id);
                self.show_addresses();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener failed");
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, line: Line) {
        let Some(key) = key::key_of(&peer) else {
            // A key that the ledger would not take has no name here.
            self.tally.refused.one();
            self.disconnect(peer);
            return;
        };
        let is_dialled = line.is_dialled;
        let now = Instant::now();
        let is_joined = self.peers.connect(peer, key, connection, line, &self.limits, now);
        self.dialled(peer, connection);
        // Not of the first connection alone: when both dial at once, each may see the other's first.
        if is_dialled && !is_joined {
            self.ask_who(&peer);
        }
    }

    fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(gone) = self.peers.disconnect(&peer, connection) else { return };
        self.early.remove(&peer);
        self.forget_fetches(peer);
        if gone.was_told {
            tracing::info!(peer = %gone.key, "left");
            self.deliver_surely(Incoming::Left(gone.key));
        }
        self.show(Instant::now());
    }

    fn show_addresses(&mut self) {
        let me = *self.swarm.local_peer_id();
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for address in self.swarm.external_addresses().chain(self.swarm.listeners()) {
            let named = address.clone().with_p2p(me).unwrap_or_else(|address| address);
            if !addresses.contains(&named) {
                addresses.push(named);
            }
        }
        self.addresses.send_replace(Arc::new(addresses));
    }

    pub(super) fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(entry) = self.peers.get_mut(&peer_id) else { return };
        let is_near = entry.lines.values().any(|line| address::is_loopback(&line.address));
        entry.listens = info.listen_addrs;
        entry.listens.retain(|a| !address::is_nowhere(a) && (is_near || !address::is_loopback(a)));
        entry.listens.truncate(LISTENS_MAX);
        if entry.is_joined() {
            self.make_known(peer_id);
        }
    }

    /// A ping was answered or not. A line that was cut says nothing by itself: its peer is gone when it answers no more.
    pub(super) fn pinged(&mut self, event: &ping::Event) {
        let Some(entry) = self.peers.get_mut(&event.peer) else { return };
        match &event.result {
            Ok(rtt) => {
                entry.rtt = Some(*rtt);
                entry.unanswered = 0;
            }
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                entry.unanswered += 1;
                if entry.unanswered >= UNANSWERED_MAX {
                    tracing::info!(peer = %entry.key, "does not answer");
                    self.swarm.close_connection(event.connection);
                }
            }
            Err(ping::Failure::Unsupported) => {}
        }
    }

    /// Closes every connection to a peer; that it has gone is told by the events that follow.
    pub(super) fn disconnect(&mut self, peer: PeerId) {
        // An error says that it is gone already.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    /// Refuses a peer: for its network, or for what it did not do.
    pub(super) fn refuse(&mut self, peer: PeerId, reason: String) {
        self.tally.refused.one();
        self.cut(peer, &reason);
    }

    /// Cuts a peer off and shows why.
    pub(super) fn cut(&mut self, peer: PeerId, reason: &str) {
        let now = Instant::now();
        if let Some(entry) = self.peers.get(&peer) {
            tracing::info!(peer = %entry.key, reason, "cut off");
        }
        self.peers.refuse(&peer, reason.to_owned(), now);
        if let Some(entry) = self.peers.get_mut(&peer)
            && !entry.is_joined()
        {
            entry.standing = Standing::Refused(now);
        }
        self.disconnect(peer);
        self.show(now);
    }

    /// Holds one offence against a peer, and bans it at the bound.
    pub(super) fn hold_against(&mut self, peer: PeerId, offence: &str) {
        self.hold_weight(peer, OFFENCE, offence);
    }

    fn hold_weight(&mut self, peer: PeerId, weight: f64, offence: &str) {
        let now = Instant::now();
        let ban = self.peers.hold(peer, weight, now);
        let held = self.peers.held(&peer, now);
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, -held);
        let Some(ban) = ban else { return };
        self.tally.banned.one();
        let minutes = ban.as_secs() / 60;
        self.cut(peer, &format!("banned for {minutes} minutes: {offence}"));
        self.swarm.behaviour_mut().banned.block_peer(peer);
    }

    /// Bans peers that gossip does not listen to any more, and lets what is held against the others fade.
    pub(super) fn cut_off_the_worst(&mut self, now: Instant) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let mut worst = Vec::new();
        for (id, _) in self.peers.iter() {
            let held = self.peers.held(id, now);
            if held > 0.0 {
                gossip.set_application_score(id, -held);
            }
            if gossip.peer_score(id).is_some_and(|score| score < GRAYLIST_THRESHOLD) {
                worst.push(*id);
            }
        }
        for peer in worst {
            self.hold_weight(peer, BAN_AT, "it passed on invalid messages");
        }
    }
}
