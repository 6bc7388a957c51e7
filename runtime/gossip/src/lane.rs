//! Chain messages from node to node: one ordered stream each way, `.../chain/1`.
//!
//! Format: frames, each one message, in the order in which they were sent.
//!
//! Invariants: nothing is read from a peer before it was admitted; a message is read only when the inbox has room
//! for it and the peer's rate allows it, so a peer that sends too fast waits in its own stream; what waits to be
//! sent is bounded for each peer, and a peer that does not read loses only its own messages.
//!
//! Absent: answers to messages. The chain asks again for what it misses.

mod ends;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, DialFailure, FromSwarm, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use self::ends::LaneFault;
use self::ends::{Admit, Ends, FromEnds, Gate, Outbox};
use crate::inbox::{Held, Share};
use crate::options::Limits;
use crate::rates::{Bucket, Rate};

/// What came of a lane.
#[derive(Debug)]
pub(crate) enum LaneEvent {
    /// A message, with the room it takes in the inbox.
    Received { peer: PeerId, bytes: Vec<u8>, held: Held },
    /// The lane broke, in either direction.
    Broke { peer: PeerId, fault: LaneFault },
}

/// A peer's queue is full, or it has no connection: the message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotQueued;

/// All lanes of a node.
#[derive(Debug)]
pub(crate) struct Lanes {
    protocol: StreamProtocol,
    rate: Rate,
    frame_time: Duration,
    all: Arc<Semaphore>,
    peers: HashMap<PeerId, Ways>,
    /// Shares of peers that are gone while something of theirs still waits: who comes back has no new one.
    lingering: HashMap<PeerId, Share>,
    events: VecDeque<ToSwarm<LaneEvent, Admit>>,
    waker: Option<Waker>,
}

/// The connections to one peer.
#[derive(Debug)]
struct Ways {
    admitted: bool,
    share: Share,
    /// One for all connections and streams: a new stream is no new allowance.
    bucket: Arc<Mutex<Bucket>>,
    /// In the order they were made, direct ones before relayed ones.
    outboxes: Vec<Way>,
}

#[derive(Debug)]
struct Way {
    connection: ConnectionId,
    is_relayed: bool,
    outbox: Outbox,
}

impl Lanes {
    pub(crate) fn new(protocol: StreamProtocol, limits: &Limits, all: Arc<Semaphore>) -> Self {
        Self {
            protocol,
            rate: limits.chain,
            frame_time: limits.frame,
            all,
            peers: HashMap::new(),
            lingering: HashMap::new(),
            events: VecDeque::new(),
            waker: None,
        }
    }

    /// Lets a peer speak, from now on and on every connection.
    pub(crate) fn admit(&mut self, peer: PeerId) {
        let Some(ways) = self.peers.get_mut(&peer) else { return };
        ways.admitted = true;
        for way in &ways.outboxes {
            self.events.push_back(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(way.connection),
                event: Admit,
            });
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The room of a connected peer in the inbox, for what it says on other protocols.
    pub(crate) fn share(&self, peer: &PeerId) -> Option<&Share> {
        self.peers.get(peer).map(|ways| &ways.share)
    }

    /// Queues a message for a peer.
    pub(crate) fn send(&mut self, peer: &PeerId, message: Vec<u8>) -> Result<(), NotQueued> {
        let ways = self.peers.get(peer).filter(|ways| ways.admitted).ok_or(NotQueued)?;
        // The first: messages of one peer stay in order as long as that connection lives.
        ways.outboxes.first().ok_or(NotQueued)?.outbox.push(message)
    }

    fn connect(&mut self, peer: PeerId, connection: ConnectionId, address: &Multiaddr) -> Ends {
        let (all, rate) = (&self.all, self.rate);
        self.lingering.retain(|_, share| !share.is_free());
        let lingering = &mut self.lingering;
        let ways = self.peers.entry(peer).or_insert_with(|| Ways {
            admitted: false,
            share: lingering.remove(&peer).unwrap_or_else(|| Share::new(all.clone())),
            bucket: Arc::new(Mutex::new(Bucket::full(rate, Instant::now()))),
            outboxes: Vec::new(),
        });
        let (outbox, drain) = Outbox::new();
        let is_relayed = crate::address::is_relayed(address);
        let at = if is_relayed {
            ways.outboxes.len()
        } else {
            ways.outboxes.iter().position(|way| way.is_relayed).unwrap_or(ways.outboxes.len())
        };
        ways.outboxes.insert(at, Way { connection, is_relayed, outbox });
        let gate = Gate {
            share: ways.share.clone(),
            bucket: ways.bucket.clone(),
            frame_time: self.frame_time,
        };
        Ends::new(self.protocol.clone(), gate, drain, ways.admitted)
    }

    /// Forgets a connection that another behaviour refused after an end was made for it.
    fn refused(&mut self, connection: ConnectionId) {
        self.peers.retain(|_, ways| {
            ways.outboxes.retain(|way| way.connection != connection);
            !ways.outboxes.is_empty()
        });
    }

    fn disconnect(&mut self, closed: &ConnectionClosed<'_>) {
        if let Some(ways) = self.peers.get_mut(&closed.peer_id) {
            ways.outboxes.retain(|way| way.connection != closed.connection_id);
            if closed.remaining_established == 0
                && let Some(gone) = self.peers.remove(&closed.peer_id)
                && !gone.share.is_free()
            {
                self.lingering.insert(closed.peer_id, gone.share);
            }
        }
    }
}

impl NetworkBehaviour for Lanes {
    type ConnectionHandler = Ends;
    type ToSwarm = LaneEvent;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connect(peer, connection, remote))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connect(peer, connection, address))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.disconnect(&closed),
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => {
                self.refused(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.events.push_back(ToSwarm::GenerateEvent(match event {
            FromEnds::Received { bytes, held } => LaneEvent::Received { peer, bytes, held },
            FromEnds::Broke(fault) => LaneEvent::Broke { peer, fault },
        }));
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
