//! What one commit holds: a signed batch, its receipts, and what each receipt needs to be checked.
//!
//! ```text
//! batch part   0  4  length of the sealed batch
//!              4  4  receipts, n
//!              8  8n n x (length of the receipt, length of its particulars)
//!              .. .. sealed batch, then the n receipts, then the n particulars
//! particulars  0  1  flags: 1 the run is sealed, 2 input body, 4 output body is in the blob store, 8 forwarded
//!              1  4  length of the run       5  4  of the input      9  4  of the output
//!             13  8  input body: its length, or the epoch of its blob    21  8  output body, likewise
//!             29  .. run, input, output, the bodies kept inline; of a forwarded run, its papers to the end
//! ```
//! Receipts lie together, so that a proof reads them in one piece.
//! Absent: any check that the documents agree with each other. Their CIDs say so, and readers compare.

use bytes::Bytes;

use super::Facts;
use super::format::{array_at, u32_at, u64_at};
use crate::store::Epoch;

const TABLE_AT: usize = 8;
const ROW_LEN: usize = 8;
const PARTICULARS_HEAD_LEN: usize = 29;
const FLAG_RUN_SEALED: u8 = 1;
const FLAG_INPUT_BLOB: u8 = 2;
const FLAG_OUTPUT_BLOB: u8 = 4;
const FLAG_FORWARDED: u8 = 8;
const FLAGS: u8 = FLAG_RUN_SEALED | FLAG_INPUT_BLOB | FLAG_OUTPUT_BLOB | FLAG_FORWARDED;

/// The run of a receipt, as it was carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunBytes {
    /// A free run's payload; the node made it.
    Free(Bytes),
    /// A paid run's envelope, with the payer's signature.
    Sealed(Bytes),
}

/// Where a body is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyPlace {
    /// Beside the receipt.
    Inline(Bytes),
    /// In the blob store, under the CID that the input or output names.
    Blob(Epoch),
}

/// What a receipt needs to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Particulars {
    /// The run that was ordered.
    pub run: RunBytes,
    /// Payload of the input document.
    pub input: Bytes,
    /// Payload of the output document.
    pub output: Bytes,
    /// Body of the input.
    pub input_body: BodyPlace,
    /// Body of the output.
    pub output_body: BodyPlace,
    /// Papers of a run that another host executed, never empty.
    pub via: Option<Bytes>,
}

/// A batch being filled.
#[derive(Debug, Default)]
pub struct BatchDraft {
    facts: Vec<Facts>,
    table: Vec<u8>,
    receipts: Vec<u8>,
    particulars: Vec<u8>,
}

impl BatchDraft {
    /// Adds a receipt's payload and what it needs.
    pub fn push(&mut self, receipt: &[u8], particulars: &Particulars) {
        let before = self.particulars.len();
        particulars.encode(&mut self.particulars);
        let len = self.particulars.len() - before;
        self.table.extend_from_slice(&len_u32(receipt.len()).to_le_bytes());
        self.table.extend_from_slice(&len_u32(len).to_le_bytes());
        self.receipts.extend_from_slice(receipt);
    }

    /// Says how the receipts will be found, in their order. Once all are there: their names are made together.
    pub fn name(&mut self, facts: impl IntoIterator<Item = Facts>) {
        self.facts.clear();
        self.facts.extend(facts);
    }

    /// Receipts so far.
    pub fn count(&self) -> u32 {
        len_u32(self.table.len() / ROW_LEN)
    }

    /// Bytes so far, without the sealed batch.
    pub fn len(&self) -> usize {
        TABLE_AT + self.table.len() + self.receipts.len() + self.particulars.len()
    }

    /// Whether no receipt is in it.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The receipts' payloads, in order.
    pub fn receipts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.receipts.as_slice();
        self.table.chunks_exact(ROW_LEN).map(move |row| {
            let (receipt, after) = rest.split_at(u32_at(row, 0) as usize);
            rest = after;
            receipt
        })
    }

    /// Forgets the receipts, keeps the memory.
    pub fn clear(&mut self) {
        self.facts.clear();
        self.table.clear();
        self.receipts.clear();
        self.particulars.clear();
    }

    pub(super) fn facts(&self) -> &[Facts] {
        &self.facts
    }

    pub(super) fn head(&self, sealed: &[u8]) -> [u8; TABLE_AT] {
        let mut head = [0; TABLE_AT];
        head[..4].copy_from_slice(&len_u32(sealed.len()).to_le_bytes());
        head[4..].copy_from_slice(&self.count().to_le_bytes());
        head
    }

    /// Where the receipts start, from the start of the batch part.
    pub(super) fn receipts_at(&self, sealed: &[u8]) -> usize {
        TABLE_AT + self.table.len() + sealed.len()
    }

    /// The batch part, in order.
    pub(super) fn parts<'a>(&'a self, head: &'a [u8], sealed: &'a [u8]) -> [&'a [u8]; 5] {
        [head, &self.table, sealed, &self.receipts, &self.particulars]
    }
}

/// Lengths here are bounded by the commit, which is bounded far below 4 GiB.
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a commit is bounded far below 4 GiB")
}

impl Particulars {
    fn encode(&self, into: &mut Vec<u8>) {
        let (run, sealed) = match &self.run {
            RunBytes::Free(run) => (run, 0),
            RunBytes::Sealed(run) => (run, FLAG_RUN_SEALED),
        };
        let (input, input_flag) = self.input_body.head(FLAG_INPUT_BLOB);
        let (output, output_flag) = self.output_body.head(FLAG_OUTPUT_BLOB);
        let via_flag = if self.via.is_some() { FLAG_FORWARDED } else { 0 };
        into.push(sealed | input_flag | output_flag | via_flag);
        for document in [run, &self.input, &self.output] {
            into.extend_from_slice(&len_u32(document.len()).to_le_bytes());
        }
        into.extend_from_slice(&input.to_le_bytes());
        into.extend_from_slice(&output.to_le_bytes());
        for part in [run, &self.input, &self.output] {
            into.extend_from_slice(part);
        }
        for body in [&self.input_body, &self.output_body] {
            if let BodyPlace::Inline(bytes) = body {
                into.extend_from_slice(bytes);
            }
        }
        if let Some(via) = &self.via {
            into.extend_from_slice(via);
        }
    }

    /// `None` if the bytes are not what `encode` makes.
    fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.len() < PARTICULARS_HEAD_LEN {
            return None;
        }
        let flags = bytes[0];
        if flags & !FLAGS != 0 {
            return None;
        }
        let mut rest = bytes.slice(PARTICULARS_HEAD_LEN..);
        let run = take(&mut rest, u64::from(u32_at(bytes, 1)))?;
        let input = take(&mut rest, u64::from(u32_at(bytes, 5)))?;
        let output = take(&mut rest, u64::from(u32_at(bytes, 9)))?;
        let input_body = BodyPlace::take(&mut rest, flags & FLAG_INPUT_BLOB, u64_at(bytes, 13))?;
        let output_body = BodyPlace::take(&mut rest, flags & FLAG_OUTPUT_BLOB, u64_at(bytes, 21))?;
        let run = match flags & FLAG_RUN_SEALED {
            0 => RunBytes::Free(run),
            _ => RunBytes::Sealed(run),
        };
        let via = (flags & FLAG_FORWARDED != 0).then(|| std::mem::take(&mut rest));
        let is_whole = rest.is_empty() && via.as_ref().is_none_or(|via| !via.is_empty());
        is_whole.then_some(Self { run, input, output, input_body, output_body, via })
    }

    /// Bytes that these particulars take in a commit.
    pub fn encoded_len(&self) -> usize {
        let (RunBytes::Free(run) | RunBytes::Sealed(run)) = &self.run;
        let inline = |body: &BodyPlace| match body {
            BodyPlace::Inline(bytes) => bytes.len(),
            BodyPlace::Blob(_) => 0,
        };
        PARTICULARS_HEAD_LEN
            + run.len()
            + self.input.len()
            + self.output.len()
            + inline(&self.input_body)
            + inline(&self.output_body)
            + self.via.as_ref().map_or(0, Bytes::len)
    }
}

impl BodyPlace {
    fn head(&self, flag: u8) -> (u64, u8) {
        match self {
            Self::Inline(bytes) => (u64::from(len_u32(bytes.len())), 0),
            Self::Blob(epoch) => (epoch.0, flag),
        }
    }

    fn take(rest: &mut Bytes, flag: u8, head: u64) -> Option<Self> {
        match flag {
            0 => take(rest, head).map(Self::Inline),
            _ => Some(Self::Blob(Epoch(head))),
        }
    }
}

fn take(rest: &mut Bytes, len: u64) -> Option<Bytes> {
    let len = usize::try_from(len).ok().filter(|&len| len <= rest.len())?;
    Some(rest.split_to(len))
}

/// Where the parts of a batch lie, relative to the start of the batch part.
#[derive(Debug, Clone)]
pub(super) struct BatchLayout {
    sealed: (usize, usize),
    /// End of each receipt; the first one starts where the sealed batch ends.
    receipt_ends: Vec<usize>,
    particulars_ends: Vec<usize>,
}

impl BatchLayout {
    /// Bytes needed to know how long the table is.
    pub(super) const HEAD_LEN: usize = TABLE_AT;

    /// Bytes of head and table together.
    pub(super) fn table_end(head: &[u8]) -> Option<usize> {
        usize::try_from(u32_at(head, 4)).ok()?.checked_mul(ROW_LEN)?.checked_add(TABLE_AT)
    }

    /// Reads head and table; `None` unless the parts fill `len` bytes exactly.
    pub(super) fn read(head_and_table: &[u8], len: usize) -> Option<Self> {
        let table_end = Self::table_end(head_and_table.get(..TABLE_AT)?)?;
        let table = head_and_table.get(TABLE_AT..table_end)?;
        let sealed_end = table_end.checked_add(u32_at(head_and_table, 0) as usize)?;
        let ends = |start: usize, column: usize| {
            let mut end = start;
            table
                .chunks_exact(ROW_LEN)
                .map(|row| {
                    end = end.checked_add(u32_at(row, column) as usize)?;
                    Some(end)
                })
                .collect::<Option<Vec<_>>>()
        };
        let receipt_ends = ends(sealed_end, 0)?;
        let receipts_end = *receipt_ends.last()?;
        let particulars_ends = ends(receipts_end, 4)?;
        let layout = Self { sealed: (table_end, sealed_end), receipt_ends, particulars_ends };
        (layout.end() == len).then_some(layout)
    }

    pub(super) fn count(&self) -> usize {
        self.receipt_ends.len()
    }

    pub(super) fn sealed(&self) -> std::ops::Range<usize> {
        self.sealed.0..self.sealed.1
    }

    pub(super) fn receipts_end(&self) -> usize {
        self.receipt_ends[self.count() - 1]
    }

    pub(super) fn receipt(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { self.sealed.1 } else { self.receipt_ends[index - 1] };
        start..self.receipt_ends[index]
    }

    pub(super) fn particulars(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { self.receipts_end() } else { self.particulars_ends[index - 1] };
        start..self.particulars_ends[index]
    }

    fn end(&self) -> usize {
        self.particulars_ends[self.count() - 1]
    }
}

/// Reads particulars; `None` if they are not what a batch holds.
pub(super) fn read_particulars(bytes: &Bytes) -> Option<Particulars> {
    Particulars::decode(bytes)
}

/// A checkpoint is the journal's own count in front of what the chain wants to know again.
pub(super) const CHECKPOINT_HEAD_LEN: usize = 8;

/// Splits a checkpoint into the position of the segment's first receipt and the chain's bytes.
pub(super) fn read_checkpoint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let head: [u8; CHECKPOINT_HEAD_LEN] = array_at(bytes.get(..CHECKPOINT_HEAD_LEN)?, 0);
    Some((u64::from_le_bytes(head), &bytes[CHECKPOINT_HEAD_LEN..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body() -> impl Strategy<Value = BodyPlace> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|b| BodyPlace::Inline(b.into())),
            any::<u64>().prop_map(|epoch| BodyPlace::Blob(Epoch(epoch))),
        ]
    }

    fn document() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    prop_compose! {
        fn particulars()(
            run in document(), sealed in any::<bool>(), input in document(), output in document(),
            input_body in body(), output_body in body(), via in prop::option::of(document()),
        ) -> Particulars {
            let run = if sealed { RunBytes::Sealed(run) } else { RunBytes::Free(run) };
            let via = via.filter(|via| !via.is_empty());
            Particulars { run, input, output, input_body, output_body, via }
        }
    }

    proptest! {
        #[test]
        fn a_batch_reads_back(
            entries in prop::collection::vec((document(), particulars()), 1..6), sealed in document(),
        ) {
            let mut draft = BatchDraft::default();
            for (receipt, particulars) in &entries {
                let before = draft.len();
                draft.push(receipt, particulars);
                prop_assert_eq!(
                    draft.len() - before, ROW_LEN + receipt.len() + particulars.encoded_len()
                );
            }
            prop_assert!(draft.receipts().eq(entries.iter().map(|(receipt, _)| &receipt[..])));
            let head = draft.head(&sealed);
            let bytes = Bytes::from(draft.parts(&head, &sealed).concat());
            prop_assert_eq!(bytes.len(), draft.len() + sealed.len());
            let layout = BatchLayout::read(&bytes, bytes.len()).unwrap();
            prop_assert_eq!(&bytes.slice(layout.sealed()), &sealed);
            for (index, (receipt, particulars)) in entries.iter().enumerate() {
                prop_assert_eq!(&bytes.slice(layout.receipt(index)), receipt);
                let found = read_particulars(&bytes.slice(layout.particulars(index)));
                prop_assert_eq!(found.as_ref(), Some(particulars));
            }
            prop_assert!(BatchLayout::read(&bytes, bytes.len() + 1).is_none());
        }

        #[test]
        fn no_bytes_are_too_strange_to_refuse(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            let _ = BatchLayout::read(&bytes, bytes.len());
            let _ = read_particulars(&bytes);
            let _ = read_checkpoint(&bytes);
        }
    }
}
