//! The journal: every receipt this node has answered for, in the order it was billed.
//!
//! # Format
//! A folder of segments `<number>.seg`, each made and zeroed ahead of its use, since a synced write into a
//! zeroed file costs a third less than one that grows it. A segment is a header and then commits, one
//! record each (`format`); a commit is one signed batch and all that its receipts need (`entry`). The
//! first commit of a segment carries the state of the chain before it, so that a segment needs no other
//! one. Beside each segment that is full lies an index, `<number>.idx` (`index`).
//!
//! # Recovery
//! Opening reads the segment in use and the indexes' headers, nothing else. A torn last commit is cut:
//! nobody was answered for it. Anything else that is not whole stops the open and names the place
//! (`recover`). A missing or spoilt index is made again from its segment.
//!
//! # Durability
//! What `append` was given is on the disk when it returns `Ok`, by one write and one sync.
//!
//! # Invariant
//! Commit numbers rise by one from record to record, over segments too. Positions number the receipts
//! from 0 and never change, also when old segments are dropped. After a failed write or sync every
//! `append` is refused with that first error until the journal has been opened again.
//!
//! # Absent
//! Knowledge of money: the chain decides what is billed, the journal keeps it. Rewriting: no byte of a
//! whole commit is ever changed.

mod entry;
mod format;
mod index;
mod keeper;
mod open;
mod place;
mod reader;
mod recover;
mod tags;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

pub use entry::{BatchDraft, BodyPlace, Particulars, RunBytes};
pub use index::Facts;
pub use keeper::{JournalKeeper, Retention};
pub use open::{OpenError, Opened, Replay};
pub use reader::{Filter, JournalReader, Page, ReadError, StoredReceipt};

use super::disk::DiskFile;
use format::{Draft, Kind, RECORDS_AT, SegmentHeader, record_len, write_record};
use view::Shared;

/// Bytes of a segment. At 1 KiB per receipt about 60,000 receipts: their index fits in a few MiB of
/// memory, and reading the one segment in use takes well under a second at open.
pub const SEGMENT_LEN: u64 = 64 << 20;
/// Bytes of one commit, checkpoint not counted.
pub const COMMIT_LEN_MAX: usize = 8 << 20;
/// Bytes that the chain may keep in a checkpoint.
pub const CHECKPOINT_LEN_MAX: usize = 16 << 20;
/// Room kept at the end of a segment for the record that closes the journal.
const CLOSING_LEN: u64 = format::RECORD_HEADER_LEN as u64;

const _: () = assert!(
    RECORDS_AT + (COMMIT_LEN_MAX + CHECKPOINT_LEN_MAX) as u64 + 4096 + CLOSING_LEN <= SEGMENT_LEN
);

/// Number of a segment, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentNumber(pub u64);

impl SegmentNumber {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }

    fn file(self, folder: &str) -> String {
        format!("{folder}/{self}.seg")
    }

    fn index(self) -> String {
        format!("{self}.idx")
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}", self.0)
    }
}

/// Number of a commit, from 1. It is also the number of the commit's batch; the record that closes the
/// journal takes one too, so batches may skip numbers but never repeat one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitNumber(pub u64);

impl CommitNumber {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Number of a receipt in the journal, from 0. The cursor of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Position {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The row of `at` in a segment that starts at this position, if it is not before it.
    fn row_of(self, at: Self) -> Option<index::RowNumber> {
        at.0.checked_sub(self.0).and_then(|row| u32::try_from(row).ok()).map(index::RowNumber)
    }
}

/// Whose journal this is: a digest of host key and network. Another host's journal is refused at open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalIdentity(pub [u8; 32]);

/// Where a journal lies and how it is cut.
#[derive(Clone)]
pub struct JournalOptions {
    /// Folder below the disk's root.
    pub folder: String,
    /// Bytes per segment; [`SEGMENT_LEN`] but in tests.
    pub segment_len: u64,
    /// Whose journal this is.
    pub identity: JournalIdentity,
    /// Draws the salt of a new segment.
    pub salt: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for JournalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalOptions")
            .field("folder", &self.folder)
            .field("segment_len", &self.segment_len)
            .finish_non_exhaustive()
    }
}

/// A place that does not hold what was written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("segment {segment} is damaged at byte {offset}: {reason}")]
pub struct Damage {
    /// The segment.
    pub segment: SegmentNumber,
    /// Offset of the record that is not whole.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: DamageReason,
}

/// What is wrong at a damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DamageReason {
    /// The header of the segment is not one.
    #[error("this is not a segment of that number and length")]
    SegmentHeader,
    /// A record is not whole although a later one was written.
    #[error("a record is not whole, and a later one was written")]
    Record,
    /// The commits of two segments do not follow each other.
    #[error("the first commit does not follow the segment before")]
    Order,
    /// A record is whole but does not hold what its kind holds.
    #[error("a record does not hold a batch of receipts")]
    Content,
}

/// Why nothing was appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// An earlier write failed; what is on the disk is known only after the journal is opened again.
    #[error("the journal takes no more receipts since a write failed: {0}")]
    Latched(Arc<str>),
    /// There is no room for another segment. Nothing was written; later calls try again.
    #[error("the disk has no room for another segment of the journal")]
    Full,
    /// The commit is larger than any may be. Nothing was written.
    #[error("a commit of {0} bytes is larger than the journal takes")]
    TooLarge(usize),
}

/// The one writer of a journal.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    file: Arc<dyn DiskFile>,
    header: SegmentHeader,
    end: u64,
    next: CommitNumber,
    position: Position,
    latched: Option<Arc<str>>,
}

/// One commit that is on the disk.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Its number.
    pub commit: CommitNumber,
    /// Position of its first receipt.
    pub first: Position,
    /// Payloads of its receipts, in order. They share one buffer.
    pub receipts: Vec<Bytes>,
}

impl Journal {
    /// The number that the next commit will have.
    pub fn next_commit(&self) -> CommitNumber {
        self.next
    }

    /// The position that the next receipt will have.
    pub fn next_position(&self) -> Position {
        self.position
    }

    /// A handle for readers.
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(Arc::clone(&self.shared))
    }

    /// A handle for the work beside the commits: making segments, writing indexes, dropping old ones.
    pub fn keeper(&self) -> JournalKeeper {
        JournalKeeper::new(Arc::clone(&self.shared))
    }

    /// Appends one batch with its signature. Durable, and visible to readers, when it returns `Ok`.
    ///
    /// `checkpoint` writes the state of the chain *before* this batch; it is asked for only when the
    /// batch opens a new segment.
    pub fn append(
        &mut self,
        draft: &BatchDraft,
        sealed: &[u8],
        checkpoint: &dyn Fn(&mut Vec<u8>),
    ) -> Result<Appended, AppendError> {
        debug_assert!(!draft.is_empty(), "a batch has at least one receipt");
        assert_eq!(draft.facts().len(), draft.count() as usize, "every receipt can be found");
        if let Some(error) = &self.latched {
            return Err(AppendError::Latched(Arc::clone(error)));
        }
        let len = draft.len() + sealed.len();
        if len > COMMIT_LEN_MAX {
            return Err(AppendError::TooLarge(len));
        }
        let mut state = Vec::new();
        if self.end == RECORDS_AT || !self.has_room(record_len(len)) {
            state.extend_from_slice(&self.position.0.to_le_bytes());
            checkpoint(&mut state);
            debug_assert!(state.len() <= CHECKPOINT_LEN_MAX);
        }
        if self.end > RECORDS_AT && !state.is_empty() {
            self.turn_over()?;
        }
        if !self.has_room(record_len(len + state.len())) {
            return Err(AppendError::TooLarge(len + state.len()));
        }
        let kind = if state.is_empty() { Kind::Batch } else { Kind::Opening };
        let head = draft.head(sealed);
        let batch = draft.parts(&head, sealed);
        let mut record = Vec::with_capacity(record_len(len + state.len()));
        let (commit, receipts) = (self.next, draft.count());
        let parts = Draft { commit, kind, receipts, checkpoint: &state, batch: &batch };
        write_record(&mut record, &self.header, parts);
        let record_at = self.end;
        self.write(&record)?;
        let first = self.position;
        self.position = Position(first.0 + u64::from(receipts));
        self.shared.publish(record_at, self.end, commit, draft.facts());
        let receipts_at = format::RECORD_HEADER_LEN + state.len() + draft.receipts_at(sealed);
        let receipts = slices(Bytes::from(record), receipts_at, draft.receipts().map(<[u8]>::len));
        Ok(Appended { commit, first, receipts })
    }

    /// Marks the last commit as whole and ends the writer. A journal that was not closed opens as well;
    /// but a bit that flips in its last commit is then taken for a torn write.
    pub fn close(mut self) -> Result<(), AppendError> {
        if let Some(error) = &self.latched {
            return Err(AppendError::Latched(Arc::clone(error)));
        }
        if self.end == RECORDS_AT {
            return Ok(());
        }
        let mut record = Vec::new();
        let commit = self.next;
        let draft = Draft { commit, kind: Kind::Closed, receipts: 0, checkpoint: &[], batch: &[] };
        write_record(&mut record, &self.header, draft);
        self.write(&record)
    }

    fn has_room(&self, record: usize) -> bool {
        self.end + record as u64 + CLOSING_LEN <= self.header.len
    }

    /// One write, one sync. Only after both is the commit part of the journal.
    fn write(&mut self, record: &[u8]) -> Result<(), AppendError> {
        let written = self.file.write_all_at(record, self.end).and_then(|()| self.file.sync());
        if let Err(error) = written {
            return Err(self.latch(&error));
        }
        self.end += record.len() as u64;
        self.next = self.next.next();
        Ok(())
    }

    /// Goes on in the next segment. The old one has no torn commit: its last one was synced.
    fn turn_over(&mut self) -> Result<(), AppendError> {
        let spare = match self.shared.take_spare(self.header.segment.next()) {
            Ok(spare) => spare,
            Err(error) if is_full(&error) => return Err(AppendError::Full),
            Err(error) => return Err(self.latch(&error)),
        };
        self.shared.turn_over(&spare, self.position, self.next);
        (self.file, self.header) = (spare.file, spare.header);
        self.end = RECORDS_AT;
        Ok(())
    }

    fn latch(&mut self, error: &io::Error) -> AppendError {
        let error = self.latched.get_or_insert_with(|| error.to_string().into());
        AppendError::Latched(Arc::clone(error))
    }
}

/// Whether an error only says that the disk has no room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn slices(record: Bytes, at: usize, lens: impl Iterator<Item = usize>) -> Vec<Bytes> {
    let mut at = at;
    lens.map(|len| {
        let slice = record.slice(at..at + len);
        at += len;
        slice
    })
    .collect()
}
