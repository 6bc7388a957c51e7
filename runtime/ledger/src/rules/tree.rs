//! The authenticated map: every record of the state under one root.
//!
//! Format: a binary radix tree over 256-bit paths with one branch for each bit in which paths differ. A leaf is
//! sha256(0x00 || path || sha256(record bytes)); a branch is sha256(0x01 || bit || left || right), where all paths
//! below it agree in the bits before `bit` (0 is the highest bit of the first byte) and go left where it is 0.
//! The root of no leaves is 32 zero bytes.
//!
//! Invariants: the shape follows from the set of paths alone, so one content has one root whatever the history.
//! A branch tells paths apart in its bit, so a search that follows the bits of a path ends at that path's leaf if
//! there is one: where it ends at another leaf, the path is absent, and that is the proof of absence.
//! Nodes are shared between versions: a clone is one pointer, a change copies the nodes above it.
//! Hashes are made when they are asked for and kept: a block's changes are hashed once, at its end.
//! Paths are hashes, so depth is about log2 of the number of leaves and never above 256.

use std::sync::{Arc, OnceLock};

use sha2::Digest as _;

use super::record::{Key, Record};
use crate::codec::{Blob, List, record};
use crate::id::Digest;

/// Bits of a path, and so the most branches above a leaf.
const BITS: usize = 256;

/// The root of no leaves.
const EMPTY: Digest = Digest::new([0; 32]);

/// A version of the map.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    root: Option<Arc<Node>>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Leaf),
    Branch(Branch),
}

#[derive(Debug, Clone)]
struct Leaf {
    path: Digest,
    key: Key,
    record: Record,
    hash: OnceLock<Digest>,
}

#[derive(Debug, Clone)]
struct Branch {
    bit: u8,
    left: Arc<Node>,
    right: Arc<Node>,
    hash: OnceLock<Digest>,
}

record! {
    /// The way from a root to the leaf at which the search for a path ends.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct TreePath {
        /// The bits of the branches, from the root down.
        "bits" => pub bits: Blob<BITS>,
        /// The leaf that was found; absent when the map is empty.
        "leaf" => pub leaf: Option<LeafHash>,
        /// The other side of each branch.
        "sides" => pub sides: List<Digest, BITS>,
    }
}

record! {
    /// A leaf without its record.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct LeafHash {
        /// Its path.
        "path" => pub path: Digest,
        /// The hash of its record.
        "record" => pub record: Digest,
    }
}

/// Why a path through the tree does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeProofError {
    /// As many bits as sides, strictly ascending.
    #[error("the path is not well-formed")]
    Form,
    /// The hashes lead to another root.
    #[error("the path does not lead to the root")]
    Root,
}

/// The bit of a path at a place.
fn bit(path: &Digest, at: u8) -> bool {
    let byte = path.as_bytes()[usize::from(at >> 3)];
    // 0 is the highest bit.
    byte.wrapping_shr(7_u32.saturating_sub(u32::from(at & 7))) & 1 == 1
}

/// The first bit in which two paths differ.
fn first_difference(left: &Digest, right: &Digest) -> Option<u8> {
    let pairs = left.as_bytes().iter().zip(right.as_bytes());
    let (at, (one, other)) = pairs.enumerate().find(|(_, (one, other))| one != other)?;
    let inside = (one ^ other).leading_zeros();
    // At most 31 * 8 + 7.
    u8::try_from(at.saturating_mul(8).saturating_add(inside as usize)).ok()
}

fn leaf_hash(path: &Digest, record: &Digest) -> Digest {
    let hash = sha2::Sha256::new()
        .chain_update([0])
        .chain_update(path.as_bytes())
        .chain_update(record.as_bytes());
    Digest::new(hash.finalize().into())
}

fn branch_hash(bit: u8, left: &Digest, right: &Digest) -> Digest {
    let hash = sha2::Sha256::new()
        .chain_update([1, bit])
        .chain_update(left.as_bytes())
        .chain_update(right.as_bytes());
    Digest::new(hash.finalize().into())
}

// === impl Node ===

impl Node {
    fn hash(&self) -> Digest {
        match self {
            Self::Leaf(leaf) => {
                *leaf.hash.get_or_init(|| leaf_hash(&leaf.path, &leaf.record.digest()))
            }
            Self::Branch(branch) => *branch
                .hash
                .get_or_init(|| branch_hash(branch.bit, &branch.left.hash(), &branch.right.hash())),
        }
    }
}

impl Branch {
    fn side(&self, path: &Digest) -> &Arc<Node> {
        if bit(path, self.bit) { &self.right } else { &self.left }
    }

    fn side_mut(&mut self, path: &Digest) -> &mut Arc<Node> {
        if bit(path, self.bit) { &mut self.right } else { &mut self.left }
    }

    fn other_side(&self, path: &Digest) -> &Arc<Node> {
        if bit(path, self.bit) { &self.left } else { &self.right }
    }
}

// === impl Tree ===

impl Tree {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The root over all records.
    pub fn root(&self) -> Digest {
        self.root.as_ref().map_or(EMPTY, |node| node.hash())
    }

    /// The record at a path.
    pub fn get(&self, path: &Digest) -> Option<&Record> {
        self.nearest(path).filter(|leaf| leaf.path == *path).map(|leaf| &leaf.record)
    }

    /// The leaf at which the search for a path ends.
    fn nearest(&self, path: &Digest) -> Option<&Leaf> {
        let mut at = self.root.as_deref()?;
        loop {
            match at {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Branch(branch) => at = branch.side(path),
            }
        }
    }

    /// Puts a record at a path, in place of the one that is there.
    pub fn set(&mut self, path: Digest, key: Key, record: Record) {
        let split = self.nearest(&path).map(|leaf| first_difference(&leaf.path, &path));
        let leaf = Arc::new(Node::Leaf(Leaf { path, key, record, hash: OnceLock::new() }));
        let (Some(root), Some(split)) = (&mut self.root, split) else {
            self.root = Some(leaf);
            self.len = 1;
            return;
        };
        let mut at = root;
        loop {
            let is_above = match &**at {
                Node::Leaf(_) => false,
                Node::Branch(branch) => split.is_none_or(|split| branch.bit < split),
            };
            if !is_above {
                break;
            }
            // A leaf ends the loop above.
            let Node::Branch(branch) = Arc::make_mut(at) else { return };
            branch.hash = OnceLock::new();
            at = branch.side_mut(&path);
        }
        let Some(split) = split else {
            *at = leaf;
            return;
        };
        let old = Arc::clone(at);
        let (left, right) = if bit(&path, split) { (old, leaf) } else { (leaf, old) };
        *at = Arc::new(Node::Branch(Branch { bit: split, left, right, hash: OnceLock::new() }));
        self.len = self.len.saturating_add(1);
    }

    /// Takes the record at a path away, if there is one.
    pub fn remove(&mut self, path: &Digest) {
        if self.get(path).is_none() {
            return;
        }
        self.len = self.len.saturating_sub(1);
        let Some(root) = &mut self.root else { return };
        if matches!(&**root, Node::Leaf(_)) {
            self.root = None;
            return;
        }
        let mut at = root;
        loop {
            let lifted = match &**at {
                Node::Leaf(_) => return,
                Node::Branch(branch) => match &**branch.side(path) {
                    Node::Leaf(_) => Some(Arc::clone(branch.other_side(path))),
                    Node::Branch(_) => None,
                },
            };
            if let Some(lifted) = lifted {
                *at = lifted;
                return;
            }
            let Node::Branch(branch) = Arc::make_mut(at) else { return };
            branch.hash = OnceLock::new();
            at = branch.side_mut(path);
        }
    }

    /// All keys and records, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Record)> {
        let mut stack: Vec<&Node> = self.root.as_deref().into_iter().collect();
        core::iter::from_fn(move || {
            loop {
                match stack.pop()? {
                    Node::Leaf(leaf) => return Some((&leaf.key, &leaf.record)),
                    Node::Branch(branch) => {
                        stack.push(&branch.right);
                        stack.push(&branch.left);
                    }
                }
            }
        })
    }

    /// The proof of what the map has at a path, or that it has nothing there.
    pub fn prove(&self, path: &Digest) -> TreePath {
        let (mut bits, mut sides, mut leaf) = (Vec::new(), Vec::new(), None);
        let mut next = self.root.as_deref();
        while let Some(node) = next {
            next = match node {
                Node::Leaf(found) => {
                    leaf = Some(LeafHash { path: found.path, record: found.record.digest() });
                    None
                }
                Node::Branch(branch) => {
                    bits.push(branch.bit);
                    sides.push(branch.other_side(path).hash());
                    Some(&**branch.side(path))
                }
            };
        }
        // Bits ascend from the root down, so there are at most 256 of them.
        TreePath {
            bits: Blob::try_from(bits).unwrap_or_default(),
            leaf,
            sides: List::try_from(sides).unwrap_or_default(),
        }
    }
}

// === impl TreePath ===

impl TreePath {
    /// Checks the way against a root. Gives the hash of the record at `path`, or nothing when there is none.
    pub fn verify(&self, root: &Digest, path: &Digest) -> Result<Option<Digest>, TreeProofError> {
        let ascends = self.bits.windows(2).all(|pair| pair[0] < pair[1]);
        if self.bits.len() != self.sides.len() || !ascends {
            return Err(TreeProofError::Form);
        }
        let Some(leaf) = &self.leaf else {
            let holds = self.bits.is_empty() && *root == EMPTY;
            return if holds { Ok(None) } else { Err(TreeProofError::Root) };
        };
        let steps = self.bits.iter().zip(self.sides.iter()).rev();
        let found = steps.fold(leaf_hash(&leaf.path, &leaf.record), |hash, (at, side)| {
            if bit(path, *at) {
                branch_hash(*at, side, &hash)
            } else {
                branch_hash(*at, &hash, side)
            }
        });
        if found != *root {
            return Err(TreeProofError::Root);
        }
        Ok((leaf.path == *path).then_some(leaf.record))
    }
}

#[cfg(test)]
mod tests;
