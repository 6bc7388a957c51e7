//! The work beside the commits: making the next segment, writing the indexes of full ones, dropping old ones.
//!
//! All of it may be late or fail without harm to a commit: a segment that was not made ahead is made when
//! it is needed, an index that was not written is kept in memory and tried again.
//!
//! # Retention
//! Segments are dropped whole, oldest first, with the bodies that only they name. A segment is dropped
//! when the journal is over its bytes, or the segment's newest receipt is over its age; never while it
//! holds a paid receipt younger than the dispute window, even if the journal then grows over its bytes:
//! the evidence of a bill outlives the time in which it may be disputed. Nor while it holds a bill that nobody has
//! paid yet, up to an age: without its receipt it could be neither listed in a redeem nor claimed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use talea_ledger::{Receipt, Tal, UnixNanos};

use super::format::{RECORDS_AT, Salt, SegmentHeader};
use super::index::SegmentFacts;
use super::reader::{Filter, JournalReader, ReadError};
use super::recover::Scan;
use super::view::{Older, Shared};
use super::{Damage, DamageReason, JournalOptions, Position, SegmentNumber};
use crate::store::Epoch;
use crate::store::disk::{Disk, DiskFile, replace};

/// Zeros are written in pieces of this size, each synced, so that the commits of the segment in use never
/// wait behind the whole of the next one.
const ZERO_CHUNK: usize = 1 << 20;

/// Receipts looked at in one read, when it is to be found out whether they are paid.
const PAGE_LEN: usize = 256;

/// How long receipts are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Bytes of segments above which the oldest are dropped.
    pub bytes: u64,
    /// Age above which a segment's receipts are dropped, if any.
    pub age: Option<Duration>,
    /// Paid receipts younger than this are never dropped.
    pub dispute_window: Duration,
    /// Bills that nobody has paid yet are never dropped before this age.
    pub unpaid: Duration,
}

/// A segment that is zeroed, named and synced, and holds no commit yet.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn DiskFile>,
}

/// Makes a segment. Its name appears only when every byte of it is durable.
pub(super) fn make_segment(
    disk: &dyn Disk,
    options: &JournalOptions,
    segment: SegmentNumber,
) -> io::Result<Spare> {
    let target = segment.file(&options.folder);
    let draft = format!("{target}.new");
    if disk.open(&draft)?.is_some() {
        disk.remove(&draft)?;
    }
    let file = disk.create(&draft)?;
    let header = SegmentHeader {
        segment,
        salt: Salt((options.salt)()),
        len: options.segment_len,
        identity: options.identity,
    };
    if let Err(error) = fill(&*file, &header) {
        // Room taken for nothing would keep a full disk full. What stays is removed at the next attempt.
        let _ = disk.remove(&draft);
        return Err(error);
    }
    disk.rename(&draft, &target)?;
    disk.sync_folder(&options.folder)?;
    Ok(Spare { header, file })
}

fn fill(file: &dyn DiskFile, header: &SegmentHeader) -> io::Result<()> {
    file.write_all_at(&header.encode(), 0)?;
    let zeros = vec![0; ZERO_CHUNK.min(usize::try_from(header.len).unwrap_or(ZERO_CHUNK))];
    let mut at = RECORDS_AT;
    while at < header.len {
        let len = (header.len - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..usize::try_from(len).unwrap_or(zeros.len())], at)?;
        file.sync()?;
        at += len;
    }
    Ok(())
}

/// A handle for the thread that does the work beside the commits.
#[derive(Debug, Clone)]
pub struct JournalKeeper {
    shared: Arc<Shared>,
    /// Every receipt before this position was found to be paid. That never changes.
    paid_before: Arc<AtomicU64>,
}

impl JournalKeeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, paid_before: Arc::default() }
    }

    /// Makes the next segment, unless it is there.
    pub fn prepare(&self) -> io::Result<()> {
        self.shared.prepare_spare()
    }

    /// Writes the indexes of full segments that are only in memory, and makes spoilt ones again.
    pub fn write_indexes(&self) -> io::Result<()> {
        for older in self.shared.older().iter() {
            if let Older::InMemory(live) = &**older {
                let bytes = live.encode_index();
                let Shared { disk, options, .. } = &*self.shared;
                replace(&**disk, &options.folder, &live.header.segment.index(), &bytes)?;
                self.shared.adopt_index(live)?;
            }
        }
        Ok(())
    }

    /// Reads every record of every segment and compares it with its CRC. Answers the receipts that are there.
    /// Takes as long as reading the journal takes; for a check on demand, not for a start.
    pub fn check_all(&self) -> Result<u64, ReadError> {
        let mut receipts = 0;
        for older in self.shared.older().iter() {
            let place = older.place(&self.shared)?;
            let scan = Scan::of(&*place.file, place.header)?;
            scan.whole()?;
            receipts += scan.receipts();
        }
        // The segment in use may be written to meanwhile: what lies behind its end now is not looked at.
        let (place, count) = self.shared.view(|view| (view.live.place(), view.live.index.count()));
        let scan = Scan::of(&*place.file, place.header)?;
        if scan.receipts() < u64::from(count) {
            let reason = DamageReason::Record;
            return Err(Damage { segment: place.header.segment, offset: scan.end, reason }.into());
        }
        Ok(receipts + u64::from(count))
    }

    /// Drops what is over the retention at `now`. `is_unpaid` says of a bill whether somebody still has to pay it.
    /// Answers the oldest epoch whose bodies may still be named.
    pub fn drop_old(
        &self,
        retention: &Retention,
        now: UnixNanos,
        is_unpaid: &dyn Fn(&Receipt) -> bool,
    ) -> io::Result<Epoch> {
        let age = |at: u64| Duration::from_nanos(now.0.saturating_sub(at));
        loop {
            let older = self.shared.older();
            // The newest full segment stays: until the one in use has a commit of its own, the state of
            // the chain is in the one before.
            let [oldest, _, ..] = older.as_slice() else { break };
            let facts = oldest.facts();
            // The segment in use and the one made ahead are counted: they take the room as well.
            let bytes = (older.len() as u64 + 2) * self.shared.options.segment_len;
            let is_over = bytes > retention.bytes
                || retention.age.is_some_and(|age_max| age(facts.newest) > age_max);
            let is_evidence =
                facts.newest_paid > 0 && age(facts.newest_paid) <= retention.dispute_window;
            if !is_over || is_evidence {
                break;
            }
            let may_be_owed = facts.newest_paid > 0 && age(facts.newest_paid) <= retention.unpaid;
            if may_be_owed && self.holds_unpaid(&facts, is_unpaid)? {
                break;
            }
            self.shared.drop_oldest(facts.segment)?;
        }
        Ok(self.shared.oldest_epoch())
    }

    /// Whether a segment holds a bill that somebody still has to pay. Each receipt is read until it is paid, and then no
    /// more. One that cannot be read can be redeemed by nobody.
    fn holds_unpaid(
        &self,
        facts: &SegmentFacts,
        is_unpaid: &dyn Fn(&Receipt) -> bool,
    ) -> io::Result<bool> {
        let reader = JournalReader::new(Arc::clone(&self.shared));
        let end = facts.first.0.saturating_add(u64::from(facts.count));
        let mut at = self.paid_before.load(Relaxed).max(facts.first.0);
        while at < end {
            let after = at.checked_sub(1).map(Position);
            let page = match reader.list(&Filter::default(), after, PAGE_LEN) {
                Ok(page) => page,
                Err(ReadError::Io(error)) => return Err(error),
                Err(ReadError::Damaged(_)) => return Ok(false),
            };
            let owed = |receipt: &Receipt| {
                receipt.payment.is_some() && receipt.bill > Tal::ZERO && is_unpaid(receipt)
            };
            // A page goes on into the next segment, whose bills are another question.
            let own = || page.receipts.iter().filter(|(position, ..)| position.0 < end);
            let unpaid = own().find(|(_, _, receipt, _)| owed(receipt));
            let unpaid = unpaid.map(|(position, ..)| position.0);
            let is_whole = page.receipts.len() == PAGE_LEN;
            let next = own().last().filter(|_| is_whole).map(|(position, ..)| position.next());
            at = unpaid.unwrap_or(next.map_or(end, |next| next.0));
            self.paid_before.store(at, Relaxed);
            if unpaid.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
