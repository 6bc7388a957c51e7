//! The network of Talea: nodes find each other, tell each other about the chain, gossip and fetch by hash.
//!
//! Owns: everything between two nodes, over libp2p, whose only user this crate is. Peers, the hello that tells
//! networks apart, gossip topics with their scores, chain messages, provider records, fetching, rates and bans.
//!
//! Invariants: a peer's name is its host key; nothing of a peer is delivered before its hello was found to be of this
//! network and edition; every queue has a bound, and a peer that floods or does not read costs itself only; the
//! swarm's task never waits for the node; nothing is passed on before the node has judged it.
//!
//! Deliberately absent: what messages mean. Bytes go in and out; documents are checked by who knows them.

mod address;
mod behaviour;
mod crowd;
mod fetch;
mod frame;
mod handle;
mod hello;
mod inbox;
mod join;
mod key;
mod lane;
mod options;
mod peers;
mod rates;
mod score;
mod task;
mod topics;
mod view;

pub use fetch::{Answer, Ask, FetchError, NotHere, PIECE_LEN_MAX, Piece, Wanted, fetch_checked};
pub use frame::{FrameAndRest, FrameTooLong, HEAD_LEN, frame, frame_len, split_frame};
pub use handle::{Gossip, Overloaded, Verdict};
pub use hello::{Answer as HelloAnswer, EDITION, Hello, Question as HelloQuestion};
pub use inbox::{Inbox, Incoming, PEER_WAITING_MAX};
pub use join::{JoinError, ask_params};
pub use key::peer_name;
pub use libp2p::Multiaddr;
pub use options::{Limits, Nat, Options, StartError};
pub use rates::Rate;
pub use task::start;
pub use topics::{GOSSIP_LEN_MAX, GossipId, Topic};
pub use view::{Counters, Direction, PeerView, TopicCounters, Traffic};
