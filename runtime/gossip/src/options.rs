//! What a node decides about its part in the network, and the bounds it sets its peers.

use std::io;
use std::time::Duration;

use libp2p::{Multiaddr, TransportError};
use talea_ledger::NetworkId;
use zeroize::Zeroizing;

use crate::rates::Rate;

/// How a node behind a home router is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Nat {
    /// No relays, no questions about one's own address: the node has addresses of its own.
    #[default]
    Off,
    /// Asks peers whether its addresses can be reached, punches holes, and is reached through these relays meanwhile.
    On {
        /// Addresses of relays, each ending in `/p2p/` and the relay's name.
        relays: Vec<Multiaddr>,
        /// Whether this node relays for others, within the bounds of [`Limits::relayed_max`].
        serve: bool,
    },
}

/// What peers may use of this node. The defaults hold the node's memory for the network below about 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections_max: u32,
    /// Connections that peers have made. Less than all, so that the node can always make some itself.
    pub inbound_max: u32,
    /// Connections that peers of one IP address (or one IPv6 /64) have made.
    pub per_ip_max: u32,
    /// Connections that are being set up, each way.
    pub pending_max: u32,
    /// How long a connection may stay that nothing needs.
    pub idle: Duration,
    /// How long a peer may take to say hello.
    pub hello: Duration,
    /// How long a chain message may take once it was begun, either way.
    pub frame: Duration,
    /// Chain messages of one peer.
    pub chain: Rate,
    /// Gossiped messages of one peer.
    pub gossip: Rate,
    /// Questions for pieces of one peer; the bytes are those served.
    pub fetch: Rate,
    /// Connections that this node relays at once, when it relays.
    pub relayed_max: u32,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's secret key; its public key is its name.
    pub secret: Zeroizing<[u8; 32]>,
    /// The network it is of.
    pub network: NetworkId,
    /// That network's parameters, for nodes that join with an empty folder.
    pub params: Vec<u8>,
    /// Where to listen, as `/ip4/0.0.0.0/tcp/7400` or `/ip4/0.0.0.0/udp/7400/quic-v1`.
    pub listen: Vec<Multiaddr>,
    /// Nodes to begin with; dialled again, ever more rarely, for as long as they are not connected.
    pub join: Vec<Multiaddr>,
    /// Addresses under which others reach this node, where it cannot see them itself.
    pub external: Vec<Multiaddr>,
    /// Whether to look for nodes on the local network, and be seen there. For development.
    pub mdns: bool,
    /// How it is reached behind a router.
    pub nat: Nat,
    /// What peers may use.
    pub limits: Limits,
    /// Where its HTTP door is, if others may know.
    pub endpoint: Option<String>,
    /// Name and version of its software.
    pub agent: String,
}

/// Why the network was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret is no key.
    #[error("the secret is not an Ed25519 key")]
    Key,
    /// A transport of the operating system is not there.
    #[error("the network cannot be used: {0}")]
    Transport(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        #[source]
        source: TransportError<io::Error>,
    },
    /// A relay's address does not say which peer it is.
    #[error("the relay {0} has to end in /p2p/ and its name")]
    Relay(Multiaddr),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 160,
            inbound_max: 128,
            // A machine room or a demonstration on one machine, not an army.
            per_ip_max: 32,
            pending_max: 64,
            idle: Duration::from_secs(30),
            hello: Duration::from_secs(10),
            // The longest message at 100 KiB a second.
            frame: Duration::from_secs(45),
            // A node that catches up is sent blocks as fast as the line carries them: 32 MiB are eight full blocks.
            chain: Rate { messages: 2000, bytes: 32 << 20, burst: 2 },
            // Eight times what all of a network of 5,000 transactions a second and ten mesh peers sends through one.
            gossip: Rate { messages: 4000, bytes: 8 << 20, burst: 4 },
            fetch: Rate { messages: 64, bytes: 32 << 20, burst: 4 },
            relayed_max: 32,
        }
    }
}

impl Options {
    /// A node that listens nowhere and joins nobody yet.
    pub fn new(secret: Zeroizing<[u8; 32]>, network: NetworkId, params: Vec<u8>) -> Self {
        Self {
            secret,
            network,
            params,
            listen: Vec::new(),
            join: Vec::new(),
            external: Vec::new(),
            mdns: false,
            nat: Nat::Off,
            limits: Limits::default(),
            endpoint: None,
            agent: concat!("talea/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
