//! The offers that a node has heard of: the latest of each host, bounded, and gone when they expire.
//!
//! Invariants: a signature is checked only of an offer that would change the book, so a replay costs a decoding;
//! a full book gives a place to a host that has more to lose (`standing`) than another one in it, so made-up keys
//! cannot drive out hosts with a stake.

use std::collections::BTreeMap;

use sha2::Digest as _;

use super::{LIFE_MAX, Offer, SKEW_MAX, Uncovered, Wanted};
use crate::codec::{DecodeError, Document};
use crate::draw::CANDIDATES_MAX;
use crate::id::{NetworkId, OfferId, PublicKey, RunId};
use crate::sign::{Domain, Sealed, VerifyError};
use crate::units::{Nanos, Tal, UnixNanos};

/// Hosts in the book. An offer has about 300 bytes and at most 2.8 KB: 3 MB in the worst case.
pub const HOSTS_MAX: usize = 1024;
/// Least time between two offers of a host. Each travels through the whole network.
pub const SPACING: Nanos = Nanos(10_000_000_000);

/// The latest offer of each host.
#[derive(Debug, Clone)]
pub struct OfferBook {
    network: NetworkId,
    hosts: BTreeMap<PublicKey, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    offer: Offer,
    id: OfferId,
    sealed: Sealed,
    standing: Tal,
}

/// What became of an offer that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in the book now. To be passed on.
    New,
    /// It is in the book already.
    Known,
    /// A later one of its host is in the book, or one that is hardly older.
    Older,
    /// The book is full of hosts with at least its standing.
    Full,
}

/// Why an offer was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The payload is no offer.
    #[error("malformed {0}")]
    Malformed(#[from] DecodeError),
    /// Its signature does not hold, or it is of another network.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It does not stand.
    #[error(transparent)]
    Void(#[from] Uncovered),
}

impl OfferError {
    /// Whether whoever passed it on could have known. One that expired lately may only have been slow, and whoever
    /// passed on one that is early may have another clock.
    pub fn is_offence(&self, now: UnixNanos) -> bool {
        match self {
            Self::Void(Uncovered::Expired(at)) => at.0.saturating_add(SKEW_MAX.0) < now.0,
            Self::Void(Uncovered::Early(_)) => false,
            Self::Malformed(_) | Self::Verify(_) | Self::Void(_) => true,
        }
    }

    /// The stable text for peers and counters.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "offer-malformed",
            Self::Verify(VerifyError::Network { .. }) => "offer-network",
            Self::Verify(_) => "offer-forged",
            Self::Void(Uncovered::Expired(_)) => "offer-expired",
            Self::Void(Uncovered::Early(_)) => "offer-early",
            Self::Void(_) => "offer-void",
        }
    }
}

impl OfferBook {
    /// An empty book.
    pub fn new(network: NetworkId) -> Self {
        Self { network, hosts: BTreeMap::new() }
    }

    /// Takes an offer as it came. `standing` is what its host has to lose or to spend on the ledger.
    pub fn take(
        &mut self,
        sealed: Sealed,
        standing: Tal,
        now: UnixNanos,
    ) -> Result<Taken, OfferError> {
        if sealed.domain() != Domain::Offer {
            let found = sealed.domain();
            return Err(VerifyError::Domain { expected: Domain::Offer, found }.into());
        }
        let offer = Offer::decode(sealed.payload())?;
        if offer.network != self.network {
            let (expected, found) = (self.network, offer.network);
            return Err(VerifyError::Network { expected, found }.into());
        }
        offer.stands(now)?;
        let id = OfferId::of(sealed.payload());
        let held = self.hosts.get(&offer.host);
        if let Some(held) = held {
            if held.id == id {
                return Ok(Taken::Known);
            }
            if offer.issued.0 < held.offer.issued.0.saturating_add(SPACING.0) {
                return Ok(Taken::Older);
            }
        }
        let given_up = match held {
            Some(_) => None,
            None => match self.place_for(standing, now) {
                Place::Free => None,
                Place::Of(host) => Some(host),
                Place::None => return Ok(Taken::Full),
            },
        };
        sealed.verify::<Offer>()?;
        if let Some(host) = given_up {
            self.hosts.remove(&host);
        }
        self.hosts.insert(offer.host, Held { offer, id, sealed, standing });
        Ok(Taken::New)
    }

    /// Whose place a host of this standing may have.
    fn place_for(&self, standing: Tal, now: UnixNanos) -> Place {
        if self.hosts.len() < HOSTS_MAX {
            return Place::Free;
        }
        let expired = self.hosts.iter().find(|(_, held)| held.offer.expires <= now);
        let least = || self.hosts.iter().min_by_key(|(_, held)| held.standing);
        match expired.or_else(|| least().filter(|(_, held)| held.standing < standing)) {
            Some((host, _)) => Place::Of(*host),
            None => Place::None,
        }
    }

    /// Forgets offers that have expired.
    pub fn prune(&mut self, now: UnixNanos) {
        self.hosts.retain(|_, held| held.offer.expires > now);
    }

    /// The offer of a host.
    pub fn of(&self, host: &PublicKey) -> Option<(&Offer, &Sealed)> {
        self.hosts.get(host).map(|held| (&held.offer, &held.sealed))
    }

    /// All of them, by host.
    pub fn iter(&self) -> impl Iterator<Item = (&OfferId, &Offer, &Sealed)> {
        self.hosts.values().map(|held| (&held.id, &held.offer, &held.sealed))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The offers that cover what is wanted, of hosts that `may` be asked, in the order of their hosts' keys. Of
    /// more than a draw can list, those whose hash with the run is lowest: which ones is up to chance, not to the
    /// gateway or to the host's key.
    pub fn candidates(
        &self,
        wanted: &Wanted,
        run: &RunId,
        may: impl Fn(&PublicKey) -> bool,
    ) -> Vec<(&OfferId, &Offer, &Sealed)> {
        let mut found: Vec<_> = self
            .hosts
            .values()
            .filter(|held| held.offer.covers(wanted).is_ok() && may(&held.offer.host))
            .collect();
        if found.len() > CANDIDATES_MAX {
            found.sort_by_cached_key(|held| lot(run, &held.offer.host));
            found.truncate(CANDIDATES_MAX);
            found.sort_by_key(|held| held.offer.host);
        }
        found.into_iter().map(|held| (&held.id, &held.offer, &held.sealed)).collect()
    }
}

enum Place {
    Free,
    Of(PublicKey),
    None,
}

fn lot(run: &RunId, host: &PublicKey) -> [u8; 32] {
    sha2::Sha256::new()
        .chain_update(b"talea candidates v1\0")
        .chain_update(run.digest().as_bytes())
        .chain_update(host.as_bytes())
        .finalize()
        .into()
}

// A host renews its offer at half its life, well apart from the least spacing.
const _: () = assert!(LIFE_MAX.0 > 4 * SPACING.0);
