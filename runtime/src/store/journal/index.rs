//! Where the receipts of one segment lie: in memory while it is written, a file beside it afterwards.
//!
//! ```text
//! file   0  8  magic "TALEAX01"        48  8  position of the first receipt
//!        8  8  segment                 56  4  receipts, n
//!       16  8  salt of the segment     60  4  of them paid, m
//!       24  8  end of the records      64  8  time of the newest receipt
//!       32  8  first commit            72  8  time of the newest paid receipt
//!       40  8  last commit             80  .. 256 x (first entry u32, CRC32 u32) by id, then 256 by payment
//!     4176  4  CRC32 of all before
//!     4180  .. n x (8-byte key of the id, u32 row), sorted
//!           .. m x (8-byte key of channel and sequence, u32 row), sorted
//!           .. rows in chunks of 128, each followed by its CRC32
//! row    0  4  offset of the record / 8      4  4  index in the batch
//!        8  4  function   12  4  payer   16  4  channel     (first bytes of each; zero if free)
//! ```
//! Every part that a look-up reads is under a CRC: a bucket of the key's first byte, or a chunk of rows.
//! Keys are prefixes: what an index finds is a candidate, and the reader compares with the receipt.
//! Invariant: a file is a function of its segment. A missing or damaged one is made again from there.

use std::collections::HashMap;
use std::io;

use super::format::{Salt, u32_at, u64_at};
use super::{CommitNumber, Position, SegmentNumber};
use crate::store::disk::DiskFile;

const MAGIC: [u8; 8] = *b"TALEAX01";
const BUCKETS: usize = 256;
const FACTS_LEN: usize = 80;
const FANOUT_LEN: usize = BUCKETS * 8;
const HEADER_LEN: usize = FACTS_LEN + 2 * FANOUT_LEN + 4;
const ENTRY_LEN: usize = 12;
const ROW_LEN: usize = 20;
/// A look-up of one row reads 2.5 KiB; a list reads chunk after chunk.
const CHUNK_ROWS: usize = 128;
const CHUNK_LEN: usize = CHUNK_ROWS * ROW_LEN + 4;

/// First bytes of a digest, by which receipts and payments are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u64);

impl Key {
    /// The key of a digest: its first eight bytes, so that keys sort as digests do.
    pub(super) fn of(digest: &[u8; 32]) -> Self {
        Self(u64::from_be_bytes(super::format::array_at(digest, 0)))
    }

    fn bucket(self) -> usize {
        usize::from(self.0.to_be_bytes()[0])
    }
}

/// First bytes of an id, by which a list skips what cannot match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u32);

impl Tag {
    pub(super) fn of(bytes: &[u8; 32]) -> Self {
        Self(u32_at(bytes, 0))
    }
}

/// What the index keeps of one receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub(super) id: Key,
    pub(super) payment: Option<Key>,
    pub(super) function: Tag,
    pub(super) payer: Tag,
    pub(super) channel: Tag,
    pub(super) at: u64,
}

/// Number of a receipt within its segment, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowNumber(pub(super) u32);

/// Where one receipt lies, and what lists filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Offset of the record / 8.
    at: u32,
    pub(super) index: u32,
    pub(super) function: Tag,
    pub(super) payer: Tag,
    pub(super) channel: Tag,
}

impl Row {
    pub(super) fn record_at(&self) -> u64 {
        u64::from(self.at) * super::format::ALIGN as u64
    }

    fn encode(&self, into: &mut Vec<u8>) {
        for field in [self.at, self.index, self.function.0, self.payer.0, self.channel.0] {
            into.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            at: u32_at(bytes, 0),
            index: u32_at(bytes, 4),
            function: Tag(u32_at(bytes, 8)),
            payer: Tag(u32_at(bytes, 12)),
            channel: Tag(u32_at(bytes, 16)),
        }
    }
}

/// Facts about a segment as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    pub(super) segment: SegmentNumber,
    pub(super) salt: Salt,
    pub(super) end: u64,
    pub(super) first_commit: CommitNumber,
    pub(super) last_commit: CommitNumber,
    pub(super) first: Position,
    pub(super) count: u32,
    paid: u32,
    pub(super) newest: u64,
    pub(super) newest_paid: u64,
}

impl SegmentFacts {
    fn encode(&self, into: &mut Vec<u8>) {
        let numbers = [
            self.segment.0,
            self.salt.0,
            self.end,
            self.first_commit.0,
            self.last_commit.0,
            self.first.0,
        ];
        for number in numbers {
            into.extend_from_slice(&number.to_le_bytes());
        }
        for count in [self.count, self.paid] {
            into.extend_from_slice(&count.to_le_bytes());
        }
        for time in [self.newest, self.newest_paid] {
            into.extend_from_slice(&time.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            segment: SegmentNumber(u64_at(bytes, 8)),
            salt: Salt(u64_at(bytes, 16)),
            end: u64_at(bytes, 24),
            first_commit: CommitNumber(u64_at(bytes, 32)),
            last_commit: CommitNumber(u64_at(bytes, 40)),
            first: Position(u64_at(bytes, 48)),
            count: u32_at(bytes, 56),
            paid: u32_at(bytes, 60),
            newest: u64_at(bytes, 64),
            newest_paid: u64_at(bytes, 72),
        }
    }
}

/// Rows by key; rows of one key are chained, newest first.
#[derive(Debug, Default)]
struct ByKey {
    heads: HashMap<Key, u32>,
    /// `(key, row before this one with the same key)`, in order of insertion.
    entries: Vec<(Key, u32, Option<u32>)>,
}

impl ByKey {
    fn insert(&mut self, key: Key, row: RowNumber) {
        let number =
            u32::try_from(self.entries.len()).expect("a segment holds fewer than 2^32 rows");
        let before = self.heads.insert(key, number);
        self.entries.push((key, row.0, before));
    }

    fn rows(&self, key: Key) -> impl Iterator<Item = RowNumber> {
        let mut at = self.heads.get(&key).copied();
        std::iter::from_fn(move || {
            let (_, row, before) = self.entries[at? as usize];
            at = before;
            Some(RowNumber(row))
        })
    }

    fn sorted(&self) -> Vec<(Key, u32)> {
        let mut sorted: Vec<_> = self.entries.iter().map(|&(key, row, _)| (key, row)).collect();
        sorted.sort_unstable();
        sorted
    }
}

/// The index of a segment in memory.
#[derive(Debug, Default)]
pub(super) struct LiveIndex {
    rows: Vec<Row>,
    ids: ByKey,
    payments: ByKey,
    newest: u64,
    newest_paid: u64,
}

impl LiveIndex {
    /// Adds the receipts of one commit, in order.
    pub(super) fn extend(&mut self, record_at: u64, receipts: impl IntoIterator<Item = Facts>) {
        let at = u32::try_from(record_at / super::format::ALIGN as u64)
            .expect("a segment is shorter than 32 GiB");
        for (index, facts) in (0..).zip(receipts) {
            let row = RowNumber(self.count());
            let Facts { function, payer, channel, .. } = facts;
            self.rows.push(Row { at, index, function, payer, channel });
            self.ids.insert(facts.id, row);
            self.newest = self.newest.max(facts.at);
            if let Some(payment) = facts.payment {
                self.payments.insert(payment, row);
                self.newest_paid = self.newest_paid.max(facts.at);
            }
        }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.rows.len()).expect("a segment holds fewer than 2^32 rows")
    }

    pub(super) fn by_id(&self, key: Key) -> impl Iterator<Item = (RowNumber, Row)> {
        self.ids.rows(key).map(|row| (row, self.rows[row.0 as usize]))
    }

    pub(super) fn by_payment(&self, key: Key) -> impl Iterator<Item = (RowNumber, Row)> {
        self.payments.rows(key).map(|row| (row, self.rows[row.0 as usize]))
    }

    /// Up to a chunk of rows, starting with this one.
    pub(super) fn rows_from(&self, from: RowNumber) -> &[Row] {
        let rest = self.rows.get(from.0 as usize..).unwrap_or_default();
        &rest[..rest.len().min(CHUNK_ROWS)]
    }

    /// What the file for this index says of the segment.
    pub(super) fn facts(&self, of: &Sealing) -> SegmentFacts {
        SegmentFacts {
            segment: of.segment,
            salt: of.salt,
            end: of.end,
            first_commit: of.first_commit,
            last_commit: of.last_commit,
            first: of.first,
            count: self.count(),
            paid: u32::try_from(self.payments.entries.len()).unwrap_or(u32::MAX),
            newest: self.newest,
            newest_paid: self.newest_paid,
        }
    }

    /// The file for this index.
    pub(super) fn encode(&self, of: &Sealing) -> Vec<u8> {
        let (ids, payments) = (self.ids.sorted(), self.payments.sorted());
        let mut bytes = Vec::with_capacity(
            HEADER_LEN + (ids.len() + payments.len()) * ENTRY_LEN + self.rows.len() * (ROW_LEN + 1),
        );
        bytes.extend_from_slice(&MAGIC);
        self.facts(of).encode(&mut bytes);
        let tables = [encode_entries(&ids), encode_entries(&payments)];
        for (fanout, _) in &tables {
            bytes.extend_from_slice(fanout);
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        for (_, entries) in &tables {
            bytes.extend_from_slice(entries);
        }
        for chunk in self.rows.chunks(CHUNK_ROWS) {
            let start = bytes.len();
            chunk.iter().for_each(|row| row.encode(&mut bytes));
            let crc = crc32fast::hash(&bytes[start..]);
            bytes.extend_from_slice(&crc.to_le_bytes());
        }
        bytes
    }
}

/// What an index file says besides the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealing {
    pub(super) segment: SegmentNumber,
    pub(super) salt: Salt,
    pub(super) end: u64,
    pub(super) first_commit: CommitNumber,
    pub(super) last_commit: CommitNumber,
    pub(super) first: Position,
}

/// Sorted entries, with the table of buckets in front of them.
fn encode_entries(sorted: &[(Key, u32)]) -> (Vec<u8>, Vec<u8>) {
    let mut fanout = Vec::with_capacity(FANOUT_LEN);
    let mut entries = Vec::with_capacity(sorted.len() * ENTRY_LEN);
    let mut rest = sorted.iter().peekable();
    for bucket in 0..BUCKETS {
        let start = entries.len();
        while let Some((key, row)) = rest.next_if(|(key, _)| key.bucket() == bucket) {
            entries.extend_from_slice(&key.0.to_le_bytes());
            entries.extend_from_slice(&row.to_le_bytes());
        }
        let first = u32::try_from(start / ENTRY_LEN).expect("a segment holds fewer than 2^32 rows");
        fanout.extend_from_slice(&first.to_le_bytes());
        fanout.extend_from_slice(&crc32fast::hash(&entries[start..]).to_le_bytes());
    }
    (fanout, entries)
}

/// The index of a sealed segment: its facts in memory, the rest in its file.
#[derive(Debug)]
pub(super) struct SealedIndex {
    pub(super) facts: SegmentFacts,
    ids: Fanout,
    payments: Fanout,
}

/// Where the entries of each bucket start, and their CRC.
#[derive(Debug)]
struct Fanout {
    at: u64,
    len: u32,
    buckets: Box<[(u32, u32)]>,
}

/// The file does not say what its CRCs promise; it must be made again.
#[derive(Debug)]
pub(super) struct Spoilt;

impl SealedIndex {
    /// Reads the facts and the tables; `Err` if the file is not the index of this segment.
    pub(super) fn read(
        file: &dyn DiskFile,
        segment: SegmentNumber,
        salt: Salt,
    ) -> io::Result<Result<Self, Spoilt>> {
        let mut bytes = vec![0; HEADER_LEN];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Err(Spoilt)),
            other => other?,
        }
        let crc_at = HEADER_LEN - 4;
        let facts = SegmentFacts::decode(&bytes);
        let is_whole = bytes[..8] == MAGIC
            && u32_at(&bytes, crc_at) == crc32fast::hash(&bytes[..crc_at])
            && (facts.segment, facts.salt) == (segment, salt);
        if !is_whole {
            return Ok(Err(Spoilt));
        }
        let entries = |count: u32| u64::from(count) * ENTRY_LEN as u64;
        let payments_at = HEADER_LEN as u64 + entries(facts.count);
        let ids = Fanout::decode(&bytes[FACTS_LEN..], HEADER_LEN as u64, facts.count);
        let payments = Fanout::decode(&bytes[FACTS_LEN + FANOUT_LEN..], payments_at, facts.paid);
        let chunks = u64::from(facts.count).div_ceil(CHUNK_ROWS as u64);
        let rows_len = u64::from(facts.count) * ROW_LEN as u64 + chunks * 4;
        let index = Self { facts, ids, payments };
        Ok(if file.len()? == index.rows_at() + rows_len { Ok(index) } else { Err(Spoilt) })
    }

    pub(super) fn by_id(
        &self,
        file: &dyn DiskFile,
        key: Key,
    ) -> io::Result<Result<Vec<RowNumber>, Spoilt>> {
        self.ids.rows(file, key)
    }

    pub(super) fn by_payment(
        &self,
        file: &dyn DiskFile,
        key: Key,
    ) -> io::Result<Result<Vec<RowNumber>, Spoilt>> {
        self.payments.rows(file, key)
    }

    /// The rest of the chunk that this row lies in, starting with the row; empty at the end.
    pub(super) fn rows_from(
        &self,
        file: &dyn DiskFile,
        from: RowNumber,
    ) -> io::Result<Result<Vec<Row>, Spoilt>> {
        if from.0 >= self.facts.count {
            return Ok(Ok(Vec::new()));
        }
        let chunk = from.0 as usize / CHUNK_ROWS;
        let rows = (self.facts.count as usize - chunk * CHUNK_ROWS).min(CHUNK_ROWS);
        let mut bytes = vec![0; rows * ROW_LEN + 4];
        file.read_exact_at(&mut bytes, self.rows_at() + (chunk * CHUNK_LEN) as u64)?;
        let (rows, crc) = bytes.split_at(rows * ROW_LEN);
        if crc32fast::hash(rows) != u32_at(crc, 0) {
            return Ok(Err(Spoilt));
        }
        let skipped = from.0 as usize % CHUNK_ROWS;
        Ok(Ok(rows.chunks_exact(ROW_LEN).skip(skipped).map(Row::decode).collect()))
    }

    fn rows_at(&self) -> u64 {
        self.payments.at + u64::from(self.facts.paid) * ENTRY_LEN as u64
    }
}

impl Fanout {
    fn decode(bytes: &[u8], at: u64, len: u32) -> Self {
        let buckets = bytes[..FANOUT_LEN].chunks_exact(8);
        let buckets = buckets.map(|bucket| (u32_at(bucket, 0), u32_at(bucket, 4))).collect();
        Self { at, len, buckets }
    }

    fn rows(&self, file: &dyn DiskFile, key: Key) -> io::Result<Result<Vec<RowNumber>, Spoilt>> {
        let (start, crc) = self.buckets[key.bucket()];
        let end = self.buckets.get(key.bucket() + 1).map_or(self.len, |next| next.0);
        let Some(count) = end.checked_sub(start).filter(|_| end <= self.len) else {
            return Ok(Err(Spoilt));
        };
        let mut bytes = vec![0; count as usize * ENTRY_LEN];
        file.read_exact_at(&mut bytes, self.at + u64::from(start) * ENTRY_LEN as u64)?;
        if crc32fast::hash(&bytes) != crc {
            return Ok(Err(Spoilt));
        }
        let entries = bytes.chunks_exact(ENTRY_LEN);
        let found = entries.filter(|entry| u64_at(entry, 0) == key.0);
        // Newest first, as in the index in memory.
        Ok(Ok(found.map(|entry| RowNumber(u32_at(entry, 8))).rev().collect()))
    }
}
