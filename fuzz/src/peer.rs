//! A node's chain behind a peer that sends whatever it likes.
//!
//! Owns: one chain per input, with the network that a corpus is made for, and what must hold after any message and
//! any transaction. Absent: several nodes; those are the simulator's.

use std::sync::{Arc, LazyLock};

use talea_ledger::chain::message::Message;
use talea_ledger::chain::{Action, Chain, Event, Peer, Recovered, Submission};
use talea_ledger::pool::Bounds;
use talea_ledger::transaction::Transfer;
use talea_ledger::{
    Network, NetworkParams, Nonce, SecretKey, Slot, Tal, Transaction, UnixNanos, transaction,
};

/// A slot in which the one authority may author, some time after the start.
const NOW: Slot = Slot(50);

static NETWORK: LazyLock<Arc<Network>> = LazyLock::new(|| {
    let params = NetworkParams::development(&[payer().public()], author().public());
    Arc::new(Network::new(params).expect("a development network"))
});

fn author() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn payer() -> SecretKey {
    SecretKey::from_bytes(&[2; 32])
}

fn chain(key: SecretKey) -> Chain {
    let recovered = Recovered::genesis(&NETWORK);
    let opened =
        Chain::open(NETWORK.clone(), Box::new(key), Bounds::NODE, recovered, UnixNanos::ZERO);
    opened.expect("a chain at its genesis").0
}

/// What a peer sends, and what somebody hands in: the chain goes on, money is conserved, and a message that is read
/// is written the same.
pub fn peer(bytes: &[u8]) {
    // Not the authority's: what the peer sends is all that this chain hears of.
    let mut chain = chain(SecretKey::from_bytes(&[3; 32]));
    let now = NETWORK.slot_start(NOW);
    chain.handle(now, Event::Joined(Peer(1)));
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(message.encode(), bytes, "accepted bytes are not the message's encoding");
        chain.handle(now, Event::Message { from: Peer(1), message });
    }
    chain.handle(now, Event::Submit { submission: Submission(1), envelope: bytes.to_vec() });
    chain.handle(now, Event::Tick);
    chain.head_state().conserved().expect("money is conserved");
}

/// Messages and envelopes of a network that works: what its authority says while it makes blocks of transfers.
pub fn peer_corpus() -> Vec<Vec<u8>> {
    let mut author = chain(author());
    let mut corpus = Vec::new();
    author.handle(NETWORK.slot_start(Slot(1)), Event::Joined(Peer(1)));
    for number in 0..4 {
        let transfer = Transfer { to: self::author().public(), amount: Tal(5 + number) };
        let transaction = Transaction {
            action: transaction::Action::Transfer(transfer),
            network: NETWORK.id(),
            sender: payer().public(),
            nonce: Nonce(number),
            builds_on: None,
        };
        let envelope = transaction.seal(&payer()).encode();
        corpus.push(envelope.clone());
        let now = NETWORK.slot_start(Slot(2 + number));
        let event = Event::Submit { submission: Submission(number), envelope };
        let mut actions = author.handle(now, event);
        actions.extend(author.handle(now, Event::Tick));
        for action in actions {
            if let Action::Send { message, .. } | Action::Broadcast(message) = action {
                corpus.push(message.encode());
            }
        }
    }
    corpus
}
