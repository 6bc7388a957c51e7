//! The block: a signed header over an ordered list of sealed transactions.
//!
//! The ladder is `Sealed` -> [`SignedHeader`] (signature, network, author owns the slot, slot not in the future) ->
//! [`SignedBlock`] (header and body agree) -> [`VerifiedBlock`] (every transaction holds, in canonical order).
//! Each step is minted by its check alone, and headers can go ahead of bodies.
//!
//! Invariants: a block's id is that of its header's payload, which fixes author, parent, body and the state that
//! comes out. Whether transactions *apply* is the rules' question.

use std::sync::Arc;

use crate::codec::{self, DecodeError, DecodeReason, Decoder, Document, Encoder, Field, record};
use crate::id::{BlockId, Digest, NetworkId, PublicKey};
use crate::merkle::{self, LeafIndex, Path, ProofError, Tree};
use crate::params::{BLOCK_LEN_MAX, BLOCK_TRANSACTIONS_MAX, Network};
use crate::sign::{Domain, ENVELOPE_LEN_MAX, Sealed, TRANSACTION_LEN_MAX, VerifyError};
use crate::transaction::{TransactionError, VerifiedTransaction, canonical_order};
use crate::units::{Height, Slot};

record! {
    /// What the author of a block signs.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Header {
        /// The author, who owns the slot.
        "by" => pub author: PublicKey,
        /// Bytes of all transactions together.
        "len" => pub body_len: u32,
        /// The network.
        "net" => pub network: NetworkId,
        /// The root over the transactions' envelopes; the hash of nothing when there are none.
        "body" => pub body: Digest,
        /// The slot it was made in.
        "slot" => pub slot: Slot,
        /// How many transactions there are.
        "count" => pub count: u32,
        /// The root of the state after it.
        "state" => pub state: Digest,
        /// The number of the block.
        "height" => pub height: Height,
        /// The block before.
        "parent" => pub parent: BlockId,
    }
}

impl Document for Header {
    const DOMAIN: Domain = Domain::Block;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.author)
    }
}

impl Header {
    /// The name of the block.
    pub fn id(&self) -> BlockId {
        BlockId::of(&self.encode())
    }
}

/// Why a block is refused before its transactions are applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes are no block.
    #[error("malformed block: {0}")]
    Malformed(#[from] DecodeError),
    /// The header's signature does not hold, or it is of another network.
    #[error("header: {0}")]
    Header(#[from] VerifyError),
    /// The slot belongs to another authority.
    #[error("slot {slot} belongs to {owner}")]
    Author {
        /// The slot.
        slot: Slot,
        /// Whose it is.
        owner: PublicKey,
    },
    /// The slot has not begun.
    #[error("slot {slot} lies after {latest}")]
    Future {
        /// The slot.
        slot: Slot,
        /// The last that may be.
        latest: Slot,
    },
    /// A height or slot that no block has.
    #[error("height and slot of a block begin with 1")]
    Genesis,
    /// More or longer transactions than a block may hold, or not as many as the header says.
    #[error("the body has {count} transactions of {len} bytes")]
    Size {
        /// How many there are.
        count: usize,
        /// Their bytes.
        len: usize,
    },
    /// The body is not the one that was signed.
    #[error("the body's root is not the header's")]
    Body,
    /// A transaction does not hold.
    #[error("transaction {index}: {source}")]
    Transaction {
        /// Its place.
        index: usize,
        /// Why.
        #[source]
        source: TransactionError,
    },
    /// The transactions stand in another order than the canonical one.
    #[error("the transactions are not in canonical order")]
    Order,
}

impl BlockError {
    /// The stable text for callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Header(VerifyError::Payload(_)) => "malformed",
            Self::Header(VerifyError::Signature(_)) => "bad-signature",
            Self::Header(VerifyError::Network { .. }) => "wrong-network",
            Self::Header(_) => "wrong-signer",
            Self::Author { .. } => "wrong-author",
            Self::Future { .. } => "future-slot",
            Self::Genesis => "wrong-height",
            Self::Size { .. } => "body-size",
            Self::Body => "wrong-body-root",
            Self::Transaction { .. } => "bad-transaction",
            Self::Order => "wrong-order",
        }
    }
}

/// A block as it travels and is stored: nothing about it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The signed header.
    pub head: Sealed,
    /// The transactions' envelopes, in order.
    pub body: Vec<Vec<u8>>,
}

/// A header whose signature holds and whose author owns the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader {
    header: Header,
    id: BlockId,
    sealed: Sealed,
}

/// A header with the body it was signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBlock {
    head: SignedHeader,
    body: Vec<Vec<u8>>,
}

/// A block whose transactions hold and stand in canonical order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBlock {
    head: SignedHeader,
    transactions: Vec<Arc<VerifiedTransaction>>,
}

/// The root over envelopes: of a Merkle tree, or the hash of nothing when there are none.
pub fn body_root<B: AsRef<[u8]>>(body: &[B]) -> Result<Digest, ProofError> {
    if body.is_empty() { Ok(Digest::of(b"")) } else { merkle::root(body) }
}

// === impl SignedHeader ===

impl SignedHeader {
    /// Checks a header. `latest` is the last slot that may have begun, by the clock of who asks.
    pub fn verify(sealed: &Sealed, network: &Network, latest: Slot) -> Result<Self, BlockError> {
        let verified = sealed.verify::<Header>()?.on(&network.id())?;
        let id = BlockId::of(verified.payload());
        let header = *verified.document();
        if header.height == Height::ZERO || header.slot == Slot::ZERO {
            return Err(BlockError::Genesis);
        }
        let owner = network.author(header.slot);
        if owner != header.author {
            return Err(BlockError::Author { slot: header.slot, owner });
        }
        if header.slot > latest {
            return Err(BlockError::Future { slot: header.slot, latest });
        }
        let params = network.params();
        if header.count > params.block_count_max || header.body_len > params.block_len_max {
            let (count, len) = (header.count as usize, header.body_len as usize);
            return Err(BlockError::Size { count, len });
        }
        Ok(Self { header, id, sealed: sealed.clone() })
    }

    /// The document.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The block's name.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The signed bytes.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Adds the body, if it is the one that was signed.
    pub fn with_body(self, body: Vec<Vec<u8>>) -> Result<SignedBlock, BlockError> {
        let len = body.iter().fold(0_usize, |sum, bytes| sum.saturating_add(bytes.len()));
        let size = BlockError::Size { count: body.len(), len };
        if body.len() != self.header.count as usize || len != self.header.body_len as usize {
            return Err(size);
        }
        if body_root(&body).map_err(|_| size)? != self.header.body {
            return Err(BlockError::Body);
        }
        Ok(SignedBlock { head: self, body })
    }
}

// === impl SignedBlock ===

impl SignedBlock {
    /// Checks header and body of a block.
    pub fn verify(block: Block, network: &Network, latest: Slot) -> Result<Self, BlockError> {
        SignedHeader::verify(&block.head, network, latest)?.with_body(block.body)
    }

    /// The checked header.
    pub fn head(&self) -> &SignedHeader {
        &self.head
    }

    /// The transactions' envelopes.
    pub fn body(&self) -> &[Vec<u8>] {
        &self.body
    }

    /// The block as it travels.
    pub fn to_block(&self) -> Block {
        Block { head: self.head.sealed.clone(), body: self.body.clone() }
    }
}

// === impl VerifiedBlock ===

impl VerifiedBlock {
    /// Checks every transaction and their order.
    pub fn verify(block: &SignedBlock, network: &Network) -> Result<Self, BlockError> {
        Self::verify_with(block, network, |_| None)
    }

    /// The same, where `known` gives transactions that were verified before, by the bytes of their envelopes:
    /// a node has most of a block's transactions in its pool.
    pub fn verify_with(
        block: &SignedBlock,
        network: &Network,
        known: impl Fn(&[u8]) -> Option<Arc<VerifiedTransaction>>,
    ) -> Result<Self, BlockError> {
        let transactions = block
            .body
            .iter()
            .enumerate()
            .map(|(index, bytes)| {
                if let Some(found) = known(bytes).filter(|found| found.bytes() == bytes) {
                    return Ok(found);
                }
                VerifiedTransaction::decode(bytes, &network.id())
                    .map(Arc::new)
                    .map_err(|source| BlockError::Transaction { index, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::of(block.head.clone(), transactions)
    }

    /// A header with the transactions whose bytes it was signed for, in canonical order.
    fn of(
        head: SignedHeader,
        transactions: Vec<Arc<VerifiedTransaction>>,
    ) -> Result<Self, BlockError> {
        let order = canonical_order(&transactions).map_err(|_| BlockError::Order)?;
        if order.iter().enumerate().any(|(place, at)| place != *at) {
            return Err(BlockError::Order);
        }
        Ok(Self { head, transactions })
    }

    /// The checked header.
    pub fn head(&self) -> &SignedHeader {
        &self.head
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.head.header
    }

    /// The block's name.
    pub fn id(&self) -> BlockId {
        self.head.id
    }

    /// The transactions, in order.
    pub fn transactions(&self) -> &[Arc<VerifiedTransaction>] {
        &self.transactions
    }

    /// The block as it travels.
    pub fn to_block(&self) -> Block {
        let body = self.transactions.iter().map(|each| each.bytes().to_vec()).collect();
        Block { head: self.head.sealed.clone(), body }
    }

    /// The siblings of the transaction at `index`.
    pub fn path(&self, index: LeafIndex) -> Result<Path, ProofError> {
        let body: Vec<&[u8]> = self.transactions.iter().map(|each| each.bytes()).collect();
        Tree::over(&body)?.path(index)
    }
}

// === impl Block ===

impl Block {
    /// The block's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let len = self.body.iter().fold(1024_usize, |sum, bytes| sum.saturating_add(bytes.len()));
        codec::to_bytes(self, len)
    }

    /// Reads a block that fills `bytes` to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(bytes, <Self as Field>::LEN_MAX)
    }
}

impl Field for Block {
    // Map head, two keys, the header's envelope, the list's head, and per transaction a head before its bytes.
    const LEN_MAX: usize = 1
        + 2 * 5
        + (<Header as Field>::LEN_MAX + ENVELOPE_LEN_MAX)
        + 9
        + BLOCK_TRANSACTIONS_MAX as usize * 5
        + BLOCK_LEN_MAX as usize;

    fn put(&self, out: &mut Encoder) {
        out.map(2);
        out.text("body");
        out.array(self.body.len() as u64);
        for bytes in &self.body {
            out.bytes(bytes);
        }
        out.text("head");
        self.head.put(out);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut map = input.map(2)?;
        let BodyList(body) = map.field(input, "body")?;
        let head = map.field(input, "head")?;
        map.end(input)?;
        Ok(Self { head, body })
    }
}

/// The envelopes of a block, bounded one by one and together.
struct BodyList(Vec<Vec<u8>>);

impl Field for BodyList {
    const LEN_MAX: usize = 9 + BLOCK_TRANSACTIONS_MAX as usize * 5 + BLOCK_LEN_MAX as usize;

    fn put(&self, out: &mut Encoder) {
        out.array(self.0.len() as u64);
        for bytes in &self.0 {
            out.bytes(bytes);
        }
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let count = input.array(BLOCK_TRANSACTIONS_MAX as usize)?;
        let mut body = Vec::new();
        let mut left = BLOCK_LEN_MAX as usize;
        for _ in 0..count {
            let bytes = input.bytes(TRANSACTION_LEN_MAX + ENVELOPE_LEN_MAX)?;
            left = left.checked_sub(bytes.len()).ok_or(DecodeError::new(
                offset,
                DecodeReason::Value("a body longer than any block's"),
            ))?;
            body.push(bytes.to_vec());
        }
        Ok(Self(body))
    }
}
