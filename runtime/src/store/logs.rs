//! What guests wrote to their log, for the owner of the function: one bounded ring per function.
//!
//! ```text
//! <folder>/<function digest>/<first cursor>.log     at most two, the older one is dropped whole
//! entry   0  4  length of the text      4  4  CRC32 of 8..      8  8  cursor
//!        16  8  time, ns since 1970    24 32  digest of the receipt's CID    56  .. text
//! ```
//! Durability: an entry is with the system when `append` returns; it survives a killed process, and a power
//! cut only once the system has written it back. A log is not part of any bill.
//! Invariant: cursors of one function rise by one; a reader that was overtaken goes on at the oldest entry.
//! Absent: who may read. The gateway asks for the owner's signature.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use talea_ledger::{Digest, FunctionId, ReceiptId, UnixNanos};

use super::disk::{Disk, DiskFile, read_whole};

/// Bytes of one file of a ring; a function's log takes twice that at most. At 200 bytes per line the
/// newest 5,000 lines are there.
const FILE_LEN_MAX: u64 = 1 << 20;
/// Rings whose end is known without reading. 256 of them cost 256 open files.
const OPEN_RINGS_MAX: usize = 256;
const HEAD_LEN: usize = 56;

/// Number of an entry in a function's log, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCursor(pub u64);

/// What one run wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number.
    pub cursor: LogCursor,
    /// When the run's receipt was made.
    pub at: UnixNanos,
    /// The run's receipt.
    pub receipt: ReceiptId,
    /// What the guest wrote, as it wrote it.
    pub text: Bytes,
}

/// Entries in order.
#[derive(Debug, Clone, Default)]
pub struct LogPage {
    /// The entries.
    pub entries: Vec<LogEntry>,
    /// Whether there are more behind the last one.
    pub has_more: bool,
}

/// Called after an entry of this function was appended, for those who follow.
type Notify = Box<dyn Fn(FunctionId) + Send + Sync>;

/// The logs of all functions.
pub struct LogShelf {
    disk: Arc<dyn Disk>,
    folder: String,
    notify: Notify,
    open: Mutex<OpenRings>,
}

#[derive(Debug, Default)]
struct OpenRings {
    rings: HashMap<FunctionId, Ring>,
    clock: u64,
}

/// The end of one function's log.
#[derive(Debug)]
struct Ring {
    file: Option<Arc<dyn DiskFile>>,
    end: u64,
    next: LogCursor,
    used: u64,
}

impl LogShelf {
    /// The logs in a folder of the disk. `notify` must return at once.
    pub fn open(disk: Arc<dyn Disk>, folder: &str, notify: Notify) -> io::Result<Self> {
        disk.create_folder(folder)?;
        Ok(Self { disk, folder: folder.into(), notify, open: Mutex::default() })
    }

    /// Appends what a run wrote; a text longer than a file of the ring is cut at its end.
    pub fn append(
        &self,
        function: FunctionId,
        at: UnixNanos,
        receipt: ReceiptId,
        text: &[u8],
    ) -> io::Result<LogCursor> {
        let text_len_max = usize::try_from(FILE_LEN_MAX).unwrap_or(usize::MAX) - HEAD_LEN;
        let text = &text[..text.len().min(text_len_max)];
        let cursor = {
            let mut open = self.rings();
            let ring = self.ring(&mut open, function)?;
            let entry = encode(ring.next, at, receipt, text);
            self.write(function, ring, &entry)?
        };
        (self.notify)(function);
        Ok(cursor)
    }

    /// Entries behind a cursor, or from the oldest.
    pub fn read(
        &self,
        function: FunctionId,
        after: Option<LogCursor>,
        limit: usize,
    ) -> io::Result<LogPage> {
        let mut page = LogPage::default();
        for name in self.files(function)? {
            let Some(file) = self.disk.open(&name)? else { continue };
            let mut bytes = Bytes::from(read_whole(&*file, FILE_LEN_MAX)?);
            while let Some(entry) = decode(&mut bytes) {
                if after.is_some_and(|after| entry.cursor <= after) {
                    continue;
                }
                if page.entries.len() == limit {
                    page.has_more = true;
                    return Ok(page);
                }
                page.entries.push(entry);
            }
        }
        Ok(page)
    }

    fn write(&self, function: FunctionId, ring: &mut Ring, entry: &[u8]) -> io::Result<LogCursor> {
        let len = entry.len() as u64;
        let file = match &ring.file {
            Some(file) if ring.end + len <= FILE_LEN_MAX => Arc::clone(file),
            _ => {
                let files = self.files(function)?;
                // The new file makes two: everything but the newest goes.
                for old in files.iter().rev().skip(1) {
                    self.disk.remove(old)?;
                }
                let file = self.disk.create(&self.file(function, ring.next))?;
                (ring.file, ring.end) = (Some(Arc::clone(&file)), 0);
                file
            }
        };
        file.write_all_at(entry, ring.end)?;
        let cursor = ring.next;
        ring.end += len;
        ring.next = LogCursor(cursor.0 + 1);
        Ok(cursor)
    }

    fn ring<'a>(&self, open: &'a mut OpenRings, function: FunctionId) -> io::Result<&'a mut Ring> {
        open.clock += 1;
        let now = open.clock;
        if !open.rings.contains_key(&function) {
            if open.rings.len() >= OPEN_RINGS_MAX {
                let oldest = open.rings.iter().min_by_key(|(_, ring)| ring.used).map(|(f, _)| *f);
                oldest.map(|oldest| open.rings.remove(&oldest));
            }
            let ring = self.load(function)?;
            open.rings.insert(function, ring);
        }
        let ring = open.rings.get_mut(&function).expect("it was just put there");
        ring.used = now;
        Ok(ring)
    }

    /// Finds the end of a log. What follows the last whole entry is written over.
    fn load(&self, function: FunctionId) -> io::Result<Ring> {
        self.disk.create_folder(&self.ring_folder(function))?;
        let mut ring = Ring { file: None, end: 0, next: LogCursor(1), used: 0 };
        let Some(name) = self.files(function)?.pop() else { return Ok(ring) };
        ring.next = cursor_of(&name).unwrap_or(ring.next);
        if let Some(file) = self.disk.open(&name)? {
            let whole = Bytes::from(read_whole(&*file, FILE_LEN_MAX)?);
            let mut rest = whole.clone();
            while let Some(entry) = decode(&mut rest) {
                ring.next = LogCursor(entry.cursor.0 + 1);
            }
            ring.end = (whole.len() - rest.len()) as u64;
            ring.file = Some(file);
        }
        Ok(ring)
    }

    fn files(&self, function: FunctionId) -> io::Result<Vec<String>> {
        let folder = self.ring_folder(function);
        let names = self.disk.list(&folder)?;
        Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
    }

    fn file(&self, function: FunctionId, first: LogCursor) -> String {
        format!("{}/{:016}.log", self.ring_folder(function), first.0)
    }

    fn ring_folder(&self, function: FunctionId) -> String {
        format!("{}/{}", self.folder, function.digest())
    }

    fn rings(&self) -> MutexGuard<'_, OpenRings> {
        // A ring's fields are set after its write: a panic between leaves them as they were.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogShelf").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn cursor_of(file: &str) -> Option<LogCursor> {
    let name = file.rsplit('/').next()?.strip_suffix(".log")?;
    name.parse().ok().map(LogCursor)
}

fn encode(cursor: LogCursor, at: UnixNanos, receipt: ReceiptId, text: &[u8]) -> Vec<u8> {
    let len = u32::try_from(text.len()).expect("the caller cuts the text to a file's length");
    let mut bytes = Vec::with_capacity(HEAD_LEN + text.len());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&cursor.0.to_le_bytes());
    bytes.extend_from_slice(&at.0.to_le_bytes());
    bytes.extend_from_slice(receipt.digest().as_bytes());
    bytes.extend_from_slice(text);
    let crc = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Takes one entry off the front; `None`, and nothing taken, if it is not whole.
fn decode(bytes: &mut Bytes) -> Option<LogEntry> {
    let (head, _) = bytes.split_first_chunk::<HEAD_LEN>()?;
    let head = *head;
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let len = usize::try_from(number(0) & 0xffff_ffff).ok()?;
    let crc = u32::try_from(number(0) >> 32).ok()?;
    let end = HEAD_LEN.checked_add(len)?;
    if crc32fast::hash(bytes.get(8..end)?) != crc {
        return None;
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&head[24..]);
    let text = bytes.split_to(end).slice(HEAD_LEN..);
    Some(LogEntry {
        cursor: LogCursor(number(8)),
        at: UnixNanos(number(16)),
        receipt: ReceiptId::from_digest(Digest::new(digest)),
        text,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::disk::simulated::SimulatedDisk;
    use super::*;

    fn function() -> FunctionId {
        FunctionId::of(b"function")
    }

    fn shelf(disk: &SimulatedDisk) -> LogShelf {
        LogShelf::open(Arc::new(disk.clone()), "logs", Box::new(|_| {})).unwrap()
    }

    fn append(shelf: &LogShelf, text: &[u8]) -> u64 {
        shelf.append(function(), UnixNanos(5), ReceiptId::of(text), text).unwrap().0
    }

    #[test]
    fn entries_read_back_in_pages_and_over_a_restart() {
        let disk = SimulatedDisk::new();
        let first = shelf(&disk);
        assert_eq!((append(&first, b"one"), append(&first, b"two")), (1, 2));
        let again = shelf(&disk);
        assert_eq!(append(&again, b"three"), 3);
        let page = again.read(function(), None, 2).unwrap();
        assert!(page.has_more);
        assert_eq!(page.entries[1].text, &b"two"[..]);
        assert_eq!(page.entries[1].receipt, ReceiptId::of(b"two"));
        let page = again.read(function(), Some(page.entries[1].cursor), 2).unwrap();
        assert!(!page.has_more);
        assert_eq!(page.entries[0].text, &b"three"[..]);
        assert!(again.read(FunctionId::of(b"other"), None, 2).unwrap().entries.is_empty());
    }

    #[test]
    fn a_torn_entry_is_written_over() {
        let disk = SimulatedDisk::new();
        append(&shelf(&disk), b"one");
        append(&shelf(&disk), b"two");
        let file = format!("logs/{}/{:016}.log", function().digest(), 1);
        disk.damage(&file, |bytes| bytes.truncate(HEAD_LEN * 2 + 4));
        let again = shelf(&disk);
        assert_eq!(append(&again, b"deux"), 2);
        assert_eq!(again.read(function(), None, 9).unwrap().entries[1].text, &b"deux"[..]);
    }

    #[test]
    fn a_ring_has_a_bound_and_keeps_the_newest() {
        let disk = SimulatedDisk::new();
        let shelf = shelf(&disk);
        let line = vec![b'x'; 300_000];
        for expected in 1..=20 {
            assert_eq!(append(&shelf, &line), expected);
        }
        let files = shelf.files(function()).unwrap();
        let len: usize = files.iter().map(|name| disk.bytes(name).len()).sum();
        assert!(files.len() == 2 && len as u64 <= 2 * FILE_LEN_MAX, "{files:?}, {len}");
        let page = shelf.read(function(), Some(LogCursor(2)), 9).unwrap();
        assert_eq!(page.entries.last().unwrap().cursor, LogCursor(20));
        assert!(page.entries[0].cursor > LogCursor(10));
    }

    #[test]
    fn those_who_follow_are_told() {
        let told = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&told);
        let notify = move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let disk = Arc::new(SimulatedDisk::new());
        let shelf = LogShelf::open(disk, "logs", Box::new(notify)).unwrap();
        append(&shelf, b"one");
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }
}
