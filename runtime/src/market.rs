//! The market: what hosts offer, as far as this node has heard of it, and what it offers itself.
//!
//! An offer is a signed document that hosts gossip. It is judged before it is passed on; the latest of each host lies in
//! memory until it expires. A node that joins asks its first peers for all they have, and hears what changes from then
//! on. Nothing is kept on the disk: offers live for minutes.
//!
//! # Invariants
//! What is in the book is signed, of this network and not expired; hosts there are bounded in number, and a full book
//! gives a place only to a host that has more to lose than another one in it. What is refused has a stable code, and
//! what no honest node would have said is told apart from what was merely late.
//!
//! # Absent
//! Connections (the node hands in what came, and sends what is to be said), and which host is chosen.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use talea_ledger::codec::List;
use talea_ledger::message::Endpoint;
use talea_ledger::offer::{LIFE_MAX, OfferBook, OfferError, SPACING, Taken, Wanted};
use talea_ledger::registration::Limits;
use talea_ledger::sign::ENVELOPE_LEN_MAX;
use talea_ledger::{
    Candidate, Digest, Document as _, NetworkId, Offer, OfferId, Price, ProfileId, PublicKey,
    RunId, Sealed, State, Tal, UnixNanos,
};

use crate::clock::Clock;
use crate::notary::Notary;

/// How long an offer of this node stands: a host that went away is forgotten within that time.
const LIFE_NANOS: u64 = 10 * 60 * 1_000_000_000;
/// How often it is said again, so that one lost message costs nobody the host.
const RENEW_NANOS: u64 = LIFE_NANOS / 3;
/// Longest offer in its envelope.
pub const OFFER_LEN_MAX: usize = <Offer as talea_ledger::Document>::LEN_MAX + ENVELOPE_LEN_MAX;
/// Longest answer to who asks for all offers: what one piece of the network carries.
pub const PAGE_LEN_MAX: usize = 1024 * 1024;

const _: () = assert!(LIFE_NANOS <= LIFE_MAX.0 && RENEW_NANOS >= SPACING.0);

/// What hosts have to lose or to spend. The node hands in the ledger's head.
pub trait Standings: Send + Sync + std::fmt::Debug {
    /// The state after the last block.
    fn head(&self) -> State;
}

/// What this node offers.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What work costs at least.
    pub price: Price,
    /// The most that one run may ask for.
    pub limits: Limits,
    /// The profile that runs are executed under.
    pub profile: ProfileId,
    /// Where its HTTP is.
    pub endpoint: Endpoint,
}

/// What the market is made of.
#[derive(Debug)]
pub struct MarketParts {
    /// Signs in the node's name.
    pub notary: Notary,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Says what hosts have.
    pub standings: Arc<dyn Standings>,
    /// What this node offers; nothing when it runs nothing for others.
    pub terms: Option<Terms>,
}

/// Offers, the node's own among them.
#[derive(Debug)]
pub struct Market {
    parts: MarketParts,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    book: OfferBook,
    /// When the node's own offer was made last.
    issued: Option<UnixNanos>,
    taken: u64,
    /// Offers that were not taken, by code.
    refused: BTreeMap<&'static str, u64>,
}

/// What is to become of an offer that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is in the book: pass it on.
    Taken,
    /// Known, older, late, or there is no room: nobody's fault, and not to be passed on.
    Passed(&'static str),
    /// No honest node would have said it.
    Refused(&'static str),
}

/// A host that could take a run, and its offer in full.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The offer.
    pub offer: Offer,
    /// Its name.
    pub id: OfferId,
    /// As it was signed.
    pub sealed: Sealed,
}

/// What was heard since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Offers that were taken.
    pub taken: u64,
    /// Those that were not, by code.
    pub refused: Vec<(&'static str, u64)>,
}

/// The name under which a node asks another one for all its offers.
pub fn page_key(network: &NetworkId) -> Digest {
    let mut bytes = b"talea offers of network v1".to_vec();
    bytes.extend_from_slice(network.as_bytes());
    Digest::of(&bytes)
}

// === impl Market ===

impl Market {
    /// An empty market.
    pub fn new(parts: MarketParts) -> Self {
        let book = OfferBook::new(parts.notary.network());
        let inner = Inner { book, issued: None, taken: 0, refused: BTreeMap::new() };
        Self { parts, inner: Mutex::new(inner) }
    }

    /// Takes an offer as it came from a peer.
    pub fn hear(&self, bytes: &[u8]) -> Heard {
        let heard = self.judge(bytes);
        let mut inner = self.lock();
        match heard {
            Heard::Taken => inner.taken += 1,
            // As many keys as there are codes.
            Heard::Passed(code) | Heard::Refused(code) => {
                *inner.refused.entry(code).or_default() += 1;
            }
        }
        heard
    }

    fn judge(&self, bytes: &[u8]) -> Heard {
        if bytes.len() > OFFER_LEN_MAX {
            return Heard::Refused("offer-too-long");
        }
        let now = self.parts.clock.now();
        let offer = Sealed::decode(bytes).and_then(|sealed| {
            let host = Offer::decode(sealed.payload())?.host;
            Ok((host, sealed))
        });
        let (host, sealed) = match offer {
            Ok(offer) => offer,
            Err(error) => return Heard::Refused(OfferError::from(error).code()),
        };
        let standing = self.standing(&host);
        let taken = self.lock().book.take(sealed, standing, now);
        match taken {
            Ok(Taken::New) => Heard::Taken,
            Ok(Taken::Known) => Heard::Passed("offer-known"),
            Ok(Taken::Older) => Heard::Passed("offer-older"),
            Ok(Taken::Full) => Heard::Passed("offer-book-full"),
            Err(error) if error.is_offence(now) => Heard::Refused(error.code()),
            Err(error) => Heard::Passed(error.code()),
        }
    }

    /// What a host has on the ledger, locked as a stake or free.
    fn standing(&self, host: &PublicKey) -> Tal {
        let head = self.parts.standings.head();
        let staked = head.stake(host).map_or(Tal::ZERO, |stake| stake.amount);
        head.account(host).balance.saturating_add(staked)
    }

    /// The node's own offer, when it is time to say it; forgets those that have expired.
    pub fn renew(&self) -> Option<Vec<u8>> {
        let now = self.parts.clock.now();
        let terms = self.parts.terms.as_ref();
        {
            let mut inner = self.lock();
            inner.book.prune(now);
            let age = |issued: UnixNanos| now.0.saturating_sub(issued.0);
            if inner.issued.is_some_and(|issued| age(issued) < RENEW_NANOS) {
                return None;
            }
            terms?;
            inner.issued = Some(now);
        }
        let notary = &self.parts.notary;
        let Terms { price, limits, profile, endpoint } = terms?.clone();
        let offer = Offer {
            host: notary.public(),
            limits,
            network: notary.network(),
            price,
            issued: now,
            expires: UnixNanos(now.0.saturating_add(LIFE_NANOS)),
            profiles: List::try_from(vec![profile]).unwrap_or_default(),
            endpoints: List::try_from(vec![endpoint]).unwrap_or_default(),
        };
        let sealed = notary.document(&offer);
        let bytes = sealed.encode();
        // Its own offer is in its book as those of others are; that it is there already changes nothing.
        let _ = self.judge(&bytes);
        Some(bytes)
    }

    /// Hosts whose offers cover what is wanted and that `may` be asked, in the order of their keys.
    pub fn candidates(
        &self,
        wanted: &Wanted,
        run: &RunId,
        may: impl Fn(&Offer) -> bool,
    ) -> Vec<Listed> {
        let inner = self.lock();
        let allowed = |host: &PublicKey| inner.book.of(host).is_some_and(|(offer, _)| may(offer));
        let found = inner.book.candidates(wanted, run, allowed);
        found.into_iter().map(listed).collect()
    }

    /// All offers that stand.
    pub fn list(&self) -> Vec<Listed> {
        let now = self.parts.clock.now();
        let inner = self.lock();
        inner.book.iter().filter(|(_, offer, _)| offer.expires > now).map(listed).collect()
    }

    /// What was heard since the start.
    pub fn tally(&self) -> Tally {
        let inner = self.lock();
        let refused = inner.refused.iter().map(|(code, count)| (*code, *count)).collect();
        Tally { taken: inner.taken, refused }
    }

    /// All offers for a node that has just come, each behind its length as `u32` LE; as many as fit.
    pub fn page(&self) -> Vec<u8> {
        let mut page = Vec::new();
        for Listed { sealed, .. } in self.list() {
            let bytes = sealed.encode();
            let Ok(len) = u32::try_from(bytes.len()) else { continue };
            if page.len() + 4 + bytes.len() > PAGE_LEN_MAX {
                break;
            }
            page.extend_from_slice(&len.to_le_bytes());
            page.extend_from_slice(&bytes);
        }
        page
    }

    /// Takes the offers of a page. Gives the code of the first thing that no honest node would have said.
    pub fn hear_page(&self, mut page: &[u8]) -> Result<usize, &'static str> {
        let mut taken = 0;
        while let Some((len, rest)) = page.split_first_chunk::<4>() {
            let len = u32::from_le_bytes(*len) as usize;
            let (bytes, rest) = rest.split_at_checked(len).ok_or("offer-malformed")?;
            match self.hear(bytes) {
                Heard::Taken => taken += 1,
                Heard::Passed(_) => {}
                Heard::Refused(code) => return Err(code),
            }
            page = rest;
        }
        if page.is_empty() { Ok(taken) } else { Err("offer-malformed") }
    }

    /// Each statement under the lock leaves the book whole, so a panic elsewhere says nothing about it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listed((id, offer, sealed): (&OfferId, &Offer, &Sealed)) -> Listed {
    Listed { offer: offer.clone(), id: *id, sealed: sealed.clone() }
}

// === impl Listed ===

impl Listed {
    /// As a draw lists it.
    pub fn candidate(&self, load: u32) -> Candidate {
        Candidate { host: self.offer.host, load, offer: self.id }
    }
}
