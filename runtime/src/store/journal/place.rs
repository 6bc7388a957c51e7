//! One batch on the disk: finding its parts without reading all of them.
//!
//! Invariant: what is handed out decodes as a receipt. That it is the receipt a caller asked for follows from
//! its CID, and that the rest belongs to it from the CIDs in it; the record's CRC, which covers bytes that
//! are not read here, is for recovery.

use std::sync::Arc;

use bytes::Bytes;
use talea_ledger::{Document as _, Receipt};

use super::entry::{BatchLayout, read_particulars};
use super::format::{RECORD_HEADER_LEN, RecordHeader, SegmentHeader};
use super::index::{Row, RowNumber};
use super::reader::{ReadError, StoredReceipt};
use super::{CommitNumber, Damage, DamageReason, Position};
use crate::store::disk::DiskFile;

/// The segment that rows point into.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: SegmentHeader,
    pub(super) first: Position,
}

/// A batch whose receipts are in memory.
#[derive(Debug)]
pub(super) struct OpenBatch {
    record_at: u64,
    header: SegmentHeader,
    commit: CommitNumber,
    /// Where the batch part starts in the file.
    batch_at: u64,
    layout: BatchLayout,
    /// The batch part up to the end of its receipts.
    bytes: Bytes,
}

impl Place {
    /// The first of these rows whose receipt is the one that is looked for.
    pub(super) fn first_match(
        &self,
        rows: &[(RowNumber, Row)],
        is_it: &impl Fn(&[u8], &Receipt) -> bool,
    ) -> Result<Option<StoredReceipt>, ReadError> {
        for (number, row) in rows {
            let batch = self.open(row.record_at())?;
            let (payload, receipt) = batch.receipt(row.index)?;
            if is_it(&payload, &receipt) {
                let position = Position(self.first.0 + u64::from(number.0));
                return self.stored(&batch, row.index, position, payload, receipt).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads the signed batch and its receipts.
    pub(super) fn open(&self, record_at: u64) -> Result<OpenBatch, ReadError> {
        let damaged = || self.damage(record_at);
        let mut header = [0; RECORD_HEADER_LEN];
        self.file.read_exact_at(&mut header, record_at)?;
        let header = RecordHeader::decode(&header, &self.header).ok_or_else(damaged)?;
        let batch_at = record_at + RECORD_HEADER_LEN as u64 + u64::from(header.checkpoint_len);
        let len = (header.len - header.checkpoint_len) as usize;
        if len < BatchLayout::HEAD_LEN {
            return Err(damaged());
        }
        let mut bytes = vec![0; BatchLayout::HEAD_LEN];
        self.file.read_exact_at(&mut bytes, batch_at)?;
        let table_end =
            BatchLayout::table_end(&bytes).filter(|&end| end <= len).ok_or_else(damaged)?;
        self.read_on(&mut bytes, batch_at, table_end)?;
        let layout = BatchLayout::read(&bytes, len).ok_or_else(damaged)?;
        self.read_on(&mut bytes, batch_at, layout.receipts_end())?;
        Ok(OpenBatch {
            record_at,
            header: self.header,
            commit: header.commit,
            batch_at,
            layout,
            bytes: bytes.into(),
        })
    }

    /// Reads up to `end` behind what is there already.
    fn read_on(&self, bytes: &mut Vec<u8>, batch_at: u64, end: usize) -> Result<(), ReadError> {
        let from = bytes.len();
        bytes.resize(end, 0);
        Ok(self.file.read_exact_at(&mut bytes[from..], batch_at + from as u64)?)
    }

    fn stored(
        &self,
        batch: &OpenBatch,
        index: u32,
        position: Position,
        payload: Bytes,
        receipt: Receipt,
    ) -> Result<StoredReceipt, ReadError> {
        let range = batch.layout.particulars(index as usize);
        let mut particulars = vec![0; range.len()];
        self.file.read_exact_at(&mut particulars, batch.batch_at + range.start as u64)?;
        let particulars =
            read_particulars(&particulars.into()).ok_or_else(|| self.damage(batch.record_at))?;
        let receipts = 0..batch.layout.count();
        Ok(StoredReceipt {
            position,
            commit: batch.commit,
            receipt,
            payload,
            sealed: batch.bytes.slice(batch.layout.sealed()),
            index,
            batch: receipts.map(|i| batch.bytes.slice(batch.layout.receipt(i))).collect(),
            particulars,
        })
    }

    fn damage(&self, offset: u64) -> ReadError {
        Damage { segment: self.header.segment, offset, reason: DamageReason::Content }.into()
    }
}

impl OpenBatch {
    /// One receipt of the batch.
    pub(super) fn receipt(&self, index: u32) -> Result<(Bytes, Receipt), ReadError> {
        let offset = self.record_at;
        let damage = Damage { segment: self.header.segment, offset, reason: DamageReason::Content };
        if index as usize >= self.layout.count() {
            return Err(damage.into());
        }
        let payload = self.bytes.slice(self.layout.receipt(index as usize));
        let receipt = Receipt::decode(&payload).map_err(|_| damage)?;
        Ok((payload, receipt))
    }
}
