//! Who holds what: announcements in the network's table, and searches in it.
//!
//! Invariants: an announcement of another node is kept only for a peer that joined, and their number is bounded for
//! each peer and in all, so that no flood takes the room of one's own; every search ends.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{
    Event, GetProvidersOk, InboundRequest, ProviderRecord, QueryId, QueryResult, RecordKey,
};
use talea_ledger::{Digest, PublicKey};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Task;
use crate::address;
use crate::behaviour::PROVIDED_MAX;
use crate::key;

/// Announcements that are kept for one peer: as many functions as a host holds.
const FOREIGN_PER_PEER_MAX: usize = 4096;
/// Announcements that are kept for all peers; the rest of the table is for one's own.
const FOREIGN_MAX: usize = PROVIDED_MAX / 2;
/// What this node may announce.
const OWN_MAX: usize = PROVIDED_MAX / 2;

/// Own announcements that are made in one tick, when a newcomer has not heard them.
const ANNOUNCED_PER_TICK: usize = 32;
/// With more peers than this the table finds its own way: an announcement goes to 20 of them.
const NEWCOMER_PEERS_MAX: usize = 20;

/// Searches under way at once, and how long one may take.
const SEARCHES_MAX: usize = 256;
const SEARCH_TIME: Duration = Duration::from_secs(10);
/// Providers that are enough, and how long more are waited for once there is one.
const ENOUGH: usize = 8;
const MORE_TIME: Duration = Duration::from_millis(500);

/// One search.
#[derive(Debug)]
struct Search {
    found: HashSet<PeerId>,
    reply: oneshot::Sender<Vec<PublicKey>>,
    until: Instant,
}

/// Own announcements, others' announcements, and searches.
#[derive(Debug, Default)]
pub(super) struct Searches {
    own: BTreeSet<Digest>,
    /// Own announcements that are due.
    due: VecDeque<Digest>,
    foreign: Foreign,
    running: HashMap<QueryId, Search>,
}

/// Others' announcements, the oldest first.
#[derive(Debug, Default)]
struct Foreign {
    order: VecDeque<(RecordKey, PeerId)>,
    known: HashSet<(RecordKey, PeerId)>,
    counts: HashMap<PeerId, usize>,
}

impl Foreign {
    /// Counts an announcement in. Which one goes for it, if one must; an error when the peer has too many.
    fn enter(&mut self, key: &RecordKey, peer: PeerId) -> Result<Option<(RecordKey, PeerId)>, ()> {
        if self.known.contains(&(key.clone(), peer)) {
            return Ok(None);
        }
        let count = self.counts.entry(peer).or_default();
        if *count >= FOREIGN_PER_PEER_MAX {
            return Err(());
        }
        *count += 1;
        self.known.insert((key.clone(), peer));
        self.order.push_back((key.clone(), peer));
        if self.order.len() <= FOREIGN_MAX {
            return Ok(None);
        }
        let oldest = self.order.pop_front();
        if let Some(oldest) = &oldest {
            self.known.remove(oldest);
            if let Some(count) = self.counts.get_mut(&oldest.1) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&oldest.1);
                }
            }
        }
        Ok(oldest)
    }
}

fn record_key(key: &Digest) -> RecordKey {
    RecordKey::new(key.as_bytes())
}

impl Task {
    pub(super) fn provide(&mut self, key: &Digest) {
        if self.searches.own.len() >= OWN_MAX {
            tracing::warn!("more is held here than can be announced");
        } else if self.searches.own.insert(*key) {
            self.searches.due.push_back(*key);
            self.announce();
        }
    }

    pub(super) fn unprovide(&mut self, key: &Digest) {
        self.searches.own.remove(key);
        self.swarm.behaviour_mut().kad.stop_providing(&record_key(key));
    }

    /// Makes some of the announcements that are due.
    pub(super) fn announce(&mut self) {
        if self.peers.joined() == 0 {
            return;
        }
        for _ in 0..ANNOUNCED_PER_TICK {
            let Some(key) = self.searches.due.pop_front() else { return };
            if !self.searches.own.contains(&key) {
                continue;
            }
            let kad = &mut self.swarm.behaviour_mut().kad;
            if let Err(error) = kad.start_providing(record_key(&key)) {
                tracing::warn!(%error, %key, "not announced");
            }
        }
    }

    /// Puts a peer that joined into the table, with the addresses that are known by now.
    pub(super) fn make_known(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get(&peer) else { return };
        let dialled = entry.lines.values().filter(|line| line.is_dialled).map(|line| &line.address);
        let addresses: Vec<_> = dialled.chain(&entry.listens).cloned().collect();
        let kad = &mut self.swarm.behaviour_mut().kad;
        let is_new = addresses
            .into_iter()
            .map(|address| kad.add_address(&peer, address))
            .any(|update| matches!(update, libp2p::kad::RoutingUpdate::Success));
        // In a small network a newcomer is near to every key, and has heard of none.
        if is_new && self.peers.joined() <= NEWCOMER_PEERS_MAX {
            let searches = &mut self.searches;
            searches.due = searches.own.iter().copied().collect();
        }
    }

    pub(super) fn search(&mut self, key: &Digest, reply: oneshot::Sender<Vec<PublicKey>>) {
        if self.searches.running.len() >= SEARCHES_MAX {
            // Dropped: nobody is found.
            return;
        }
        let query = self.swarm.behaviour_mut().kad.get_providers(record_key(key));
        let until = Instant::now() + SEARCH_TIME;
        self.searches.running.insert(query, Search { found: HashSet::new(), reply, until });
    }

    pub(super) fn kad_event(&mut self, event: Event) {
        match event {
            Event::InboundRequest {
                request: InboundRequest::AddProvider { record: Some(record) },
            } => self.announced(record),
            Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetProviders(result),
                step,
                ..
            } => {
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result
                    && let Some(search) = self.searches.running.get_mut(&id)
                {
                    let now = Instant::now();
                    if search.found.is_empty() && !providers.is_empty() {
                        search.until = search.until.min(now + MORE_TIME);
                    }
                    search.found.extend(providers);
                }
                let is_enough =
                    self.searches.running.get(&id).is_some_and(|s| s.found.len() >= ENOUGH);
                if step.last || is_enough {
                    self.found(id);
                }
            }
            _ => {}
        }
    }

    /// Ends searches whose time is over.
    pub(super) fn end_searches(&mut self, now: Instant) {
        let over: Vec<QueryId> = self
            .searches
            .running
            .iter()
            .filter(|(_, s)| s.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.found(id);
        }
    }

    fn found(&mut self, id: QueryId) {
        let Some(search) = self.searches.running.remove(&id) else { return };
        if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
            query.finish();
        }
        let me = *self.swarm.local_peer_id();
        let mut keys: Vec<PublicKey> =
            search.found.iter().filter(|peer| **peer != me).filter_map(key::key_of).collect();
        keys.sort();
        // Who asked may have stopped waiting.
        let _ = search.reply.send(keys);
    }

    /// A peer says that it holds something.
    fn announced(&mut self, record: ProviderRecord) {
        let peer = record.provider;
        let Some(entry) = self.peers.joined_mut(&peer) else { return };
        let is_near = entry.lines.values().any(|line| address::is_loopback(&line.address));
        let mut record = record;
        record
            .addresses
            .retain(|a| !address::is_nowhere(a) && (is_near || !address::is_loopback(a)));
        let key_len = record.key.as_ref().len();
        let entered = self.searches.foreign.enter(&record.key, peer);
        let Ok(oldest) = entered else { return };
        if key_len != 32 {
            self.hold_against(peer, "it announces what is no hash");
            return;
        }
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if let Some((key, provider)) = oldest {
            store.remove_provider(&key, &provider);
        }
        if let Err(error) = store.add_provider(record) {
            tracing::debug!(%error, "an announcement was not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_takes_the_room_of_the_others() {
        let (mut foreign, loud, quiet) = (Foreign::default(), PeerId::random(), PeerId::random());
        let key = |i: usize| record_key(&Digest::of(&i.to_le_bytes()));
        assert!(foreign.enter(&key(0), quiet).is_ok());
        for i in 0..FOREIGN_PER_PEER_MAX {
            assert!(matches!(foreign.enter(&key(i), loud), Ok(None)));
        }
        assert!(foreign.enter(&key(FOREIGN_PER_PEER_MAX), loud).is_err());
        assert!(foreign.enter(&key(0), loud).is_ok(), "said again");
        assert!(foreign.enter(&key(1), quiet).is_ok());
        assert_eq!(foreign.order.len(), FOREIGN_PER_PEER_MAX + 2);
    }
}
