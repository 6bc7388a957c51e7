//! What peers write on their streams, before anything of it is believed.
//!
//! Owns: frames, hellos and questions for pieces, each with its one form. Absent: the messages in the frames; those
//! are the target of a peer.

use talea_gossip::{Answer, Ask, HEAD_LEN, HelloAnswer, HelloQuestion, frame, split_frame};
use talea_ledger::{Digest, FunctionId, NetworkId};

/// Longest frame that the target takes: short, so that mutated lengths fall on both sides of it.
const FRAME_LEN_MAX: u32 = 512;

/// Any bytes as a stream of frames, and each frame as every message: what is read is written the same.
pub fn wire(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((one, after))) = split_frame(rest, FRAME_LEN_MAX) {
        assert_eq!(frame(one), rest[..HEAD_LEN + one.len()], "a frame has one form");
        message(one);
        rest = after;
    }
    message(bytes);
}

fn message(bytes: &[u8]) {
    if let Ok(read) = HelloQuestion::decode(bytes) {
        assert_eq!(read.encode(), bytes);
    }
    if let Ok(read) = HelloAnswer::decode(bytes) {
        assert_eq!(read.encode(), bytes);
    }
    if let Ok(read) = Ask::decode(bytes) {
        assert_eq!(read.encode(), bytes);
    }
    if let Ok(read) = Answer::decode(bytes) {
        assert_eq!(read.encode(), bytes);
    }
}

/// One of each, alone and in frames.
pub fn wire_corpus() -> Vec<Vec<u8>> {
    let hello = talea_gossip::Hello {
        network: NetworkId::DEVELOPMENT,
        edition: talea_gossip::EDITION,
        agent: "talea/0.1.0".to_owned(),
        endpoint: Some("http://127.0.0.1:7401".to_owned()),
    };
    let (function, digest) = (FunctionId::of(b"f"), Digest::of(b"d"));
    let piece = talea_gossip::Piece { total: 1000, bytes: vec![5; 100] };
    let ask = |wanted| Ask { wanted, offset: 70_000, len: talea_gossip::PIECE_LEN_MAX };
    let messages = [
        HelloQuestion::Hello(hello.clone()).encode(),
        HelloQuestion::Params.encode(),
        HelloAnswer::Welcome(hello.clone()).encode(),
        HelloAnswer::Refused { hello, reason: "of another network".to_owned() }.encode(),
        HelloAnswer::Params(vec![0xa0; 64]).encode(),
        ask(talea_gossip::Wanted::Function(function)).encode(),
        ask(talea_gossip::Wanted::Document(digest)).encode(),
        Answer::Piece(piece).encode(),
        Answer::NotHere.encode(),
        Answer::Busy.encode(),
    ];
    let all: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
    messages.iter().map(|message| frame(message)).chain(messages.clone()).chain([all]).collect()
}
