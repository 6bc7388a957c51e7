//! What authorities sign to make blocks final, and what two such signatures prove together.

use crate::codec::{DecodeError, DecodeReason, Decoder, Document, Encoder, Field, List, record};
use crate::id::{BlockId, NetworkId, PublicKey};
use crate::params::AUTHORITIES_MAX;
use crate::sign::{Domain, Sealed};
use crate::units::Height;

/// Most votes of a commit: two of each authority, when all of them signed two.
pub const COMMIT_VOTES_MAX: usize = 2 * AUTHORITIES_MAX;

/// The number of a round of voting. The first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoundNumber(u64);

/// Which of a round's two votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// What the voter takes for the best chain.
    Prevote,
    /// What it saw more than two thirds of the prevotes stand on.
    Precommit,
}

record! {
    /// A block that is voted for: with it, all its ancestors.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Target {
        /// The block.
        "id" => pub id: BlockId,
        /// Its height.
        "height" => pub height: Height,
    }
}

record! {
    /// One vote of one authority. It signs one prevote and one precommit in a round, never two.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Vote {
        /// The authority, who signs.
        "by" => pub voter: PublicKey,
        /// The network.
        "net" => pub network: NetworkId,
        /// The block voted for.
        "block" => pub block: BlockId,
        /// Which of the two votes.
        "phase" => pub phase: Phase,
        /// The round.
        "round" => pub round: RoundNumber,
        /// The block's height.
        "height" => pub height: Height,
    }
}

record! {
    /// Why a block is final: precommits of more than two thirds of the authorities for it or for blocks that
    /// stand on it. An authority that signed two different precommits counts for every block.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Commit {
        /// The network.
        "net" => pub network: NetworkId,
        /// The block that is final.
        "block" => pub block: BlockId,
        /// The round of all votes.
        "round" => pub round: RoundNumber,
        /// The signed precommits.
        "votes" => pub votes: List<Sealed, COMMIT_VOTES_MAX>,
        /// The block's height.
        "height" => pub height: Height,
    }
}

record! {
    /// Two signatures of one authority that must not both exist: two votes of one phase of one round, or two
    /// headers of one slot.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Equivocation {
        /// What came first.
        "first" => pub first: Sealed,
        /// What contradicts it.
        "second" => pub second: Sealed,
    }
}

impl Document for Vote {
    const DOMAIN: Domain = Domain::Vote;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.voter)
    }
}

impl Document for Commit {
    const DOMAIN: Domain = Domain::Commit;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }
}

impl Document for Equivocation {
    const DOMAIN: Domain = Domain::Equivocation;
}

impl Vote {
    /// What it is for.
    pub fn target(&self) -> Target {
        Target { id: self.block, height: self.height }
    }
}

impl Commit {
    /// What it makes final.
    pub fn target(&self) -> Target {
        Target { id: self.block, height: self.height }
    }
}

// === impl RoundNumber ===

impl RoundNumber {
    /// The first round.
    pub const FIRST: Self = Self(1);

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The round after this one. There is no last: at one a nanosecond they reach for five centuries.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The round before this one, if there is one.
    pub const fn previous(self) -> Option<Self> {
        match self.0 {
            0 | 1 => None,
            number => Some(Self(number.saturating_sub(1))),
        }
    }
}

impl Field for RoundNumber {
    const LEN_MAX: usize = <u64 as Field>::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.uint(self.0);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        match input.uint()? {
            0 => Err(DecodeError::new(offset, DecodeReason::Value("rounds are counted from one"))),
            number => Ok(Self(number)),
        }
    }
}

// === impl Phase ===

impl Field for Phase {
    const LEN_MAX: usize = 1;

    fn put(&self, out: &mut Encoder) {
        out.uint(match self {
            Self::Prevote => 0,
            Self::Precommit => 1,
        });
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(if input.uint_max(1)? == 0 { Self::Prevote } else { Self::Precommit })
    }
}
