//! Histories on the simulated disk: whatever happens, what was acknowledged is there.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use talea_ledger::batch::{BatchHead, seal_batch};
use talea_ledger::merkle::{LeafIndex, Tree};
use talea_ledger::{
    ChannelId, Document as _, Fuel, FunctionId, InputId, NetworkId, Outcome, OutputId, Pages,
    Price, ProfileId, Proof, PublicKey, Receipt, ReceiptId, ReceiptPayment, RunId, Sealed,
    SecretKey, Sequence, Tal, UnixNanos,
};

use super::*;
use crate::store::Epoch;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Dice, Faults, SimulatedDisk};

const FOLDER: &str = "journal";
/// Small, so that a history of some dozen receipts fills several segments.
const SEGMENT: u64 = 8 * 1024;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn options() -> JournalOptions {
    let salts = AtomicU64::new(1);
    JournalOptions {
        folder: FOLDER.into(),
        segment_len: SEGMENT,
        identity: JournalIdentity([1; 32]),
        salt: Arc::new(move || salts.fetch_add(0x1234_5678_9abc, Ordering::Relaxed)),
    }
}

fn open(disk: &SimulatedDisk) -> Result<Opened, OpenError> {
    Journal::open(Arc::new(disk.clone()), options())
}

/// The receipt number `n` of a history; every second one is paid.
fn receipt(n: u64) -> Receipt {
    let bytes = n.to_le_bytes();
    let payer = SecretKey::from_bytes(&[u8::try_from(n % 3).unwrap() + 1; 32]).public();
    Receipt {
        at: UnixNanos(1_000 + n),
        host: key().public(),
        function: FunctionId::of(&[u8::try_from(n % 5).unwrap()]),
        input: InputId::of(&bytes),
        input_len: n,
        peak_pages: Pages(1),
        network: NetworkId::DEVELOPMENT,
        output: OutputId::of(&bytes),
        payment: (n % 2 == 1).then(|| ReceiptPayment {
            sequence: Sequence(n),
            channel: channel(&payer),
            owed: Tal(n),
            payer,
        }),
        run: RunId::of(&bytes),
        forwarded: None,
        bill: Tal(n % 2),
        fuel: Fuel(n),
        output_len: 0,
        profile: ProfileId::of(b"profile"),
        host_fuel: Fuel(0),
        price: Price::FREE,
        outcome: Outcome::Ok,
    }
}

fn channel(payer: &PublicKey) -> ChannelId {
    ChannelId::local(payer, &key().public(), &NetworkId::DEVELOPMENT)
}

fn particulars(n: u64) -> Particulars {
    let body = vec![b'b'; usize::try_from(n % 300).unwrap()];
    Particulars {
        run: RunBytes::Free(Bytes::from(format!("run {n}"))),
        input: Bytes::from(format!("input {n}")),
        output: Bytes::from(format!("output {n}")),
        input_body: BodyPlace::Inline(body.into()),
        output_body: BodyPlace::Blob(Epoch(n)),
        via: None,
    }
}

/// Appends the receipts `from..from + count` as one commit.
fn append(journal: &mut Journal, from: u64, count: u64) -> Result<Appended, AppendError> {
    let mut draft = BatchDraft::default();
    for n in from..from + count {
        let receipt = receipt(n);
        draft.push(&receipt.encode(), &particulars(n));
    }
    draft.name((from..from + count).map(receipt).map(|receipt| Facts::of(&receipt, receipt.id())));
    let payloads: Vec<_> = draft.receipts().collect();
    let head = BatchHead {
        network: NetworkId::DEVELOPMENT,
        number: journal.next_commit().0,
        at: UnixNanos(9),
    };
    let sealed = seal_batch(&key(), head, &payloads).unwrap().sealed().encode();
    // The state of this chain is how many receipts there are.
    journal.append(&draft, &sealed, &|into| into.extend_from_slice(&from.to_le_bytes()))
}

/// Everything about one receipt is there, and its proof holds.
fn assert_kept(reader: &JournalReader, n: u64) {
    let expected = receipt(n);
    let kept = reader.by_id(expected.id()).unwrap().unwrap_or_else(|| panic!("receipt {n}"));
    assert_eq!((kept.position, &kept.receipt), (Position(n), &expected));
    assert_eq!(kept.particulars, particulars(n));
    let index = LeafIndex::new(kept.index);
    let path = Tree::over(&kept.batch).unwrap().path(index).unwrap();
    let proof = Proof { index, path, batch: Sealed::decode(&kept.sealed).unwrap() };
    talea_ledger::batch::verify_receipt(&kept.payload, &proof).unwrap();
    if let Some(payment) = expected.payment {
        let by_payment = reader.by_payment(payment.channel, payment.sequence).unwrap().unwrap();
        assert_eq!(by_payment.position, Position(n));
    }
}

/// What the chain would know after an open: receipts before the checkpoint, and the paid ones since.
fn assert_replay(replay: &Replay, end: u64) {
    let before = match replay.checkpoint.as_slice() {
        [] => 0,
        bytes => u64::from_le_bytes(bytes.try_into().unwrap()),
    };
    let expected: Vec<_> = (before..end).map(receipt).filter(|r| r.payment.is_some()).collect();
    assert_eq!(replay.paid, expected);
}

fn segment_file(number: u64) -> String {
    SegmentNumber(number).file(FOLDER)
}

fn index_file(number: u64) -> String {
    format!("{FOLDER}/{}", SegmentNumber(number).index())
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Commit(u64),
    Prepare,
    WriteIndexes,
    Restart,
    CloseAndRestart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_u64..5).prop_map(Step::Commit),
        2 => Just(Step::Prepare),
        2 => Just(Step::WriteIndexes),
        1 => Just(Step::Restart),
        1 => Just(Step::CloseAndRestart),
    ]
}

/// Plays a history until it ends or the machine goes off. Answers how many receipts were acknowledged, and
/// how many more were on their way.
fn play(disk: &SimulatedDisk, steps: &[Step]) -> (u64, u64) {
    let mut acknowledged = 0;
    let Ok(opened) = open(disk) else { return (0, 0) };
    let mut journal = opened.journal;
    for step in steps {
        let result = match step {
            Step::Commit(count) => match append(&mut journal, acknowledged, *count) {
                Ok(appended) => {
                    assert_eq!(appended.first, Position(acknowledged));
                    acknowledged += count;
                    Ok(())
                }
                Err(_) => return (acknowledged, *count),
            },
            Step::Prepare => journal.keeper().prepare(),
            Step::WriteIndexes => journal.keeper().write_indexes(),
            Step::Restart | Step::CloseAndRestart => {
                if matches!(step, Step::CloseAndRestart) && journal.close().is_err() {
                    return (acknowledged, 0);
                }
                let Ok(opened) = open(disk) else { return (acknowledged, 0) };
                assert_replay(&opened.replay, acknowledged);
                journal = opened.journal;
                Ok(())
            }
        };
        if result.is_err() {
            return (acknowledged, 0);
        }
    }
    (acknowledged, 0)
}

/// After a crash the journal opens, holds every acknowledged receipt, and takes more.
fn assert_survived(disk: &SimulatedDisk, acknowledged: u64, on_their_way: u64) {
    let opened = open(disk).unwrap();
    let mut journal = opened.journal;
    let end = journal.next_position().0;
    assert!(end == acknowledged || end == acknowledged + on_their_way, "{end} of {acknowledged}");
    assert_replay(&opened.replay, end);
    let reader = journal.reader();
    for n in 0..end {
        assert_kept(&reader, n);
    }
    append(&mut journal, end, 2).unwrap();
    let reader = open(disk).unwrap().journal.reader();
    for n in 0..end + 2 {
        assert_kept(&reader, n);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Every operation of a random history is once the one at which the power goes.
    #[test]
    fn a_power_cut_anywhere_loses_nothing_acknowledged(
        steps in prop::collection::vec(step(), 1..20), seed in any::<u64>(),
    ) {
        let disk = SimulatedDisk::new();
        play(&disk, &steps);
        let mut dice = Dice(seed);
        for cut_at in 0..disk.operations() {
            let disk = SimulatedDisk::new();
            disk.set_faults(Faults { cut_at: Some(cut_at), ..Faults::default() });
            let (acknowledged, on_their_way) = play(&disk, &steps);
            assert_survived(&disk.after_cut(&mut dice), acknowledged, on_their_way);
        }
    }

    /// Every operation of a random history fails once: the process goes on or stops, nothing is lost.
    #[test]
    fn a_failed_operation_anywhere_loses_nothing_acknowledged(
        steps in prop::collection::vec(step(), 1..20), seed in any::<u64>(),
    ) {
        let disk = SimulatedDisk::new();
        play(&disk, &steps);
        let mut dice = Dice(seed);
        for fail_at in 0..disk.operations() {
            let disk = SimulatedDisk::new();
            disk.set_faults(Faults { fail_at: Some(fail_at), ..Faults::default() });
            let (acknowledged, on_their_way) = play(&disk, &steps);
            assert_survived(&disk.after_cut(&mut dice), acknowledged, on_their_way);
            assert_survived(&disk.after_kill(), acknowledged, on_their_way);
        }
    }

    /// Any flipped bit of a commit before the last one stops the open and names the commit's offset.
    #[test]
    fn a_flipped_bit_in_an_answered_commit_is_never_cut(
        at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let disk = SimulatedDisk::new();
        let mut journal = open(&disk).unwrap().journal;
        append(&mut journal, 0, 2).unwrap();
        let (first, second) = (format::RECORDS_AT, journal.end);
        append(&mut journal, 2, 2).unwrap();
        let third = journal.end;
        append(&mut journal, 4, 1).unwrap();
        let at = first + at.index(usize::try_from(third - first).unwrap()) as u64;
        disk.damage(&segment_file(1), |bytes| bytes[usize::try_from(at).unwrap()] ^= 1 << bit);
        let record = if at < second { first } else { second };
        let bytes = disk.bytes(&segment_file(1));
        let len = format::u32_at(&bytes, usize::try_from(record).unwrap() + 4);
        let is_padding = at >= record + (format::RECORD_HEADER_LEN as u64) + u64::from(len);
        match open(&disk) {
            Err(OpenError::Damaged(damage)) => prop_assert_eq!(damage.offset, record),
            other => prop_assert!(is_padding, "{:?}", other.map(|_| ())),
        }
    }

    /// Whatever lies behind the last whole commit is cut, unless it is a later commit of this segment.
    #[test]
    fn garbage_behind_the_last_commit_is_cut(garbage in prop::collection::vec(any::<u8>(), 1..400)) {
        let disk = SimulatedDisk::new();
        let mut journal = open(&disk).unwrap().journal;
        append(&mut journal, 0, 2).unwrap();
        let end = usize::try_from(journal.end).unwrap();
        disk.damage(&segment_file(1), |bytes| bytes[end..end + garbage.len()].copy_from_slice(&garbage));
        assert_survived(&disk.after_kill(), 2, 0);
    }
}

#[test]
fn a_torn_last_commit_is_cut_whatever_was_torn() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk).unwrap().journal;
    append(&mut journal, 0, 2).unwrap();
    let start = usize::try_from(journal.end).unwrap();
    append(&mut journal, 2, 3).unwrap();
    let end = usize::try_from(journal.end).unwrap();
    for kept in start..end {
        let torn = disk.after_kill();
        torn.damage(&segment_file(1), |bytes| bytes[kept..end].fill(0));
        // The last bytes may be padding.
        let is_whole = disk.bytes(&segment_file(1))[kept..end].iter().all(|&b| b == 0);
        assert_survived(&torn, if is_whole { 5 } else { 2 }, 0);
    }
}

#[test]
fn the_closing_record_protects_the_last_commit() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk).unwrap().journal;
    append(&mut journal, 0, 2).unwrap();
    journal.close().unwrap();
    disk.damage(&segment_file(1), |bytes| bytes[300] ^= 1);
    assert!(
        matches!(open(&disk), Err(OpenError::Damaged(damage)) if damage.offset == format::RECORDS_AT)
    );
}

/// Fills three segments and a bit; answers the number of receipts.
fn fill(disk: &SimulatedDisk) -> u64 {
    let mut journal = open(disk).unwrap().journal;
    let mut n = 0;
    while journal.header.segment < SegmentNumber(4) {
        append(&mut journal, n, 3).unwrap();
        n += 3;
    }
    journal.keeper().write_indexes().unwrap();
    n
}

#[test]
fn damage_in_a_full_segment_is_found() {
    let disk = SimulatedDisk::new();
    let count = fill(&disk);
    let header = disk.after_kill();
    header.damage(&segment_file(2), |bytes| bytes[9] ^= 1);
    assert!(matches!(open(&header), Err(OpenError::Damaged(damage)) if damage.offset == 0));

    let missing = disk.after_kill();
    missing.remove(&segment_file(2)).unwrap();
    assert!(matches!(open(&missing), Err(OpenError::Missing(SegmentNumber(2)))));

    // Without its index the whole segment is read, and every bit of it counts.
    let record = disk.after_kill();
    record.damage(&segment_file(2), |bytes| bytes[200] ^= 1);
    record.remove(&index_file(2)).unwrap();
    let opened = open(&record).map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::Damaged(d)) if (d.segment, d.offset) == (SegmentNumber(2), format::RECORDS_AT)),
        "{opened:?}"
    );

    // With its index it is found when it is read, or by the check of everything.
    let record = disk.after_kill();
    record.damage(&segment_file(2), |bytes| bytes[200] ^= 1);
    let journal = open(&record).unwrap().journal;
    let checked = journal.keeper().check_all();
    assert!(
        matches!(checked, Err(ReadError::Damaged(d)) if (d.segment, d.offset) == (SegmentNumber(2), format::RECORDS_AT)),
        "{checked:?}"
    );
    assert_eq!(open(&disk).unwrap().journal.keeper().check_all().unwrap(), count);
}

#[test]
fn another_hosts_journal_is_refused() {
    let disk = SimulatedDisk::new();
    open(&disk).unwrap();
    let options = JournalOptions { identity: JournalIdentity([2; 32]), ..options() };
    let opened = Journal::open(Arc::new(disk), options);
    assert!(matches!(opened, Err(OpenError::Foreign(SegmentNumber(1)))));
}

#[test]
fn the_first_write_error_latches() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk).unwrap().journal;
    append(&mut journal, 0, 1).unwrap();
    // The next operations are the write and the sync.
    for failing in 0..2 {
        let disk = disk.after_kill();
        let mut journal = open(&disk).unwrap().journal;
        let fail_at = Some(disk.operations() + failing);
        disk.set_faults(Faults { fail_at, ..Faults::default() });
        let first = append(&mut journal, 1, 1).unwrap_err().to_string();
        assert!(first.contains("the drive says no"), "{first}");
        disk.set_faults(Faults::default());
        assert_eq!(append(&mut journal, 1, 1).unwrap_err().to_string(), first);
        assert_eq!(journal.close().unwrap_err().to_string(), first);
        assert_survived(&disk.after_cut(&mut Dice(3)), 1, 1);
    }
}

#[test]
fn a_full_disk_refuses_without_a_latch_and_goes_on_when_there_is_room() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk).unwrap().journal;
    disk.set_faults(Faults { capacity: Some(SEGMENT + 100), ..Faults::default() });
    let mut n = 0;
    while append(&mut journal, n, 2).is_ok() {
        n += 2;
    }
    assert!(n > 4 && matches!(append(&mut journal, n, 2), Err(AppendError::Full)));
    assert!(journal.keeper().prepare().is_err());
    assert_survived(&disk.after_cut(&mut Dice(5)), n, 0);
    disk.set_faults(Faults::default());
    append(&mut journal, n, 2).unwrap();
    assert_kept(&journal.reader(), n + 1);
}

#[test]
fn an_index_made_again_is_the_same_file() {
    let disk = SimulatedDisk::new();
    let count = fill(&disk);
    let written = disk.bytes(&index_file(2));
    let spoilt = disk.after_kill();
    spoilt.remove(&index_file(2)).unwrap();
    open(&spoilt).unwrap();
    assert_eq!(spoilt.bytes(&index_file(2)), written);
    // A bit that flips while the node runs is noticed by the next look-up that meets it.
    for at in (0..written.len()).step_by(37) {
        let spoilt = disk.after_kill();
        let reader = open(&spoilt).unwrap().journal.reader();
        spoilt.damage(&index_file(2), |bytes| bytes[at] ^= 16);
        for n in 0..count {
            assert_kept(&reader, n);
        }
        let page = reader.list(&Filter::default(), None, 1000).unwrap();
        assert_eq!(page.receipts.len() as u64, count);
    }
}

#[test]
fn a_receipt_is_found_in_memory_and_on_disk_and_nothing_else_is() {
    let disk = SimulatedDisk::new();
    let count = fill(&disk);
    let reader = open(&disk).unwrap().journal.reader();
    assert_eq!(reader.end(), Position(count));
    for n in 0..count {
        assert_kept(&reader, n);
    }
    assert!(reader.by_id(ReceiptId::of(b"none")).unwrap().is_none());
    assert!(reader.by_payment(ChannelId::new([0; 32]), Sequence(1)).unwrap().is_none());
}

/// All pages of a list, while receipts are added between the pages.
fn pages(journal: &mut Journal, filter: &Filter, limit: usize) -> Vec<u64> {
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = journal.reader().list(filter, after, limit).unwrap();
        found.extend(page.receipts.iter().map(|(position, ..)| position.0));
        assert!(page.receipts.len() <= limit);
        let end = journal.next_position().0;
        if end < 60 {
            append(journal, end, 1).unwrap();
        }
        match page.next {
            Some(next) => after = Some(next),
            None if journal.next_position() == journal.reader().end() && end >= 60 => return found,
            None => after = found.last().map(|&last| Position(last)).or(after),
        }
    }
}

#[test]
fn pages_hold_every_match_once_while_the_journal_grows() {
    let payer = SecretKey::from_bytes(&[2; 32]).public();
    let function = FunctionId::of(&[3]);
    let filters = [
        Filter::default(),
        Filter { function: Some(function), ..Filter::default() },
        Filter { payer: Some(payer), ..Filter::default() },
        Filter { function: Some(function), channel: Some(channel(&payer)), ..Filter::default() },
        Filter { sequence: Some(Sequence(13)), ..Filter::default() },
    ];
    for filter in filters {
        for limit in [1, 4, 50] {
            let disk = SimulatedDisk::new();
            fill(&disk);
            let mut journal = open(&disk).unwrap().journal;
            let found = pages(&mut journal, &filter, limit);
            let matches = |n: &u64| {
                let receipt = receipt(*n);
                let payment = receipt.payment.as_ref();
                filter.function.is_none_or(|f| f == receipt.function)
                    && filter.payer.is_none_or(|p| payment.is_some_and(|q| q.payer == p))
                    && filter.channel.is_none_or(|c| payment.is_some_and(|q| q.channel == c))
                    && filter.sequence.is_none_or(|s| payment.is_some_and(|q| q.sequence == s))
            };
            let expected: Vec<_> = (0..journal.next_position().0).filter(matches).collect();
            assert_eq!(found, expected, "{filter:?}, {limit} a page");
        }
    }
}

#[test]
fn retention_drops_the_oldest_segments_but_no_evidence() {
    let keep = |dispute_window| Retention {
        bytes: 3 * SEGMENT,
        age: None,
        dispute_window: std::time::Duration::from_nanos(dispute_window),
        unpaid: std::time::Duration::ZERO,
    };
    let disk = SimulatedDisk::new();
    let count = fill(&disk);
    let journal = open(&disk).unwrap().journal;
    let now = UnixNanos(1_000 + count);
    journal.keeper().drop_old(&keep(1_000_000), now, &|_| true).unwrap();
    assert_eq!(journal.reader().start(), Position(0), "all are paid within the window");
    journal.keeper().drop_old(&keep(0), now, &|_| true).unwrap();
    let start = journal.reader().start();
    assert!(start > Position(0));
    let reopened = open(&disk).unwrap().journal;
    for reader in [journal.reader(), reopened.reader()] {
        assert_eq!((reader.start(), reader.end()), (start, Position(count)));
        assert!(reader.by_id(receipt(0).id()).unwrap().is_none());
        let page = reader.list(&Filter::default(), None, 1000).unwrap();
        assert_eq!(page.receipts[0].0, start);
        (start.0..count).for_each(|n| assert_kept(&reader, n));
    }
}

#[test]
fn a_bill_that_nobody_has_paid_holds_its_segment_up_to_an_age() {
    let disk = SimulatedDisk::new();
    let count = fill(&disk);
    let journal = open(&disk).unwrap().journal;
    let now = UnixNanos(1_000 + count);
    let keeper = journal.keeper();
    let start_when = |unpaid: u64, is_unpaid: &dyn Fn(&Receipt) -> bool| {
        let retention = Retention {
            bytes: 3 * SEGMENT,
            age: None,
            dispute_window: std::time::Duration::ZERO,
            unpaid: std::time::Duration::from_nanos(unpaid),
        };
        keeper.drop_old(&retention, now, is_unpaid).unwrap();
        journal.reader().start()
    };
    let first = Sequence(1);
    let asked = std::cell::Cell::new(0);
    let first_is_unpaid = |receipt: &Receipt| {
        asked.set(asked.get() + 1);
        receipt.payment.as_ref().is_some_and(|payment| payment.sequence == first)
    };
    assert_eq!(start_when(1_000_000, &first_is_unpaid), Position(0), "it is the oldest");
    assert_eq!(asked.replace(0), 1);
    assert_eq!(start_when(1_000_000, &first_is_unpaid), Position(0));
    assert_eq!(asked.get(), 1, "only what held it is looked at again");
    // Paid by now, but for one in a later segment: what is before that goes, and that stays.
    let middle = journal.reader().list(&Filter::default(), None, 1000).unwrap().receipts.len() / 2;
    let later = |receipt: &Receipt| receipt.at.0 >= 1_000 + middle as u64;
    let start = start_when(1_000_000, &later);
    assert!(start > Position(0) && start.0 <= middle as u64 + 1, "{start:?} of {middle}");
    // Nothing is held for ever.
    assert!(start_when(1, &|_| true) > start);
}

/// The bytes on the disk are a format: a change of this hash is a change of it.
#[test]
fn golden_bytes() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk).unwrap().journal;
    append(&mut journal, 0, 2).unwrap();
    let end = usize::try_from(journal.end).unwrap();
    let bytes = disk.bytes(&segment_file(1));
    expect_test::expect![[r#"
        54414c45414a30310100000000000000
        01000000000000000020000000000000
        01010101010101010101010101010101
        01010101010101010101010101010101
        c53c52e4000000000000000000000000
        00000000000000000000000000000000
        00000000000000000000000000000000
        00000000000000000000000000000000
        63fe8f30030500000100000000000000
        01000000000000000100000000000000
        0100000002000000d65e21a610000000"#]]
    .assert_eq(&hex(&bytes[..format::RECORDS_AT as usize + 48]));
    expect_test::expect!["d5d8562796c5745a63a63321968cc2383ab9f7a0b7fb3365dfbb3aaab7d7d966"]
        .assert_eq(&talea_ledger::Digest::of(&bytes[..end]).to_string());
    let disk = SimulatedDisk::new();
    fill(&disk);
    let index = disk.bytes(&index_file(1));
    expect_test::expect!["7cfdf33e9855226355202a76006fc24004f14357797c609dd3fed9b7154a88f8"]
        .assert_eq(&talea_ledger::Digest::of(&index).to_string());
}

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(|line| line.iter().map(|b| format!("{b:02x}")).collect());
    lines.collect::<Vec<String>>().join("\n")
}

/// The real disk behaves as the simulated one.
#[test]
fn a_real_disk_keeps_a_history() {
    let folder = tempfile::tempdir().unwrap();
    let real = |path: &Path| Arc::new(crate::store::disk::RealDisk::at(path));
    let mut n = 0;
    for _ in 0..3 {
        let opened = Journal::open(real(folder.path()), options()).unwrap();
        let mut journal = opened.journal;
        assert_eq!(journal.next_position(), Position(n));
        for _ in 0..20 {
            append(&mut journal, n, 2).unwrap();
            n += 2;
        }
        journal.keeper().prepare().unwrap();
        journal.keeper().write_indexes().unwrap();
        (0..n).for_each(|n| assert_kept(&journal.reader(), n));
    }
}
