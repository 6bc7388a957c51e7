//! What goes into the chain, what comes out, and what is written.

use std::sync::Arc;

use super::message::{Message, Request};
use crate::block::VerifiedBlock;
use crate::finality::{Commit, Equivocation, RoundStart, Target};
use crate::id::{BlockId, TransactionId};
use crate::pool::{Reason, Rejected};
use crate::sign::Sealed;
use crate::transaction::VerifiedTransaction;

/// A connected peer, numbered by whoever keeps connections. A number is not used again for another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer(pub u64);

/// A transaction handed in here, numbered by whoever waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Submission(pub u64);

/// What happens to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody hands in a transaction's envelope.
    Submit {
        /// Whom to answer.
        submission: Submission,
        /// The envelope.
        envelope: Vec<u8>,
    },
    /// A peer connected.
    Joined(Peer),
    /// A peer is gone.
    Left(Peer),
    /// A peer sent something.
    Message {
        /// Who.
        from: Peer,
        /// What.
        message: Message,
    },
    /// A peer sent a transaction, and whoever took it has checked its signatures.
    Transaction {
        /// Who.
        from: Peer,
        /// It.
        transaction: Box<VerifiedTransaction>,
        /// Whether it was published to all, and not sent to this node alone.
        is_news: bool,
    },
    /// Time has passed. To be sent every [`super::Chain::tick_len`].
    Tick,
}

/// What a node has to do, in this order.
///
/// The actions of all calls form one sequence. None may be carried out before every [`Action::Persist`] that
/// stands before it is durable; several may share one sync. That is all that safety asks of a disk: a crash
/// loses an end of the sequence of records, and nothing that stood behind it was seen by anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this.
    Persist(Record),
    /// Answer a submission: with the transaction's name when it is accepted.
    Answer {
        /// Whom.
        submission: Submission,
        /// Accepted, or why not.
        outcome: Result<TransactionId, Reason>,
    },
    /// Send to one peer.
    Send {
        /// Whom.
        to: Peer,
        /// What.
        message: Message,
    },
    /// Send to all peers.
    Broadcast(Message),
    /// Answer a peer from what is stored: it asks for something too old to be in memory.
    Serve {
        /// Whom.
        to: Peer,
        /// What it asks for.
        request: Request,
    },
    /// The head has moved.
    HeadMoved {
        /// Blocks that are no more on its line, highest first. Their transactions are pending again.
        undone: Vec<BlockId>,
        /// Blocks that now are, lowest first.
        applied: Vec<BlockId>,
    },
    /// A block is final, and so is everything below it.
    Finalised(Target),
    /// A peer sent what cannot stand: the stable code says why.
    Refused {
        /// Who.
        from: Peer,
        /// Why.
        code: &'static str,
    },
    /// A commit contradicts what is final: a third of the authorities have signed contradicting votes.
    Split(Commit),
}

/// What a node writes. What it needs to go on after a restart is what follows from all records in their order:
/// the finalised line with its last state, the blocks above it, the last two rounds with their votes, the
/// pending transactions, the reasons still kept, and the last slot it authored in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A transaction is pending. It stays until it is final in a block or rejected.
    Transaction(Arc<VerifiedTransaction>),
    /// A transaction will not be in the chain.
    Rejected(Rejected),
    /// A block was found valid; its author may be this node.
    Block(Arc<VerifiedBlock>),
    /// A round of votes begins; votes before the round before it are not needed any more.
    Round(RoundStart),
    /// A vote was counted; its signer may be this node.
    Vote(Sealed),
    /// Blocks are final.
    Finalised {
        /// Why.
        commit: Commit,
        /// Them, lowest first.
        line: Vec<BlockId>,
        /// Blocks that can never be any more: their records may go.
        lost: Vec<BlockId>,
    },
    /// Two signatures of one authority that contradict each other.
    Equivocation(Equivocation),
}
