//! The node among others: what its parts say goes out over the network, what comes in goes to them.
//!
//! Absent: what messages mean, and how they travel.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use talea_gossip::{
    Gossip, Inbox, Incoming, Limits, Multiaddr, Nat, NotHere, Options, PIECE_LEN_MAX, Piece, Topic,
    Verdict as Passing, Wanted,
};
use talea_ledger::{Digest, Document as _, Network, PublicKey};
use tokio::task::{JoinHandle, JoinSet};

use super::membership::parsed;
use super::{StartError, write_whole};
use crate::clock::Clock;
use crate::config::Peering;
use crate::ledger::{BLOCK_NEWS_LEN_MAX, Judge, Line, News, Verdict, Wire};
use crate::market::{self, Heard, Market};
use crate::notary::Notary;
use crate::supply::Supply;
use crate::till::{self, Hearsay, Till};

/// How long a start waits for the system to say which ports it listens on.
const ADDRESSES_TIME_MAX: Duration = Duration::from_secs(5);
/// Connections of one machine, where all nodes of a network may run on one.
const PER_IP_LOCAL_MAX: u32 = 1_024;

/// How often the node looks whether its offer is to be said again: far more often than that is.
const MARKET_ROUND: Duration = Duration::from_secs(10);
/// How often the node looks whether there is evidence to be said.
const EVIDENCE_ROUND: Duration = Duration::from_secs(1);
/// Pieces of evidence that are judged at once: each takes two signatures and a write.
const HEARINGS_MAX: usize = 4;
/// Nodes that are asked for their offers at once: those that a node joins, and some more.
const ASKS_MAX: usize = 8;

const _: () = assert!(BLOCK_NEWS_LEN_MAX <= Topic::Block.len_max());
const _: () = assert!(market::OFFER_LEN_MAX <= Topic::Offer.len_max());
const _: () = assert!(till::EVIDENCE_LEN_MAX <= Topic::Fraud.len_max());
const _: () = assert!(market::PAGE_LEN_MAX <= PIECE_LEN_MAX as usize);

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
        // A node that is told of relays wants to be reached through them, also when it listens nowhere.
        let wants_nat = settings.nat && (!is_local || !settings.relays.is_empty());
        let nat = match wants_nat || settings.relay {
            true => Nat::On {
                relays: parsed("network.relays", &settings.relays)?,
                serve: settings.relay,
            },
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
    pub(super) fn hear(
        self,
        wire: Wire,
        market: Arc<Market>,
        supply: Option<Arc<Supply>>,
        court: Court,
    ) -> Company {
        let Self { gossip, inbox, addr_file } = self;
        for address in gossip.addresses() {
            tracing::info!(%address, "other nodes reach this one");
        }
        let offers = market::page_key(&wire.network());
        let (asks, hearings) = (JoinSet::new(), JoinSet::new());
        let gossip_of = gossip.clone();
        let ears = Ears { wire, gossip: gossip_of, market, offers, supply, asks, court, hearings };
        let pump = tokio::spawn(ears.listen(inbox, addr_file));
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

/// Whom the node hands on what comes.
struct Ears {
    wire: Wire,
    gossip: Gossip,
    market: Arc<Market>,
    /// The name under which other nodes ask for all offers.
    offers: Digest,
    supply: Option<Arc<Supply>>,
    /// Nodes that are being asked for their offers.
    asks: JoinSet<()>,
    court: Court,
    /// Evidence that is being judged.
    hearings: JoinSet<()>,
}

/// Where evidence against hosts is judged, and by which clock.
pub(super) struct Court {
    pub(super) till: Arc<Till>,
    pub(super) clock: Arc<dyn Clock>,
}

// === impl Ears ===

impl Ears {
    /// Hands on what comes until the network ends.
    async fn listen(mut self, mut inbox: Inbox, addr_file: Option<PathBuf>) {
        let mut addresses = self.gossip.watch_addresses();
        // Some may have come since the file was written first.
        addresses.mark_changed();
        let mut round = tokio::time::interval(MARKET_ROUND);
        let mut evidence = tokio::time::interval(EVIDENCE_ROUND);
        loop {
            tokio::select! {
                incoming = inbox.recv() => match incoming {
                    Some(incoming) => self.take(incoming).await,
                    None => return,
                },
                _ = round.tick() => {
                    if let Some(offer) = self.market.renew() {
                        // Who misses it hears the next one.
                        let _ = self.gossip.publish(Topic::Offer, offer);
                    }
                }
                _ = evidence.tick() => {
                    for evidence in self.court.till.evidence_to_say(self.court.clock.now()) {
                        // Said again after some minutes, as long as the ledger lacks it.
                        let _ = self.gossip.publish(Topic::Fraud, evidence);
                    }
                }
                Ok(()) = addresses.changed() => {
                    let Some(path) = &addr_file else { continue };
                    if let Err(fault) = write_addresses(path, &self.gossip) {
                        tracing::warn!(%fault, path = %path.display(), "the file of addresses cannot be written");
                    }
                }
            }
        }
    }

    async fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Joined(peer) => {
                tracing::info!(%peer, "a peer has joined");
                self.wire.joined(peer).await;
                self.ask_for_offers(peer);
            }
            Incoming::Left(peer) => {
                tracing::info!(%peer, "a peer has left");
                self.wire.left(peer).await;
            }
            Incoming::Sent { from, bytes } => self.wire.sent(from, &bytes).await,
            Incoming::Gossiped { id, from, topic, bytes } => {
                let teller = self.gossip.clone();
                let judge = Judge::new(move |verdict| teller.verdict(id, from, passing(verdict)));
                let news = match topic {
                    Topic::Transaction => News::Transaction,
                    Topic::Block => News::Block,
                    Topic::Vote => News::Vote,
                    Topic::Offer => return judge.say(self.heard(&from, &bytes)),
                    Topic::Fraud => return self.accused(from, bytes, judge),
                };
                self.wire.passed_on(from, news, &bytes, judge).await;
            }
            Incoming::Asked { wanted: Wanted::Document(key), offset: 0, reply, .. }
                if key == self.offers =>
            {
                let bytes = self.market.page();
                let piece = Piece { total: bytes.len() as u64, bytes };
                // Nobody may wait any more.
                drop(reply.send(Ok(piece)));
            }
            Incoming::Asked { wanted, offset, len, reply, .. } => match &self.supply {
                Some(supply) => supply.serve(wanted, offset, len, reply),
                None => drop(reply.send(Err(NotHere))),
            },
        }
    }

    fn heard(&self, from: &PublicKey, bytes: &[u8]) -> Verdict {
        match self.market.hear(bytes) {
            Heard::Taken => Verdict::Accept,
            Heard::Passed(_) => Verdict::Ignore,
            Heard::Refused(code) => {
                tracing::debug!(peer = %from, code, "a peer passed on an offer that cannot stand");
                self.gossip.blame(*from, code);
                Verdict::Reject
            }
        }
    }

    /// Judges evidence beside what else comes. When too much of it is judged already, the judge is dropped, which ignores
    /// it: whoever has it says it again.
    fn accused(&mut self, from: PublicKey, bytes: Vec<u8>, judge: Judge) {
        while self.hearings.try_join_next().is_some() {}
        if self.hearings.len() >= HEARINGS_MAX {
            return;
        }
        let (gossip, till) = (self.gossip.clone(), Arc::clone(&self.court.till));
        let now = self.court.clock.now();
        self.hearings.spawn_blocking(move || {
            judge.say(match till.hear_evidence(&bytes, now) {
                Hearsay::New => Verdict::Accept,
                Hearsay::Passed => Verdict::Ignore,
                Hearsay::Refused(code) => {
                    tracing::debug!(peer = %from, code, "a peer passed on evidence that proves nothing");
                    gossip.blame(from, code);
                    Verdict::Reject
                }
            });
        });
    }

    /// Asks a node that has just joined for all offers it knows: those that were made before are not said to
    /// newcomers otherwise.
    fn ask_for_offers(&mut self, peer: PublicKey) {
        while self.asks.try_join_next().is_some() {}
        if self.asks.len() >= ASKS_MAX {
            return;
        }
        let (gossip, market, key) = (self.gossip.clone(), Arc::clone(&self.market), self.offers);
        self.asks.spawn(async move {
            let asked = gossip.fetch(peer, Wanted::Document(key), 0, PIECE_LEN_MAX).await;
            let Ok(page) = asked else { return };
            if let Err(code) = market.hear_page(&page.bytes) {
                gossip.blame(peer, code);
            }
        });
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
