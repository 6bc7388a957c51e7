//! Which segments there are, shared by the writer, the readers and the keeper.
//!
//! Invariant: a commit is in the view only after its sync. The view's lock is held for moves and look-ups in
//! memory, never for the disk.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::format::{RECORDS_AT, SegmentHeader};
use super::index::{
    Facts, Key, LiveIndex, Row, RowNumber, SealedIndex, Sealing, SegmentFacts, Spoilt,
};
use super::keeper::{Spare, make_segment};
use super::open::{Replay, index_segment};
use super::place::Place;
use super::reader::ReadError;
use super::recover::Scan;
use super::{CommitNumber, JournalOptions, Position, SegmentNumber};
use crate::store::Epoch;
use crate::store::disk::{Disk, DiskFile, replace};

/// What a look-up looks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    Id(Key),
    Payment(Key),
}

/// A segment whose index is in memory: the one in use, or a full one whose index is not written yet.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) index: LiveIndex,
    pub(super) end: u64,
    pub(super) first: Position,
    pub(super) first_commit: CommitNumber,
    pub(super) last_commit: CommitNumber,
}

impl Live {
    pub(super) fn sealing(&self) -> Sealing {
        Sealing {
            segment: self.header.segment,
            salt: self.header.salt,
            end: self.end,
            first_commit: self.first_commit,
            last_commit: self.last_commit,
            first: self.first,
        }
    }

    pub(super) fn encode_index(&self) -> Vec<u8> {
        self.index.encode(&self.sealing())
    }

    pub(super) fn place(&self) -> Place {
        Place { file: Arc::clone(&self.file), header: self.header, first: self.first }
    }

    pub(super) fn rows(&self, wanted: Wanted) -> Vec<(RowNumber, Row)> {
        match wanted {
            Wanted::Id(key) => self.index.by_id(key).collect(),
            Wanted::Payment(key) => self.index.by_payment(key).collect(),
        }
    }

    pub(super) fn next_position(&self) -> Position {
        Position(self.first.0 + u64::from(self.index.count()))
    }

    /// The row of a position, if it is not before this segment.
    pub(super) fn row_number(&self, at: Position) -> Option<RowNumber> {
        self.first.row_of(at)
    }
}

/// A full segment.
#[derive(Debug)]
pub(super) enum Older {
    InMemory(Arc<Live>),
    OnDisk { header: SegmentHeader, index: SealedIndex },
}

impl Older {
    pub(super) fn facts(&self) -> SegmentFacts {
        match self {
            Self::InMemory(live) => live.index.facts(&live.sealing()),
            Self::OnDisk { index, .. } => index.facts,
        }
    }

    pub(super) fn header(&self) -> &SegmentHeader {
        match self {
            Self::InMemory(live) => &live.header,
            Self::OnDisk { header, .. } => header,
        }
    }

    pub(super) fn place(&self, shared: &Shared) -> io::Result<Place> {
        match self {
            Self::InMemory(live) => Ok(live.place()),
            Self::OnDisk { header, index } => {
                let file = shared.open_segment(header.segment)?;
                Ok(Place { file, header: *header, first: index.facts.first })
            }
        }
    }

    /// Rows that may be what is wanted, newest first.
    pub(super) fn rows(
        &self,
        shared: &Shared,
        wanted: Wanted,
    ) -> io::Result<Result<Vec<(RowNumber, Row)>, Spoilt>> {
        let (segment, index) = match self {
            Self::InMemory(live) => return Ok(Ok(live.rows(wanted))),
            Self::OnDisk { header, index } => (header.segment, index),
        };
        let Some(file) = shared.open_index(segment)? else { return Ok(Err(Spoilt)) };
        let numbers = match wanted {
            Wanted::Id(key) => index.by_id(&*file, key)?,
            Wanted::Payment(key) => index.by_payment(&*file, key)?,
        };
        let Ok(numbers) = numbers else { return Ok(Err(Spoilt)) };
        let mut rows = Vec::with_capacity(numbers.len());
        for number in numbers {
            match index.rows_from(&*file, number)? {
                Ok(found) if !found.is_empty() => rows.push((number, found[0])),
                _ => return Ok(Err(Spoilt)),
            }
        }
        Ok(Ok(rows))
    }

    /// Some rows starting with this one; none at the end.
    pub(super) fn rows_from(
        &self,
        shared: &Shared,
        number: RowNumber,
    ) -> io::Result<Result<Vec<Row>, Spoilt>> {
        match self {
            Self::InMemory(live) => Ok(Ok(live.index.rows_from(number).to_vec())),
            Self::OnDisk { header, index } => match shared.open_index(header.segment)? {
                Some(file) => index.rows_from(&*file, number),
                None => Ok(Err(Spoilt)),
            },
        }
    }
}

#[derive(Debug)]
pub(super) struct View {
    /// Full segments, oldest first.
    pub(super) older: Arc<Vec<Arc<Older>>>,
    pub(super) live: Live,
}

/// What the writer, the readers and the keeper share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: JournalOptions,
    view: RwLock<View>,
    /// The segment made ahead. Held while one is made, so that nobody makes it twice.
    spare: Mutex<Option<Spare>>,
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        view: View,
        spare: Option<Spare>,
    ) -> Self {
        Self { disk, options, view: RwLock::new(view), spare: Mutex::new(spare) }
    }

    // The view is changed by moves of whole values only, so a panic elsewhere cannot leave it half-made:
    // poisoning says nothing here.

    pub(super) fn view<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        read(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a synced commit visible.
    pub(super) fn publish(&self, record_at: u64, end: u64, commit: CommitNumber, facts: &[Facts]) {
        self.change(|view| {
            view.live.index.extend(record_at, facts.iter().copied());
            view.live.end = end;
            view.live.last_commit = commit;
        });
    }

    /// The spare becomes the segment in use.
    pub(super) fn turn_over(&self, spare: &Spare, first: Position, next: CommitNumber) {
        let fresh = Live {
            header: spare.header,
            file: Arc::clone(&spare.file),
            index: LiveIndex::default(),
            end: RECORDS_AT,
            first,
            first_commit: next,
            last_commit: next,
        };
        self.change(|view| {
            let full = std::mem::replace(&mut view.live, fresh);
            Arc::make_mut(&mut view.older).push(Arc::new(Older::InMemory(Arc::new(full))));
        });
    }

    pub(super) fn take_spare(&self, segment: SegmentNumber) -> io::Result<Spare> {
        let mut slot = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.take() {
            Some(spare) if spare.header.segment == segment => Ok(spare),
            _ => make_segment(&*self.disk, &self.options, segment),
        }
    }

    pub(super) fn prepare_spare(&self) -> io::Result<()> {
        let mut slot = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            // Under the lock nobody turns over, so this is the number that will be asked for.
            let next = self.view(|view| view.live.header.segment.next());
            *slot = Some(make_segment(&*self.disk, &self.options, next)?);
        }
        Ok(())
    }

    pub(super) fn older(&self) -> Arc<Vec<Arc<Older>>> {
        self.view(|view| Arc::clone(&view.older))
    }

    /// Bodies of older epochs are named by no receipt. A commit names bodies of its own segment's epoch or of
    /// the two before: [`JournalReader::takes_epoch`](super::JournalReader::takes_epoch) sees to it.
    pub(super) fn oldest_epoch(&self) -> Epoch {
        let segment = self.view(|view| {
            view.older.first().map_or(view.live.header.segment, |older| older.header().segment)
        });
        Epoch(segment.0.saturating_sub(2))
    }

    /// Reads from the index file what was in memory.
    pub(super) fn adopt_index(&self, live: &Live) -> io::Result<()> {
        let header = live.header;
        let read = match self.open_index(header.segment)? {
            Some(file) => SealedIndex::read(&*file, header.segment, header.salt)?,
            None => Err(Spoilt),
        };
        let Ok(index) = read else {
            return Err(io::Error::other("an index reads back otherwise than it was written"));
        };
        self.put_older(Older::OnDisk { header, index });
        Ok(())
    }

    fn put_older(&self, changed: Older) {
        let segment = changed.header().segment;
        self.change(|view| {
            for older in Arc::make_mut(&mut view.older) {
                if older.header().segment == segment {
                    *older = Arc::new(changed);
                    return;
                }
            }
        });
    }

    /// Removes the oldest segment. Its own name goes first and durably, so that no gap can ever open
    /// behind an older segment that is still there.
    pub(super) fn drop_oldest(&self, segment: SegmentNumber) -> io::Result<()> {
        let folder = &self.options.folder;
        self.change(|view| {
            Arc::make_mut(&mut view.older).retain(|older| older.header().segment != segment);
        });
        self.disk.remove(&segment.file(folder))?;
        self.disk.sync_folder(folder)?;
        let index = format!("{folder}/{}", segment.index());
        if self.disk.open(&index)?.is_some() {
            self.disk.remove(&index)?;
        }
        Ok(())
    }

    fn open_index(&self, segment: SegmentNumber) -> io::Result<Option<Arc<dyn DiskFile>>> {
        self.disk.open(&format!("{}/{}", self.options.folder, segment.index()))
    }

    fn open_segment(&self, segment: SegmentNumber) -> io::Result<Arc<dyn DiskFile>> {
        let name = segment.file(&self.options.folder);
        self.disk.open(&name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes a spoilt index again from its segment.
    pub(super) fn rebuild(&self, older: &Older) -> Result<Arc<Older>, ReadError> {
        let header = *older.header();
        let file = self.open_segment(header.segment)?;
        let scan = Scan::of(&*file, header)?;
        scan.whole()?;
        let live = Arc::new(index_segment(&scan, file, &mut Replay::default())?);
        replace(&*self.disk, &self.options.folder, &header.segment.index(), &live.encode_index())?;
        self.adopt_index(&live)?;
        Ok(Arc::new(Older::InMemory(live)))
    }
}
