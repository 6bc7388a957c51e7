//! How many connections one machine may make, whatever keys it shows.
//!
//! Invariant: of the connections that peers made and that are open or being set up, at most a fixed number comes from
//! one IPv4 address or one IPv6 /64.
//!
//! Absent: connections through a relay, which are counted where they enter the relay and by the number of all.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, FromSwarm, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};

use crate::address;

/// Too many connections from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{from} has {max} connections to this node already")]
pub(crate) struct Crowded {
    from: IpAddr,
    max: u32,
}

/// The connections that peers made, by where they come from.
#[derive(Debug)]
pub(crate) struct Crowd {
    max: u32,
    counts: HashMap<IpAddr, u32>,
    origins: HashMap<ConnectionId, IpAddr>,
}

impl Crowd {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, counts: HashMap::new(), origins: HashMap::new() }
    }

    fn enter(&mut self, connection: ConnectionId, from: &Multiaddr) -> Result<(), Crowded> {
        let Some(from) = address::origin(from) else { return Ok(()) };
        let count = self.counts.entry(from).or_default();
        if *count >= self.max {
            return Err(Crowded { from, max: self.max });
        }
        *count += 1;
        self.origins.insert(connection, from);
        Ok(())
    }

    fn leave(&mut self, connection: ConnectionId) {
        let Some(from) = self.origins.remove(&connection) else { return };
        if let Some(count) = self.counts.get_mut(&from) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&from);
            }
        }
    }
}

impl NetworkBehaviour for Crowd {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.enter(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.leave(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_is_counted_whatever_its_ports() {
        let mut crowd = Crowd::new(2);
        let at = |text: &str| text.parse::<Multiaddr>().unwrap();
        let ids: Vec<ConnectionId> = (0..4).map(ConnectionId::new_unchecked).collect();
        assert!(crowd.enter(ids[0], &at("/ip4/1.2.3.4/tcp/1")).is_ok());
        assert!(crowd.enter(ids[1], &at("/ip4/1.2.3.4/udp/2/quic-v1")).is_ok());
        assert!(crowd.enter(ids[2], &at("/ip4/1.2.3.4/tcp/3")).is_err());
        assert!(crowd.enter(ids[2], &at("/ip4/1.2.3.5/tcp/3")).is_ok());
        crowd.leave(ids[0]);
        assert!(crowd.enter(ids[3], &at("/ip4/1.2.3.4/tcp/4")).is_ok());
        for id in ids {
            crowd.leave(id);
        }
        assert!(crowd.counts.is_empty() && crowd.origins.is_empty());
    }
}
