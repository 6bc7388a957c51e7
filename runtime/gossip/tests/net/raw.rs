//! A peer that writes whatever bytes it likes on whatever protocol, and reads or does not.

use std::io;
use std::time::Duration;

use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::request_response::{Behaviour, Codec, Config, Event, Message, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use talea_gossip::{EDITION, Hello, HelloQuestion, frame};

use crate::node::{Node, PATIENCE, key, network, patiently, secret};

/// Bytes as they are; what comes is read to its end, or never.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    reads: bool,
}

impl Raw {
    async fn read<T: AsyncRead + Unpin>(&self, io: &mut T) -> io::Result<Vec<u8>> {
        if !self.reads {
            std::future::pending::<()>().await;
        }
        let mut bytes = Vec::new();
        io.take(1 << 22).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }
}

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        self.read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        self.read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub(crate) struct Protocols {
    hello: Behaviour<Raw>,
    other: Behaviour<Raw>,
}

/// The peer.
pub(crate) struct Rogue {
    swarm: Swarm<Protocols>,
    pub(crate) peer: PeerId,
}

/// The name of one of the network's protocols.
pub(crate) fn protocol(name: &str) -> String {
    format!("/talea/{}/{name}", &network(1).to_string()[..16])
}

fn one(protocol: &str, reads: bool) -> Behaviour<Raw> {
    Behaviour::with_codec(
        Raw { reads },
        [(StreamProtocol::try_from_owned(protocol.to_owned()).unwrap(), ProtocolSupport::Full)],
        Config::default().with_request_timeout(PATIENCE).with_max_concurrent_streams(1000),
    )
}

impl Rogue {
    /// A peer that speaks hello and one more protocol, and is connected to `address`.
    pub(crate) async fn connect(
        seed: u16,
        address: &Multiaddr,
        protocol: &str,
        reads: bool,
    ) -> Self {
        let pair = Keypair::ed25519_from_bytes(*secret(seed)).unwrap();
        let mut swarm = SwarmBuilder::with_existing_identity(pair)
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|_| Protocols {
                hello: one("/talea/hello/1", true),
                other: one(protocol, reads),
            })
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(600))
            })
            .build();
        swarm.dial(address.clone()).unwrap();
        let peer = loop {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } =
                Self::event_of(&mut swarm).await
            {
                break peer_id;
            }
        };
        Self { swarm, peer }
    }

    /// The same to a node that has taken it for a peer.
    pub(crate) async fn joined(seed: u16, to: &mut Node, protocol: &str, reads: bool) -> Self {
        let mut rogue = Self::connect(seed, &to.address, protocol, reads).await;
        rogue.greet().await;
        to.joined(key(seed)).await;
        rogue
    }

    /// Says a proper hello and waits for the answer.
    pub(crate) async fn greet(&mut self) {
        let hello = Hello {
            network: network(1),
            edition: EDITION,
            agent: "rogue/0".into(),
            endpoint: None,
        };
        self.say_hello(frame(&HelloQuestion::Hello(hello).encode())).await;
    }

    /// Says these bytes for hello, and waits until they are answered or not.
    pub(crate) async fn say_hello(&mut self, bytes: Vec<u8>) {
        self.swarm.behaviour_mut().hello.send_request(&self.peer, bytes);
        loop {
            if let SwarmEvent::Behaviour(ProtocolsEvent::Hello(event)) =
                Self::event_of(&mut self.swarm).await
                && matches!(
                    event,
                    Event::Message { message: Message::Response { .. }, .. }
                        | Event::OutboundFailure { .. }
                )
            {
                return;
            }
        }
    }

    /// Opens a stream of the other protocol and writes these bytes.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) {
        self.swarm.behaviour_mut().other.send_request(&self.peer, bytes);
    }

    async fn event_of(swarm: &mut Swarm<Protocols>) -> SwarmEvent<ProtocolsEvent> {
        patiently(swarm.select_next_some()).await.expect("nothing happened")
    }

    /// Goes on until the connection is closed.
    pub(crate) async fn until_cut(&mut self) {
        while self.swarm.is_connected(&self.peer) {
            if let SwarmEvent::ConnectionClosed { num_established: 0, .. } =
                Self::event_of(&mut self.swarm).await
            {
                return;
            }
        }
    }

    /// Goes on in the background for as long as the test runs.
    pub(crate) fn keep_going(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                self.swarm.select_next_some().await;
            }
        })
    }
}
