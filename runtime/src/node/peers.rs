//! The node among others: what its parts say goes out over the network, what comes in goes to them.
//!
//! Absent: what messages mean, and how they travel.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use talea_gossip::{
    Gossip, Inbox, Incoming, Limits, Multiaddr, Nat, NotHere, Options, Topic, Verdict as Passing,
};
use talea_ledger::{Document as _, Network, PublicKey};
use tokio::task::JoinHandle;

use super::membership::parsed;
use super::{StartError, write_whole};
use crate::config::Peering;
use crate::ledger::{BLOCK_NEWS_LEN_MAX, Judge, Line, News, Verdict, Wire};
use crate::notary::Notary;
use crate::supply::Supply;

/// How long a start waits for the system to say which ports it listens on.
const ADDRESSES_TIME_MAX: Duration = Duration::from_secs(5);
/// Connections of one machine, where all nodes of a network may run on one.
const PER_IP_LOCAL_MAX: u32 = 1_024;

const _: () = assert!(BLOCK_NEWS_LEN_MAX <= Topic::Block.len_max());

/// A node's end of the network.
pub(super) struct Peers {
    gossip: Gossip,
    inbox: Inbox,
    addr_file: Option<PathBuf>,
}

/// The same at work.
#[derive(Debug)]
pub(super) struct Company {
    gossip: Gossip,
    pump: JoinHandle<()>,
}

// === impl Peers ===

impl Peers {
    /// Opens the node's ports for other nodes and begins to dial those it joins. `endpoint` is where its HTTP is.
    pub(super) async fn open(
        settings: &Peering,
        network: &Network,
        notary: &Notary,
        endpoint: Option<String>,
    ) -> Result<Self, StartError> {
        let listen = parsed("network.listen", &settings.listen)?;
        let is_local = listen.iter().all(is_loopback);
        let defaults = Limits::default();
        let limits = Limits {
            // Dials of its own come on top of what others may open.
            inbound_max: settings.peers_max,
            connections_max: settings.peers_max.saturating_add(settings.peers_max / 4 + 8),
            per_ip_max: if is_local { PER_IP_LOCAL_MAX } else { defaults.per_ip_max },
            ..defaults
        };
        let nat = match settings.nat && !is_local {
            true => Nat::On { relays: parsed("network.relays", &settings.relays)?, serve: false },
            false => Nat::Off,
        };
        let listens = !listen.is_empty();
        let options = Options {
            listen,
            join: parsed("network.join", &settings.join)?,
            external: parsed("network.external", &settings.external)?,
            mdns: settings.mdns,
            nat,
            limits,
            endpoint: settings.endpoint.clone().or(endpoint),
            ..Options::new(notary.peer_secret(), network.id(), network.params().encode())
        };
        let (gossip, inbox) = talea_gossip::start(options)?;
        if listens {
            let mut addresses = gossip.watch_addresses();
            let known = addresses.wait_for(|addresses| !addresses.is_empty());
            if tokio::time::timeout(ADDRESSES_TIME_MAX, known).await.is_err() {
                tracing::warn!("the system has not said yet where this node listens for others");
            }
        }
        let addr_file = settings.addr_file.clone();
        let this = Self { gossip, inbox, addr_file };
        if let Some(path) = &this.addr_file {
            let unwritable = |source| StartError::AddrFile { path: path.clone(), source };
            write_addresses(path, &this.gossip).map_err(unwritable)?;
        }
        Ok(this)
    }

    /// The line on which the ledger speaks.
    pub(super) fn line(&self) -> Arc<dyn Line> {
        Arc::new(Spoken(self.gossip.clone()))
    }

    /// The handle of the network.
    pub(super) fn gossip(&self) -> Gossip {
        self.gossip.clone()
    }

    /// Begins to hand on what comes.
    pub(super) fn hear(self, wire: Wire, supply: Option<Arc<Supply>>) -> Company {
        let Self { gossip, inbox, addr_file } = self;
        for address in gossip.addresses() {
            tracing::info!(%address, "other nodes reach this one");
        }
        let pump = tokio::spawn(pump(inbox, wire, gossip.clone(), supply, addr_file));
        Company { gossip, pump }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("gossip", &self.gossip).finish_non_exhaustive()
    }
}

// === impl Company ===

impl Company {
    /// Where other nodes reach this one.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.gossip.addresses().iter().map(Multiaddr::to_string).collect()
    }

    /// Leaves: peers learn of it at once, and nothing more comes from them.
    pub(super) async fn leave(self) {
        let Self { gossip, pump } = self;
        gossip.close().await;
        if let Err(fault) = pump.await {
            tracing::error!(%fault, "what peers said was not taken to its end");
        }
    }
}

/// What the ledger says, said over the network.
#[derive(Debug)]
struct Spoken(Gossip);

impl Line for Spoken {
    fn send(&self, to: &PublicKey, message: Vec<u8>) {
        // What the network cannot take is counted there, and asked for again by who misses it.
        let _ = self.0.send(*to, message);
    }

    fn publish(&self, news: News, message: Vec<u8>) {
        let topic = match news {
            News::Transaction => Topic::Transaction,
            News::Block => Topic::Block,
            News::Vote => Topic::Vote,
        };
        // As above: who misses it hears of it with the next status.
        let _ = self.0.publish(topic, message);
    }

    fn blame(&self, who: &PublicKey, code: &'static str) {
        tracing::debug!(peer = %who, code, "a peer said what cannot stand");
        self.0.blame(*who, code);
    }
}

/// Hands on what comes until the network ends.
async fn pump(
    mut inbox: Inbox,
    mut wire: Wire,
    gossip: Gossip,
    supply: Option<Arc<Supply>>,
    addr_file: Option<PathBuf>,
) {
    let mut addresses = gossip.watch_addresses();
    addresses.mark_unchanged();
    loop {
        tokio::select! {
            incoming = inbox.recv() => match incoming {
                Some(incoming) => take(incoming, &mut wire, &gossip, supply.as_ref()).await,
                None => return,
            },
            Ok(()) = addresses.changed() => {
                let Some(path) = &addr_file else { continue };
                if let Err(fault) = write_addresses(path, &gossip) {
                    tracing::warn!(%fault, path = %path.display(), "the file of addresses cannot be written");
                }
            }
        }
    }
}

async fn take(incoming: Incoming, wire: &mut Wire, gossip: &Gossip, supply: Option<&Arc<Supply>>) {
    match incoming {
        Incoming::Joined(peer) => {
            tracing::info!(%peer, "a peer has joined");
            wire.joined(peer).await;
        }
        Incoming::Left(peer) => {
            tracing::info!(%peer, "a peer has left");
            wire.left(peer).await;
        }
        Incoming::Sent { from, bytes } => wire.sent(from, &bytes).await,
        Incoming::Gossiped { id, from, topic, bytes } => {
            let teller = gossip.clone();
            let judge = Judge::new(move |verdict| teller.verdict(id, from, passing(verdict)));
            let news = match topic {
                Topic::Transaction => News::Transaction,
                Topic::Block => News::Block,
                Topic::Vote => News::Vote,
                // Nobody here knows what they mean yet: dropped, the judge ignores them.
                Topic::Batch | Topic::Offer => return,
            };
            wire.passed_on(from, news, &bytes, judge).await;
        }
        Incoming::Asked { wanted, offset, len, reply, .. } => match supply {
            Some(supply) => supply.serve(wanted, offset, len, reply),
            // Nobody may wait any more.
            None => drop(reply.send(Err(NotHere))),
        },
    }
}

fn passing(verdict: Verdict) -> Passing {
    match verdict {
        Verdict::Accept => Passing::Accept,
        Verdict::Ignore => Passing::Ignore,
        Verdict::Reject => Passing::Reject,
    }
}

/// One address a line; those that other machines can use first.
fn write_addresses(path: &std::path::Path, gossip: &Gossip) -> io::Result<()> {
    let mut addresses = gossip.addresses();
    addresses.sort_by_key(is_loopback);
    let lines: Vec<String> = addresses.iter().map(Multiaddr::to_string).collect();
    write_whole(path, &lines.join("\n"))
}

fn is_loopback(address: &Multiaddr) -> bool {
    let text = address.to_string();
    text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/")
}
