//! Bytes of the ledger's log: the head of a segment, and the head of each commit.
//!
//! ```text
//! segment     0  8  magic "TALEAL01"
//!             8  8  number of the segment, from 1
//!            16  8  salt
//!            24  8  number of its first commit
//!            32 32  identity: the network
//!            64  4  CRC32 of 0..64
//!            68  .. zero up to 128, the first commit
//! commit      0  4  "TLC1"
//!             4  4  length of the records
//!             8  8  number of the commit, from 1
//!            16  4  CRC32 of salt, segment number, 0..16, and the records
//!            20  .. records
//! record      0  1  kind
//!             1  4  length
//!             5  .. bytes
//! ```
//! All numbers are little-endian. The salt is drawn when the segment is made and never leaves the disk: nobody can
//! send a transaction whose bytes recovery would take for a commit.

/// First bytes of every segment; the last two digits are the version of this format.
const MAGIC: [u8; 8] = *b"TALEAL01";
/// First bytes of every commit.
pub(super) const COMMIT_MAGIC: [u8; 4] = *b"TLC1";
/// Where the first commit of a segment starts: the head, with room for what a later version adds.
pub(super) const COMMITS_AT: u64 = 128;
/// Bytes in front of a commit's records.
pub(super) const COMMIT_HEAD_LEN: usize = 20;
/// Bytes in front of each record.
pub(super) const RECORD_HEAD_LEN: usize = 5;

const CRC_AT: usize = 64;

/// What a segment says of itself; written and synced before the segment gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) segment: u64,
    pub(super) salt: u64,
    pub(super) first: u64,
    pub(super) identity: [u8; 32],
}

/// What stands in front of a commit's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitHead {
    pub(super) len: u32,
    pub(super) number: u64,
    pub(super) crc: u32,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(COMMITS_AT as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.identity);
        assert_eq!(bytes.len(), CRC_AT, "the layout above");
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.resize(COMMITS_AT as usize, 0);
        bytes
    }

    /// `None` if these are not the bytes of a head.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..COMMITS_AT as usize)?;
        let is_ours = head[..8] == MAGIC
            && u32_at(head, CRC_AT) == crc32fast::hash(&head[..CRC_AT])
            && head[CRC_AT + 4..].iter().all(|byte| *byte == 0);
        let mut identity = [0; 32];
        identity.copy_from_slice(&head[32..64]);
        is_ours.then(|| Self {
            segment: u64_at(head, 8),
            salt: u64_at(head, 16),
            first: u64_at(head, 24),
            identity,
        })
    }

    /// The checksum of a commit in this segment.
    pub(super) fn crc(&self, len: u32, number: u64, records: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.salt.to_le_bytes());
        crc.update(&self.segment.to_le_bytes());
        crc.update(&COMMIT_MAGIC);
        crc.update(&len.to_le_bytes());
        crc.update(&number.to_le_bytes());
        crc.update(records);
        crc.finalize()
    }
}

impl CommitHead {
    pub(super) fn encode(&self) -> [u8; COMMIT_HEAD_LEN] {
        let mut bytes = [0; COMMIT_HEAD_LEN];
        bytes[..4].copy_from_slice(&COMMIT_MAGIC);
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// `None` if these are not the bytes of a head.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..COMMIT_HEAD_LEN)?;
        (head[..4] == COMMIT_MAGIC).then(|| Self {
            len: u32_at(head, 4),
            number: u64_at(head, 8),
            crc: u32_at(head, 16),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
