//! Fetching by hash, in pieces: `.../fetch/1`.
//!
//! Format: a question is the canonical CBOR array `[kind, digest, offset, len]`, kind 0 for a function and 1 for a
//! document. An answer is `[0, total, bytes]`, or `[1]` where the node does not hold it, or `[2]` where it serves
//! nothing more to this peer now.
//!
//! Invariants: a piece is at most [`PIECE_LEN_MAX`] and never longer than asked for; offset and total fit each
//! other. That the bytes are those of the hash is checked by who asked, over the whole: [`fetch_checked`].

use std::time::Duration;

use talea_ledger::codec::{DecodeError, DecodeReason, Decoder, Encoder, Field};
use talea_ledger::{Digest, FunctionId, PublicKey};

use crate::Gossip;

/// Longest piece: one second of a home line, and what a server reads at once for it.
pub const PIECE_LEN_MAX: u32 = 1024 * 1024;

/// Longest question: array, kind, hash, offset, length.
pub(crate) const QUESTION_LEN_MAX: usize = 1 + 1 + 34 + 9 + 5;
/// Longest answer: array, kind, total, head, bytes.
pub(crate) const ANSWER_LEN_MAX: usize = 1 + 1 + 9 + 5 + PIECE_LEN_MAX as usize;

/// How long a piece may take: 1 MiB at 50 KiB a second, with as much again.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

/// How often one piece is asked for again before a fetch gives up.
const TRIES: u32 = 3;

/// What can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The bytes of a function.
    Function(FunctionId),
    /// A document or a body, by the hash of its bytes.
    Document(Digest),
}

/// Some bytes of what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Length of the whole.
    pub total: u64,
    /// The bytes from the offset on.
    pub bytes: Vec<u8>,
}

/// The node does not hold what was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not held here")]
pub struct NotHere;

/// Why a piece did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No way to that node is known, or it could not be reached.
    #[error("the node cannot be reached")]
    Unreachable,
    /// It does not hold it.
    #[error("the node does not hold it")]
    NotHere,
    /// It serves this node nothing more for now.
    #[error("the node is busy")]
    Busy,
    /// It did not answer in time, or the connection broke.
    #[error("the node did not answer")]
    Silent,
    /// Its answer is not one: malformed, or pieces that do not fit together.
    #[error("the node's answer is malformed")]
    Malformed,
    /// All pieces came, but they are not what the hash names.
    #[error("the node sent other bytes than the hash names")]
    Wrong,
    /// It is longer than was asked for.
    #[error("{total} bytes, at most {max} were wanted")]
    TooLong {
        /// Its length.
        total: u64,
        /// The longest wanted.
        max: u64,
    },
    /// This node has too many fetches under way, or its network task has ended.
    #[error("too many fetches are under way")]
    Overloaded,
}

/// A question for a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Of what.
    pub wanted: Wanted,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes at most.
    pub len: u32,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Here.
    Piece(Piece),
    /// Not held here.
    NotHere,
    /// Not now.
    Busy,
}

/// Fetches the whole of `wanted` from one node, piece after piece, and checks its hash.
///
/// `held` are the bytes that an earlier try has left, if any; on an error that can pass they are the longer for it.
/// After [`FetchError::Wrong`] they are empty: the node that served them is to blame.
pub async fn fetch_checked(
    gossip: &Gossip,
    from: PublicKey,
    wanted: Wanted,
    len_max: u64,
    held: &mut Vec<u8>,
) -> Result<(), FetchError> {
    let mut failed = 0;
    loop {
        let offset = held.len() as u64;
        match gossip.fetch(from, wanted, offset, PIECE_LEN_MAX).await {
            Ok(piece) if piece.total > len_max => {
                return Err(FetchError::TooLong { total: piece.total, max: len_max });
            }
            Ok(piece) => {
                failed = 0;
                held.extend_from_slice(&piece.bytes);
                let have = held.len() as u64;
                if have > piece.total || (piece.bytes.is_empty() && have < piece.total) {
                    held.clear();
                    return Err(FetchError::Malformed);
                }
                if have == piece.total {
                    break;
                }
            }
            Err(FetchError::Silent | FetchError::Busy) if failed + 1 < TRIES => failed += 1,
            Err(error) => return Err(error),
        }
    }
    if Digest::of(held) != wanted.digest() {
        held.clear();
        return Err(FetchError::Wrong);
    }
    Ok(())
}

// === impl Wanted ===

impl Wanted {
    /// The hash of the bytes; also the key under which its holders announce it.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Function(id) => id.digest(),
            Self::Document(digest) => *digest,
        }
    }
}

// === impl Ask ===

impl Ask {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(QUESTION_LEN_MAX);
        out.array(4);
        out.uint(match self.wanted {
            Wanted::Function(_) => 0,
            Wanted::Document(_) => 1,
        });
        self.wanted.digest().put(&mut out);
        out.uint(self.offset);
        out.uint(self.len.into());
        out.finish()
    }

    /// Reads a question that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        input.array_exact(4)?;
        let kind = input.uint_max(1)?;
        let digest = Digest::take(&mut input)?;
        let wanted = if kind == 0 {
            Wanted::Function(FunctionId::from_digest(digest))
        } else {
            Wanted::Document(digest)
        };
        let offset = input.uint()?;
        let len = u32::try_from(input.uint_max(PIECE_LEN_MAX.into())?)
            .map_err(|_| input.fault(DecodeReason::Value("a length")))?;
        input.end()?;
        Ok(Self { wanted, offset, len })
    }
}

// === impl Answer ===

impl Answer {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(32);
        match self {
            Self::Piece(piece) => {
                out.array(3);
                out.uint(0);
                out.uint(piece.total);
                out.bytes(&piece.bytes);
            }
            Self::NotHere => {
                out.array(1);
                out.uint(1);
            }
            Self::Busy => {
                out.array(1);
                out.uint(2);
            }
        }
        out.finish()
    }

    /// Reads an answer that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let len = input.array(3)?;
        let answer = match (len, input.uint()?) {
            (3, 0) => {
                let total = input.uint()?;
                let bytes = input.bytes(PIECE_LEN_MAX as usize)?.to_vec();
                Self::Piece(Piece { total, bytes })
            }
            (1, 1) => Self::NotHere,
            (1, 2) => Self::Busy,
            _ => return Err(input.fault(DecodeReason::Value("an answer"))),
        };
        input.end()?;
        Ok(answer)
    }

    /// What it says to the one that asked `ask`: a piece that does not fit the question is malformed.
    pub(crate) fn to(self, ask: &Ask) -> Result<Piece, FetchError> {
        match self {
            Self::Piece(piece) => {
                let len = piece.bytes.len() as u64;
                let fits = len <= u64::from(ask.len)
                    && ask.offset.checked_add(len).is_some_and(|end| end <= piece.total);
                if fits { Ok(piece) } else { Err(FetchError::Malformed) }
            }
            Self::NotHere => Err(FetchError::NotHere),
            Self::Busy => Err(FetchError::Busy),
        }
    }
}
