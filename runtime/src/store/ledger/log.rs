//! The log: commits of records, appended and synced.
//!
//! # Durability
//! `append` returns when all its records are on the disk. One commit is under way at a time, so a power cut tears
//! the last one at most, which nobody was answered for; it is cut at the next open. A bad commit with a later one
//! behind it, or one that the database has seen, was answered: that is damage, the open names its place and stops.
//! After a failed write nothing is written until the log has been opened again.
//!
//! # Pruning
//! A full segment can be written again with fewer records: its commits keep their numbers, its file is replaced whole.
//! Which records may go is not decided here.
//!
//! # Absent
//! Deletion of segments: blocks are the truth.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::format::{
    COMMIT_HEAD_LEN, COMMIT_MAGIC, COMMITS_AT, CommitHead, RECORD_HEAD_LEN, SegmentHead,
};
use crate::store::disk::{Disk, DiskFile, read_whole, replace};

/// A segment is ended when it has this many bytes. Some 25,000 blocks of one transfer each; one is read whole
/// when it is checked.
pub const LOG_SEGMENT_LEN: u64 = 64 << 20;
/// No segment is longer: one commit beyond its length.
const SEGMENT_LEN_MAX: u64 = LOG_SEGMENT_LEN + u32::MAX as u64;

/// Where a log lies and whose it is.
#[derive(Debug)]
pub struct LogOptions {
    /// The folder on the disk.
    pub folder: String,
    /// Bytes after which a segment is ended.
    pub segment_len: u64,
    /// The network: another's log is never continued.
    pub identity: [u8; 32],
    /// Draws the salt of a new segment.
    pub salt: fn() -> u64,
}

/// Where the bytes of a record lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// The segment.
    pub segment: u64,
    /// The byte in its file.
    pub offset: u64,
    /// How many bytes.
    pub len: u32,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// What it is, as the writer has it.
    pub kind: u8,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where they lie.
    pub place: LogPlace,
}

/// Records that were written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCommit {
    /// Its number, from 1.
    pub number: u64,
    /// The segment it lies in.
    pub segment: u64,
    /// The byte after it.
    pub end: u64,
    /// Its records, in order.
    pub records: Vec<LogRecord>,
}

/// A place whose bytes are not what was written there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file} is damaged at byte {offset}: {reason}")]
pub struct LogDamage {
    /// The file.
    pub file: String,
    /// The byte.
    pub offset: u64,
    /// What is wrong.
    pub reason: &'static str,
}

/// Why a log cannot be used.
#[derive(Debug, Error)]
pub enum OpenLogError {
    /// The disk did not answer.
    #[error("the ledger's log could not be read")]
    Io(#[from] io::Error),
    /// Something that was synced is not there any more.
    #[error(transparent)]
    Damaged(#[from] LogDamage),
    /// It is another network's.
    #[error(
        "{0} belongs to another network: this folder was used with other parameters or another key"
    )]
    Foreign(String),
}

/// Why nothing was written.
#[derive(Debug, Clone, Error)]
pub enum AppendLogError {
    /// A write failed, now or before.
    #[error("the ledger's log takes no more records since a write failed: {0}")]
    Latched(Arc<str>),
    /// More than a commit can hold.
    #[error("{0} bytes are more than one commit holds")]
    TooLong(usize),
}

/// Why a record was not read.
#[derive(Debug, Error)]
pub enum ReadLogError {
    /// The disk did not answer.
    #[error("the ledger's log could not be read")]
    Io(#[from] io::Error),
    /// The file is not there.
    #[error("{0} is missing")]
    Missing(String),
}

/// The log, open for writing.
pub struct LedgerLog {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    file: Arc<dyn DiskFile>,
    head: SegmentHead,
    end: u64,
    next: u64,
    cut: u64,
    latched: Option<Arc<str>>,
}

/// A handle for reading; clones share everything.
#[derive(Debug, Clone)]
pub struct LedgerLogReader {
    disk: Arc<dyn Disk>,
    folder: String,
}

/// From where on a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    segment: u64,
    offset: u64,
    next: u64,
}

// === impl LedgerLog ===

impl LedgerLog {
    /// Opens the log, making it if there is none, and gives every commit after `seen` (its number, segment and end)
    /// to `visit`, in order.
    pub fn open<E: From<OpenLogError>>(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        seen: Option<(u64, u64, u64)>,
        mut visit: impl FnMut(LogCommit) -> Result<(), E>,
    ) -> Result<Self, E> {
        let start = match seen {
            Some((number, segment, offset)) => {
                Start { segment, offset, next: number.saturating_add(1) }
            }
            None => Start { segment: 1, offset: COMMITS_AT, next: 1 },
        };
        let (file, scan) = Self::prepare(&*disk, &options, start, &mut visit)?;
        let cut = scan.len.saturating_sub(scan.end);
        if cut > 0 {
            file.set_len(scan.end).and_then(|()| file.sync()).map_err(OpenLogError::Io)?;
        }
        Ok(Self {
            disk,
            options,
            file,
            head: scan.head,
            end: scan.end,
            next: scan.next,
            cut,
            latched: None,
        })
    }

    fn prepare<E: From<OpenLogError>>(
        disk: &dyn Disk,
        options: &LogOptions,
        start: Start,
        visit: &mut impl FnMut(LogCommit) -> Result<(), E>,
    ) -> Result<(Arc<dyn DiskFile>, Scan), E> {
        let made = || -> Result<(), OpenLogError> {
            disk.create_folder(&options.folder)?;
            let is_new = disk.open(&name(&options.folder, 1))?.is_none();
            if is_new && start.next == 1 {
                begin(disk, options, 1, 1)?;
            }
            Ok(())
        };
        made()?;
        let mut at = start;
        loop {
            let file_name = name(&options.folder, at.segment);
            let file = disk.open(&file_name).map_err(OpenLogError::Io)?;
            let file = file.ok_or_else(|| {
                let reason = "the file is missing";
                OpenLogError::from(LogDamage { file: file_name.clone(), offset: 0, reason })
            })?;
            let after = name(&options.folder, at.segment.saturating_add(1));
            let is_last = disk.open(&after).map_err(OpenLogError::Io)?.is_none();
            let scan = scan(&*file, &file_name, options, at, is_last, visit)?;
            if is_last {
                return Ok((file, scan));
            }
            at = Start { segment: at.segment + 1, offset: COMMITS_AT, next: scan.next };
        }
    }

    /// Writes records as one commit, and syncs. Gives their places, the commit's number, and its end.
    pub fn append(&mut self, records: &[(u8, Vec<u8>)]) -> Result<LogCommit, AppendLogError> {
        if let Some(first) = &self.latched {
            return Err(AppendLogError::Latched(Arc::clone(first)));
        }
        let len: usize =
            records.iter().map(|(_, bytes)| RECORD_HEAD_LEN + bytes.len()).sum::<usize>();
        let len_32 = u32::try_from(len).map_err(|_| AppendLogError::TooLong(len))?;
        let written = self.write(records, len_32);
        written.map_err(|error| {
            let text: Arc<str> = error.to_string().into();
            self.latched = Some(Arc::clone(&text));
            AppendLogError::Latched(text)
        })
    }

    fn write(&mut self, records: &[(u8, Vec<u8>)], len: u32) -> io::Result<LogCommit> {
        if self.end >= self.options.segment_len {
            let segment = self.head.segment + 1;
            (self.file, self.head) = begin(&*self.disk, &self.options, segment, self.next)?;
            self.end = COMMITS_AT;
        }
        let mut bytes = vec![0; COMMIT_HEAD_LEN];
        bytes.reserve(len as usize);
        let mut placed = Vec::with_capacity(records.len());
        for (kind, record) in records {
            let len = push_record(&mut bytes, *kind, record);
            let offset = self.end + bytes.len() as u64 - u64::from(len);
            let place = LogPlace { segment: self.head.segment, offset, len };
            placed.push(LogRecord { kind: *kind, bytes: record.clone(), place });
        }
        let crc = self.head.crc(len, self.next, &bytes[COMMIT_HEAD_LEN..]);
        let head = CommitHead { len, number: self.next, crc };
        bytes[..COMMIT_HEAD_LEN].copy_from_slice(&head.encode());
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync()?;
        self.end += bytes.len() as u64;
        let number = self.next;
        self.next += 1;
        Ok(LogCommit { number, segment: self.head.segment, end: self.end, records: placed })
    }

    /// Gives every commit of a full segment to `visit`, in order.
    pub fn visit<E: From<OpenLogError>>(
        disk: &dyn Disk,
        options: &LogOptions,
        segment: u64,
        mut visit: impl FnMut(LogCommit) -> Result<(), E>,
    ) -> Result<(), E> {
        full(disk, options, segment, &mut visit).map(drop)
    }

    /// The bytes of a full segment with those of its records that `keeps` wants, and its length as it is.
    pub fn shortened<E: From<OpenLogError>>(
        disk: &dyn Disk,
        options: &LogOptions,
        segment: u64,
        mut keeps: impl FnMut(&LogRecord) -> Result<bool, E>,
    ) -> Result<(Vec<u8>, u64), E> {
        let mut commits = Vec::new();
        let scan = full(disk, options, segment, &mut |commit: LogCommit| -> Result<(), E> {
            let mut kept = Vec::new();
            for record in &commit.records {
                if keeps(record)? {
                    push_record(&mut kept, record.kind, &record.bytes);
                }
            }
            commits.push((commit.number, kept));
            Ok(())
        })?;
        let mut bytes = scan.head.encode();
        for (number, records) in commits {
            // No longer than the records that were there.
            let len = u32::try_from(records.len()).unwrap_or(u32::MAX);
            let crc = scan.head.crc(len, number, &records);
            bytes.extend_from_slice(&CommitHead { len, number, crc }.encode());
            bytes.extend_from_slice(&records);
        }
        Ok((bytes, scan.len))
    }

    /// Puts other bytes in the place of a full segment. There is the old file or the new one, whatever happens.
    pub fn replace(
        disk: &dyn Disk,
        options: &LogOptions,
        segment: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        replace(disk, &options.folder, &base_name(segment), bytes)
    }

    /// Bytes of a torn commit that were cut at open.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Where records are read.
    pub fn reader(&self) -> LedgerLogReader {
        LedgerLogReader { disk: Arc::clone(&self.disk), folder: self.options.folder.clone() }
    }
}

impl std::fmt::Debug for LedgerLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerLog")
            .field("segment", &self.head.segment)
            .field("end", &self.end)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

// === impl LedgerLogReader ===

impl LedgerLogReader {
    /// A reader of the log in a folder.
    pub fn new(disk: Arc<dyn Disk>, folder: &str) -> Self {
        Self { disk, folder: folder.into() }
    }

    /// The bytes of a record. Whether they are what was written is the caller's to see: a block's name is the hash
    /// of its bytes.
    pub fn read(&self, place: LogPlace) -> Result<Vec<u8>, ReadLogError> {
        let file_name = self.file_of(place);
        let file = self.disk.open(&file_name)?.ok_or(ReadLogError::Missing(file_name))?;
        let mut bytes = vec![0; place.len as usize];
        file.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }

    /// The name of the file a place lies in.
    pub fn file_of(&self, place: LogPlace) -> String {
        name(&self.folder, place.segment)
    }
}

/// Appends a record, and gives its length. Each is shorter than the records of one commit together, which fit.
fn push_record(bytes: &mut Vec<u8>, kind: u8, record: &[u8]) -> u32 {
    let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
    bytes.push(kind);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(record);
    len
}

/// Reads a segment that another follows.
fn full<E: From<OpenLogError>>(
    disk: &dyn Disk,
    options: &LogOptions,
    segment: u64,
    visit: &mut impl FnMut(LogCommit) -> Result<(), E>,
) -> Result<Scan, E> {
    let file_name = name(&options.folder, segment);
    let damaged = |reason| LogDamage { file: file_name.clone(), offset: 0, reason };
    let file = disk.open(&file_name).map_err(OpenLogError::Io)?;
    let file = file.ok_or_else(|| OpenLogError::from(damaged("the file is missing")))?;
    let mut head = vec![0; COMMITS_AT as usize];
    file.read_exact_at(&mut head, 0).map_err(OpenLogError::Io)?;
    let head = SegmentHead::decode(&head);
    let head = head.ok_or_else(|| OpenLogError::from(damaged("the head of the segment")))?;
    let start = Start { segment, offset: COMMITS_AT, next: head.first };
    scan(&*file, &file_name, options, start, false, visit)
}

/// What was found in a segment.
struct Scan {
    head: SegmentHead,
    end: u64,
    next: u64,
    len: u64,
}

fn scan<E: From<OpenLogError>>(
    file: &dyn DiskFile,
    file_name: &str,
    options: &LogOptions,
    start: Start,
    is_last: bool,
    visit: &mut impl FnMut(LogCommit) -> Result<(), E>,
) -> Result<Scan, E> {
    let damaged = |offset: u64, reason| {
        OpenLogError::from(LogDamage { file: file_name.to_owned(), offset, reason })
    };
    let bytes = read_whole(file, SEGMENT_LEN_MAX).map_err(OpenLogError::Io)?;
    let head = SegmentHead::decode(&bytes)
        .filter(|head| head.segment == start.segment)
        .ok_or_else(|| damaged(0, "the head of the segment"))?;
    if head.identity != options.identity {
        return Err(OpenLogError::Foreign(file_name.to_owned()).into());
    }
    if start.offset == COMMITS_AT && head.first != start.next {
        return Err(damaged(24, "commits are missing before this segment").into());
    }
    let len = bytes.len() as u64;
    if start.offset > len {
        return Err(damaged(len, "the file ends before what the database has seen").into());
    }
    let (mut at, mut next) = (start.offset, start.next);
    while let Some(commit) = commit_at(&bytes, at, &head, next) {
        (at, next) = (commit.end, next + 1);
        visit(commit)?;
    }
    if at < len && (!is_last || has_later(&bytes, at, &head, next)) {
        return Err(damaged(at, "a commit that was synced").into());
    }
    Ok(Scan { head, end: at, next, len })
}

/// The commit of this number at this place, if it is whole.
fn commit_at(bytes: &[u8], at: u64, head: &SegmentHead, number: u64) -> Option<LogCommit> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let commit = CommitHead::decode(rest).filter(|commit| commit.number == number)?;
    let records = rest.get(COMMIT_HEAD_LEN..)?.get(..commit.len as usize)?;
    if head.crc(commit.len, number, records) != commit.crc {
        return None;
    }
    let begin = at + COMMIT_HEAD_LEN as u64;
    let records = split(records, head.segment, begin)?;
    Some(LogCommit { number, segment: head.segment, end: begin + u64::from(commit.len), records })
}

fn split(bytes: &[u8], segment: u64, begin: u64) -> Option<Vec<LogRecord>> {
    let (mut rest, mut at, mut records) = (bytes, begin, Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<RECORD_HEAD_LEN>() {
        let [kind, len @ ..] = *head;
        let len = u32::from_le_bytes(len);
        let (record, after) = after.split_at_checked(len as usize)?;
        at += RECORD_HEAD_LEN as u64;
        let place = LogPlace { segment, offset: at, len };
        records.push(LogRecord { kind, bytes: record.to_vec(), place });
        at += u64::from(len);
        rest = after;
    }
    rest.is_empty().then_some(records)
}

/// Whether a whole commit of a later number lies behind `at`: then what lies at `at` had been synced.
fn has_later(bytes: &[u8], at: u64, head: &SegmentHead, next: u64) -> bool {
    let from = usize::try_from(at).unwrap_or(usize::MAX).saturating_add(1);
    let places = bytes.get(from..).unwrap_or_default().windows(COMMIT_MAGIC.len()).enumerate();
    places.filter(|(_, window)| **window == COMMIT_MAGIC).any(|(offset, _)| {
        let place = (from + offset) as u64;
        let later = CommitHead::decode(&bytes[from + offset..]);
        later.is_some_and(|later| {
            later.number >= next && commit_at(bytes, place, head, later.number).is_some()
        })
    })
}

fn name(folder: &str, segment: u64) -> String {
    format!("{folder}/{}", base_name(segment))
}

fn base_name(segment: u64) -> String {
    format!("{segment:016x}.log")
}

/// Makes a segment. It gets its name when its head is synced.
fn begin(
    disk: &dyn Disk,
    options: &LogOptions,
    segment: u64,
    first: u64,
) -> io::Result<(Arc<dyn DiskFile>, SegmentHead)> {
    let head = SegmentHead { segment, salt: (options.salt)(), first, identity: options.identity };
    replace(disk, &options.folder, &base_name(segment), &head.encode())?;
    let file = disk.open(&name(&options.folder, segment))?.ok_or(io::ErrorKind::NotFound)?;
    Ok((file, head))
}
