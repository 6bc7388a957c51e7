//! All protocols of a node, put together, and the swarm that runs them.
//!
//! Invariant: what refuses connections comes first, so that nothing else is made for a connection that is refused.

use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::autonat::v2 as autonat;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{IdentityTransform, MessageAuthenticity, WhitelistSubscriptionFilter};
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStore, store::MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, Swarm, Transport as _, dcutr, dns, gossipsub, identify, mdns, noise,
    ping, quic, relay, tcp, yamux,
};

use crate::crowd::Crowd;
use crate::frame::FrameCodec;
use crate::inbox::Share;
use crate::lane::Lanes;
use crate::options::{Limits, Nat, Options, StartError};
use crate::topics::{Topic, Topics, namespace};
use crate::{fetch, hello, score};

/// Between two pings of a quiet connection: a dead peer is noticed within two of them.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a ping may take: ten times the slowest honest line.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long ciphers and streams of a new connection may take to be agreed.
const SETUP_TIME_MAX: Duration = Duration::from_secs(20);

/// Streams of one connection that may be set up at once, of all protocols.
const NEGOTIATING_MAX: usize = 64;

/// Keys that a node announces or keeps for others: as many functions as a node holds, and as much again for others.
/// A record is about 200 bytes, so they are at most 26 MB.
pub(crate) const PROVIDED_MAX: usize = 128 * 1024;
/// Providers that are kept for one key: the replication factor of the table.
const PROVIDERS_PER_KEY_MAX: usize = 20;
/// How long an announcement holds, and how soon it is made again: two may be lost.
const PROVIDER_TTL: Duration = Duration::from_secs(3 * 3600);
const PROVIDER_REPEAT: Duration = Duration::from_secs(3600);

/// A question for a piece may wait for the disk of the other side, and its answer for the line.
const FETCH_STREAMS_MAX: usize = 32;
/// A hello and an answer to it, twice.
const HELLO_STREAMS_MAX: usize = 4;

/// Protocols that tell peers about each other and about themselves say this name of the network's edition.
const IDENTIFY: &str = "talea/1";

/// All protocols.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) crowd: Crowd,
    pub(crate) banned: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) hello: request_response::Behaviour<FrameCodec>,
    pub(crate) lanes: Lanes,
    pub(crate) fetch: request_response::Behaviour<FrameCodec>,
    pub(crate) gossip: gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) relayed: relay::client::Behaviour,
    pub(crate) relay: Toggle<relay::Behaviour>,
    pub(crate) reached: Toggle<autonat::client::Behaviour>,
    pub(crate) reaching: Toggle<autonat::server::Behaviour>,
    pub(crate) punched: Toggle<dcutr::Behaviour>,
}

/// The protocols of a node that only asks which network it is about to join.
#[derive(NetworkBehaviour)]
pub(crate) struct Asking {
    pub(crate) hello: request_response::Behaviour<FrameCodec>,
    pub(crate) relayed: relay::client::Behaviour,
}

/// A length of a protocol as its codec takes it.
const fn len(bytes: usize) -> u32 {
    assert!(bytes < 1 << 30);
    bytes as u32
}

fn hello_behaviour(timeout: Duration) -> request_response::Behaviour<FrameCodec> {
    request_response::Behaviour::with_codec(
        FrameCodec {
            question_max: const { len(hello::QUESTION_LEN_MAX) },
            answer_max: const { len(hello::ANSWER_LEN_MAX) },
        },
        [(StreamProtocol::new(hello::PROTOCOL), ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(timeout)
            .with_max_concurrent_streams(HELLO_STREAMS_MAX),
    )
}

fn fetch_behaviour(namespace: &str) -> request_response::Behaviour<FrameCodec> {
    request_response::Behaviour::with_codec(
        FrameCodec {
            question_max: const { len(fetch::QUESTION_LEN_MAX) },
            answer_max: const { len(fetch::ANSWER_LEN_MAX) },
        },
        [(protocol(namespace, "fetch/1"), ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(fetch::TIMEOUT)
            .with_max_concurrent_streams(FETCH_STREAMS_MAX),
    )
}

fn protocol(namespace: &str, name: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("{namespace}/{name}"))
        .expect("a namespace begins with a slash")
}

fn gossip_behaviour(
    options: &Options,
    topics: &Topics,
) -> Result<gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>, StartError> {
    let fault = |error: &dyn ToString| StartError::Transport(error.to_string());
    let config = score::config(&options.network, topics).map_err(|e| fault(&e))?;
    let filter = WhitelistSubscriptionFilter(
        Topic::ALL.into_iter().map(|topic| topics.hash(topic).clone()).collect(),
    );
    let mut gossip = gossipsub::Behaviour::new_with_subscription_filter(
        // What is gossiped is signed by who made it; a second signature would say who passed it on.
        MessageAuthenticity::Anonymous,
        config,
        filter,
    )
    .map_err(|e| fault(&e))?;
    let (params, thresholds) = score::scores(topics);
    gossip.with_peer_score(params, thresholds).map_err(|e| fault(&e))?;
    for topic in Topic::ALL {
        gossip.subscribe(topics.ident(topic)).map_err(|e| fault(&e))?;
    }
    Ok(gossip)
}

fn kad_behaviour(me: PeerId, options: &Options, namespace: &str) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(protocol(namespace, "kad/1"));
    config
        // Peers enter the table when their hello is known, and records when their number is bounded: by the task.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_query_timeout(Duration::from_secs(20))
        .set_provider_record_ttl(Some(PROVIDER_TTL))
        .set_provider_publication_interval(Some(PROVIDER_REPEAT))
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(300)))
        .set_caching(kad::Caching::Disabled);
    let store = MemoryStore::with_config(
        me,
        MemoryStoreConfig {
            // Values are never kept: what is held is told by its holders.
            max_records: 0,
            max_value_bytes: 0,
            max_providers_per_key: PROVIDERS_PER_KEY_MAX,
            max_provided_keys: PROVIDED_MAX,
        },
    );
    let mut kad = kad::Behaviour::with_config(me, store, config);
    // A node behind a router answers questions once it is known to be reached; others do so at once.
    kad.set_mode(if options.nat == Nat::Off { Some(kad::Mode::Server) } else { None });
    kad
}

fn relay_behaviour(me: PeerId, limits: &Limits) -> relay::Behaviour {
    let relayed = usize::try_from(limits.relayed_max).unwrap_or(usize::MAX);
    let config = relay::Config {
        max_reservations: relayed,
        max_reservations_per_peer: 2,
        max_circuits: relayed,
        max_circuits_per_peer: relayed.min(8),
        // A host serves through its relay for as long as it likes: an hour at 1 MiB a second.
        max_circuit_duration: Duration::from_secs(3600),
        max_circuit_bytes: 3600 * 1024 * 1024,
        ..relay::Config::default()
    };
    relay::Behaviour::new(me, config)
}

/// The protocols of a node with these options.
pub(crate) fn behaviour(
    key: &Keypair,
    relayed: relay::client::Behaviour,
    options: &Options,
    topics: &Topics,
) -> Result<Behaviour, StartError> {
    let me = key.public().to_peer_id();
    let limits = &options.limits;
    let namespace = namespace(&options.network);
    let (nat, serves) = match &options.nat {
        Nat::Off => (false, false),
        Nat::On { serve, .. } => (true, *serve),
    };
    let mdns = if options.mdns {
        let mdns = mdns::tokio::Behaviour::new(mdns::Config::default(), me);
        Some(mdns.map_err(|error| StartError::Transport(error.to_string()))?)
    } else {
        None
    };
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_established(Some(limits.connections_max))
                .with_max_established_incoming(Some(limits.inbound_max))
                .with_max_pending_incoming(Some(limits.pending_max))
                .with_max_pending_outgoing(Some(limits.pending_max))
                // Both may dial at once, and one more is made when a relayed connection becomes a direct one.
                .with_max_established_per_peer(Some(3)),
        ),
        crowd: Crowd::new(limits.per_ip_max),
        banned: allow_block_list::Behaviour::default(),
        hello: hello_behaviour(limits.hello),
        lanes: Lanes::new(protocol(&namespace, "chain/1"), limits, Share::all()),
        fetch: fetch_behaviour(&namespace),
        gossip: gossip_behaviour(options, topics)?,
        identify: identify::Behaviour::new(
            identify::Config::new(IDENTIFY.to_owned(), key.public())
                .with_agent_version(hello::printable(&options.agent, hello::AGENT_LEN_MAX))
                .with_push_listen_addr_updates(true)
                .with_cache_size(1024),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT),
        ),
        kad: kad_behaviour(me, options, &namespace),
        mdns: mdns.into(),
        relayed,
        relay: serves.then(|| relay_behaviour(me, limits)).into(),
        reached: nat.then(autonat::client::Behaviour::default).into(),
        // Whoever can be reached helps others to find out whether they can: a few dials, bounded by the protocol.
        reaching: nat.then(autonat::server::Behaviour::default).into(),
        punched: nat.then(|| dcutr::Behaviour::new(me)).into(),
    })
}

/// Two machines that have reached each other, under whatever cipher and however they share the line.
type Link = Boxed<(PeerId, StreamMuxerBox)>;

/// TCP and QUIC.
fn direct(key: &Keypair) -> Result<Link, StartError> {
    let noise = noise::Config::new(key).map_err(|_| StartError::Key)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(SETUP_TIME_MAX)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
}

/// The same, by the names of machines where the system can resolve names.
fn named(key: &Keypair) -> Result<Link, StartError> {
    match dns::tokio::Transport::system(direct(key)?) {
        Ok(transport) => Ok(transport.boxed()),
        Err(error) => {
            tracing::warn!(%error, "names cannot be resolved here; addresses by number work");
            direct(key)
        }
    }
}

/// A swarm over TCP, QUIC, names and relays.
pub(crate) fn swarm<B: NetworkBehaviour>(
    key: &Keypair,
    idle: Duration,
    behaviour: impl FnOnce(&Keypair, relay::client::Behaviour) -> Result<B, StartError>,
) -> Result<Swarm<B>, StartError> {
    let me = key.public().to_peer_id();
    let noise = noise::Config::new(key).map_err(|_| StartError::Key)?;
    let (relayed, client) = relay::client::new(me);
    let relayed = relayed
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(SETUP_TIME_MAX)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    // The relay's transport first: the others would take an address through a relay for the relay's own.
    let transport = relayed.or_transport(named(key)?).map(|either, _| either.into_inner());
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(idle)
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX);
    Ok(Swarm::new(transport.boxed(), behaviour(key, client)?, me, config))
}

/// The swarm of a node that only asks.
pub(crate) fn asking(key: &Keypair, timeout: Duration) -> Result<Swarm<Asking>, StartError> {
    swarm(key, timeout, |_, relayed| Ok(Asking { hello: hello_behaviour(timeout), relayed }))
}
