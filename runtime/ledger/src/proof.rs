//! Proofs about the ledger, for checking without a node: that a block holds a transaction, that a host's anchor
//! covers a receipt, that a state has a record under a key or has none.
//!
//! Each leads to a signed header whose author owned its slot. Decoding says nothing about truth:
//! [`Evidence::check`] does. Absent: whether the block is final, which the authorities' votes say.

use crate::batch::{Batch, Proof, verify_in};
use crate::block::{BlockError, Header, SignedHeader, VerifiedBlock};
use crate::bundle::ReceiptPayload;
use crate::codec::{Blob, Document, choice, record};
use crate::id::TransactionId;
use crate::merkle::{self, LeafCount, LeafIndex, Path, ProofError, Tree};
use crate::params::Network;
use crate::receipt::Receipt;
use crate::rules::State;
use crate::rules::record::{Key, Record};
use crate::rules::tree::{TreePath, TreeProofError};
use crate::sign::{Domain, ENVELOPE_LEN_MAX, Sealed, TRANSACTION_LEN_MAX, Verified, VerifyError};
use crate::transaction::{Action, TransactionError, VerifiedTransaction};
use crate::units::Slot;

/// The bytes of a transaction's envelope.
pub type EnvelopeBytes = Blob<{ TRANSACTION_LEN_MAX + ENVELOPE_LEN_MAX }>;

record! {
    /// A claim about the ledger with all that shows it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Evidence {
        /// What is shown.
        "of" => pub subject: Subject,
        /// The signed header it leads to.
        "head" => pub head: Sealed,
    }
}

choice! {
    /// What a proof is about.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Subject {
        /// What the state holds under a key.
        "state" => State(Box<StateSubject>),
        /// A receipt in an anchored batch.
        "receipt" => Receipt(Box<ReceiptSubject>),
        /// A transaction in a block.
        "transaction" => Transaction(TransactionSubject),
    }
}

record! {
    /// A key and what lies there.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StateSubject {
        /// The key.
        "key" => pub key: Key,
        /// The way to it.
        "path" => pub path: TreePath,
        /// What lies there; absent when nothing does.
        "record" => pub record: Option<Record>,
    }
}

record! {
    /// A transaction and its place.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TransactionSubject {
        /// The envelope.
        "tx" => pub envelope: EnvelopeBytes,
        /// The siblings of the envelope in the block's body.
        "path" => pub path: Path,
        /// The place of the envelope.
        "index" => pub index: LeafIndex,
    }
}

record! {
    /// A receipt, its batch, and the anchor over the batch.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ReceiptSubject {
        /// The siblings of the batch under the anchor.
        "path" => pub path: Path,
        /// The place of the batch.
        "index" => pub index: LeafIndex,
        /// What leads the receipt to its batch.
        "proof" => pub proof: Proof,
        /// The transaction that anchors it.
        "anchor" => pub anchor: TransactionSubject,
        /// The receipt.
        "receipt" => pub receipt: ReceiptPayload,
    }
}

impl Document for Evidence {
    const DOMAIN: Domain = Domain::Evidence;
}

/// What was shown. Only [`Evidence::check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proven {
    /// The state after the block has this under the key, or nothing.
    State(Key, Option<Record>),
    /// The block holds an anchor that covers this receipt.
    Receipt(Box<Verified<Receipt>>),
    /// The block holds this transaction.
    Transaction(Box<VerifiedTransaction>),
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceFault {
    /// The header is not one of this network.
    #[error("header: {0}")]
    Header(#[from] BlockError),
    /// The transaction is none.
    #[error("transaction: {0}")]
    Transaction(#[from] TransactionError),
    /// The receipt or its batch does not hold.
    #[error("receipt: {0}")]
    Receipt(#[from] VerifyError),
    /// A path leads elsewhere.
    #[error(transparent)]
    Path(#[from] ProofError),
    /// The way through the state leads elsewhere.
    #[error("state: {0}")]
    State(#[from] TreeProofError),
    /// The record is not the one at the end of the way.
    #[error("the state has another record under this key")]
    Record,
    /// The transaction anchors nothing, or another host's batches, or others of this host.
    #[error("the transaction does not anchor this batch")]
    Anchor,
}

impl EvidenceFault {
    /// The stable text for callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Header(error) => error.code(),
            Self::Transaction(error) => error.code(),
            Self::Receipt(_) => "bad-receipt",
            Self::Path(_) | Self::State(_) => "bad-proof",
            Self::Record => "other-record",
            Self::Anchor => "not-anchored",
        }
    }
}

impl Evidence {
    /// That the state after a block has what it has under a key. Nothing, when the state is of another block.
    pub fn of_state(head: &SignedHeader, state: &State, key: Key) -> Option<Self> {
        (state.root() == head.header().state).then(|| {
            let (path, record) = (state.prove(&key), state.get(&key).cloned());
            let subject = Subject::State(Box::new(StateSubject { key, path, record }));
            Self { subject, head: head.sealed().clone() }
        })
    }

    /// That a block holds a transaction. Nothing, when it does not.
    pub fn of_transaction(block: &VerifiedBlock, id: &TransactionId) -> Option<Self> {
        let subject = Subject::Transaction(place_of(block, id)?);
        Some(Self { subject, head: block.head().sealed().clone() })
    }

    /// That an anchor in a block covers a receipt. `batches` are the payloads that were anchored, in their order,
    /// `proof` is the receipt's. Nothing, when the block has no such anchor or the batch is not among them.
    pub fn of_receipt<B: AsRef<[u8]>>(
        block: &VerifiedBlock,
        anchor: &TransactionId,
        batches: &[B],
        receipt: ReceiptPayload,
        proof: Proof,
    ) -> Option<Self> {
        let place = batches.iter().position(|batch| batch.as_ref() == proof.batch.payload())?;
        let index = LeafIndex::new(u32::try_from(place).ok()?);
        let path = Tree::over(batches).ok()?.path(index).ok()?;
        let anchor = place_of(block, anchor)?;
        let subject = ReceiptSubject { path, index, proof, anchor, receipt };
        Some(Self {
            subject: Subject::Receipt(Box::new(subject)),
            head: block.head().sealed().clone(),
        })
    }

    /// Checks everything, and says what was shown in which block.
    pub fn check(&self, network: &Network) -> Result<(SignedHeader, Proven), EvidenceFault> {
        // Whether the slot has begun is no question here: the signature is there.
        let head = SignedHeader::verify(&self.head, network, Slot::MAX)?;
        let proven = match &self.subject {
            Subject::State(subject) => in_state(subject, head.header())?,
            Subject::Transaction(subject) => {
                Proven::Transaction(Box::new(in_block(subject, head.header(), network)?))
            }
            Subject::Receipt(subject) => {
                let anchor = in_block(&subject.anchor, head.header(), network)?;
                Proven::Receipt(Box::new(under(subject, &anchor, network)?))
            }
        };
        Ok((head, proven))
    }
}

fn place_of(block: &VerifiedBlock, id: &TransactionId) -> Option<TransactionSubject> {
    let place = block.transactions().iter().position(|transaction| transaction.id() == *id)?;
    let index = LeafIndex::new(u32::try_from(place).ok()?);
    let envelope = EnvelopeBytes::try_from(block.transactions().get(place)?.bytes()).ok()?;
    Some(TransactionSubject { envelope, path: block.path(index).ok()?, index })
}

fn in_state(subject: &StateSubject, header: &Header) -> Result<Proven, EvidenceFault> {
    let found = subject.path.verify(&header.state, &subject.key.path())?;
    if found != subject.record.as_ref().map(Record::digest) {
        return Err(EvidenceFault::Record);
    }
    Ok(Proven::State(subject.key.clone(), subject.record.clone()))
}

fn in_block(
    subject: &TransactionSubject,
    header: &Header,
    network: &Network,
) -> Result<VerifiedTransaction, EvidenceFault> {
    let count = LeafCount::of(header.count as usize)?;
    merkle::verify_proof(&header.body, subject.index, count, &subject.envelope, &subject.path)?;
    Ok(VerifiedTransaction::decode(&subject.envelope, &network.id())?)
}

fn under(
    subject: &ReceiptSubject,
    anchor: &VerifiedTransaction,
    network: &Network,
) -> Result<Verified<Receipt>, EvidenceFault> {
    let Action::Anchor(anchored) = anchor.action() else {
        return Err(EvidenceFault::Anchor);
    };
    let batch = subject.proof.batch.verify::<Batch>()?.on(&network.id())?;
    let number = batch.document().number;
    if *batch.signer() != anchor.sender() || !(anchored.first.0..=anchored.last.0).contains(&number)
    {
        return Err(EvidenceFault::Anchor);
    }
    let (root, count) = (&anchored.root, anchored.count);
    merkle::verify_proof(root, subject.index, count, batch.payload(), &subject.path)?;
    Ok(verify_in(&subject.receipt, subject.proof.index, &subject.proof.path, &batch)?)
}
