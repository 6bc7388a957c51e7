//! What nodes tell each other about the chain. Bounded on both sides; the network carries the bytes.

use crate::block::Block;
use crate::codec::{self, Blob, DecodeError, Field, List, choice, record};
use crate::finality::{Commit, RoundNumber};
use crate::id::{BlockId, TransactionId};
use crate::sign::{ENVELOPE_LEN_MAX, Sealed, TRANSACTION_LEN_MAX};
use crate::units::{Height, Slot};

/// Longest message: a full block. Lists of envelopes are short by their number and by this.
pub const MESSAGE_LEN_MAX: usize = <Block as Field>::LEN_MAX + 64;

/// Most headers of one message: 256 of about 500 bytes are one gossip message of 128 KiB.
pub const HEADERS_MAX: usize = 256;
/// Most block ids of a locator: doubling steps reach back 2^64 blocks.
pub const LOCATOR_MAX: usize = 80;
/// Most blocks asked for at once.
pub const BLOCKS_MAX: usize = 64;
/// Most transaction ids of one message: 34 KiB.
pub const POOL_IDS_MAX: usize = 1024;
/// Most votes of one message: a prevote and a precommit of every authority in two rounds, twice if all of them
/// sign twice.
pub const VOTES_MAX: usize = 4 * crate::finality::COMMIT_VOTES_MAX;

choice! {
    /// One message.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Message {
        /// Where the sender stands.
        "status" => Status(Status),
        /// A block was made.
        "announce" => Announce(Sealed),
        /// A pending transaction.
        "transaction" => Transaction(Blob<{ TRANSACTION_LEN_MAX + ENVELOPE_LEN_MAX }>),
        /// A vote.
        "vote" => Vote(Sealed),
        /// A block is final, and why.
        "commit" => Commit(Commit),
        /// Asks for the headers that follow.
        "get-headers" => GetHeaders(Locator),
        /// Headers, lowest first.
        "headers" => Headers(List<Sealed, HEADERS_MAX>),
        /// Asks for blocks.
        "get-blocks" => GetBlocks(List<BlockId, BLOCKS_MAX>),
        /// A block.
        "block" => Block(Block),
        /// Some of what is pending.
        "pool" => Pool(List<TransactionId, POOL_IDS_MAX>),
        /// Asks for pending transactions.
        "get-transactions" => GetTransactions(List<TransactionId, POOL_IDS_MAX>),
        /// Asks why a block is final.
        "get-commit" => GetCommit(CommitRange),
        /// Asks for the votes of a round.
        "get-votes" => GetVotes(RoundNumber),
        /// Votes of a round.
        "votes" => Votes(List<Sealed, VOTES_MAX>),
    }
}

record! {
    /// Where a node stands.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Status {
        /// Its head.
        "head" => pub head: BlockId,
        /// The head's slot.
        "slot" => pub slot: Slot,
        /// The round of votes it is in.
        "round" => pub round: RoundNumber,
        /// How many votes of it and of the one before it has.
        "votes" => pub votes: u32,
        /// The head's height.
        "height" => pub height: Height,
        /// The finalised height.
        "finalised" => pub finalised: Height,
    }
}

record! {
    /// Which blocks a node has and which one it wants to reach, so that another can tell what it lacks.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Locator {
        /// Blocks of its line from the head down, ever further apart.
        "known" => pub known: List<BlockId, LOCATOR_MAX>,
        /// The tip of the line that is asked for; the line of the other's head, if that does not know it.
        "target" => pub target: BlockId,
    }
}

record! {
    /// A commit above one height: the highest up to the other, or else the lowest.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct CommitRange {
        /// The highest block that is known where it is asked for.
        "upto" => pub upto: Height,
        /// What is final there.
        "above" => pub above: Height,
    }
}

/// What a peer asks for that only the store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Headers of the line to the target, after the highest that is known: answered by [`Message::Headers`] with the
    /// lowest of them, at most [`HEADERS_MAX`].
    Headers(Locator),
    /// Blocks: each that is stored is answered by a [`Message::Block`].
    Blocks(Vec<BlockId>),
    /// A commit: answered by a [`Message::Commit`].
    Commit(CommitRange),
}

impl Message {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self, 1024)
    }

    /// Reads a message that fills `bytes` to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(bytes, MESSAGE_LEN_MAX)
    }
}
