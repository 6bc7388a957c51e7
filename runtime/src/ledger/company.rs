//! The peers of the ledger's thread: their numbers in the chain, and what is to become of what they say.
//!
//! Invariants: a number belongs to one peer and one stay; who has left is not spoken to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use talea_ledger::chain::message::Message;
use talea_ledger::chain::{Action, Chain, Peer, Record, TransactionStatus};
use talea_ledger::{BlockId, PublicKey, TransactionId};

use super::line::Verdict;

/// Who is connected.
#[derive(Debug, Default)]
pub(super) struct Company {
    numbers: HashMap<PublicKey, Peer>,
    members: HashMap<Peer, Member>,
    next: u64,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: PublicKey,
    /// Its questions that wait to be answered from the disk.
    pub(super) asked: Arc<AtomicUsize>,
}

/// What a message is about, as far as the verdict on it needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) enum About {
    Transaction(TransactionId),
    Block(BlockId),
    Other,
}

// === impl Company ===

impl Company {
    /// Gives a peer its number; none if it has one.
    pub(super) fn join(&mut self, key: PublicKey) -> Option<Peer> {
        if self.numbers.contains_key(&key) {
            return None;
        }
        let peer = Peer(self.next);
        self.next += 1;
        self.numbers.insert(key, peer);
        self.members.insert(peer, Member { key, asked: Arc::default() });
        Some(peer)
    }

    pub(super) fn leave(&mut self, key: &PublicKey) -> Option<Peer> {
        let peer = self.numbers.remove(key)?;
        self.members.remove(&peer);
        Some(peer)
    }

    pub(super) fn number(&self, key: &PublicKey) -> Option<Peer> {
        self.numbers.get(key).copied()
    }

    pub(super) fn member(&self, peer: Peer) -> Option<&Member> {
        self.members.get(&peer)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.numbers.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

// === impl About ===

impl About {
    pub(super) fn of(message: &Message) -> Self {
        match message {
            Message::Block(block) => Self::Block(BlockId::of(block.head.payload())),
            Message::Announce(header) => Self::Block(BlockId::of(header.payload())),
            _ => Self::Other,
        }
    }

    /// What is to become of news, once the chain has seen it and refused it for a reason or not at all. Nothing yet for a
    /// block that waits for its parent or its body: nobody passes on what he has not checked to the end.
    pub(super) fn verdict(self, chain: &Chain, actions: &[Action]) -> Option<Verdict> {
        let refused = actions.iter().find_map(|action| match action {
            Action::Refused { code, .. } => Some(*code),
            _ => None,
        });
        Some(match refused {
            Some(code) if is_offence(code) => Verdict::Reject,
            Some(_) => Verdict::Ignore,
            None => match self {
                // It may have been taken, put into a block and made final all at once.
                Self::Transaction(id) if takes(actions, id) => Verdict::Accept,
                // What this node's pool does not hold, others need not hear of from here.
                Self::Transaction(id) => match chain.transaction_status(&id) {
                    TransactionStatus::Included { .. } | TransactionStatus::Pending => {
                        Verdict::Accept
                    }
                    TransactionStatus::Rejected(_) | TransactionStatus::Unknown => Verdict::Ignore,
                },
                Self::Block(id) if chain.block(&id).is_none() => return None,
                Self::Block(_) | Self::Other => Verdict::Accept,
            },
        })
    }
}

/// Whether a transaction was taken into the pool.
fn takes(actions: &[Action], id: TransactionId) -> bool {
    actions.iter().any(|action| match action {
        Action::Persist(Record::Transaction(transaction)) => transaction.id() == id,
        _ => false,
    })
}

/// Whether an honest node never says such a thing. What is old, early or comes twice is nobody's fault, nor is a body
/// that did not arrive, nor a vote of somebody else for a block that had not come yet. A block that was found invalid
/// was held against who sent it first.
pub(super) fn is_offence(code: &str) -> bool {
    !matches!(
        code,
        "below-finalised"
            | "slot-taken"
            | "future-slot"
            | "withheld-body"
            | "wrong-height"
            | "invalid-block"
    )
}
