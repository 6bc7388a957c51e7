//! What is told to everybody, and the name of each message.
//!
//! Invariants: a topic's name carries the network, so messages of two networks never meet; a message's name is made
//! from its topic and its bytes alone, so one message has one name wherever it comes from.

use std::fmt;

use libp2p::gossipsub::{IdentTopic, MessageId, TopicHash};
use sha2::{Digest as _, Sha256};
use talea_ledger::NetworkId;
use talea_ledger::codec::Document;
use talea_ledger::finality::{COMMIT_VOTES_MAX, Vote};
use talea_ledger::sign::{ENVELOPE_LEN_MAX, PAYLOAD_LEN_MAX, TRANSACTION_LEN_MAX};

/// Room for what a message wraps around a document: a tag and two heads.
const WRAPPING: usize = 64;

/// Longest commit: its votes, and its own fields.
const COMMIT_LEN_MAX: usize =
    COMMIT_VOTES_MAX * (<Vote as Document>::LEN_MAX + ENVELOPE_LEN_MAX) + 256;
const _: () = assert!(COMMIT_LEN_MAX >= PAYLOAD_LEN_MAX + ENVELOPE_LEN_MAX);

/// Longest message of any topic.
pub const GOSSIP_LEN_MAX: usize = {
    let transaction = Topic::Transaction.len_max();
    let block = Topic::Block.len_max();
    if transaction > block { transaction } else { block }
};

/// What a gossiped message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Pending transactions.
    Transaction,
    /// Headers of new blocks, and why a block is final.
    Block,
    /// Votes of authorities.
    Vote,
    /// What hosts offer.
    Offer,
    /// Evidence that a host cheated.
    Fraud,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Transaction, Self::Block, Self::Vote, Self::Offer, Self::Fraud];

    /// Its word, as in topic names and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Block => "block",
            Self::Vote => "vote",
            Self::Offer => "offer",
            Self::Fraud => "fraud",
        }
    }

    /// Longest message, in bytes.
    pub const fn len_max(self) -> usize {
        match self {
            Self::Transaction => TRANSACTION_LEN_MAX + ENVELOPE_LEN_MAX + WRAPPING,
            // Why a block is final: the votes of all authorities, each in its envelope. A header is shorter.
            Self::Block => COMMIT_LEN_MAX + WRAPPING,
            Self::Vote | Self::Offer => PAYLOAD_LEN_MAX + ENVELOPE_LEN_MAX + WRAPPING,
            // No longer than the transaction that reports it.
            Self::Fraud => TRANSACTION_LEN_MAX,
        }
    }

    /// Its place in tables that have one row per topic.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// The name of a gossiped message: the first 20 bytes of a sha2-256 over its topic and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GossipId {
    hash: [u8; 20],
    topic: Topic,
}

impl GossipId {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.hash
    }

    /// What the message is about.
    pub const fn topic(&self) -> Topic {
        self.topic
    }

    pub(crate) fn from_message_id(id: &MessageId, topic: Topic) -> Option<Self> {
        id.0.as_slice().try_into().ok().map(|hash| Self { hash, topic })
    }

    pub(crate) fn to_message_id(self) -> MessageId {
        MessageId::new(&self.hash)
    }
}

impl fmt::Display for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipId({self})")
    }
}

/// The name under which gossipsub knows a message.
pub(crate) fn message_id(message: &libp2p::gossipsub::Message) -> MessageId {
    name(message.topic.as_str(), &message.data)
}

/// The name of `bytes` said under the topic with this full name.
fn name(topic: &str, bytes: &[u8]) -> MessageId {
    let hash = Sha256::new()
        .chain_update(b"talea gossip v1\0")
        .chain_update(topic.as_bytes())
        .chain_update(b"\0")
        .chain_update(bytes)
        .finalize();
    MessageId::new(&hash[..20])
}

/// `/talea/` and the first 16 hexadecimal digits of the network's id: what names of protocols and topics begin with.
pub(crate) fn namespace(network: &NetworkId) -> String {
    let hex = network.to_string();
    format!("/talea/{}", &hex[..16])
}

/// The topics of one network, both ways.
#[derive(Debug, Clone)]
pub(crate) struct Topics([(IdentTopic, TopicHash); 5]);

impl Topics {
    pub(crate) fn of(network: &NetworkId) -> Self {
        let namespace = namespace(network);
        Self(Topic::ALL.map(|topic| {
            let ident = IdentTopic::new(format!("{namespace}/{}/1", topic.word()));
            let hash = ident.hash();
            (ident, hash)
        }))
    }

    pub(crate) fn ident(&self, topic: Topic) -> &IdentTopic {
        &self.0[topic.index()].0
    }

    pub(crate) fn hash(&self, topic: Topic) -> &TopicHash {
        &self.0[topic.index()].1
    }

    pub(crate) fn topic(&self, hash: &TopicHash) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.hash(*topic) == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_depends_on_topic_network_and_bytes() {
        let (here, there) = (NetworkId::new([1; 32]), NetworkId::new([2; 32]));
        let of = |network: &NetworkId, topic, bytes: &[u8]| {
            let id = name(Topics::of(network).hash(topic).as_str(), bytes);
            GossipId::from_message_id(&id, topic).unwrap()
        };
        let id = of(&here, Topic::Vote, b"abc");
        assert_eq!(id, of(&here, Topic::Vote, b"abc"));
        assert_ne!(id.as_bytes(), of(&here, Topic::Vote, b"abd").as_bytes());
        assert_ne!(id.as_bytes(), of(&here, Topic::Block, b"abc").as_bytes());
        assert_ne!(id.as_bytes(), of(&there, Topic::Vote, b"abc").as_bytes());
        assert_eq!(GossipId::from_message_id(&id.to_message_id(), Topic::Vote), Some(id));
    }

    #[test]
    fn every_topic_is_found_by_its_hash() {
        let topics = Topics::of(&NetworkId::DEVELOPMENT);
        for topic in Topic::ALL {
            assert_eq!(topics.topic(topics.hash(topic)), Some(topic));
            assert!(topic.len_max() <= GOSSIP_LEN_MAX);
        }
        assert_eq!(topics.topic(&IdentTopic::new("/talea/other").hash()), None);
    }
}
