//! What voting asks of the chain, and why votes are refused.

use super::vote::{Commit, Equivocation, RoundNumber, Target};
use crate::codec::{self, DecodeError, Field, record};
use crate::id::{BlockId, PublicKey, SecretKey};
use crate::sign::{self, Domain, Sealed, VerifyError};

/// Who signs for this node. The key itself stays with whoever keeps keys.
pub trait Signer {
    /// The key that signs.
    fn public(&self) -> PublicKey;

    /// Signs an encoded document.
    fn seal(&self, domain: Domain, payload: Vec<u8>) -> Sealed;
}

impl Signer for SecretKey {
    fn public(&self) -> PublicKey {
        Self::public(self)
    }

    fn seal(&self, domain: Domain, payload: Vec<u8>) -> Sealed {
        sign::seal(self, domain, payload)
    }
}

/// What has to be done about finality, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// An own vote: written first, then sent.
    Cast(Sealed),
    /// Somebody's vote was counted: written so that a restart knows the round.
    Counted(Sealed),
    /// A round begins on this base: written, and votes of rounds before the last one may be forgotten.
    Round(RoundStart),
    /// A block is final, and why.
    Finalised(Commit),
    /// An authority signed two votes.
    Equivocation(Equivocation),
    /// More than a third of the authorities have signed contradicting votes: this commit contradicts what is
    /// final here. Nothing is undone.
    Split(Commit),
    /// A vote names a block that is not known.
    Want(BlockId),
    /// Others are in later rounds: the votes of this round are needed.
    WantRound(RoundNumber),
}

record! {
    /// The beginning of a round.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RoundStart {
        /// The block its votes stand on.
        "base" => pub base: Target,
        /// Its number.
        "number" => pub number: RoundNumber,
    }
}

impl RoundStart {
    /// The bytes to be stored.
    pub fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self, <Self as Field>::LEN_MAX)
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(bytes, <Self as Field>::LEN_MAX)
    }
}

/// Why a vote or commit is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// The signature or the document does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Not an authority of this network.
    #[error("{0} is no authority")]
    NotAuthority(PublicKey),
    /// The height is not that of the block.
    #[error("a vote for a block at a height that it does not have")]
    Height,
    /// A commit with a vote that does not belong in it.
    #[error("a commit with a vote of another round or phase")]
    Foreign,
    /// Too few votes.
    #[error("{found} of {threshold} authorities stand behind it")]
    TooFew {
        /// How many do.
        found: u32,
        /// How many must.
        threshold: u32,
    },
}

impl VoteError {
    /// The stable text for callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Verify(VerifyError::Signature(_)) => "bad-signature",
            Self::Verify(VerifyError::Network { .. }) => "wrong-network",
            Self::Verify(VerifyError::Payload(_)) => "malformed",
            Self::Verify(_) => "wrong-signer",
            Self::NotAuthority(_) => "not-authority",
            Self::Height => "wrong-height",
            Self::Foreign => "foreign-vote",
            Self::TooFew { .. } => "too-few-votes",
        }
    }
}

/// What came of a commit that holds as far as can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// What it makes final was final.
    Known,
    /// Done.
    Effects(Vec<Effect>),
    /// These blocks are needed first.
    Missing(Vec<BlockId>),
}
