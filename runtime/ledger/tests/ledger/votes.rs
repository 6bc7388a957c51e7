//! The documents of finality: a vote, a commit, an equivocation; and that messages of them are bounded.

use proptest::prelude::*;
use talea_ledger::chain::message::{MESSAGE_LEN_MAX, Message, Status};
use talea_ledger::codec::{Document as _, List};
use talea_ledger::finality::{Commit, Equivocation, Phase, RoundNumber, Vote};
use talea_ledger::sign::seal_document;
use talea_ledger::{BlockId, Height, NetworkId, Sealed, SecretKey, Slot, VerifyError};

use crate::samples::{Sample, sample};

fn voter(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[0x40 + n; 32])
}

fn vote(n: u8, block: &[u8]) -> Vote {
    Vote {
        voter: voter(n).public(),
        network: NetworkId::DEVELOPMENT,
        block: BlockId::of(block),
        phase: Phase::Precommit,
        round: RoundNumber::FIRST.next(),
        height: Height(70_000),
    }
}

fn sealed(n: u8, block: &[u8]) -> Sealed {
    seal_document(&voter(n), &vote(n, block))
}

fn commit() -> Commit {
    Commit {
        network: NetworkId::DEVELOPMENT,
        block: BlockId::of(b"block"),
        round: RoundNumber::FIRST.next(),
        votes: vec![sealed(1, b"block"), sealed(2, b"block"), sealed(3, b"block")]
            .try_into()
            .unwrap(),
        height: Height(70_000),
    }
}

fn equivocation() -> Equivocation {
    Equivocation { first: sealed(1, b"block"), second: sealed(1, b"another") }
}

/// All of them.
pub(crate) fn all() -> Vec<Sample> {
    let prevote = Vote { phase: Phase::Prevote, round: RoundNumber::FIRST, ..vote(1, b"block") };
    vec![
        sample("vote", &vote(1, b"block")),
        sample("vote-first", &prevote),
        sample("commit", &commit()),
        sample("equivocation", &equivocation()),
    ]
}

#[test]
fn a_vote_is_signed_by_the_authority_it_names() {
    let verified = sealed(1, b"block").verify::<Vote>().unwrap();
    assert_eq!(*verified.signer(), voter(1).public());
    let foreign = seal_document(&voter(2), &vote(1, b"block"));
    assert!(matches!(foreign.verify::<Vote>(), Err(VerifyError::Signer { .. })));
}

#[test]
fn rounds_are_counted_from_one() {
    let bytes = vote(1, b"block").encode();
    let at = bytes.windows(6).position(|six| six == b"eround").unwrap() + 6;
    let mut zero = bytes.clone();
    zero[at] = 0;
    assert_eq!(bytes[at], 2);
    assert!(Vote::decode(&zero).is_err());
}

fn messages() -> Vec<Message> {
    let status = Status {
        head: BlockId::of(b"head"),
        slot: Slot(9),
        round: RoundNumber::FIRST,
        votes: 3,
        height: Height(8),
        finalised: Height(7),
    };
    vec![
        Message::Status(status),
        Message::Vote(sealed(1, b"block")),
        Message::Commit(commit()),
        Message::Votes(List::try_from(vec![sealed(1, b"block")]).unwrap()),
        Message::GetBlocks(List::try_from(vec![BlockId::of(b"block")]).unwrap()),
        Message::GetVotes(RoundNumber::FIRST),
    ]
}

proptest! {
    #[test]
    fn a_message_is_its_bytes_and_no_others(
        which in 0_usize..6, at: prop::sample::Index, flip in 1_u8..=255, cut: prop::sample::Index
    ) {
        let message = messages().swap_remove(which);
        let bytes = message.encode();
        prop_assert_eq!(&Message::decode(&bytes).unwrap(), &message);
        let mut other = bytes.clone();
        other[at.index(bytes.len())] ^= flip;
        if let Ok(read) = Message::decode(&other) {
            prop_assert_eq!(read.encode(), other, "one form");
        }
        prop_assert!(Message::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn garbage_is_no_message(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_before_it_is_read() {
    let long = vec![0xa1; MESSAGE_LEN_MAX + 1];
    assert!(Message::decode(&long).is_err());
}
