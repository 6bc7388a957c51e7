//! Bytes of a segment: its header, and the header of each record.
//!
//! ```text
//! segment     0  8  magic "TALEAJ01"
//!             8  8  segment number
//!            16  8  salt
//!            24  8  length of the file
//!            32 32  identity: whose journal this is
//!            64  4  CRC32 of 0..64
//!            68  .. zero up to 128, the first record
//! record      0  4  CRC32 of 4..48
//!             4  4  length of the payload
//!             8  8  salt of the segment
//!            16  8  segment number
//!            24  8  commit number
//!            32  4  kind: 1 opening, 2 batch, 3 closed
//!            36  4  receipts in the payload
//!            40  4  CRC32 of the payload
//!            44  4  length of the checkpoint, zero unless this is an opening
//!            48  .. payload, then zeros up to a multiple of 8
//! payload         checkpoint (opening only), batch (not in closed)
//! ```
//! One record is one commit, so that a torn commit never leaves a header behind its first byte.
//! All numbers are little-endian. The salt is drawn when the segment is made and never leaves the disk:
//! a caller whose body is kept inline cannot write a record that recovery would take for one of ours.

use super::{CommitNumber, SegmentNumber};
use crate::store::JournalIdentity;

/// First bytes of every segment; the last two digits are the version of this format.
const MAGIC: [u8; 8] = *b"TALEAJ01";
/// Where the first record of a segment starts: the header, with room for what a later version adds.
pub(super) const RECORDS_AT: u64 = 128;
/// Bytes in front of each payload.
pub(super) const RECORD_HEADER_LEN: usize = 48;
/// Records start at multiples of this, so that a search for one need not try every byte.
pub(super) const ALIGN: usize = 8;

const SEGMENT_CRC_AT: usize = 64;
const SEGMENT_HEADER_LEN: usize = SEGMENT_CRC_AT + 4;
const _: () = assert!(SEGMENT_HEADER_LEN as u64 <= RECORDS_AT);
const _: () =
    assert!(RECORDS_AT.is_multiple_of(ALIGN as u64) && RECORD_HEADER_LEN.is_multiple_of(ALIGN));

/// A number drawn for each segment, which its records repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(pub(super) u64);

/// What a segment says of itself; written and synced before the segment is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: SegmentNumber,
    pub(super) salt: Salt,
    pub(super) len: u64,
    pub(super) identity: JournalIdentity,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; RECORDS_AT as usize] {
        let mut bytes = [0; RECORDS_AT as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.len.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.identity.0);
        let crc = crc32fast::hash(&bytes[..SEGMENT_CRC_AT]);
        bytes[SEGMENT_CRC_AT..SEGMENT_HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if these are not the bytes of a header.
    pub(super) fn decode(bytes: &[u8; RECORDS_AT as usize]) -> Option<Self> {
        let crc = u32_at(bytes, SEGMENT_CRC_AT);
        let is_ours = bytes[..8] == MAGIC
            && crc == crc32fast::hash(&bytes[..SEGMENT_CRC_AT])
            && bytes[SEGMENT_HEADER_LEN..].iter().all(|&b| b == 0);
        is_ours.then(|| Self {
            segment: SegmentNumber(u64_at(bytes, 8)),
            salt: Salt(u64_at(bytes, 16)),
            len: u64_at(bytes, 24),
            identity: JournalIdentity(array_at(bytes, 32)),
        })
    }
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first commit of a segment: the state before it, then a batch.
    Opening,
    /// One batch and everything its receipts need.
    Batch,
    /// The journal was closed in order: the commit before this is known to be whole.
    Closed,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Opening => 1,
            Self::Batch => 2,
            Self::Closed => 3,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Opening, Self::Batch, Self::Closed].into_iter().find(|kind| kind.code() == code)
    }
}

/// What stands in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) len: u32,
    pub(super) salt: Salt,
    pub(super) segment: SegmentNumber,
    pub(super) commit: CommitNumber,
    pub(super) kind: Kind,
    pub(super) receipts: u32,
    pub(super) crc: u32,
    pub(super) checkpoint_len: u32,
}

impl RecordHeader {
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.salt.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.commit.0.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.kind.code().to_le_bytes());
        bytes[36..40].copy_from_slice(&self.receipts.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.crc.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.checkpoint_len.to_le_bytes());
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if these are not the bytes of a record's header in this segment.
    pub(super) fn decode(bytes: &[u8], of: &SegmentHeader) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_LEN)?;
        // Cheapest first: a search tries this at every eighth byte of a segment.
        if u64_at(bytes, 8) != of.salt.0 || u64_at(bytes, 16) != of.segment.0 {
            return None;
        }
        if u32_at(bytes, 0) != crc32fast::hash(&bytes[4..]) {
            return None;
        }
        let (len, checkpoint_len) = (u32_at(bytes, 4), u32_at(bytes, 44));
        if checkpoint_len > len {
            return None;
        }
        Some(Self {
            len,
            salt: of.salt,
            segment: of.segment,
            commit: CommitNumber(u64_at(bytes, 24)),
            kind: Kind::from_code(u32_at(bytes, 32))?,
            receipts: u32_at(bytes, 36),
            crc: u32_at(bytes, 40),
            checkpoint_len,
        })
    }
}

/// What a record is to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) commit: CommitNumber,
    pub(super) kind: Kind,
    pub(super) receipts: u32,
    pub(super) checkpoint: &'a [u8],
    pub(super) batch: &'a [&'a [u8]],
}

/// Writes one record into an empty buffer, padded so that the next one is aligned.
pub(super) fn write_record(into: &mut Vec<u8>, of: &SegmentHeader, draft: Draft<'_>) {
    debug_assert!(into.is_empty());
    into.resize(RECORD_HEADER_LEN, 0);
    into.extend_from_slice(draft.checkpoint);
    for part in draft.batch {
        into.extend_from_slice(part);
    }
    let payload = &into[RECORD_HEADER_LEN..];
    let bounded = |len: usize| u32::try_from(len).expect("the journal bounds a commit below 4 GiB");
    let header = RecordHeader {
        len: bounded(payload.len()),
        salt: of.salt,
        segment: of.segment,
        commit: draft.commit,
        kind: draft.kind,
        receipts: draft.receipts,
        crc: crc32fast::hash(payload),
        checkpoint_len: bounded(draft.checkpoint.len()),
    };
    into[..RECORD_HEADER_LEN].copy_from_slice(&header.encode());
    into.resize(into.len().next_multiple_of(ALIGN), 0);
}

/// Bytes that a payload of this length takes on the disk.
pub(super) fn record_len(payload: usize) -> usize {
    (RECORD_HEADER_LEN + payload).next_multiple_of(ALIGN)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// The caller has checked that the bytes are there.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        segment: SegmentNumber(7),
        salt: Salt(0x0102_0304_0506_0708),
        len: 64 << 20,
        identity: JournalIdentity([0xab; 32]),
    };

    #[test]
    fn a_segment_header_reads_back_and_no_flipped_bit_passes() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(HEADER));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_header_reads_back_and_no_flipped_bit_passes() {
        let mut bytes = Vec::new();
        let draft = Draft {
            commit: CommitNumber(9),
            kind: Kind::Batch,
            receipts: 3,
            checkpoint: b"",
            batch: &[b"pay", b"load"],
        };
        write_record(&mut bytes, &HEADER, draft);
        assert_eq!(bytes.len(), record_len(7));
        let header = RecordHeader::decode(&bytes, &HEADER).unwrap();
        assert_eq!((header.len, header.commit, header.receipts), (7, CommitNumber(9), 3));
        for bit in 0..RECORD_HEADER_LEN * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&flipped, &HEADER), None, "bit {bit}");
        }
    }
}
