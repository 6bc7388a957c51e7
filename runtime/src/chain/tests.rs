//! The chain over the simulated disk: every receipt billed once, in order, and never lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use talea_ledger::{
    BodyId, ChannelId, Document as _, Fuel, FunctionId, Input, InputId, NetworkId, Outcome, Output,
    Pages, Payment, Ppm, Price, ProfileId, Receipt, Run, RunId, SecretKey, Sequence, Tal,
    UnixNanos, message, sign,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::channels::ChannelError;
use super::mailbox::INLINE_BODY_MAX;
use super::*;
use crate::clock::ManualClock;
use crate::executor::Execution;
use crate::notary::Notary;
use crate::store::disk::simulated::{Dice, Faults, SimulatedDisk};
use crate::store::{Filter, Retention, RunBytes};

/// Some dozen receipts fill a segment.
const SEGMENT: u64 = 64 * 1024;
/// Runs under way at once in a storm: at up to a KiB each, one commit of them all fits into a segment.
const UNDER_WAY: usize = 32;

fn host() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn payer(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn channel(seed: u8) -> ChannelId {
    ChannelId::local(&payer(seed).public(), &host().public(), &NetworkId::DEVELOPMENT)
}

fn open(disk: &SimulatedDisk) -> Result<Chain, ChainError> {
    Chain::open(ChainOptions {
        disk: Arc::new(disk.clone()),
        segment_len: SEGMENT,
        retention: Retention {
            bytes: u64::MAX,
            age: None,
            dispute_window: Duration::ZERO,
            unpaid: Duration::ZERO,
        },
        notary: Notary::new(host(), NetworkId::DEVELOPMENT),
        clock: Arc::new(ManualClock::at(UnixNanos(1_000))),
    })
}

/// A run of `payer` with this sequence; `salt` makes it a different one. Its fuel is its bill.
fn paid(seed: u8, sequence: u64, salt: u8) -> Finished {
    finished(Some((seed, sequence)), salt, Bytes::from_static(b"in"), Bytes::from_static(b"out"))
}

fn free(salt: u8) -> Finished {
    finished(None, salt, Bytes::new(), Bytes::new())
}

fn finished(paid: Option<(u8, u64)>, salt: u8, input_body: Bytes, output_body: Bytes) -> Finished {
    let input = Input {
        body_len: input_body.len() as u64,
        args: message::arguments([]).unwrap(),
        body: BodyId::of(&input_body),
        path: message::Path::try_from("/").unwrap(),
        salt: Some([salt; 16]),
        query: message::Query::try_from("").unwrap(),
        method: message::Method::try_from("POST").unwrap(),
        headers: message::Headers::of([]).unwrap(),
    };
    let fuel = paid.map_or(0, |(_, sequence)| sequence % 50 + 1);
    let run = Run {
        function: FunctionId::of(&[salt]),
        input: InputId::of(&input.encode()),
        cgi: false,
        clock: UnixNanos(1),
        input_len: input.body_len,
        network: NetworkId::DEVELOPMENT,
        payment: paid.map(|(seed, sequence)| Payment {
            cap: Tal(1_000),
            expires: UnixNanos(9),
            royalty_ppm: Ppm::new(0).unwrap(),
            sequence: Sequence(sequence),
            channel: channel(seed),
            host: None,
        }),
        profile: ProfileId::of(b"profile"),
        seed: [salt; 32],
        price: Price { per_kib: Tal(0), per_call: Tal(0), rate: 1_000_000 },
        log_limit: 1,
        memory_limit: Pages(1),
        output_limit: 1,
        fuel_limit: Fuel(1_000),
    };
    let output = Output {
        body_len: output_body.len() as u64,
        body: BodyId::of(&output_body),
        ..Output::empty()
    };
    Finished {
        run_payload: run.encode().into(),
        run_sealed: paid.map(|(seed, _)| sign::seal_document(&payer(seed), &run)),
        payer: paid.map(|(seed, _)| payer(seed).public()),
        via: None,
        run,
        input_payload: input.encode().into(),
        input,
        input_body,
        execution: Execution {
            outcome: Outcome::Ok,
            fuel: Fuel(fuel),
            host_fuel: Fuel(0),
            peak_pages: Pages(1),
            output,
            output_body,
            log: Bytes::new(),
        },
    }
}

/// The receipt is in the journal and its proof holds.
fn assert_kept(reader: &ReceiptReader, recorded: &Recorded) {
    let kept = reader.by_id(recorded.receipt_id).unwrap().expect("an answered receipt is kept");
    assert_eq!((kept.receipt(), kept.payload()), (&recorded.receipt, &recorded.payload));
    let verified =
        talea_ledger::batch::verify_receipt(kept.payload(), &kept.proof().unwrap()).unwrap();
    assert_eq!(*verified.signer(), host().public());
}

/// All paid receipts in journal order: the intervals (owed - bill, owed] of a channel follow each other.
fn assert_bills_add_up(reader: &ReceiptReader) -> HashMap<ChannelId, Tal> {
    let mut owed = HashMap::<ChannelId, Tal>::new();
    let mut sequences = BTreeMap::new();
    let page = reader.list(&Filter::default(), None, usize::MAX).unwrap();
    assert!(page.next.is_none());
    for (_, id, receipt, _) in page.receipts {
        let Some(payment) = &receipt.payment else { continue };
        let sum = owed.entry(payment.channel).or_default();
        *sum = Tal(sum.0 + receipt.bill.0);
        assert_eq!(payment.owed, *sum);
        assert_eq!(sequences.insert((payment.channel, payment.sequence), id), None, "billed once");
    }
    for (id, sum) in &owed {
        assert_eq!(reader.channel(id).unwrap().owed(), *sum);
    }
    owed
}

#[tokio::test]
async fn a_receipt_says_what_was_run_and_is_proven() {
    let disk = SimulatedDisk::new();
    let chain = open(&disk).unwrap();
    let run = paid(1, 1, 0);
    let (run_id, sealed) = (RunId::of(&run.run_payload), run.run_sealed.clone().unwrap());
    let recorded = chain.mailbox().record(run).await.unwrap();
    let free = chain.mailbox().record(free(0)).await.unwrap();
    let receipt = &recorded.receipt;
    assert_eq!((receipt.run, receipt.bill, receipt.at), (run_id, Tal(2), UnixNanos(1_000)));
    let payment = receipt.payment.as_ref().unwrap();
    assert_eq!((payment.owed, payment.payer), (Tal(2), payer(1).public()));
    assert_eq!(receipt.encode(), recorded.payload);
    assert_eq!((&free.receipt.payment, free.receipt.bill), (&None, Tal(0)));
    talea_ledger::batch::verify_receipt(&recorded.payload, &recorded.proof()).unwrap();
    let reader = chain.reader();
    assert_kept(&reader, &recorded);
    assert_kept(&reader, &free);
    let kept = reader.by_payment(channel(1), Sequence(1)).unwrap().unwrap();
    assert_eq!(*kept.run(), RunBytes::Sealed(sealed.encode().into()));
    assert_eq!(reader.input_body(&kept).unwrap().unwrap(), &b"in"[..]);
    assert_eq!(reader.output_body(&kept).unwrap().unwrap(), &b"out"[..]);
    chain.close().await.unwrap();
}

#[tokio::test]
async fn the_same_run_again_gets_its_receipt_and_another_one_a_conflict() {
    let disk = SimulatedDisk::new();
    let mut chain = open(&disk).unwrap();
    let first = chain.mailbox().record(paid(1, 5, 0)).await.unwrap();
    for _ in 0..2 {
        let again = chain.mailbox().record(paid(1, 5, 0)).await.unwrap();
        assert!(again.is_repeat && !first.is_repeat);
        assert_eq!(again.payload, first.payload);
        talea_ledger::batch::verify_receipt(&again.payload, &again.proof()).unwrap();
        let other = chain.mailbox().record(paid(1, 5, 1)).await.unwrap_err();
        assert!(matches!(other, RecordError::Conflict(Some(id)) if id == first.receipt_id));
        let lookup = |salt| {
            let run = RunId::of(&paid(1, 5, salt).run_payload);
            chain.reader().lookup(channel(1), Sequence(5), run).unwrap()
        };
        assert!(matches!(lookup(0), Lookup::Recorded(kept) if kept.id() == first.receipt_id));
        assert!(matches!(lookup(1), Lookup::Conflict(id) if id == first.receipt_id));
        // Once more after a restart.
        chain.close().await.unwrap();
        chain = open(&disk).unwrap();
    }
    let run = RunId::of(b"any");
    let unknown = chain.reader().lookup(channel(9), Sequence(1_024), run).unwrap();
    assert!(matches!(unknown, Lookup::Fresh));
    assert_eq!(chain.reader().end().0, 1);
    // How far above the others a sequence may lie is decided before the run; what is left below is passed over.
    chain.mailbox().record(paid(1, 2_000, 0)).await.unwrap();
    chain.close().await.unwrap();
    let chain = open(&disk).unwrap();
    let passed = chain.mailbox().record(paid(1, 900, 0)).await.unwrap_err();
    assert!(matches!(passed, RecordError::Channel(ChannelError::Used(Sequence(900)))));
    let kept = chain.reader().lookup(channel(1), Sequence(5), run).unwrap();
    assert!(matches!(kept, Lookup::Conflict(_)), "its receipt is kept below the window too");
}

/// Every sequence of three channels is sent three times at once: twice the same run, once another one.
async fn storm(chain: &Chain, sequences: u64) -> Vec<Result<Recorded, RecordError>> {
    let mut tasks = JoinSet::new();
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    for sequence in 1..=sequences {
        let orders = (1..=3)
            .flat_map(|seed| [0, 0, 1].map(|salt| paid(seed, sequence, salt)))
            .chain([free(u8::try_from(sequence % 250).unwrap())]);
        for order in orders {
            let (mailbox, turns) = (chain.mailbox(), turns.clone());
            tasks.spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                mailbox.record(order).await
            });
        }
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_storm_everything_is_billed_once_and_intervals_never_overlap() {
    let disk = SimulatedDisk::new();
    let chain = open(&disk).unwrap();
    let answers = storm(&chain, 150).await;
    let reader = chain.reader();
    for answer in &answers {
        match answer {
            Ok(recorded) => {
                talea_ledger::batch::verify_receipt(&recorded.payload, &recorded.proof()).unwrap();
                assert_kept(&reader, recorded);
            }
            Err(RecordError::Conflict(Some(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let billed = answers.iter().flatten().filter(|recorded| !recorded.is_repeat).count();
    assert_eq!(billed, 150 * 4, "three channels and the free runs");
    let owed = assert_bills_add_up(&reader);
    let expected: u64 = (1..=150).map(|sequence| sequence % 50 + 1).sum();
    assert!(owed.len() == 3 && owed.values().all(|sum| *sum == Tal(expected)));

    let before: Vec<_> = (1..=3).map(|seed| reader.channel(&channel(seed)).unwrap()).collect();
    chain.close().await.unwrap();
    let reopened = open(&disk).unwrap();
    let reader = reopened.reader();
    let after: Vec<_> = (1..=3).map(|seed| reader.channel(&channel(seed)).unwrap()).collect();
    assert_eq!(before, after, "a restart changes no channel");
    assert_eq!(after[0].floor(), Sequence(150));
    assert_bills_add_up(&reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_power_cut_in_a_storm_loses_no_answered_receipt() {
    let disk = SimulatedDisk::new();
    let chain = open(&disk).unwrap();
    let answered = Arc::new(Mutex::new(Vec::<Recorded>::new()));
    let mut tasks = JoinSet::new();
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    for sequence in 1..=300_u64 {
        let (mailbox, answered) = (chain.mailbox(), Arc::clone(&answered));
        let turns = turns.clone();
        tasks.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let seed = u8::try_from(sequence % 4 + 1).unwrap();
            let recorded = mailbox.record(paid(seed, sequence, 0)).await.unwrap();
            answered.lock().unwrap().push(recorded);
        });
    }
    let mut dice = Dice(11);
    let mut cuts = Vec::new();
    while tasks.join_next().await.is_some() {
        if dice.below(12) == 0 {
            // First what was answered, then the image: an answer in between may be in the image or not.
            let acknowledged = answered.lock().unwrap().clone();
            cuts.push((acknowledged, disk.after_cut(&mut dice)));
        }
    }
    assert!(cuts.len() > 10);
    for (acknowledged, disk) in cuts {
        let reader = open(&disk).unwrap().reader();
        acknowledged.iter().for_each(|recorded| assert_kept(&reader, recorded));
        assert_bills_add_up(&reader);
    }
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_recorded_until_a_restart() {
    let disk = SimulatedDisk::new();
    let chain = open(&disk).unwrap();
    let first = chain.mailbox().record(paid(1, 1, 0)).await.unwrap();
    // The keeper has made its segment ahead when the same round can be seen to have ended: its own
    // operations must not take the fault.
    while !crate::store::disk::Disk::list(&disk, "journal")
        .unwrap()
        .contains(&"0000000000000002.seg".into())
    {
        tokio::task::yield_now().await;
    }
    let settled = disk.operations();
    disk.set_faults(Faults { cut_at: Some(settled), ..Faults::default() });
    for sequence in 2..5 {
        let error = chain.mailbox().record(paid(1, sequence, 0)).await.unwrap_err();
        assert!(matches!(error, RecordError::Latched(_)), "{error}");
    }
    assert_eq!(chain.reader().channel(&channel(1)).unwrap().owed(), first.receipt.bill);
    let earlier = chain.mailbox().record(paid(1, 1, 0)).await.unwrap();
    assert_eq!(earlier.payload, first.payload, "what is on the disk can still be read");
    assert!(matches!(chain.close().await, Err(ChainError::Append(_))));
    let reopened = open(&disk.after_cut(&mut Dice(2))).unwrap();
    assert_kept(&reopened.reader(), &first);
    reopened.mailbox().record(paid(1, 9, 0)).await.unwrap();
    assert_bills_add_up(&reopened.reader());
}

#[tokio::test]
async fn closing_writes_what_waits_and_then_takes_no_more() {
    let disk = SimulatedDisk::new();
    let chain = open(&disk).unwrap();
    let (mailbox, reader) = (chain.mailbox(), chain.reader());
    let mut tasks = JoinSet::new();
    for sequence in 1..=200 {
        let mailbox = mailbox.clone();
        tasks.spawn(async move { mailbox.record(paid(1, sequence, 0)).await });
    }
    tokio::task::yield_now().await;
    chain.close().await.unwrap();
    // What was queued before the close was written, what came later was told so; nobody was forgotten.
    let mut written = 0;
    for answer in tasks.join_all().await {
        match answer {
            Ok(recorded) => {
                assert_kept(&reader, &recorded);
                written += 1;
            }
            Err(error) => assert!(matches!(error, RecordError::Closed), "{error}"),
        }
    }
    assert!(written > 0);
    assert!(matches!(mailbox.record(free(1)).await, Err(RecordError::Closed)));
    mailbox.closed().await;
    let reopened = open(&disk).unwrap();
    assert_eq!((reopened.reader().end().0, reopened.cut()), (written, 0));
}

#[tokio::test]
async fn large_bodies_come_back_and_a_full_disk_is_an_answer() {
    let disk = SimulatedDisk::new();
    let chain = open(&disk).unwrap();
    let large = Bytes::from(vec![b'x'; INLINE_BODY_MAX + 1]);
    let run = || finished(Some((1, 1)), 0, large.clone(), large.slice(1..));
    let recorded = chain.mailbox().record(run()).await.unwrap();
    let kept = chain.reader().by_id(recorded.receipt_id).unwrap().unwrap();
    assert_eq!(chain.reader().input_body(&kept).unwrap().unwrap(), large);
    assert_eq!(chain.reader().output_body(&kept).unwrap().unwrap(), large.slice(1..));
    disk.set_faults(Faults { capacity: Some(1), ..Faults::default() });
    let more = Bytes::from(vec![b'y'; INLINE_BODY_MAX + 1]);
    let refused = finished(Some((1, 2)), 0, more.clone(), Bytes::new());
    let error = chain.mailbox().record(refused.clone()).await.unwrap_err();
    assert!(matches!(error, RecordError::Full), "{error}");
    disk.set_faults(Faults::default());
    chain.mailbox().record(refused).await.unwrap();
    assert_bills_add_up(&chain.reader());
}

#[tokio::test]
async fn every_commit_is_told_to_those_who_follow() {
    let chain = open(&SimulatedDisk::new()).unwrap();
    let mut commits = chain.reader().commits();
    let before = commits.borrow_and_update().count;
    chain.mailbox().record(free(1)).await.unwrap();
    commits.changed().await.unwrap();
    assert_eq!(commits.borrow().count, before + 1);
}

#[tokio::test]
async fn another_hosts_journal_is_refused() {
    let disk = SimulatedDisk::new();
    open(&disk).unwrap().close().await.unwrap();
    let clock = ManualClock::at(UnixNanos(1));
    let opened = Chain::open(ChainOptions {
        disk: Arc::new(disk),
        segment_len: SEGMENT,
        retention: Retention {
            bytes: 0,
            age: None,
            dispute_window: Duration::ZERO,
            unpaid: Duration::ZERO,
        },
        notary: Notary::new(payer(1), NetworkId::DEVELOPMENT),
        clock: Arc::new(clock),
    });
    assert!(matches!(opened, Err(ChainError::Journal(_))));
}

/// A receipt that a journal holds but that does not follow from those before it stops the open.
#[test]
fn a_journal_that_contradicts_itself_is_not_continued() {
    let mut channels = channels::Channels::default();
    let receipt = |sequence, owed| Receipt {
        payment: Some(talea_ledger::ReceiptPayment {
            sequence: Sequence(sequence),
            channel: channel(1),
            owed: Tal(owed),
            payer: payer(1).public(),
        }),
        bill: Tal(2),
        ..template()
    };
    channels.replay(&receipt(1, 2)).unwrap();
    assert!(matches!(channels.replay(&receipt(1, 4)), Err(channels::ReplayError::Receipt { .. })));
    assert!(matches!(channels.replay(&receipt(2, 5)), Err(channels::ReplayError::Owed { .. })));
}

fn template() -> Receipt {
    let run = free(1).run;
    Receipt {
        at: UnixNanos(0),
        host: host().public(),
        function: run.function,
        input: run.input,
        input_len: 0,
        peak_pages: Pages(1),
        network: run.network,
        output: talea_ledger::OutputId::of(b""),
        payment: None,
        run: RunId::of(b""),
        forwarded: None,
        bill: Tal(0),
        fuel: Fuel(0),
        output_len: 0,
        profile: run.profile,
        host_fuel: Fuel(0),
        price: run.price,
        outcome: Outcome::Ok,
    }
}
