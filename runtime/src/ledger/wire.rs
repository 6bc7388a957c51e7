//! The door of what peers say: decoded and checked as far as it can be without the chain, bounded for each peer.
//!
//! One task owns the [`Wire`] and hands in what comes. Reading bytes and checking the signatures of a transaction
//! happen there, not on the ledger's thread.
//!
//! # Invariants
//! What peers say waits in a queue of its own and never takes the place of a transaction that is handed in here. When
//! too much of it waits, in number or bytes, the task waits, and with it the connections: whoever has them sees to it
//! that one peer's words do not fill the way for the others.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use talea_ledger::chain::message::{MESSAGE_LEN_MAX, Message};
use talea_ledger::{Document as _, NetworkId, PublicKey, Sealed, Transaction, VerifiedTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::line::{Judge, Line, News, Verdict};
use super::mailbox::Event;
use super::reader::Reader;

/// Messages that wait for the thread: two turns of it.
pub(super) const SAID_MAX: usize = 256;
/// Their bytes: sixteen of the longest messages.
const SAID_BYTES_MAX: usize = 16 * MESSAGE_LEN_MAX;

/// What the ledger's thread hears of peers.
#[derive(Debug)]
pub(super) enum Said {
    Joined(PublicKey),
    Left(PublicKey),
    Message {
        from: PublicKey,
        message: Box<Message>,
        judge: Option<Judge>,
        room: Room,
    },
    Transaction {
        from: PublicKey,
        transaction: Box<VerifiedTransaction>,
        judge: Option<Judge>,
        room: Room,
    },
}

/// The bytes that a message takes of those that may wait.
pub(super) type Room = OwnedSemaphorePermit;

/// Where one task hands in what peers say.
#[derive(Debug)]
pub struct Wire {
    pub(super) said: mpsc::Sender<Said>,
    pub(super) bell: Bell,
    pub(super) network: NetworkId,
    pub(super) line: Arc<dyn Line>,
    /// Says what senders of transactions have.
    reader: Option<Reader>,
    room: Arc<Semaphore>,
    peers: HashSet<PublicKey>,
}

/// Wakes the ledger's thread: once for all that came since it looked last.
#[derive(Debug, Clone)]
pub(super) struct Bell {
    pub(super) events: SyncSender<Event>,
    pub(super) has_rung: Arc<AtomicBool>,
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(
        said: mpsc::Sender<Said>,
        bell: Bell,
        network: NetworkId,
        line: Arc<dyn Line>,
        reader: Option<Reader>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(SAID_BYTES_MAX));
        Self { said, bell, network, line, reader, room, peers: HashSet::new() }
    }

    /// The network whose peers speak here.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// A peer of this network is connected.
    pub async fn joined(&mut self, peer: PublicKey) {
        self.peers.insert(peer);
        self.hand_in(Said::Joined(peer)).await;
    }

    /// It is gone, with all its connections.
    pub async fn left(&mut self, peer: PublicKey) {
        self.peers.remove(&peer);
        self.hand_in(Said::Left(peer)).await;
    }

    /// A peer sent a message of the chain to this node alone. One that is malformed, or whose signature does not
    /// hold, is held against it at once.
    pub async fn sent(&mut self, from: PublicKey, bytes: &[u8]) {
        self.take(from, bytes, None).await;
    }

    /// A peer passed on what was published; `judge` hears what is to become of it.
    pub async fn passed_on(&mut self, from: PublicKey, news: News, bytes: &[u8], judge: Judge) {
        self.take(from, bytes, Some((news, judge))).await;
    }

    async fn take(&mut self, from: PublicKey, bytes: &[u8], news: Option<(News, Judge)>) {
        // Said by somebody who has left, or has not joined: dropped, and its judge ignores it.
        if !self.peers.contains(&from) {
            return;
        }
        let len = u32::try_from(bytes.len().min(SAID_BYTES_MAX)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(len).await else { return };
        let (news, judge) = news.map_or((None, None), |(news, judge)| (Some(news), Some(judge)));
        match read(bytes, news, &self.network, self.reader.as_ref()) {
            // Its judge ignores it: the peer may see money that this node does not see yet.
            Ok(Read::Unpayable) => {}
            Ok(Read::Transaction(transaction)) => {
                self.hand_in(Said::Transaction { from, transaction, judge, room }).await;
            }
            Ok(Read::Message(message)) => {
                self.hand_in(Said::Message { from, message, judge, room }).await;
            }
            Err(code) => {
                self.line.blame(&from, code);
                if let Some(judge) = judge {
                    judge.say(Verdict::Reject);
                }
            }
        }
    }

    async fn hand_in(&self, said: Said) {
        // The thread has ended when nobody hears this; whoever waits for it learns that elsewhere.
        if self.said.send(said).await.is_ok() {
            self.bell.ring();
        }
    }
}

/// What a message is, once it is read.
enum Read {
    Message(Box<Message>),
    Transaction(Box<VerifiedTransaction>),
    /// A transaction whose sender cannot pay its fee at the head: its signatures are not looked at.
    Unpayable,
}

fn read(
    bytes: &[u8],
    news: Option<News>,
    network: &NetworkId,
    reader: Option<&Reader>,
) -> Result<Read, &'static str> {
    let message = Message::decode(bytes).map_err(|_| "malformed")?;
    let belongs = match (news, &message) {
        (None, _)
        | (Some(News::Transaction), Message::Transaction(_))
        | (Some(News::Block), Message::Block(_) | Message::Announce(_) | Message::Commit(_))
        | (Some(News::Vote), Message::Vote(_)) => true,
        (Some(_), _) => false,
    };
    if !belongs {
        return Err("wrong-topic");
    }
    match message {
        Message::Transaction(envelope) if !can_pay(&envelope, reader) => Ok(Read::Unpayable),
        Message::Transaction(envelope) => VerifiedTransaction::decode(&envelope, network)
            .map(|transaction| Read::Transaction(Box::new(transaction)))
            .map_err(|error| error.code()),
        message => Ok(Read::Message(Box::new(message))),
    }
}

/// Whether the sender that a transaction names has its fee, or gets it by the transaction itself. What cannot be read is for the verifier, which names the
/// fault.
fn can_pay(envelope: &[u8], reader: Option<&Reader>) -> bool {
    let Some(reader) = reader else { return true };
    let Ok(sealed) = Sealed::decode(envelope) else { return true };
    let Ok(transaction) = Transaction::decode(sealed.payload()) else { return true };
    let view = reader.view();
    let balance = view.head.account(&transaction.sender).balance;
    let fee = view.network.fee(sealed.payload().len());
    balance >= fee || balance.saturating_add(view.head.income(&transaction)) >= fee
}

// === impl Bell ===

impl Bell {
    fn ring(&self) {
        // Sequentially consistent with the thread, which unsets it before it looks: what was put there before a ring
        // that is not needed is seen by the look that follows.
        if !self.has_rung.swap(true, Ordering::SeqCst) {
            // A full queue keeps the thread awake by itself.
            let _ = self.events.try_send(Event::Bell);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use talea_ledger::SecretKey;
    use talea_ledger::codec::List;

    use super::*;
    use crate::ledger::Nobody;

    #[tokio::test]
    async fn many_words_ring_once_and_too_many_wait() {
        let (events, rings) = sync_channel(4);
        let (said, mut heard) = mpsc::channel(SAID_MAX);
        let bell = Bell { events, has_rung: Arc::default() };
        let mut wire = Wire::new(said, bell, NetworkId::DEVELOPMENT, Arc::new(Nobody), None);
        let peer = SecretKey::from_bytes(&[1; 32]).public();
        wire.joined(peer).await;
        let message = Message::GetBlocks(List::try_from(vec![]).unwrap()).encode();
        for _ in 1..SAID_MAX {
            wire.sent(peer, &message).await;
        }
        assert_eq!(rings.try_iter().count(), 1);
        {
            let mut surplus = std::pin::pin!(wire.sent(peer, &message));
            tokio::select! {
                biased;
                () = &mut surplus => panic!("the queue has no bound"),
                () = std::future::ready(()) => {}
            }
            assert!(matches!(heard.try_recv(), Ok(Said::Joined(_))));
            surplus.await;
        }
        let mut count = 0;
        while heard.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, SAID_MAX);
    }
}
