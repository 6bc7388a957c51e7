//! Opening: from the files of a folder to a journal that takes commits.
//!
//! Reads the segment in use as a whole, and of the others the segment header and the index's header.
//! Invariant: no segment is changed before everything that is read has been found in order, and then only by
//! overwriting a torn last commit with zeros.

use std::io;
use std::sync::Arc;

use talea_ledger::{Document as _, Receipt, ReceiptId};
use thiserror::Error;

use super::entry::{BatchLayout, read_checkpoint};
use super::format::{Kind, RECORDS_AT, SegmentHeader};
use super::index::{Facts, LiveIndex, SealedIndex};
use super::keeper::{Spare, make_segment};
use super::recover::{Record, Scan, read_header};
use super::view::{Live, Older, Shared, View};
use super::{CommitNumber, Damage, DamageReason, Journal, JournalOptions, Position, SegmentNumber};
use crate::store::disk::{Disk, DiskFile, replace};

/// Zeros over a torn commit are written in pieces of at most this size.
const ZERO_CHUNK: u64 = 1 << 20;

/// Why the journal was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk did not answer.
    #[error("the journal could not be opened")]
    Io(#[from] io::Error),
    /// Something that was synced is not there any more.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The journal was written by another host or for another network.
    #[error("segment {0} belongs to another host or another network")]
    Foreign(SegmentNumber),
    /// A segment between two others is gone.
    #[error("segment {0} is missing")]
    Missing(SegmentNumber),
}

/// What the chain needs to go on where the journal ends.
#[derive(Debug, Default)]
pub struct Replay {
    /// The state of the chain before the receipts below; empty in a journal without commits.
    pub checkpoint: Vec<u8>,
    /// Paid receipts since, in order.
    pub paid: Vec<Receipt>,
    /// Bytes of a torn commit that were cut.
    pub cut: u64,
}

/// An open journal.
#[derive(Debug)]
pub struct Opened {
    /// The writer.
    pub journal: Journal,
    /// What had been written.
    pub replay: Replay,
}

/// One segment of the folder.
struct Found {
    header: SegmentHeader,
    file: Arc<dyn DiskFile>,
}

impl Journal {
    /// Opens the journal of a folder, or begins one.
    pub fn open(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<Opened, OpenError> {
        disk.create_folder(&options.folder)?;
        let mut found = find_segments(&*disk, &options)?;
        if found.is_empty() {
            let Spare { header, file } = make_segment(&*disk, &options, SegmentNumber(1))?;
            found.push(Found { header, file });
        }
        let (scan, later) = last_used(&mut found)?;
        let file = found.pop().map(|found| found.file).expect("there is a segment in use");
        let torn = match &later {
            // The commit that opened the next segment is torn, so every commit of this one was synced.
            Some(later) if !later.scan.is_untouched() => {
                scan.whole()?;
                scan.last.ok_or(order(scan.header.segment))?;
                later.scan.cut()?.map(|cut| (&later.file, cut))
            }
            _ => scan.cut()?.map(|cut| (&file, cut)),
        };
        let older = open_older(&*disk, &options, found)?;
        check_order(&older, &scan)?;
        let mut replay = Replay::default();
        let mut live = index_segment(&scan, Arc::clone(&file), &mut replay)?;
        if let Some((file, cut)) = &torn {
            zero(&***file, cut)?;
            replay.cut = cut.end - cut.start;
        }
        remove_stale_indexes(&*disk, &options, scan.header.segment)?;
        let spare = later.map(|later| Spare { header: later.scan.header, file: later.file });
        let before = older.last().map(|older| older.facts());
        let next = match (scan.last, before) {
            (Some(last), _) => last.next(),
            (None, Some(before)) => before.last_commit.next(),
            (None, None) => CommitNumber(1),
        };
        if scan.last.is_none() {
            live.first_commit = next;
            live.first = before.map_or(Position(0), |f| Position(f.first.0 + u64::from(f.count)));
        }
        let (header, position) = (live.header, live.next_position());
        let view = View { older: Arc::new(older), live };
        let shared = Arc::new(Shared::new(disk, options, view, spare));
        let end = scan.end;
        let journal = Journal { shared, file, header, end, next, position, latched: None };
        Ok(Opened { journal, replay })
    }
}

/// The segment behind the one in use: made ahead, or holding nothing but a torn first commit.
struct Later {
    file: Arc<dyn DiskFile>,
    scan: Scan,
}

/// All segments in order, with their headers read. Drafts of segments are removed.
fn find_segments(disk: &dyn Disk, options: &JournalOptions) -> Result<Vec<Found>, OpenError> {
    let mut found = Vec::<Found>::new();
    for name in disk.list(&options.folder)? {
        if name.ends_with(".new") {
            disk.remove(&format!("{}/{name}", options.folder))?;
            continue;
        }
        let Some(number) = name.strip_suffix(".seg") else { continue };
        let Ok(number) = number.parse().map(SegmentNumber) else { continue };
        let Some(file) = disk.open(&number.file(&options.folder))? else { continue };
        let header = read_header(&*file, number)??;
        if header.identity != options.identity {
            return Err(OpenError::Foreign(number));
        }
        if let Some(before) = found.last().map(|found| found.header.segment)
            && before.next() != number
        {
            return Err(OpenError::Missing(before.next()));
        }
        found.push(Found { header, file });
    }
    Ok(found)
}

/// Scans from the end for the last segment with a whole commit. What lies behind it is taken from `found`.
fn last_used(found: &mut Vec<Found>) -> Result<(Scan, Option<Later>), OpenError> {
    let last = found.last().expect("the caller made one");
    let scan = Scan::of(&*last.file, last.header)?;
    if scan.last.is_some() || found.len() == 1 {
        return Ok((scan, None));
    }
    // Only one segment is ever made ahead, so the one before it has been written to.
    let file = found.pop().map(|found| found.file).expect("there are two");
    let later = Later { file, scan };
    let last = found.last().expect("there were two");
    Ok((Scan::of(&*last.file, last.header)?, Some(later)))
}

fn zero(file: &dyn DiskFile, range: &std::ops::Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(ZERO_CHUNK);
        file.write_all_at(&vec![0; usize::try_from(len).unwrap_or(0)], at)?;
        at += len;
    }
    file.sync()
}

/// Reads the indexes of full segments; makes those again that are missing or spoilt.
fn open_older(
    disk: &dyn Disk,
    options: &JournalOptions,
    found: Vec<Found>,
) -> Result<Vec<Arc<Older>>, OpenError> {
    let mut older = Vec::with_capacity(found.len());
    for Found { header, file } in found {
        let name = format!("{}/{}", options.folder, header.segment.index());
        let index = match disk.open(&name)? {
            Some(file) => SealedIndex::read(&*file, header.segment, header.salt)?.ok(),
            None => None,
        };
        older.push(Arc::new(match index {
            Some(index) => Older::OnDisk { header, index },
            None => {
                let scan = Scan::of(&*file, header)?;
                scan.whole()?;
                let live = index_segment(&scan, file, &mut Replay::default())?;
                replace(disk, &options.folder, &header.segment.index(), &live.encode_index())?;
                Older::InMemory(Arc::new(live))
            }
        }));
    }
    Ok(older)
}

/// The commits of all segments follow each other without a gap.
fn check_order(older: &[Arc<Older>], scan: &Scan) -> Result<(), Damage> {
    let mut before = None::<CommitNumber>;
    for older in older {
        let facts = older.facts();
        if before.is_some_and(|last| last.next() != facts.first_commit) {
            return Err(order(facts.segment));
        }
        before = Some(facts.last_commit);
    }
    let first = scan.records().next().map(|record| record.header.commit);
    match (before, first) {
        (Some(last), Some(first)) if last.next() != first => Err(order(scan.header.segment)),
        _ => Ok(()),
    }
}

fn order(segment: SegmentNumber) -> Damage {
    Damage { segment, offset: RECORDS_AT, reason: DamageReason::Order }
}

/// Only full segments have an index on the disk. One of the segment in use stems from a turn-over whose
/// commit was torn, and would not know of what is written now.
fn remove_stale_indexes(
    disk: &dyn Disk,
    options: &JournalOptions,
    in_use: SegmentNumber,
) -> io::Result<()> {
    for name in disk.list(&options.folder)? {
        let number = name.strip_suffix(".idx").and_then(|number| number.parse().ok());
        if number.is_some_and(|number| SegmentNumber(number) >= in_use) {
            disk.remove(&format!("{}/{name}", options.folder))?;
        }
    }
    Ok(())
}

/// The index of a segment, made from its records.
pub(super) fn index_segment(
    scan: &Scan,
    file: Arc<dyn DiskFile>,
    replay: &mut Replay,
) -> Result<Live, Damage> {
    let mut live = Live {
        header: scan.header,
        file,
        index: LiveIndex::default(),
        end: scan.end,
        first: Position(0),
        first_commit: CommitNumber(1),
        last_commit: scan.last.unwrap_or(CommitNumber(0)),
    };
    for record in scan.records() {
        if record.header.kind == Kind::Opening {
            let (first, state) =
                read_checkpoint(record.checkpoint()).ok_or(content(scan, &record))?;
            replay.checkpoint = state.to_vec();
            live.first = Position(first);
            live.first_commit = record.header.commit;
        }
        let mut facts = Vec::new();
        visit(scan, &record, &mut |receipt, payload| {
            facts.push(Facts::of(&receipt, ReceiptId::of(payload)));
            if receipt.payment.is_some() {
                replay.paid.push(receipt);
            }
        })?;
        live.index.extend(record.at, facts);
    }
    Ok(live)
}

/// Hands out the receipts of one record, which has passed its CRC.
fn visit(
    scan: &Scan,
    record: &Record<'_>,
    each: &mut dyn FnMut(Receipt, &[u8]),
) -> Result<(), Damage> {
    let batch = record.batch();
    if record.header.kind == Kind::Closed {
        return Ok(());
    }
    let layout = BatchLayout::read(batch, batch.len())
        .filter(|layout| layout.count() == record.header.receipts as usize)
        .ok_or(content(scan, record))?;
    for index in 0..layout.count() {
        let payload = &batch[layout.receipt(index)];
        let receipt = Receipt::decode(payload).map_err(|_| content(scan, record))?;
        each(receipt, payload);
    }
    Ok(())
}

fn content(scan: &Scan, record: &Record<'_>) -> Damage {
    let reason = DamageReason::Content;
    Damage { segment: scan.header.segment, offset: record.at, reason }
}
