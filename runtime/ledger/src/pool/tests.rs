//! Who gets in, who gives way, and that whatever leaves has a reason.

#![allow(clippy::arithmetic_side_effects, reason = "a test may fail loudly")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::id::{NetworkId, SecretKey};
use crate::transaction::{Action, Transaction, Transfer};

const FEE: Tal = Tal(10);
const SMALL: Bounds = Bounds { count_max: 6, len_max: 100_000, sender_max: 4, rejected_max: 50 };

fn transaction(sender: u8, nonce: u64, amount: u64) -> Arc<VerifiedTransaction> {
    let key = SecretKey::from_bytes(&[sender; 32]);
    let transaction = Transaction {
        action: Action::Transfer(Transfer { to: key.public(), amount: Tal(amount) }),
        network: NetworkId::DEVELOPMENT,
        sender: key.public(),
        nonce: Nonce(nonce),
        builds_on: None,
    };
    let sealed = transaction.seal(&key);
    Arc::new(VerifiedTransaction::verify(&sealed, &NetworkId::DEVELOPMENT).unwrap())
}

fn rich(nonce: u64) -> Standing {
    Standing { nonce: Nonce(nonce), balance: Tal(1_000) }
}

fn pool() -> Pool {
    Pool::new(SMALL, 5, Height::ZERO)
}

fn refused(pool: &mut Pool, new: Arc<VerifiedTransaction>, standing: Standing) -> String {
    pool.admit(new, FEE, standing).unwrap_err().to_string()
}

#[test]
fn law_9_only_who_can_pay_gets_in_and_within_the_window() {
    let mut pool = pool();
    let poor = Standing { nonce: Nonce(3), balance: Tal(25) };
    assert_eq!(refused(&mut pool, transaction(1, 2, 1), poor), "nonce-used");
    assert_eq!(refused(&mut pool, transaction(1, 7, 1), poor), "nonce-gap");
    pool.admit(transaction(1, 3, 1), FEE, poor).unwrap();
    assert_eq!(refused(&mut pool, transaction(1, 3, 2), poor), "nonce-taken");
    pool.admit(transaction(1, 5, 1), FEE, poor).unwrap();
    assert_eq!(refused(&mut pool, transaction(1, 4, 1), poor), "cannot-pay");
    assert_eq!(pool.next_nonce(&transaction(1, 3, 1).sender(), Nonce(3)), Nonce(4));
    assert_eq!(pool.len(), 2, "what is refused leaves no trace");
}

#[test]
fn a_full_pool_takes_room_from_who_has_most_and_says_so() {
    let mut pool = pool();
    for nonce in 0..4 {
        pool.admit(transaction(1, nonce, 1), FEE, rich(0)).unwrap();
    }
    pool.admit(transaction(2, 0, 1), FEE, rich(0)).unwrap();
    pool.admit(transaction(3, 0, 1), FEE, rich(0)).unwrap();
    let evicted = pool.admit(transaction(4, 0, 1), FEE, rich(0)).unwrap().unwrap();
    assert_eq!(evicted.id, transaction(1, 3, 1).id(), "the last of the sender with most");
    assert_eq!(pool.rejection(&evicted.id).unwrap().0.as_str(), "evicted");
    assert_eq!(pool.len(), 6);
    pool.admit(transaction(5, 0, 1), FEE, rich(0)).unwrap();
    assert_eq!(refused(&mut pool, transaction(2, 1, 1), rich(0)), "pool-full", "it has its share");
}

#[test]
fn a_block_shares_its_room_between_senders() {
    let mut pool = Pool::new(Bounds { count_max: 100, sender_max: 50, ..SMALL }, 5, Height::ZERO);
    for nonce in 0..10 {
        pool.admit(transaction(1, nonce, 1), FEE, rich(0)).unwrap();
    }
    pool.admit(transaction(2, 0, 1), FEE, rich(0)).unwrap();
    pool.admit(transaction(2, 2, 1), FEE, rich(0)).unwrap();
    let chosen = pool.candidates(4, usize::MAX, |_| Nonce::ZERO);
    let senders: Vec<(PublicKey, Nonce)> =
        chosen.iter().map(|each| (each.sender(), each.nonce())).collect();
    let two = transaction(2, 0, 1).sender();
    assert_eq!(senders.len(), 4);
    assert!(senders.contains(&(two, Nonce(0))));
    assert!(!senders.contains(&(two, Nonce(2))), "there is a gap before it");
    let len = transaction(1, 0, 1).bytes().len();
    assert!(pool.candidates(100, 2 * len, |_| Nonce::ZERO).len() <= 2);
}

#[test]
fn a_lost_branch_comes_back_beside_another_of_its_nonce_and_one_is_rejected_in_the_end() {
    let mut pool = pool();
    let (here, there) = (transaction(1, 0, 1), transaction(1, 0, 2));
    pool.admit(Arc::clone(&here), FEE, rich(0)).unwrap();
    assert_eq!(pool.give_back(Arc::clone(&there), FEE), None);
    assert_eq!(pool.len(), 2);
    assert_eq!(pool.candidates(9, 9_999, |_| Nonce::ZERO).len(), 1);
    pool.include(&here.id());
    let gone = pool.finalise(Height(1), |_| rich(1));
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].id, there.id());
    assert_eq!(gone[0].reason.as_str(), "nonce-used");
}

#[test]
fn reasons_are_kept_for_the_retention_and_no_longer() {
    let mut pool = pool();
    let one = transaction(1, 0, 1);
    pool.admit(Arc::clone(&one), FEE, rich(0)).unwrap();
    pool.finalise(Height(7), |_| rich(1));
    assert!(pool.rejection(&one.id()).is_some());
    pool.finalise(Height(12), |_| rich(1));
    assert!(pool.rejection(&one.id()).is_some());
    pool.finalise(Height(13), |_| rich(1));
    assert!(pool.rejection(&one.id()).is_none());
}

#[test]
fn what_never_fits_is_rejected_with_the_last_reason() {
    let mut pool = pool();
    let (one, two) = (transaction(1, 0, 1), transaction(2, 3, 1));
    pool.admit(Arc::clone(&one), FEE, rich(0)).unwrap();
    pool.admit(Arc::clone(&two), FEE, rich(0)).unwrap();
    pool.note_failure(&one.id(), Reason::new("balance"));
    assert!(pool.finalise(Height(PENDING_BLOCKS_MAX), |_| rich(0)).is_empty());
    let gone = pool.finalise(Height(PENDING_BLOCKS_MAX + 1), |_| rich(0));
    let reasons: BTreeMap<TransactionId, String> =
        gone.iter().map(|each| (each.id, each.reason.to_string())).collect();
    assert_eq!(reasons[&one.id()], "balance");
    assert_eq!(reasons[&two.id()], "expired");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Law 7 for the pool alone: after any history each transaction that was taken is pending, in a block, or
    /// has a reason; and no bound is passed.
    #[test]
    fn law_7_nothing_leaves_without_a_reason(
        steps in prop::collection::vec((0_u8..5, 1_u8..5, 0_u64..6, 1_u64..3), 1..60)
    ) {
        let mut pool = Pool::new(SMALL, 1_000, Height::ZERO);
        let mut taken = std::collections::BTreeSet::new();
        let mut included = std::collections::BTreeSet::new();
        let mut height = 0;
        for (step, sender, nonce, amount) in steps {
            let new = transaction(sender, nonce, amount);
            let id = new.id();
            match step {
                0 | 1 => {
                    let is_new = !included.contains(&id) && pool.rejection(&id).is_none();
                    if is_new && pool.get(&id).is_none() && pool.admit(new, FEE, rich(0)).is_ok() {
                        taken.insert(id);
                    }
                }
                2 => {
                    if !included.contains(&id) {
                        pool.give_back(new, FEE);
                        taken.insert(id);
                    }
                }
                3 => {
                    if pool.get(&id).is_some() {
                        pool.include(&id);
                        included.insert(id);
                    }
                }
                _ => {
                    height += 1;
                    pool.finalise(Height(height), |_| rich(nonce.min(2)));
                }
            }
            prop_assert!(pool.len() <= SMALL.count_max);
            for id in &taken {
                let places = [pool.get(id).is_some(), included.contains(id), pool.rejection(id).is_some()];
                prop_assert_eq!(places.iter().filter(|is| **is).count(), 1, "{}", id);
            }
        }
    }
}
