//! What a segment holds: walking its records, and telling a cut from damage.
//!
//! A commit is written and synced before the next one is begun. So the bytes after the last whole commit
//! are one torn commit at most, which nobody was answered for, and may be cut. If the header of a *later*
//! commit lies behind a bad record, that bad record had been synced and answered: it is damage, and
//! nothing may be cut. Header alone is evidence enough: it could not have been written otherwise.
//! Absent: repair. Damage stops the open and names the place; a copy or the operator decides.

use std::io;

use super::format::{
    ALIGN, Kind, RECORD_HEADER_LEN, RECORDS_AT, RecordHeader, SegmentHeader, record_len,
};
use super::{CommitNumber, Damage, DamageReason, SegmentNumber};
use crate::store::disk::{DiskFile, read_whole};

/// One whole record of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) at: u64,
    pub(super) header: RecordHeader,
    pub(super) payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The state before this segment; empty unless this is its first record.
    pub(super) fn checkpoint(&self) -> &'a [u8] {
        &self.payload[..self.header.checkpoint_len as usize]
    }

    /// The batch and what its receipts need; empty in a closing record.
    pub(super) fn batch(&self) -> &'a [u8] {
        &self.payload[self.header.checkpoint_len as usize..]
    }
}

/// A segment's bytes in memory, with its header checked.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) header: SegmentHeader,
    bytes: Vec<u8>,
    records: Vec<u64>,
    /// End of the last whole commit.
    pub(super) end: u64,
    pub(super) last: Option<CommitNumber>,
    tail: Tail,
}

/// What follows the last whole commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    Zero,
    /// A torn commit; its last byte that is not zero lies before this.
    Torn(u64),
    Damaged(Damage),
}

/// Reads the header of a segment. It was synced before the segment got its name: a bad one is damage.
pub(super) fn read_header(
    file: &dyn DiskFile,
    name: SegmentNumber,
) -> io::Result<Result<SegmentHeader, Damage>> {
    let damage = Damage { segment: name, offset: 0, reason: DamageReason::SegmentHeader };
    let mut bytes = [0; RECORDS_AT as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Err(damage)),
        other => other?,
    }
    let len = file.len()?;
    Ok(SegmentHeader::decode(&bytes)
        .filter(|header| header.segment == name && header.len == len)
        .ok_or(damage))
}

impl Scan {
    /// Walks all records of a segment.
    pub(super) fn of(file: &dyn DiskFile, header: SegmentHeader) -> io::Result<Self> {
        let bytes = read_whole(file, header.len)?;
        let mut scan = Self {
            header,
            bytes,
            records: Vec::new(),
            end: RECORDS_AT,
            last: None,
            tail: Tail::Zero,
        };
        scan.walk();
        Ok(scan)
    }

    /// The whole commits' records, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|&at| self.record(at).expect("the walk has checked this record"))
    }

    /// Receipts in the whole commits.
    pub(super) fn receipts(&self) -> u64 {
        self.records().map(|record| u64::from(record.header.receipts)).sum()
    }

    /// Whether anything was ever written behind the header.
    pub(super) fn is_untouched(&self) -> bool {
        self.records.is_empty() && self.tail == Tail::Zero
    }

    /// For the segment whose last commit may be torn: what to overwrite with zeros, if anything.
    pub(super) fn cut(&self) -> Result<Option<std::ops::Range<u64>>, Damage> {
        match self.tail {
            Tail::Zero => Ok(None),
            Tail::Torn(to) => Ok(Some(self.end..to)),
            Tail::Damaged(damage) => Err(damage),
        }
    }

    /// For a segment with a later one in use: every byte of it had been synced.
    pub(super) fn whole(&self) -> Result<(), Damage> {
        match self.tail {
            Tail::Zero => Ok(()),
            Tail::Torn(_) => Err(self.damage(self.end, DamageReason::Record)),
            Tail::Damaged(damage) => Err(damage),
        }
    }

    fn walk(&mut self) {
        let mut at = RECORDS_AT;
        while let Some(record) = self.record(at) {
            let (commit, kind) = (record.header.commit, record.header.kind);
            let len = record_len(record.payload.len()) as u64;
            if !self.is_next(commit, kind) {
                break;
            }
            self.records.push(at);
            at += len;
            self.end = at;
            self.last = Some(commit);
        }
        self.tail = self.judge_tail();
    }

    /// Whether this is the commit that must follow the last whole one.
    fn is_next(&self, commit: CommitNumber, kind: Kind) -> bool {
        match self.last {
            None => kind == Kind::Opening,
            Some(last) => kind != Kind::Opening && commit == last.next(),
        }
    }

    fn judge_tail(&self) -> Tail {
        let end = usize::try_from(self.end).expect("a segment fits in memory");
        let tail = &self.bytes[end..];
        let Some(last_byte) = tail.iter().rposition(|&b| b != 0) else { return Tail::Zero };
        // The torn commit's own header is at the start of the tail; any other one is a later commit's.
        let is_stranger = RecordHeader::decode(tail, &self.header)
            .is_some_and(|header| !self.is_next(header.commit, header.kind));
        let has_later = (ALIGN..=last_byte)
            .step_by(ALIGN)
            .any(|at| RecordHeader::decode(&tail[at..], &self.header).is_some());
        if is_stranger || has_later {
            Tail::Damaged(self.damage(self.end, DamageReason::Record))
        } else {
            Tail::Torn(self.end + last_byte as u64 + 1)
        }
    }

    fn record(&self, at: u64) -> Option<Record<'_>> {
        let rest = self.bytes.get(usize::try_from(at).ok()?..)?;
        let header = RecordHeader::decode(rest, &self.header)?;
        let len = usize::try_from(header.len).ok()?;
        let payload = rest.get(RECORD_HEADER_LEN..RECORD_HEADER_LEN.checked_add(len)?)?;
        (crc32fast::hash(payload) == header.crc).then_some(Record { at, header, payload })
    }

    fn damage(&self, offset: u64, reason: DamageReason) -> Damage {
        Damage { segment: self.header.segment, offset, reason }
    }
}
