//! Ledgers that hear each other, in one process: real threads, simulated disks, channels in the place of a network.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use talea_ledger::units::Nanos;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::SystemClock;

/// Short, so that a hundred blocks of one authority take seconds.
const SLOT: Nanos = Nanos(40_000_000);
/// Four nodes of an unoptimised build, on two cores that others use too, have to write, tell and count two votes of
/// each in a slot.
const SLOT_OF_MANY: Nanos = Nanos(200_000_000);

/// What comes out of a cable's end.
#[derive(Debug)]
enum Word {
    Joined(PublicKey),
    Left(PublicKey),
    Sent(PublicKey, Vec<u8>),
    News(PublicKey, News, Vec<u8>),
}

/// One node's end of its cables.
#[derive(Debug)]
struct Cable {
    me: PublicKey,
    ends: Mutex<HashMap<PublicKey, mpsc::Sender<Word>>>,
    blamed: Mutex<Vec<&'static str>>,
}

impl Cable {
    fn say(&self, to: &PublicKey, word: Word) {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = ends.get(to) {
            // A full cable loses words, as a network does.
            let _ = end.try_send(word);
        }
    }

    fn spread(&self, but: Option<PublicKey>, news: News, message: &[u8]) {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, end) in ends.iter().filter(|(key, _)| Some(**key) != but) {
            let _ = end.try_send(Word::News(self.me, news, message.to_vec()));
        }
    }
}

impl Line for Cable {
    fn send(&self, to: &PublicKey, message: Vec<u8>) {
        self.say(to, Word::Sent(self.me, message));
    }

    fn publish(&self, news: News, message: Vec<u8>) {
        self.spread(None, news, &message);
    }

    fn blame(&self, _: &PublicKey, code: &'static str) {
        self.blamed.lock().unwrap_or_else(PoisonError::into_inner).push(code);
    }
}

struct Station {
    ledger: Ledger,
    cable: Arc<Cable>,
    end: mpsc::Sender<Word>,
    pump: JoinHandle<()>,
}

fn fast_network() -> Arc<Network> {
    network_of(&[host()])
}

fn network_of(authorities: &[SecretKey]) -> Arc<Network> {
    let mut params = development(host().public());
    params.slot_len = if authorities.len() > 1 { SLOT_OF_MANY } else { SLOT };
    let authorities: Vec<PublicKey> = authorities.iter().map(SecretKey::public).collect();
    params.authorities = authorities.try_into().unwrap();
    Arc::new(Network::new(params).unwrap())
}

/// Starts a node; news that its ledger accepts goes on to its other peers.
fn start(disk: &SimulatedDisk, key: SecretKey) -> Station {
    start_in(fast_network(), disk, key)
}

fn start_in(network: Arc<Network>, disk: &SimulatedDisk, key: SecretKey) -> Station {
    let (ends, blamed) = (Mutex::default(), Mutex::default());
    let cable = Arc::new(Cable { me: key.public(), ends, blamed });
    let ledger = Ledger::open(LedgerOptions {
        disk: Arc::new(disk.clone()),
        segment_len: SEGMENT,
        notary: Notary::new(key, network.id()),
        network,
        clock: Arc::new(SystemClock::default()),
        line: cable.clone(),
    })
    .unwrap();
    let (end, mut words) = mpsc::channel(1024);
    let mut wire = ledger.wire();
    let onward = cable.clone();
    let pump = tokio::spawn(async move {
        while let Some(word) = words.recv().await {
            match word {
                Word::Joined(peer) => wire.joined(peer).await,
                Word::Left(peer) => wire.left(peer).await,
                Word::Sent(from, bytes) => wire.sent(from, &bytes).await,
                Word::News(from, news, bytes) => {
                    let (onward, kept) = (onward.clone(), bytes.clone());
                    let judge = Judge::new(move |verdict| {
                        if verdict == Verdict::Accept {
                            onward.spread(Some(from), news, &kept);
                        }
                    });
                    wire.passed_on(from, news, &bytes, judge).await;
                }
            }
        }
    });
    Station { ledger, cable, end, pump }
}

impl Station {
    async fn connect(&self, other: &Self) {
        for (one, two) in [(self, other), (other, self)] {
            let mut ends = one.cable.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.insert(two.cable.me, two.end.clone());
        }
        for (one, two) in [(self, other), (other, self)] {
            one.end.send(Word::Joined(two.cable.me)).await.unwrap();
        }
    }

    async fn disconnect(&self, other: &Self) {
        for (one, two) in [(self, other), (other, self)] {
            one.cable.ends.lock().unwrap_or_else(PoisonError::into_inner).remove(&two.cable.me);
            one.end.send(Word::Left(two.cable.me)).await.unwrap();
        }
    }

    fn reader(&self) -> Reader {
        self.ledger.reader()
    }

    async fn submit(&self, nonce: u64) -> TransactionId {
        self.ledger.mailbox().submit(fast_transfer(nonce).1).await.unwrap()
    }

    fn blamed(&self) -> Vec<&'static str> {
        self.cable.blamed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends without a word; what is on the disk stays.
    fn kill(self) {
        self.pump.abort();
    }
}

fn fast_transfer(nonce: u64) -> (TransactionId, Vec<u8>) {
    transfer_in(&fast_network(), nonce)
}

fn transfer_in(network: &Network, nonce: u64) -> (TransactionId, Vec<u8>) {
    let key = development_key();
    let transaction = Transaction {
        action: Action::Transfer(Transfer { to: friend(), amount: Tal(1_000 + nonce) }),
        network: network.id(),
        sender: key.public(),
        nonce: Nonce(nonce),
        builds_on: None,
    };
    (transaction.id(), transaction.seal(&key).encode())
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

/// Waits until a node has the same final state as another.
async fn level(one: &Reader, other: &Reader) {
    let (mut ones, mut others) = (one.changes(), other.changes());
    loop {
        ones.borrow_and_update();
        others.borrow_and_update();
        let (here, there) = (one.view(), other.view());
        if here.finalised.tip().id == there.finalised.tip().id {
            assert_eq!(here.finalised.root(), there.finalised.root());
            return;
        }
        tokio::select! {
            changed = ones.changed() => changed.unwrap(),
            changed = others.changed() => changed.unwrap(),
        }
    }
}

#[test]
fn what_is_handed_in_at_one_node_is_final_at_all() {
    run_timed(async {
        let (a, b, c) = (
            start(&SimulatedDisk::new(), host()),
            start(&SimulatedDisk::new(), key(21)),
            start(&SimulatedDisk::new(), key(22)),
        );
        // A line: C hears of everything through B alone.
        a.connect(&b).await;
        b.connect(&c).await;
        for (nonce, station) in [&a, &b, &c, &c, &a].into_iter().enumerate() {
            let id = station.submit(nonce as u64).await;
            for station in [&a, &b, &c] {
                settled(&station.reader(), &id).await;
            }
        }
        for station in [&a, &b, &c] {
            let view = station.reader().view();
            assert_eq!(view.finalised.account(&friend()).balance, given(5));
            view.finalised.conserved().unwrap();
            assert!(station.reader().is_in_step());
            assert_eq!(station.blamed(), [""; 0]);
        }
        assert_eq!(b.reader().told().len(), 2);
        for station in [a, b, c] {
            station.ledger.close().await.unwrap();
        }
    });
}

#[test]
fn four_authorities_agree_and_three_of_them_go_on() {
    run_timed(async {
        let keys = || (1..=4).map(|seed| key(40 + seed)).collect::<Vec<_>>();
        let network = network_of(&keys());
        let disks: Vec<SimulatedDisk> = (0..4).map(|_| SimulatedDisk::new()).collect();
        let open = |n: usize, disk| start_in(Arc::clone(&network), disk, keys().remove(n));
        let mut stations: Vec<Station> = (0..4).map(|n| open(n, &disks[n])).collect();
        for one in 0..4 {
            for other in one + 1..4 {
                stations[one].connect(&stations[other]).await;
            }
        }
        let submit = async |station: &Station, nonce| {
            let (id, envelope) = transfer_in(&network, nonce);
            station.ledger.mailbox().submit(envelope).await.unwrap();
            id
        };
        for nonce in 0..8 {
            let id = submit(&stations[nonce as usize % 4], nonce).await;
            for station in &stations {
                settled(&station.reader(), &id).await;
            }
        }
        // One is gone without a word, and with it a quarter of the slots and votes.
        let gone = stations.remove(3);
        for station in &stations {
            station.disconnect(&gone).await;
        }
        gone.kill();
        for nonce in 8..12 {
            let id = submit(&stations[0], nonce).await;
            for station in &stations {
                settled(&station.reader(), &id).await;
            }
        }
        let back = open(3, &disks[3].after_kill());
        for station in &stations {
            back.connect(station).await;
        }
        let id = submit(&back, 12).await;
        stations.push(back);
        // All of them first: two that are left cannot finalise for a third that is behind.
        for station in &stations {
            settled(&station.reader(), &id).await;
        }
        for station in stations {
            assert_eq!(station.reader().view().finalised.account(&friend()).balance, given(13));
            assert_eq!(station.blamed(), [""; 0]);
            station.ledger.close().await.unwrap();
        }
    });
}

#[test]
fn a_late_node_syncs_from_the_store_and_again_after_a_kill() {
    run_timed(async {
        let a = start(&SimulatedDisk::new(), host());
        // More than anybody keeps in memory.
        let count = 90;
        for nonce in 0..count {
            let id = a.submit(nonce).await;
            settled(&a.reader(), &id).await;
        }
        assert!(a.reader().view().finalised_height() >= Height(80));
        let disk = SimulatedDisk::new();
        let b = start(&disk, key(21));
        assert!(!b.reader().is_in_step());
        b.connect(&a).await;
        level(&b.reader(), &a.reader()).await;
        assert!(b.reader().is_in_step());
        a.disconnect(&b).await;
        b.kill();
        for nonce in count..count + 80 {
            let id = a.submit(nonce).await;
            settled(&a.reader(), &id).await;
        }
        let b = start(&disk.after_kill(), key(21));
        assert!(b.reader().view().finalised_height() >= Height(80), "what was synced is there");
        b.connect(&a).await;
        level(&b.reader(), &a.reader()).await;
        assert_eq!(b.reader().view().finalised.account(&friend()).balance, given(count + 80));
        assert_eq!((a.blamed(), b.blamed()), (vec![], vec![]));
        b.ledger.close().await.unwrap();
        a.ledger.close().await.unwrap();
    });
}

#[test]
fn what_cannot_stand_is_held_against_who_said_it() {
    run_timed(async {
        let a = start(&SimulatedDisk::new(), host());
        let mut wire = a.ledger.wire();
        let (tell, mut told) = mpsc::channel(8);
        let judge = || {
            let tell = tell.clone();
            Judge::new(move |verdict| tell.try_send(verdict).unwrap())
        };
        let peer = key(30).public();
        let message = |envelope: &[u8]| {
            let envelope = talea_ledger::codec::Blob::try_from(envelope).unwrap();
            talea_ledger::chain::message::Message::Transaction(envelope).encode()
        };
        let good = message(&fast_transfer(0).1);
        // Before it has joined nobody listens.
        wire.passed_on(peer, News::Transaction, &good, judge()).await;
        assert_eq!(told.recv().await, Some(Verdict::Ignore));
        wire.joined(peer).await;
        wire.passed_on(peer, News::Block, &good, judge()).await;
        assert_eq!(told.recv().await, Some(Verdict::Reject));
        wire.passed_on(peer, News::Transaction, b"no message", judge()).await;
        assert_eq!(told.recv().await, Some(Verdict::Reject));
        let mut forged = fast_transfer(0).1;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        wire.passed_on(peer, News::Transaction, &message(&forged), judge()).await;
        assert_eq!(told.recv().await, Some(Verdict::Reject));
        assert_eq!(a.blamed().len(), 3, "{:?}", a.blamed());
        wire.passed_on(peer, News::Transaction, &good, judge()).await;
        assert_eq!(told.recv().await, Some(Verdict::Accept));
        settled(&a.reader(), &fast_transfer(0).0).await;
        // Its nonce is used now: of no use to anybody, and nobody's fault.
        wire.passed_on(peer, News::Transaction, &good, judge()).await;
        assert_eq!(told.recv().await, Some(Verdict::Ignore));
        assert_eq!(a.blamed().len(), 3);
        a.ledger.close().await.unwrap();
    });
}

fn run_timed(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(120), future).await;
        ended.expect("nothing hangs");
    });
}
