//! What lies on streams: every message has one form, and no bytes make a reader fail otherwise than by an error.

use proptest::prelude::*;
use talea_gossip::{
    Answer, Ask, FrameTooLong, HEAD_LEN, Hello, HelloAnswer, HelloQuestion, PIECE_LEN_MAX, Piece,
    Wanted, frame, frame_len, split_frame,
};
use talea_ledger::{Digest, FunctionId, NetworkId};

fn hello() -> impl Strategy<Value = Hello> {
    (any::<[u8; 32]>(), any::<u32>(), "[ -~]{0,64}", proptest::option::of("[ -~]{1,256}")).prop_map(
        |(network, edition, agent, endpoint)| Hello {
            network: NetworkId::new(network),
            edition,
            agent,
            endpoint,
        },
    )
}

fn question() -> impl Strategy<Value = HelloQuestion> {
    prop_oneof![hello().prop_map(HelloQuestion::Hello), Just(HelloQuestion::Params)]
}

fn hello_answer() -> impl Strategy<Value = HelloAnswer> {
    prop_oneof![
        hello().prop_map(HelloAnswer::Welcome),
        (hello(), "[ -~]{0,256}")
            .prop_map(|(hello, reason)| HelloAnswer::Refused { hello, reason }),
        proptest::collection::vec(any::<u8>(), 0..2000).prop_map(HelloAnswer::Params),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    (any::<bool>(), any::<[u8; 32]>(), any::<u64>(), 0..=PIECE_LEN_MAX).prop_map(
        |(is_function, digest, offset, len)| {
            let digest = Digest::new(digest);
            let wanted = if is_function {
                Wanted::Function(FunctionId::from_digest(digest))
            } else {
                Wanted::Document(digest)
            };
            Ask { wanted, offset, len }
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..2000))
            .prop_map(|(total, bytes)| Answer::Piece(Piece { total, bytes })),
        Just(Answer::NotHere),
        Just(Answer::Busy),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(q in question(), h in hello_answer(), ask in ask(), answer in answer()) {
        prop_assert_eq!(HelloQuestion::decode(&q.encode()), Ok(q));
        prop_assert_eq!(HelloAnswer::decode(&h.encode()), Ok(h));
        prop_assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
        prop_assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn what_can_be_read_has_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = HelloQuestion::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
        }
        if let Ok(read) = HelloAnswer::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
        }
        if let Ok(read) = Ask::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
        }
        if let Ok(read) = Answer::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn one_changed_byte_is_an_error_or_another_message(
        q in question(), ask in ask(), at in any::<prop::sample::Index>(), with in 1..=255_u8,
    ) {
        let mut bytes = q.encode();
        let i = at.index(bytes.len());
        bytes[i] ^= with;
        if let Ok(read) = HelloQuestion::decode(&bytes) {
            prop_assert_ne!(&read, &q);
            prop_assert_eq!(read.encode(), bytes);
        }
        let mut bytes = ask.encode();
        let i = at.index(bytes.len());
        bytes[i] ^= with;
        if let Ok(read) = Ask::decode(&bytes) {
            prop_assert_ne!(read, ask);
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in_and_one_by_one(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
        let mut rest = stream.as_slice();
        for message in &messages {
            let (first, after) = split_frame(rest, 300).unwrap().unwrap();
            prop_assert_eq!(first, message.as_slice());
            rest = after;
        }
        prop_assert!(rest.is_empty());
        // A stream that was cut gives the frames before the cut, and waits.
        let mut rest = &stream[..cut.index(stream.len() + 1)];
        let mut whole = 0;
        while let Some((first, after)) = split_frame(rest, 300).unwrap() {
            prop_assert_eq!(first, messages[whole].as_slice());
            (whole, rest) = (whole + 1, after);
        }
        let next = messages.get(whole).map_or(1, |message| HEAD_LEN + message.len());
        prop_assert!(rest.len() < next);
    }

    #[test]
    fn a_length_above_the_bound_is_told_before_anything_is_read(found in any::<u32>(), max in any::<u32>()) {
        let head = found.to_le_bytes();
        let expected = if found > max { Err(FrameTooLong { found, max }) } else { Ok(found) };
        prop_assert_eq!(frame_len(head, max), expected);
        if found > max {
            prop_assert_eq!(split_frame(&head, max), Err(FrameTooLong { found, max }));
        }
    }
}
