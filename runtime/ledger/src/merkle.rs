//! Merkle trees of sha2-256.
//!
//! leaf = sha256(0x00 || bytes), node = sha256(0x01 || left || right), an odd node goes up unchanged.
//!
//! Invariants: a leaf can never pass for a node nor a node for a leaf, by their first byte. A path holds exactly
//! the siblings that index and count call for, in order from the leaf up, so a proof holds for one leaf at one
//! index in a tree of one count only; the count must come from what was signed.

use core::num::NonZeroU32;

use sha2::Digest as _;

use crate::codec::{DecodeError, DecodeReason, Decoder, Encoder, Field, List};
use crate::id::Digest;
use crate::lanes;

/// Most leaves of a tree. A batch of 4,096 receipts of 640 bytes is 2.6 MB in the journal, one write of a few
/// milliseconds; at one synced write in 137 us and more, smaller batches than that already carry more calls
/// than a machine makes. A path has then at most 12 steps.
pub const LEAVES_MAX: u32 = 4096;

/// Most steps of a path: log2 of the most leaves.
pub const PATH_LEN_MAX: usize = LEAVES_MAX.ilog2() as usize;
const _: () = assert!(LEAVES_MAX.is_power_of_two());

/// First byte of what is hashed for a leaf.
const LEAF: [u8; 1] = [0];
/// First byte of what is hashed for a node.
const NODE: [u8; 1] = [1];

/// The place of a leaf, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafIndex(u32);

/// How many leaves a tree has, 1 to [`LEAVES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafCount(NonZeroU32);

/// The siblings from a leaf up to the root.
pub type Path = List<Digest, PATH_LEN_MAX>;

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf in a tree of this count.
    #[error("there is no leaf {index} among {count}")]
    Index {
        /// The place named.
        index: u32,
        /// The leaves there are.
        count: u32,
    },
    /// Too few or too many siblings for this place.
    #[error("{found} steps where the place of the leaf calls for another number")]
    Length {
        /// The steps given.
        found: usize,
    },
    /// The path leads to another root.
    #[error("the path does not lead to the signed root")]
    Root,
    /// A tree of no leaves, or of more than there may be.
    #[error("{0} leaves, from 1 to {LEAVES_MAX} are allowed")]
    Count(usize),
}

/// A whole tree: all levels, from the leaves to the root.
#[derive(Debug, Clone)]
pub struct Tree {
    count: LeafCount,
    /// Level by level, lowest first; each level is half of the one below, rounded up; the last is the root.
    nodes: Vec<Digest>,
}

/// The hash of a leaf.
pub fn leaf(bytes: &[u8]) -> Digest {
    let hash = sha2::Sha256::new().chain_update(LEAF).chain_update(bytes);
    Digest::new(hash.finalize().into())
}

/// The hash of two nodes.
pub fn node(left: &Digest, right: &Digest) -> Digest {
    let hash = sha2::Sha256::new().chain_update(NODE).chain_update(joined(&[*left, *right]));
    Digest::new(hash.finalize().into())
}

/// The root of a tree whose leaves are these bytes, in order.
pub fn root<B: AsRef<[u8]>>(leaves: &[B]) -> Result<Digest, ProofError> {
    LeafCount::of(leaves.len())?;
    let mut level = lanes::digests(&LEAF, leaves);
    while level.len() > 1 {
        level = above(&level);
    }
    Ok(level[0])
}

/// The level above one that is not the root.
fn above(level: &[Digest]) -> Vec<Digest> {
    let (pairs, odd) = level.as_chunks::<2>();
    let pairs: Vec<[u8; 64]> = pairs.iter().map(joined).collect();
    let mut above = lanes::digests(&NODE, &pairs);
    above.extend_from_slice(odd);
    above
}

fn joined([left, right]: &[Digest; 2]) -> [u8; 64] {
    let mut bytes = [0; 64];
    let (first, second) = bytes.split_at_mut(32);
    first.copy_from_slice(left.as_bytes());
    second.copy_from_slice(right.as_bytes());
    bytes
}

/// Checks that `leaf_bytes` is the leaf at `index` of the tree of `count` leaves with this `root`.
pub fn verify_proof(
    root: &Digest,
    index: LeafIndex,
    count: LeafCount,
    leaf_bytes: &[u8],
    path: &[Digest],
) -> Result<(), ProofError> {
    if index.0 >= count.get() {
        return Err(ProofError::Index { index: index.0, count: count.get() });
    }
    let length = ProofError::Length { found: path.len() };
    let mut siblings = path.iter();
    let (mut at, mut width) = (index.0, count.get());
    let mut hash = leaf(leaf_bytes);
    while width > 1 {
        let is_promoted = at.is_multiple_of(2) && at.saturating_add(1) == width;
        if !is_promoted {
            let sibling = siblings.next().ok_or(length)?;
            hash = if at.is_multiple_of(2) { node(&hash, sibling) } else { node(sibling, &hash) };
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    if siblings.next().is_some() {
        return Err(length);
    }
    if hash != *root {
        return Err(ProofError::Root);
    }
    Ok(())
}

// === impl Tree ===

impl Tree {
    /// The tree over these leaves.
    pub fn over<B: AsRef<[u8]>>(leaves: &[B]) -> Result<Self, ProofError> {
        let count = LeafCount::of(leaves.len())?;
        // n leaves, then at most n nodes and one promoted node per level.
        let capacity = leaves.len().saturating_mul(2).saturating_add(PATH_LEN_MAX);
        let mut nodes = Vec::with_capacity(capacity);
        let mut level = lanes::digests(&LEAF, leaves);
        while level.len() > 1 {
            nodes.extend_from_slice(&level);
            level = above(&level);
        }
        nodes.extend_from_slice(&level);
        Ok(Self { count, nodes })
    }

    /// The root.
    pub fn root(&self) -> Digest {
        // A tree has at least one leaf, so it has a last node.
        self.nodes[self.nodes.len().saturating_sub(1)]
    }

    /// How many leaves it has.
    pub fn count(&self) -> LeafCount {
        self.count
    }

    /// The siblings of the leaf at `index`, if there is one.
    pub fn path(&self, index: LeafIndex) -> Result<Path, ProofError> {
        let count = self.count.get();
        if index.0 >= count {
            return Err(ProofError::Index { index: index.0, count });
        }
        let mut path = Vec::with_capacity(PATH_LEN_MAX);
        let (mut start, mut at, mut width) = (0_usize, index.0, count);
        while width > 1 {
            let sibling = at ^ 1;
            if sibling < width {
                path.push(self.nodes[start.saturating_add(sibling as usize)]);
            }
            start = start.saturating_add(width as usize);
            at /= 2;
            width = width.div_ceil(2);
        }
        Path::try_from(path).map_err(|error| ProofError::Length { found: error.found })
    }
}

// === impl LeafIndex, LeafCount ===

impl LeafIndex {
    /// The place `index`.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl LeafCount {
    /// A count, if a tree may have that many leaves.
    pub fn of(count: usize) -> Result<Self, ProofError> {
        u32::try_from(count)
            .ok()
            .filter(|count| *count <= LEAVES_MAX)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(ProofError::Count(count))
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl Field for LeafIndex {
    // Below 4,096: a head and two bytes.
    const LEN_MAX: usize = 3;

    fn put(&self, out: &mut Encoder) {
        out.uint(u64::from(self.0));
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        // Bounded by the maximum, so the narrowing loses nothing.
        input.uint_max(u64::from(LEAVES_MAX.saturating_sub(1))).map(|index| Self(index as u32))
    }
}

impl Field for LeafCount {
    const LEN_MAX: usize = 3;

    fn put(&self, out: &mut Encoder) {
        out.uint(u64::from(self.get()));
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let count = input.uint_max(u64::from(LEAVES_MAX))?;
        Self::of(count as usize).map_err(|_| {
            DecodeError::new(offset, DecodeReason::Value("a tree has at least one leaf"))
        })
    }
}
