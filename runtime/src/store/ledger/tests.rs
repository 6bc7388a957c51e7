//! Histories of the log on the simulated disk: what was appended is there, whatever happens.

use std::sync::Arc;

use super::*;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Dice, Faults, SimulatedDisk};

/// Small, so that a short history fills several segments.
const SEGMENT: u64 = 600;

fn options() -> LogOptions {
    LogOptions { folder: "log".into(), segment_len: SEGMENT, identity: [7; 32], salt: || 0x5a17 }
}

/// Opens the log and gives what it holds.
fn open(
    disk: &SimulatedDisk,
    seen: Option<(u64, u64, u64)>,
) -> Result<(LedgerLog, Vec<LogCommit>), OpenLogError> {
    let mut found = Vec::new();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = LedgerLog::open(disk, options(), seen, |commit| -> Result<(), OpenLogError> {
        found.push(commit);
        Ok(())
    })?;
    Ok((log, found))
}

/// The records of the commit with this number.
fn records(number: u64) -> Vec<(u8, Vec<u8>)> {
    let count = number % 3 + 1;
    let len = |n: u64| usize::try_from((number * 37 + n * 11) % 90).unwrap();
    (0..count).map(|n| (u8::try_from(n).unwrap(), vec![b'a'; len(n)])).collect()
}

fn kinds_and_bytes(commit: &LogCommit) -> Vec<(u8, Vec<u8>)> {
    commit.records.iter().map(|record| (record.kind, record.bytes.clone())).collect()
}

#[test]
fn what_was_appended_is_read_again_and_found_by_its_place() {
    let disk = SimulatedDisk::new();
    let (mut log, found) = open(&disk, None).unwrap();
    assert!(found.is_empty());
    let mut written = Vec::new();
    for number in 1..=30 {
        written.push(log.append(&records(number)).unwrap());
    }
    let (log, found) = open(&disk.after_kill(), None).unwrap();
    assert_eq!(found, written);
    assert!(disk.list("log").unwrap().len() > 3, "several segments");
    assert_eq!(log.cut(), 0);
    for record in found.iter().flat_map(|commit| &commit.records) {
        assert_eq!(log.reader().read(record.place).unwrap(), record.bytes);
    }
    // From what was seen on.
    let seen = &written[11];
    let (_, rest) = open(&disk, Some((seen.number, seen.segment, seen.end))).unwrap();
    assert_eq!(rest, written[12..]);
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_acknowledged() {
    for cut_at in 0..140 {
        let disk = SimulatedDisk::new();
        disk.set_faults(Faults { cut_at: Some(cut_at), ..Faults::default() });
        let mut acknowledged = 0;
        if let Ok((mut log, _)) = open(&disk, None) {
            while acknowledged < 20 && log.append(&records(acknowledged + 1)).is_ok() {
                acknowledged += 1;
            }
            if acknowledged < 20 {
                assert!(matches!(log.append(&records(99)), Err(AppendLogError::Latched(_))));
            }
        }
        for seed in 0..4 {
            let after = disk.after_cut(&mut Dice(seed * 1000 + cut_at));
            let (mut log, found) = open(&after, None).unwrap();
            let count = found.len() as u64;
            assert!(count == acknowledged || count == acknowledged + 1, "at {cut_at}: {count}");
            for (number, commit) in (1..).zip(&found) {
                assert_eq!(kinds_and_bytes(commit), records(number));
            }
            // And it goes on where it ended.
            log.append(&records(count + 1)).unwrap();
            let (_, again) = open(&after.after_kill(), None).unwrap();
            assert_eq!(again.len() as u64, count + 1);
        }
    }
}

#[test]
fn a_flipped_bit_is_found_with_its_place() {
    let disk = SimulatedDisk::new();
    let (mut log, _) = open(&disk, None).unwrap();
    let written: Vec<LogCommit> =
        (1..=12).map(|number| log.append(&records(number)).unwrap()).collect();
    let name = "log/0000000000000001.log";
    let first = disk.bytes(name).len();
    let in_first: Vec<&LogCommit> = written.iter().filter(|commit| commit.segment == 1).collect();
    for at in (0..first).step_by(7) {
        let damaged = disk.after_kill();
        damaged.damage(name, |bytes| bytes[at] ^= 0x10);
        let fault = open(&damaged, None).unwrap_err();
        let OpenLogError::Damaged(fault) = fault else { panic!("{fault}") };
        // The commit that holds the byte, or the head.
        let begin = in_first.iter().map(|commit| commit.end).filter(|end| *end <= at as u64).max();
        let expected = if at < 128 { 0 } else { begin.unwrap_or(128) };
        assert_eq!((fault.file.as_str(), fault.offset), (name, expected), "byte {at}");
    }
}

#[test]
fn the_end_is_damage_when_the_database_has_seen_it_and_a_cut_otherwise() {
    let disk = SimulatedDisk::new();
    let (mut log, _) = open(&disk, None).unwrap();
    let first = log.append(&records(1)).unwrap();
    let second = log.append(&records(2)).unwrap();
    let name = "log/0000000000000001.log";
    let damaged = disk.after_kill();
    damaged.damage(name, |bytes| bytes.truncate(usize::try_from(second.end - 1).unwrap()));
    let (log, found) = open(&damaged, None).unwrap();
    assert_eq!((found.len(), log.cut()), (1, second.end - 1 - first.end));
    let damaged = disk.after_kill();
    damaged.damage(name, |bytes| bytes.truncate(usize::try_from(second.end - 1).unwrap()));
    let fault = open(&damaged, Some((2, 1, second.end))).unwrap_err();
    assert!(matches!(fault, OpenLogError::Damaged(_)), "{fault}");
}

#[test]
fn another_networks_log_is_not_continued() {
    let disk = SimulatedDisk::new();
    open(&disk, None).unwrap();
    let other = LogOptions { identity: [8; 32], ..options() };
    let opened =
        LedgerLog::open(Arc::new(disk), other, None, |_| -> Result<(), OpenLogError> { Ok(()) });
    assert!(matches!(opened, Err(OpenLogError::Foreign(_))));
}

#[test]
fn bytes_that_look_like_a_commit_do_not_pass_for_one() {
    let disk = SimulatedDisk::new();
    let (mut log, _) = open(&disk, None).unwrap();
    log.append(&records(1)).unwrap();
    // What somebody who does not know the salt can make: a whole commit of a log of its own.
    let theirs = SimulatedDisk::new();
    let foreign = LogOptions { salt: || 0xbad, ..options() };
    let mut forger = LedgerLog::open(
        Arc::new(theirs.clone()) as Arc<dyn Disk>,
        foreign,
        None,
        |_| -> Result<(), OpenLogError> { Ok(()) },
    )
    .unwrap();
    for number in 1..=3 {
        forger.append(&[(1, vec![u8::try_from(number).unwrap()])]).unwrap();
    }
    let forged = theirs.bytes("log/0000000000000001.log")[128..].to_vec();
    let last = log.append(&[(1, forged)]).unwrap();
    // The commit that carries it is torn in its first bytes.
    let name = "log/0000000000000001.log";
    let torn = disk.after_kill();
    let begin = last.records[0].place.offset - 25;
    torn.damage(name, |bytes| bytes[usize::try_from(begin).unwrap()] = 0);
    let (_, found) = open(&torn, None).unwrap();
    assert_eq!(found.len(), 1);
}
