//! The draw: which host a gateway forwards a run to, and the record from which anyone can check that.
//!
//! Two different candidates are drawn by chance; the one with less load takes the run, the first of the two when
//! they are even. Chance is sha2-256 over the gateway's latest finalised block and the caller's run: both are there
//! when the run arrives, so a forward waits for nothing, and neither is the gateway's to choose.
//!
//! Load is how many forwards of this gateway to the host have no answer yet. The gateway knows it at once and no
//! host can make it look better; what other gateways send there it does not know. `cargo bench -p talea-ledger
//! --bench hosts` has what that costs.
//!
//! Invariant: block, run, candidates and loads give the index; [`Draw::check`] finds every record in which they do
//! not. What a record cannot show: that the list is complete (a gateway may leave out hosts), that the loads are
//! true, and that the block was the latest. That it began at most [`AGE_MAX`] before the run came can be checked by
//! the network's parameters; authorities make an empty block when there was none for half of that. Within that time
//! the run alone is what nobody knew before, and its payer could choose it.

mod forward;

pub use forward::{CheckedForward, Forward, ForwardError};

use core::cmp::Ordering;

use sha2::Digest as _;

use crate::block::Header;
use crate::codec::{Document, List, record};
use crate::id::{BlockId, DrawId, NetworkId, OfferId, PublicKey, RunId};
use crate::offer::{LIFE_MAX, Offer, SKEW_MAX, Uncovered, Wanted};
use crate::params::Network;
use crate::run::Run;
use crate::sign::{Domain, Verified};
use crate::units::{Height, Nanos, Slot, UnixNanos};

/// Most candidates of a draw. Two choices of 64 are as good as two of any number; 64 of at most 103 bytes keep the
/// record below 7 KiB.
pub const CANDIDATES_MAX: usize = 64;

/// The greatest age of a draw's block, from the start of its slot to the run's arrival: as long as an offer lives. A
/// part of a network that finalises nothing passes calls on for so long.
pub const AGE_MAX: Nanos = LIFE_MAX;

/// What is hashed before block and run.
const DOMAIN: &[u8] = b"talea draw v1\0";

record! {
    /// A host that could have been drawn.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Candidate {
        /// The host.
        "host" => pub host: PublicKey,
        /// Forwards of this gateway to it that have no answer yet.
        "load" => pub load: u32,
        /// Its offer.
        "offer" => pub offer: OfferId,
    }
}

record! {
    /// The record of one draw.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Draw {
        /// When the run arrived, by the gateway's clock.
        "at" => pub at: UnixNanos,
        /// The gateway, who signs.
        "by" => pub gateway: PublicKey,
        /// The network.
        "net" => pub network: NetworkId,
        /// The caller's run.
        "run" => pub run: RunId,
        /// The latest finalised block that the gateway knew.
        "block" => pub block: BlockId,
        /// Which of the candidates was drawn.
        "drawn" => pub drawn: u32,
        /// The gateway's own run for the host that was drawn.
        "inner" => pub inner: RunId,
        /// The block's height.
        "height" => pub height: Height,
        /// Whom it drew from, in the order of the hosts' keys.
        "offers" => pub candidates: List<Candidate, CANDIDATES_MAX>,
    }
}

impl Document for Draw {
    const DOMAIN: Domain = Domain::Draw;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.gateway)
    }
}

/// A draw that has been made and is not recorded yet: the gateway's own run names the host, so it is made after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    candidates: List<Candidate, CANDIDATES_MAX>,
    index: usize,
    block: BlockId,
    height: Height,
    run: RunId,
    network: NetworkId,
    at: UnixNanos,
}

/// Why a record is not that of a fair draw.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// Nobody to draw from.
    #[error("there is no candidate")]
    NoCandidate,
    /// Candidates out of order, or a host that stands twice.
    #[error("candidate {0} does not stand after the one before it")]
    Order(usize),
    /// Another candidate than chance and loads give.
    #[error("candidate {found} was taken where {drawn} is drawn")]
    Drawn {
        /// Which one block, run and loads give.
        drawn: usize,
        /// Which one the record names.
        found: u32,
    },
    /// The record is about another run.
    #[error("it is about run {found}, not {expected}")]
    Run {
        /// The run it should be about.
        expected: RunId,
        /// The run it is about.
        found: RunId,
    },
    /// The block is not the one named, or of another height or network.
    #[error("its block's {0} is not the header's")]
    Block(&'static str),
    /// The block was too old when the run came, or was to come yet.
    #[error("its block began at {began}, the run came at {came}")]
    Age {
        /// When the block's slot began.
        began: UnixNanos,
        /// When the run came, by the gateway's clock.
        came: UnixNanos,
    },
    /// An offer that no candidate names.
    #[error("an offer of {0} is not among the candidates")]
    Foreign(PublicKey),
    /// A candidate's offer did not cover the run.
    #[error("the offer of {host} does not cover the run: {reason}")]
    Uncovered {
        /// Whose offer.
        host: PublicKey,
        /// Why not.
        #[source]
        reason: Uncovered,
    },
}

/// The index that block, run and loads give; nothing when there are no loads.
///
/// `seed = sha256("talea draw v1" 00 || the block's digest || the run's digest)`. The first is
/// `seed[0..8]` (little-endian) mod n; the second `seed[8..16]` mod (n - 1), one more when it is not below the
/// first. A remainder favours no index by more than n / 2^64.
pub fn choose(block: &BlockId, run: &RunId, loads: &[u32]) -> Option<usize> {
    let (first, second) = pair(block, run, loads.len())?;
    match loads.get(first)?.cmp(loads.get(second)?) {
        Ordering::Less | Ordering::Equal => Some(first),
        Ordering::Greater => Some(second),
    }
}

/// The two that are drawn of so many: the same one twice when there is only one.
pub fn pair(block: &BlockId, run: &RunId, count: usize) -> Option<(usize, usize)> {
    let seed: [u8; 32] = sha2::Sha256::new()
        .chain_update(DOMAIN)
        .chain_update(block.digest().as_bytes())
        .chain_update(run.digest().as_bytes())
        .finalize()
        .into();
    let count = count as u64;
    let first = word(&seed[..8]).checked_rem(count)?;
    // Of one candidate the second is the first.
    let second = match word(&seed[8..16]).checked_rem(count.saturating_sub(1)) {
        None => first,
        Some(other) if other >= first => other.saturating_add(1),
        Some(other) => other,
    };
    // Both are below a count that came from a usize.
    Some((first as usize, second as usize))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum: u64, byte| sum.wrapping_shl(8) | u64::from(*byte))
}

/// Draws a host for a run that arrived at `at`, when `block` was the latest finalised one. Nothing when there is no
/// candidate, or there are more than [`CANDIDATES_MAX`]. In whatever order the candidates are given, the same is drawn.
pub fn draw(
    run: &Run,
    at: UnixNanos,
    (block, height): (BlockId, Height),
    mut candidates: Vec<Candidate>,
) -> Option<Drawn> {
    candidates.sort_by_key(|candidate| candidate.host);
    candidates.dedup_by_key(|candidate| candidate.host);
    let loads: Vec<u32> = candidates.iter().map(|candidate| candidate.load).collect();
    let (id, network) = (run.id(), run.network);
    let index = choose(&block, &id, &loads)?;
    let candidates = candidates.try_into().ok()?;
    Some(Drawn { candidates, index, block, height, run: id, network, at })
}

// === impl Drawn ===

impl Drawn {
    /// Who was drawn.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.candidates.get(self.index)
    }

    /// The record, once the gateway has made its own run for the host that was drawn.
    pub fn record(self, gateway: PublicKey, inner: RunId) -> Draw {
        Draw {
            at: self.at,
            gateway,
            network: self.network,
            run: self.run,
            block: self.block,
            // Below CANDIDATES_MAX.
            drawn: self.index as u32,
            inner,
            height: self.height,
            candidates: self.candidates,
        }
    }
}

// === impl Draw ===

impl Draw {
    /// The name of this document.
    pub fn id(&self) -> DrawId {
        DrawId::of(&self.encode())
    }

    /// The host that was drawn, if the record is that of a fair draw: candidates in order, each host once, and the
    /// index that block, run and loads give.
    pub fn check(&self) -> Result<&Candidate, DrawError> {
        for (at, pair) in self.candidates.windows(2).enumerate() {
            if let [before, after] = pair
                && before.host >= after.host
            {
                return Err(DrawError::Order(at.saturating_add(1)));
            }
        }
        let loads: Vec<u32> = self.candidates.iter().map(|candidate| candidate.load).collect();
        let drawn = choose(&self.block, &self.run, &loads).ok_or(DrawError::NoCandidate)?;
        if u64::from(self.drawn) != drawn as u64 {
            return Err(DrawError::Drawn { drawn, found: self.drawn });
        }
        self.candidates.get(drawn).ok_or(DrawError::NoCandidate)
    }

    /// Whether the candidates' offers covered the caller's run when it arrived. An offer that is not at hand is not
    /// judged: gives how many were.
    pub fn check_offers(&self, run: &Run, offers: &[Verified<Offer>]) -> Result<usize, DrawError> {
        let found = run.id();
        if found != self.run {
            return Err(DrawError::Run { expected: self.run, found });
        }
        let wanted = Wanted::by(run, self.at);
        for offer in offers {
            let (offer, id) = (offer.document(), OfferId::of(offer.payload()));
            let host = offer.host;
            if !self.candidates.iter().any(|it| it.host == host && it.offer == id) {
                return Err(DrawError::Foreign(host));
            }
            offer.covers(&wanted).map_err(|reason| DrawError::Uncovered { host, reason })?;
        }
        Ok(offers.len())
    }

    /// Whether the block is the one whose header this is. How old it was, [`Draw::check_age`] tells.
    pub fn check_block(&self, header: &Verified<Header>) -> Result<(), DrawError> {
        if BlockId::of(header.payload()) != self.block {
            return Err(DrawError::Block("name"));
        }
        if header.document().height != self.height {
            return Err(DrawError::Block("height"));
        }
        if header.document().network != self.network {
            return Err(DrawError::Block("network"));
        }
        Ok(())
    }

    /// Whether the block, whose header this is, was made by an authority in its turn and at most [`AGE_MAX`] before the
    /// run came. Clocks may differ by [`SKEW_MAX`]. Without a header the block can only be the genesis.
    pub fn check_age(&self, header: Option<&Header>, network: &Network) -> Result<(), DrawError> {
        if network.id() != self.network {
            return Err(DrawError::Block("network"));
        }
        let slot = match header {
            Some(header) if header.author == network.author(header.slot) => header.slot,
            Some(_) => return Err(DrawError::Block("author")),
            None if self.block == network.genesis() => Slot::ZERO,
            None => return Err(DrawError::Block("name")),
        };
        if is_recent(network.slot_start(slot), self.at) {
            return Ok(());
        }
        Err(DrawError::Age { began: network.slot_start(slot), came: self.at })
    }
}

/// Whether a block that began at `began` may decide over a run that came at `came`.
pub fn is_recent(began: UnixNanos, came: UnixNanos) -> bool {
    began.0 <= came.0.saturating_add(SKEW_MAX.0) && came.0.saturating_sub(began.0) <= AGE_MAX.0
}
