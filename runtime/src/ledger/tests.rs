//! The whole ledger of a node on a simulated disk: transactions through the mailbox, power cuts, rebuilds.

mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use talea_ledger::transaction::Transfer;
use talea_ledger::{
    Action, Height, Network, Nonce, PublicKey, SecretKey, State, Tal, Transaction, TransactionId,
    UnixNanos,
};

use super::*;
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Dice, Faults, SimulatedDisk};

/// Small, so that a short history fills several segments.
const SEGMENT: u64 = 8 * 1024;
/// A day after the development network's start.
const START: u64 = 1_767_225_600_000_000_000 + 86_400_000_000_000;

/// Every look at it is a slot later.
#[derive(Debug)]
struct Slots(AtomicU64);

impl Clock for Slots {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.fetch_add(250_000_000, Ordering::Relaxed))
    }
}

fn host() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn friend() -> PublicKey {
    SecretKey::from_bytes(&[2; 32]).public()
}

fn network() -> Arc<Network> {
    Arc::new(Network::new(development(host().public())).unwrap())
}

fn open_at(disk: &SimulatedDisk, start: u64) -> Result<Ledger, LedgerError> {
    open_with(disk, Arc::new(Slots(AtomicU64::new(start))))
}

fn open_with(disk: &SimulatedDisk, clock: Arc<dyn Clock>) -> Result<Ledger, LedgerError> {
    let network = network();
    Ledger::open(LedgerOptions {
        disk: Arc::new(disk.clone()),
        segment_len: SEGMENT,
        notary: Notary::new(host(), network.id()),
        network,
        clock,
        line: Arc::new(Nobody),
    })
}

/// A clock that stands: no further slot begins, so what comes after the first block waits.
#[derive(Debug)]
struct Standing(u64);

impl Clock for Standing {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0)
    }
}

fn open(disk: &SimulatedDisk) -> Ledger {
    open_at(disk, START).unwrap()
}

/// The development key's transfer number `nonce`.
fn transfer(nonce: u64) -> (TransactionId, Vec<u8>) {
    let key = development_key();
    let transaction = Transaction {
        action: Action::Transfer(Transfer { to: friend(), amount: Tal(1_000 + nonce) }),
        network: network().id(),
        sender: key.public(),
        nonce: Nonce(nonce),
        builds_on: None,
    };
    (transaction.id(), transaction.seal(&key).encode())
}

fn given(count: u64) -> Tal {
    Tal((0..count).map(|nonce| 1_000 + nonce).sum())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(future)
}

/// Waits until a transaction is in a finalised block.
async fn settled(reader: &Reader, id: &TransactionId) -> (Height, u32) {
    let mut changes = reader.changes();
    loop {
        changes.borrow_and_update();
        if let Some(Status::Included { height, index, is_final: true, .. }) =
            reader.transaction(id).unwrap()
        {
            return (height, index);
        }
        changes.changed().await.unwrap();
    }
}

#[test]
fn a_transfer_is_accepted_included_and_final() {
    let disk = SimulatedDisk::new();
    let ledger = open(&disk);
    let reader = ledger.reader();
    assert_eq!(reader.view().height(), Height::ZERO);
    run(async {
        let (id, envelope) = transfer(0);
        assert_eq!(reader.transaction(&id).unwrap(), None);
        assert_eq!(ledger.mailbox().submit(envelope.clone()).await.unwrap(), id);
        let (height, index) = settled(&reader, &id).await;
        assert_eq!((height, index), (Height(1), 0));
        // The same again has no effect.
        assert_eq!(ledger.mailbox().submit(envelope).await, Err(refused("nonce-used")));
        let view = reader.view();
        assert_eq!(view.finalised.account(&friend()).balance, Tal(1_000));
        assert_eq!((view.lag(), view.pending), (0, 0));
        view.finalised.conserved().unwrap();
        let block = reader.block_at(height).unwrap().unwrap();
        assert!(block.is_final);
        assert_eq!(block.header.state, view.finalised.root());
        assert_eq!(reader.verified(&block).unwrap().transactions()[0].id(), id);
        assert_eq!(reader.blocks(Height::ZERO, 10).unwrap().len(), 1);
        ledger.close().await.unwrap();
    });
}

#[test]
fn a_transaction_is_not_called_final_before_the_view_has_its_effect() {
    let ledger = open(&SimulatedDisk::new());
    let reader = ledger.reader();
    let earlier = reader.view();
    run(async {
        let (id, envelope) = transfer(0);
        ledger.mailbox().submit(envelope).await.unwrap();
        settled(&reader, &id).await;
        ledger.close().await.unwrap();
        let is_final = || match reader.transaction(&id).unwrap() {
            Some(Status::Included { is_final, .. }) => is_final,
            other => panic!("{other:?}"),
        };
        assert!(is_final());
        // The moment between the disk and the view.
        *reader.shared.view.write().unwrap() = earlier;
        assert!(!is_final());
    });
}

fn refused(code: &str) -> SubmitError {
    SubmitError::Refused(Refusal::new(code))
}

#[test]
fn what_cannot_stand_is_refused_with_its_code() {
    let ledger = open(&SimulatedDisk::new());
    run(async {
        let mailbox = ledger.mailbox();
        let submit = |envelope| mailbox.submit(envelope);
        assert_eq!(submit(Vec::new()).await, Err(refused("malformed")));
        let (_, mut forged) = transfer(0);
        let last = forged.len() - 100;
        forged[last] ^= 1;
        assert!(matches!(submit(forged).await, Err(SubmitError::Refused(_))));
        let poor = SecretKey::from_bytes(&[9; 32]);
        let transaction = Transaction {
            action: Action::Transfer(Transfer { to: friend(), amount: Tal(1) }),
            network: network().id(),
            sender: poor.public(),
            nonce: Nonce(0),
            builds_on: None,
        };
        assert_eq!(submit(transaction.seal(&poor).encode()).await, Err(refused("cannot-pay")));
        ledger.close().await.unwrap();
    });
}

#[test]
fn after_a_kill_everything_accepted_is_there_and_a_rebuild_gives_the_same_root() {
    let disk = SimulatedDisk::new();
    let ledger = open(&disk);
    let reader = ledger.reader();
    let count = 40;
    let ids: Vec<TransactionId> = run(async {
        let mut ids = Vec::new();
        for nonce in 0..count {
            ids.push(ledger.mailbox().submit(transfer(nonce).1).await.unwrap());
        }
        settled(&reader, &ids[count as usize - 1]).await;
        ids
    });
    let (root, height) = (reader.view().finalised.root(), reader.view().finalised_height());
    // The process is gone without a word; the disk is as it was.
    let killed = disk.after_kill();
    let again = open_at(&killed, START + 3_600_000_000_000).unwrap();
    let reader = again.reader();
    assert_eq!((reader.view().finalised.root(), reader.view().finalised_height()), (root, height));
    for id in &ids {
        let status = reader.transaction(id).unwrap();
        assert!(matches!(status, Some(Status::Included { is_final: true, .. })), "{status:?}");
    }
    run(async {
        let (id, envelope) = transfer(count);
        again.mailbox().submit(envelope).await.unwrap();
        settled(&reader, &id).await;
        again.close().await.unwrap();
    });
    let view = reader.view();
    assert_eq!(view.finalised.account(&friend()).balance, given(count + 1));

    let disk: Arc<dyn Disk> = Arc::new(killed.clone());
    let rebuilt = rebuild(&disk, &network(), host().public()).unwrap();
    assert_eq!((rebuilt.root, rebuilt.height), (view.finalised.root(), view.finalised_height()));
    assert_eq!(rebuilt.records, view.finalised.len());
    let reader = open(&killed).reader();
    for (nonce, id) in (0..).zip(&ids) {
        let Some(Status::Included { height, .. }) = reader.transaction(id).unwrap() else {
            panic!("transfer {nonce} is gone")
        };
        assert!(reader.block_at(height).unwrap().is_some());
    }
}

#[test]
fn what_is_pending_outlives_the_process() {
    let disk = SimulatedDisk::new();
    let ledger = open_with(&disk, Arc::new(Standing(START))).unwrap();
    let ids: Vec<TransactionId> = run(async {
        let mut ids = Vec::new();
        for nonce in 0..4 {
            ids.push(ledger.mailbox().submit(transfer(nonce).1).await.unwrap());
        }
        ids
    });
    let reader = ledger.reader();
    assert!(matches!(reader.transaction(&ids[0]).unwrap(), Some(Status::Included { .. })));
    let is_pending = |reader: &Reader| {
        ids[1..].iter().all(|id| reader.transaction(id).unwrap() == Some(Status::Pending))
    };
    assert!(is_pending(&reader));
    assert_eq!(reader.view().pending, 3);
    let sender = development_key().public();
    assert_eq!(
        (reader.view().head.account(&sender).nonce, reader.next_nonce(&sender)),
        (Nonce(1), Nonce(4))
    );
    // Killed, and killed again before any slot begins.
    let once = disk.after_kill();
    let again = open_with(&once, Arc::new(Standing(START))).unwrap();
    assert!(is_pending(&again.reader()));
    assert_eq!(again.reader().next_nonce(&sender), Nonce(4));
    // Without a database they come from the log.
    let rebuilt = once.after_kill();
    let disk: Arc<dyn Disk> = Arc::new(rebuilt.clone());
    rebuild(&disk, &network(), host().public()).unwrap();
    let later = open_at(&rebuilt, START + 60_000_000_000).unwrap();
    run(async {
        for id in &ids {
            settled(&later.reader(), id).await;
        }
        later.close().await.unwrap();
    });
    assert_eq!(later_balance(&rebuilt), given(4));
}

fn later_balance(disk: &SimulatedDisk) -> Tal {
    open_at(disk, START + 120_000_000_000)
        .unwrap()
        .reader()
        .view()
        .finalised
        .account(&friend())
        .balance
}

/// What was accepted before a power cut is there afterwards: in a block, or pending, and then in a block.
#[test]
fn a_power_cut_at_any_step_loses_no_accepted_transaction() {
    // The first opening takes some dozen steps; from there on every few steps are a transaction.
    for cut_at in (0..260).step_by(7) {
        let disk = SimulatedDisk::new();
        disk.set_faults(Faults { cut_at: Some(cut_at), ..Faults::default() });
        let mut accepted = 0;
        if let Ok(ledger) = open_at(&disk, START) {
            run(async {
                while accepted < 12 && ledger.mailbox().submit(transfer(accepted).1).await.is_ok() {
                    accepted += 1;
                }
                // After a failed write nothing is taken.
                if accepted < 12 {
                    let refused = ledger.mailbox().submit(transfer(accepted).1).await;
                    assert!(matches!(refused, Err(SubmitError::Latched(_))), "{refused:?}");
                }
                let _ = ledger.close().await;
            });
        }
        let after = disk.after_cut(&mut Dice(cut_at));
        let ledger = match open_at(&after, START + 60_000_000_000) {
            Ok(ledger) => ledger,
            Err(error) => panic!("cut at {cut_at}, {accepted} accepted: {error}"),
        };
        let reader = ledger.reader();
        run(async {
            for nonce in 0..accepted {
                settled(&reader, &transfer(nonce).0).await;
            }
            ledger.close().await.unwrap();
        });
        assert!(reader.view().finalised.account(&friend()).balance >= given(accepted));
        let disk: Arc<dyn Disk> = Arc::new(after);
        let rebuilt = rebuild(&disk, &network(), host().public()).unwrap();
        assert_eq!(rebuilt.root, reader.view().finalised.root(), "cut at {cut_at}");
    }
}

/// A disk with so many blocks of one transfer each, over several segments.
fn history(count: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let ledger = open(&disk);
    run(async {
        for nonce in 0..count {
            ledger.mailbox().submit(transfer(nonce).1).await.unwrap();
            settled(&ledger.reader(), &transfer(nonce).0).await;
        }
        ledger.close().await.unwrap();
    });
    disk.after_kill()
}

fn log_len(disk: &SimulatedDisk) -> usize {
    let names = disk.list(FOLDER).unwrap();
    let logs = names.iter().filter(|name| name.ends_with(".log"));
    logs.map(|name| disk.bytes(&format!("{FOLDER}/{name}")).len()).sum()
}

/// Every transfer is in a finalised block that can be read and verified, and a rebuild comes to the same root.
fn is_whole(disk: &SimulatedDisk, count: u64) {
    let ledger = open_at(disk, START + 600_000_000_000).unwrap();
    let reader = ledger.reader();
    for nonce in 0..count {
        let status = reader.transaction(&transfer(nonce).0).unwrap();
        let Some(Status::Included { height, index, is_final: true, .. }) = status else {
            panic!("transfer {nonce}: {status:?}")
        };
        let block = reader.verified(&reader.block_at(height).unwrap().unwrap()).unwrap();
        assert_eq!(block.transactions()[index as usize].id(), transfer(nonce).0);
    }
    let view = reader.view();
    assert_eq!(view.finalised.account(&friend()).balance, given(count));
    run(async { ledger.close().await.unwrap() });
    drop(reader);
    let rebuilt: Arc<dyn Disk> = Arc::new(disk.after_kill());
    let rebuilt = rebuild(&rebuilt, &network(), host().public()).unwrap();
    assert_eq!((rebuilt.root, rebuilt.height), (view.finalised.root(), view.finalised_height()));
}

#[test]
fn a_pruned_log_is_shorter_and_makes_the_same_ledger_again() {
    let count = 24;
    let disk = history(count);
    let before = log_len(&disk);
    assert!(before > 4 * SEGMENT as usize, "{before}");
    // The open prunes what is full.
    is_whole(&disk, count);
    let after = log_len(&disk);
    assert!(after * 2 < before + 2 * SEGMENT as usize, "{before} bytes, then {after}");
    is_whole(&disk, count);
    assert_eq!(log_len(&disk), after, "once");
    // A rebuild reads the pruned log, and the ledger goes on from it.
    let made: Arc<dyn Disk> = Arc::new(disk.clone());
    rebuild(&made, &network(), host().public()).unwrap();
    let ledger = open_at(&disk, START + 900_000_000_000).unwrap();
    run(async {
        for nonce in count..count + 6 {
            ledger.mailbox().submit(transfer(nonce).1).await.unwrap();
            settled(&ledger.reader(), &transfer(nonce).0).await;
        }
        ledger.close().await.unwrap();
    });
    is_whole(&disk.after_kill(), count + 6);
}

#[test]
fn a_power_cut_while_the_log_is_pruned_loses_nothing() {
    let count = 8;
    let full = history(count);
    let whole = full.after_kill();
    drop(open_at(&whole, START + 60_000_000_000).unwrap());
    let steps = whole.operations();
    for cut_at in (0..steps).step_by(5) {
        let disk = full.after_kill();
        disk.set_faults(Faults { cut_at: Some(cut_at), ..Faults::default() });
        if let Ok(ledger) = open_at(&disk, START + 60_000_000_000) {
            // The cut comes while it ends.
            let _ = run(ledger.close());
        }
        is_whole(&disk.after_cut(&mut Dice(cut_at)), count);
    }
}

/// What is pending is kept, wherever it lies.
#[test]
fn pruning_keeps_what_still_waits() {
    let disk = SimulatedDisk::new();
    let ledger = open_with(&disk, Arc::new(Standing(START))).unwrap();
    let count = 60;
    run(async {
        for nonce in 0..count {
            ledger.mailbox().submit(transfer(nonce).1).await.unwrap();
        }
        ledger.close().await.unwrap();
    });
    let disk = disk.after_kill();
    let before = log_len(&disk);
    assert!(before > 2 * SEGMENT as usize, "{before}");
    for _ in 0..2 {
        let again = open_with(&disk, Arc::new(Standing(START))).unwrap();
        let reader = again.reader();
        for nonce in 1..count {
            assert_eq!(reader.transaction(&transfer(nonce).0).unwrap(), Some(Status::Pending));
        }
        run(async { again.close().await.unwrap() });
    }
    let later = open_at(&disk, START + 60_000_000_000).unwrap();
    run(async {
        for nonce in 0..count {
            settled(&later.reader(), &transfer(nonce).0).await;
        }
        later.close().await.unwrap();
    });
}

#[test]
fn a_flipped_bit_is_found_with_its_place() {
    let disk = SimulatedDisk::new();
    let ledger = open(&disk);
    let reader = ledger.reader();
    let place = run(async {
        for nonce in 0..6 {
            ledger.mailbox().submit(transfer(nonce).1).await.unwrap();
            settled(&reader, &transfer(nonce).0).await;
        }
        let place = reader.block_at(Height(2)).unwrap().unwrap().place;
        ledger.close().await.unwrap();
        place
    });
    let name = format!("{FOLDER}/{:016x}.log", place.segment);
    let damaged = disk.after_kill();
    let at = usize::try_from(place.offset).unwrap() + 300;
    damaged.damage(&name, |bytes| bytes[at] ^= 1);
    // The open reads the last blocks, and says so.
    let LedgerError::Read(fault) = open_at(&damaged, START).unwrap_err() else {
        panic!("no fault")
    };
    let LedgerReadError::Damaged { file, offset, .. } = fault else { panic!("{fault}") };
    assert_eq!((file, offset), (name.clone(), place.offset));
    // So does a rebuild, which takes nothing on trust.
    let disk: Arc<dyn Disk> = Arc::new(damaged);
    let fault = rebuild(&disk, &network(), host().public()).unwrap_err();
    assert!(fault.to_string().contains(&name), "{fault}");
}

/// A database whose state is not the one that was signed is not used.
#[test]
fn a_wrong_state_stops_the_open_and_a_rebuild_mends_it() {
    let disk = SimulatedDisk::new();
    let ledger = open(&disk);
    let reader = ledger.reader();
    run(async {
        let (id, envelope) = transfer(0);
        ledger.mailbox().submit(envelope).await.unwrap();
        settled(&reader, &id).await;
        ledger.close().await.unwrap();
    });
    let root = reader.view().finalised.root();
    drop(reader);
    let disk: Arc<dyn Disk> = Arc::new(disk.after_kill());
    {
        let (database, _) =
            crate::store::ledger::LedgerDatabase::open(&disk, FOLDER, DATABASE).unwrap();
        let genesis = State::genesis(network());
        let (key, record) = genesis.records().next().unwrap();
        use talea_ledger::Document as _;
        database.write(|tables| tables.set_state(&key.encode(), Some(&record.encode()))).unwrap();
        drop(database);
    }
    let network = network();
    let options = || LedgerOptions {
        disk: Arc::clone(&disk),
        segment_len: SEGMENT,
        network: Arc::clone(&network),
        notary: Notary::new(host(), network.id()),
        clock: Arc::new(Slots(AtomicU64::new(START))),
        line: Arc::new(Nobody),
    };
    let fault = Ledger::open(options()).unwrap_err();
    assert!(matches!(fault, LedgerError::Root { .. }), "{fault}");
    assert_eq!(rebuild(&disk, &network, host().public()).unwrap().root, root);
    let ledger = Ledger::open(options()).unwrap();
    assert_eq!(ledger.reader().view().finalised.root(), root);
}
