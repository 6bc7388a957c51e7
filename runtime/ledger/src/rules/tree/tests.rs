//! The tree against a plain map: content, root, proofs, and versions that do not disturb each other.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::rules::record::SessionRecord;
use crate::units::Tal;

fn record(value: u64) -> Record {
    Record::Session(SessionRecord { spent: Tal(value), until: None })
}

/// Paths from few bits, so that they collide in long prefixes too.
fn path(seed: u16) -> Digest {
    let mut bytes = [0; 32];
    bytes[0] = (seed & 3) as u8;
    bytes[15] = (seed >> 2 & 3) as u8;
    bytes[31] = (seed >> 4 & 7) as u8;
    Digest::new(bytes)
}

fn build(content: &BTreeMap<Digest, u64>) -> Tree {
    let mut tree = Tree::default();
    for (path, value) in content {
        tree.set(*path, Key::Totals(()), record(*value));
    }
    tree
}

fn steps() -> impl Strategy<Value = Vec<(u16, Option<u64>)>> {
    proptest::collection::vec((0..128_u16, proptest::option::weighted(0.7, 0..4_u64)), 0..120)
}

proptest! {
    #[test]
    fn a_history_leaves_no_trace(steps in steps()) {
        let (mut tree, mut content) = (Tree::default(), BTreeMap::new());
        for (seed, value) in steps {
            let before = tree.clone();
            let root = before.root();
            match value {
                Some(value) => {
                    tree.set(path(seed), Key::Totals(()), record(value));
                    content.insert(path(seed), value);
                }
                None => {
                    tree.remove(&path(seed));
                    content.remove(&path(seed));
                }
            }
            // The hash that was kept is that of what is there.
            prop_assert_eq!(build(&before.content()).root(), root);
            prop_assert_eq!(tree.len(), content.len());
        }
        prop_assert_eq!(tree.content(), content.clone());
        prop_assert_eq!(tree.root(), build(&content).root());
        let in_order: Vec<Digest> = content.keys().copied().collect();
        prop_assert_eq!(tree.paths(), in_order);
    }

    #[test]
    fn presence_and_absence_are_proven(steps in steps(), asked in 0..128_u16, other in 0..128_u16) {
        let mut content = BTreeMap::new();
        for (seed, value) in steps {
            content.insert(path(seed), value.unwrap_or(9));
        }
        let tree = build(&content);
        let proof = tree.prove(&path(asked));
        let expected = content.get(&path(asked)).map(|value| record(*value).digest());
        prop_assert_eq!(proof.verify(&tree.root(), &path(asked)), Ok(expected));
        // The same way is no proof for a path whose search takes a turn elsewhere.
        if let Ok(Some(found)) = proof.verify(&tree.root(), &path(other)) {
            prop_assert_eq!(Some(found), content.get(&path(other)).map(|value| record(*value).digest()));
        }
        if let Ok(None) = proof.verify(&tree.root(), &path(other)) {
            prop_assert!(!content.contains_key(&path(other)));
        }
        // Nor for another root, nor with any part changed.
        prop_assert_eq!(proof.verify(&Digest::of(b"x"), &path(asked)), Err(TreeProofError::Root));
        if let Some(leaf) = proof.leaf {
            let moved = LeafHash { record: Digest::of(b"y"), ..leaf };
            let forged = TreePath { leaf: Some(moved), ..proof.clone() };
            prop_assert_eq!(forged.verify(&tree.root(), &path(asked)), Err(TreeProofError::Root));
        }
        if proof.bits.len() > 1 {
            let mut bits = proof.bits.to_vec();
            bits.swap(0, 1);
            let forged = TreePath { bits: bits.try_into().unwrap(), ..proof };
            prop_assert_eq!(forged.verify(&tree.root(), &path(asked)), Err(TreeProofError::Form));
        }
    }
}

#[test]
fn the_empty_map_proves_that_it_has_nothing() {
    let tree = Tree::default();
    let proof = tree.prove(&path(3));
    assert_eq!(proof.verify(&tree.root(), &path(3)), Ok(None));
    let mut one = Tree::default();
    one.set(path(3), Key::Totals(()), record(1));
    assert_eq!(proof.verify(&one.root(), &path(3)), Err(TreeProofError::Root));
}

impl Tree {
    fn paths(&self) -> Vec<Digest> {
        let mut stack: Vec<&Node> = self.root.as_deref().into_iter().collect();
        let mut paths = Vec::new();
        while let Some(node) = stack.pop() {
            match node {
                Node::Leaf(leaf) => paths.push(leaf.path),
                Node::Branch(branch) => stack.extend([&*branch.right, &*branch.left]),
            }
        }
        paths
    }

    fn content(&self) -> BTreeMap<Digest, u64> {
        let value = |path: &Digest| match self.get(path) {
            Some(Record::Session(session)) => session.spent.0,
            _ => panic!("only sessions are put here"),
        };
        self.paths().iter().map(|path| (*path, value(path))).collect()
    }
}
