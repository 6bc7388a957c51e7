//! Proofs about the ledger hold offline, and nothing changed in them does.

use talea_ledger::block::{SignedHeader, VerifiedBlock};
use talea_ledger::codec::Document;
use talea_ledger::merkle::{self, LeafCount, LeafIndex};
use talea_ledger::proof::{Evidence, Proven};
use talea_ledger::rules::apply;
use talea_ledger::rules::record::{Key, Record};
use talea_ledger::transaction::*;
use talea_ledger::units::BatchNumber;
use talea_ledger::*;

use crate::world::*;

/// A block with three transactions, the second an anchor over three batches.
fn block(world: &World, batches: &[Vec<u8>]) -> VerifiedBlock {
    let anchor = Action::Anchor(Anchor {
        last: BatchNumber(3),
        root: merkle::root(batches).unwrap(),
        count: LeafCount::of(batches.len()).unwrap(),
        first: BatchNumber(1),
    });
    let transfer = || Action::Transfer(Transfer { to: person(60).public(), amount: Tal(5) });
    let orders = [(payer(), transfer()), (host(), anchor), (author(), transfer())]
        .map(|(key, action)| world.verify(&world.order(&key, action).seal(&key)).unwrap());
    world.propose(&orders)
}

fn recoded(world: &World, evidence: &Evidence) -> Result<(SignedHeader, Proven), &'static str> {
    let evidence = Evidence::decode(&evidence.encode()).map_err(|_| "malformed")?;
    evidence.check(&world.network).map_err(|fault| fault.code())
}

fn anchor_of(block: &VerifiedBlock) -> TransactionId {
    block.transactions().iter().find(|each| each.sender() == host().public()).unwrap().id()
}

#[test]
fn a_transaction_is_in_its_block_only() {
    let world = World::new();
    let block = block(&world, &[vec![1]]);
    for transaction in block.transactions() {
        let evidence = Evidence::of_transaction(&block, &transaction.id()).unwrap();
        let (head, proven) = recoded(&world, &evidence).unwrap();
        assert_eq!(head.id(), block.id());
        assert_eq!(proven, Proven::Transaction(Box::new((**transaction).clone())));
    }
    assert!(Evidence::of_transaction(&block, &TransactionId::new([1; 32])).is_none());
    // The same transaction under another block's header.
    let other = world.propose(&block.transactions()[..1]);
    let mut evidence = Evidence::of_transaction(&block, &anchor_of(&block)).unwrap();
    evidence.head = other.head().sealed().clone();
    assert_eq!(recoded(&world, &evidence).unwrap_err(), "bad-proof");
}

#[test]
fn a_state_has_what_it_has_and_nothing_else() {
    let mut world = World::new();
    let block = block(&world, &[vec![1]]);
    world.state = apply(&world.state, &block).unwrap();
    let there = Key::Account(person(60).public());
    let absent = Key::Account(person(61).public());
    for key in [there.clone(), absent.clone(), Key::Totals(())] {
        let evidence = Evidence::of_state(block.head(), &world.state, key.clone()).unwrap();
        let expected = Proven::State(key.clone(), world.state.get(&key).cloned());
        assert_eq!(recoded(&world, &evidence).unwrap().1, expected);
    }
    assert!(world.state.get(&absent).is_none());
    let forge = |key: &Key, change: fn(&mut proof::StateSubject)| {
        let mut evidence = Evidence::of_state(block.head(), &world.state, key.clone()).unwrap();
        let proof::Subject::State(subject) = &mut evidence.subject else { unreachable!() };
        change(subject);
        recoded(&world, &evidence).unwrap_err()
    };
    assert_eq!(forge(&there, |subject| subject.record = None), "other-record");
    assert_eq!(
        forge(&there, |subject| {
            subject.record = Some(Record::Account(Default::default()));
        }),
        "other-record"
    );
    assert_eq!(
        forge(&absent, |subject| {
            subject.record = Some(Record::Account(Default::default()));
        }),
        "other-record"
    );
    assert_eq!(forge(&there, |subject| subject.path.leaf = None), "bad-proof");
    // A state of another block proves nothing about this one.
    let genesis = World::new().state;
    assert!(Evidence::of_state(block.head(), &genesis, there).is_none());
}

#[test]
fn a_receipt_is_led_to_its_anchor() {
    let world = World::new();
    let channel = ChannelId::new([7; 32]);
    let receipts: Vec<Receipt> =
        (1..=5).map(|at| world.call(&payer(), channel, at).receipt(at * 100)).collect();
    let sealed = batch_of(&host(), world.network.id(), &receipts);
    let payload = sealed.sealed().payload().to_vec();
    let batches = [b"one".to_vec(), b"two".to_vec(), payload];
    let block = block(&world, &batches);
    let anchor = anchor_of(&block);
    for (receipt, at) in receipts.iter().zip(0..) {
        let bytes = receipt.encode().try_into().unwrap();
        let proof = sealed.proof(LeafIndex::new(at)).unwrap();
        let evidence = Evidence::of_receipt(&block, &anchor, &batches, bytes, proof).unwrap();
        let (_, proven) = recoded(&world, &evidence).unwrap();
        let Proven::Receipt(found) = proven else { panic!("{proven:?}") };
        assert_eq!(found.document(), receipt);
    }
    let proof = || sealed.proof(LeafIndex::new(0)).unwrap();
    let bytes = || receipts[0].encode().try_into().unwrap();
    let make = |anchor| Evidence::of_receipt(&block, &anchor, &batches, bytes(), proof());
    let other = block.transactions().iter().find(|each| each.id() != anchor).unwrap().id();
    assert_eq!(recoded(&world, &make(other).unwrap()).unwrap_err(), "not-anchored");
    let mut evidence = make(anchor).unwrap();
    if let proof::Subject::Receipt(subject) = &mut evidence.subject {
        subject.index = LeafIndex::new(1);
    }
    assert_eq!(recoded(&world, &evidence).unwrap_err(), "bad-proof");
    let mut evidence = make(anchor).unwrap();
    if let proof::Subject::Receipt(subject) = &mut evidence.subject {
        subject.receipt = receipts[1].encode().try_into().unwrap();
    }
    assert_eq!(recoded(&world, &evidence).unwrap_err(), "bad-receipt");
}
