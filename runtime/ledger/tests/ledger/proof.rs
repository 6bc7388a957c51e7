//! A proof holds for one leaf at one index of one signed batch.

use proptest::prelude::*;
use talea_ledger::batch::{BatchHead, seal_batch, verify_in, verify_receipt, verify_receipts};
use talea_ledger::merkle::{self, LeafCount, LeafIndex, ProofError, Tree, verify_proof};
use talea_ledger::sign::{seal, seal_document};
use talea_ledger::*;

use crate::samples;

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|leaf| format!("leaf {leaf}").into_bytes()).collect()
}

#[test]
fn every_proof_holds_for_its_leaf_and_index_only() {
    for count in (1..=17).chain([21, 32, 33]) {
        let leaves = leaves(count);
        let tree = Tree::over(&leaves).unwrap();
        for index in 0..count {
            let path = tree.path(LeafIndex::new(index as u32)).unwrap();
            for (at, leaf) in leaves.iter().enumerate() {
                for place in 0..count {
                    let holds = verify_proof(
                        &tree.root(),
                        LeafIndex::new(place as u32),
                        tree.count(),
                        leaf,
                        &path,
                    );
                    assert_eq!(
                        holds.is_ok(),
                        at == index && place == index,
                        "{at} at {place} of {count}"
                    );
                }
            }
        }
    }
}

#[test]
fn any_change_to_a_path_breaks_it() {
    for count in [1, 2, 3, 5, 7, 8, 13, 33] {
        let leaves = leaves(count);
        let tree = Tree::over(&leaves).unwrap();
        for (at, leaf) in leaves.iter().enumerate() {
            let index = LeafIndex::new(at as u32);
            let path = tree.path(index).unwrap();
            let fails = |path: &[Digest]| {
                verify_proof(&tree.root(), index, tree.count(), leaf, path).is_err()
            };
            for step in 0..path.len() {
                let mut other = path.to_vec();
                other[step] = Digest::of(other[step].as_bytes());
                assert!(fails(&other), "another sibling");
                let mut short = path.to_vec();
                short.remove(step);
                assert!(fails(&short), "one sibling less");
                let mut long = path.to_vec();
                long.insert(step, path[step]);
                assert!(fails(&long), "one sibling more");
            }
            assert!(fails(&[&path[..], &[tree.root()]].concat()), "a step above the root");
        }
    }
}

#[test]
fn a_node_is_no_leaf() {
    // The bytes under a node's hash, presented as a leaf one level up: the first byte tells them apart.
    let leaves = leaves(4);
    let tree = Tree::over(&leaves).unwrap();
    let [a, b, c, d] = [0, 1, 2, 3].map(|at: usize| merkle::leaf(&leaves[at]));
    let left = [&a.as_bytes()[..], b.as_bytes()].concat();
    let right = merkle::node(&c, &d);
    for forged in [left.clone(), [&[1], &left[..]].concat(), [&[0], &left[..]].concat()] {
        let two = LeafCount::of(2).unwrap();
        let holds = verify_proof(&tree.root(), LeafIndex::new(0), two, &forged, &[right]);
        assert_eq!(holds, Err(ProofError::Root));
    }
    assert_ne!(merkle::leaf(&left), merkle::node(&a, &b));
}

#[test]
fn an_odd_node_goes_up_unchanged_and_is_not_doubled() {
    let three = leaves(3);
    let [a, b, c] = [0, 1, 2].map(|at: usize| merkle::leaf(&three[at]));
    let root = merkle::node(&merkle::node(&a, &b), &c);
    assert_eq!(Tree::over(&three).unwrap().root(), root);
    // With doubling, three leaves and the same with the last one twice would have one root.
    let mut four = three.clone();
    four.push(three[2].clone());
    assert_ne!(Tree::over(&four).unwrap().root(), root);
    // The promoted leaf has one step, and two are refused.
    let path = Tree::over(&three).unwrap().path(LeafIndex::new(2)).unwrap();
    assert_eq!(path[..], [merkle::node(&a, &b)]);
}

#[test]
fn the_count_is_what_was_signed() {
    // By its hashes alone the last of three leaves is also the last of two (the first being a node), which is why
    // the count stands in the signed batch. A batch with another count has another signature.
    let sealed = samples::sealed_batch();
    let two = Batch { count: LeafCount::of(2).unwrap(), ..samples::batch() };
    let forged =
        Sealed::from_parts(Domain::Batch, two.encode(), sealed.sealed().signatures()[0]).unwrap();
    let proof = Proof { batch: forged, index: LeafIndex::new(1), ..samples::proof(2) };
    let answer = verify_receipt(&samples::payloads()[2], &proof);
    assert_eq!(answer, Err(VerifyError::Signature(samples::host().public())));
}

#[test]
fn counts_are_bounded() {
    assert_eq!(Tree::over::<Vec<u8>>(&[]).unwrap_err(), ProofError::Count(0));
    assert_eq!(merkle::root(&leaves(4097)).unwrap_err(), ProofError::Count(4097));
    let tree = Tree::over(&leaves(4096)).unwrap();
    assert_eq!(tree.path(LeafIndex::new(4095)).unwrap().len(), merkle::PATH_LEN_MAX);
    assert!(tree.path(LeafIndex::new(4096)).is_err());
}

#[test]
fn receipts_verify_singly_and_together() {
    let (payloads, sealed) = (samples::payloads(), samples::sealed_batch());
    let batch = sealed.sealed().verify::<Batch>().unwrap();
    let together = verify_receipts(&payloads, sealed.sealed()).unwrap();
    for (at, payload) in payloads.iter().enumerate() {
        let index = LeafIndex::new(at as u32);
        let singly = verify_receipt(payload, &sealed.proof(index).unwrap()).unwrap();
        let with_batch = verify_in(payload, index, &sealed.path(index).unwrap(), &batch).unwrap();
        assert_eq!(singly, together[at]);
        assert_eq!(singly, with_batch);
        assert_eq!(singly.signer(), &samples::host().public());
        assert_eq!(singly.payload(), payload);
    }
}

#[test]
fn any_changed_byte_of_a_receipt_breaks_its_proof_and_its_name() {
    let (payload, proof) = (&samples::payloads()[0], samples::proof(0));
    for at in 0..payload.len() {
        for bit in 0..8 {
            let mut other = payload.clone();
            other[at] ^= 1 << bit;
            assert!(verify_receipt(&other, &proof).is_err(), "bit {bit} of byte {at}");
            assert_ne!(ReceiptId::of(&other), ReceiptId::of(payload));
        }
    }
}

#[test]
fn any_changed_byte_of_a_proof_breaks_it() {
    let (payload, bytes) = (&samples::payloads()[0], samples::proof(0).encode());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[at] ^= 1 << bit;
            let holds =
                Proof::decode(&other).is_ok_and(|proof| verify_receipt(payload, &proof).is_ok());
            assert!(!holds, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_batch_of_others_proves_nothing() {
    let head = |network| BatchHead { network, number: 1, at: UnixNanos(1) };
    let payloads = samples::payloads();
    // Another host's batch over this host's receipts.
    let stolen = seal_batch(&samples::owner(), head(NetworkId::DEVELOPMENT), &payloads).unwrap();
    let proof = stolen.proof(LeafIndex::new(0)).unwrap();
    assert!(matches!(verify_receipt(&payloads[0], &proof), Err(VerifyError::Signer { .. })));
    assert!(matches!(verify_receipts(&payloads, stolen.sealed()), Err(VerifyError::Signer { .. })));
    // The same host's batch on another network.
    let elsewhere = seal_batch(&samples::host(), head(NetworkId::new([8; 32])), &payloads).unwrap();
    let proof = elsewhere.proof(LeafIndex::new(0)).unwrap();
    assert!(matches!(verify_receipt(&payloads[0], &proof), Err(VerifyError::Network { .. })));
    // A batch that names one host and is signed by another.
    let named = Batch { host: samples::host().public(), ..stolen.batch().clone() };
    let sealed = seal_document(&samples::owner(), &named);
    assert!(matches!(sealed.verify::<Batch>(), Err(VerifyError::Signer { .. })));
    // A signature for another kind of document.
    let other = seal(&samples::host(), Domain::Receipt, samples::batch().encode());
    assert!(matches!(other.verify::<Batch>(), Err(VerifyError::Domain { .. })));
}

#[test]
fn a_batch_is_all_of_its_receipts_in_order() {
    let (payloads, sealed) = (samples::payloads(), samples::sealed_batch());
    let fails = |payloads: &[Vec<u8>]| verify_receipts(payloads, sealed.sealed()).is_err();
    assert!(fails(&payloads[..2]));
    assert!(fails(&[&payloads[..], &payloads[..1]].concat()));
    let mut swapped = payloads.clone();
    swapped.swap(0, 1);
    assert!(fails(&swapped));
}

proptest! {
    #[test]
    fn root_tree_and_proofs_agree(count in 1..600_usize, index in 0..600_usize) {
        let leaves = leaves(count);
        let tree = Tree::over(&leaves).unwrap();
        prop_assert_eq!(tree.root(), merkle::root(&leaves).unwrap());
        let index = index % count;
        let place = LeafIndex::new(index as u32);
        let path = tree.path(place).unwrap();
        prop_assert_eq!(verify_proof(&tree.root(), place, tree.count(), &leaves[index], &path), Ok(()));
    }
}
