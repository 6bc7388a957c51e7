//! The offer: what a host asks for and takes on, for the next minutes. The host signs it and gossips it.
//!
//! The ledger's own offer (a transaction) says what lasts; this one says what holds now, costs no fee, and ends by
//! itself. Invariants: an offer lives at most [`LIFE_MAX`], so a host that went away is forgotten without anyone
//! saying so; whether an offer covers a run is a matter of the two documents alone, so it can be checked later.
//!
//! Absent: a price of memory. A bill has no such part, so an offer that asked for one could not be billed; a host
//! bounds what it lends by `max`. Absent too: the host's own load. A host that understates it is drawn more often,
//! and nobody could prove it wrong; a gateway counts its own forwards instead (see [`crate::draw`]).

mod book;

pub use book::{HOSTS_MAX, OfferBook, OfferError, SPACING, Taken};

use crate::codec::{Document, List, record};
use crate::id::{NetworkId, OfferId, ProfileId, PublicKey};
use crate::message::Endpoint;
use crate::price::Price;
use crate::registration::Limits;
use crate::run::Run;
use crate::sign::Domain;
use crate::units::{Nanos, UnixNanos};

/// Most profiles of an offer: one is current, a few are kept for functions that were registered under them.
pub const PROFILES_MAX: usize = 8;
/// Most endpoints of an offer: a name, addresses of two families, a few relays.
pub const ENDPOINTS_MAX: usize = 8;
/// The longest life of an offer. A host renews its offer about every half of the life that it gives it.
pub const LIFE_MAX: Nanos = Nanos(3_600_000_000_000);
/// How far a host's clock may be ahead of the reader's. As much as between a payer's and a host's.
pub const SKEW_MAX: Nanos = Nanos(300_000_000_000);

record! {
    /// One offer.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Offer {
        /// The host, who signs.
        "by" => pub host: PublicKey,
        /// The most that one run may ask for.
        "max" => pub limits: Limits,
        /// The network.
        "net" => pub network: NetworkId,
        /// What work costs at least.
        "price" => pub price: Price,
        /// When it was made, by the host's clock. Of two, the later holds.
        "issued" => pub issued: UnixNanos,
        /// Until when it stands.
        "expires" => pub expires: UnixNanos,
        /// The profiles it runs functions under.
        "profiles" => pub profiles: List<ProfileId, PROFILES_MAX>,
        /// Where its gateway is reached: URLs, the best first.
        "endpoints" => pub endpoints: List<Endpoint, ENDPOINTS_MAX>,
    }
}

impl Document for Offer {
    const DOMAIN: Domain = Domain::Offer;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.host)
    }
}

/// What a run asks of a host, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The network.
    pub network: NetworkId,
    /// The profile.
    pub profile: ProfileId,
    /// What its payer gives at most.
    pub price: Price,
    /// Its limits.
    pub limits: Limits,
    /// When it arrived.
    pub at: UnixNanos,
}

/// Why an offer is none for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Uncovered {
    /// Of another network.
    #[error("it is of another network")]
    Network,
    /// It names no profile or no endpoint, ends before it begins, or lives too long.
    #[error("it is no offer at all: {0}")]
    Empty(&'static str),
    /// It was made later than now.
    #[error("it was issued at {0}, which is yet to come")]
    Early(UnixNanos),
    /// It stands no more.
    #[error("it expired at {0}")]
    Expired(UnixNanos),
    /// Another profile.
    #[error("it does not run profile {0}")]
    Profile(ProfileId),
    /// It costs more than is given.
    #[error("its price {part} is {asked}, {given} are given")]
    Price {
        /// Which part of the price.
        part: &'static str,
        /// What the host asks for.
        asked: u64,
        /// What the payer gives.
        given: u64,
    },
    /// More is wanted than it takes on.
    #[error("its limit of {part} is {most}, {wanted} are wanted")]
    Limit {
        /// Which limit.
        part: &'static str,
        /// What the host takes on.
        most: u64,
        /// What is wanted.
        wanted: u64,
    },
}

impl Wanted {
    /// What `run` asks for. Its price is the most that another host may cost: a gateway that forwards it is paid
    /// no more than that.
    pub fn by(run: &Run, at: UnixNanos) -> Self {
        Self {
            network: run.network,
            profile: run.profile,
            price: run.price,
            limits: Limits {
                log: run.log_limit,
                memory: run.memory_limit,
                output: run.output_limit,
                fuel: run.fuel_limit,
            },
            at,
        }
    }
}

// === impl Offer ===

impl Offer {
    /// The name of this document.
    pub fn id(&self) -> OfferId {
        OfferId::of(&self.encode())
    }

    /// Whether it holds at a time, whatever is wanted.
    pub fn stands(&self, at: UnixNanos) -> Result<(), Uncovered> {
        if self.profiles.is_empty() {
            return Err(Uncovered::Empty("no profile"));
        }
        if self.endpoints.is_empty() {
            return Err(Uncovered::Empty("no endpoint"));
        }
        match self.expires.0.checked_sub(self.issued.0) {
            None | Some(0) => return Err(Uncovered::Empty("it ends before it begins")),
            Some(life) if life > LIFE_MAX.0 => return Err(Uncovered::Empty("it lives too long")),
            Some(_) => {}
        }
        if self.issued.0 > at.0.saturating_add(SKEW_MAX.0) {
            return Err(Uncovered::Early(self.issued));
        }
        if self.expires <= at {
            return Err(Uncovered::Expired(self.expires));
        }
        Ok(())
    }

    /// Whether it takes on what is wanted, at the price and the time of it.
    pub fn covers(&self, wanted: &Wanted) -> Result<(), Uncovered> {
        if self.network != wanted.network {
            return Err(Uncovered::Network);
        }
        self.stands(wanted.at)?;
        if !self.profiles.contains(&wanted.profile) {
            return Err(Uncovered::Profile(wanted.profile));
        }
        let (asks, gives) = (&self.price, &wanted.price);
        let prices = [
            ("per_call", asks.per_call.0, gives.per_call.0),
            ("rate", asks.rate, gives.rate),
            ("per_kib", asks.per_kib.0, gives.per_kib.0),
        ];
        if let Some((part, asked, given)) = prices.into_iter().find(|(_, a, g)| a > g) {
            return Err(Uncovered::Price { part, asked, given });
        }
        let (most, wants) = (&self.limits, &wanted.limits);
        let limits = [
            ("fuel", most.fuel.0, wants.fuel.0),
            ("memory", u64::from(most.memory.0), u64::from(wants.memory.0)),
            ("output", most.output, wants.output),
            ("log", most.log, wants.log),
        ];
        match limits.into_iter().find(|(_, most, wanted)| wanted > most) {
            Some((part, most, wanted)) => Err(Uncovered::Limit { part, most, wanted }),
            None => Ok(()),
        }
    }
}
