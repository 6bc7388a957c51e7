//! Reading: one receipt by its id, by its payment, or lists in journal order.
//!
//! Readers and the writer share the view of which segments there are; a reader takes what it needs from
//! the view and lets go of it before it reads the disk.
//! Invariant: an index only proposes. What is returned was compared with the receipt's own bytes.
//! Absent: proofs and bodies in the blob store; the chain's reader puts them together.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use talea_ledger::{ChannelId, FunctionId, PublicKey, Receipt, ReceiptId, Sequence};
use thiserror::Error;

use super::entry::Particulars;
use super::index::{Key, Row, Spoilt};
use super::place::{OpenBatch, Place};
use super::tags;
use super::view::{Older, Shared, Wanted};
use super::{CommitNumber, Damage, Position};
use crate::store::Epoch;

/// Rows that one page of a list looks at, at most: 5 MiB of index. A list that finds nothing in them answers
/// an empty page with the cursor to go on from.
const PAGE_ROWS_MAX: usize = 262_144;

/// Why nothing could be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk did not answer.
    #[error("the journal could not be read")]
    Io(#[from] io::Error),
    /// The disk answered with something else than was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// A receipt as the journal keeps it.
#[derive(Debug, Clone)]
pub struct StoredReceipt {
    /// Its place in the journal.
    pub position: Position,
    /// Its commit, and so its batch.
    pub commit: CommitNumber,
    /// The receipt.
    pub receipt: Receipt,
    /// The receipt's own bytes.
    pub payload: Bytes,
    /// The batch as it was signed.
    pub sealed: Bytes,
    /// Its index in the batch.
    pub index: u32,
    /// Payloads of all receipts of the batch, for the proof.
    pub batch: Vec<Bytes>,
    /// What is needed to check it.
    pub particulars: Particulars,
}

/// What a list is to show. All that are given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Runs of this function.
    pub function: Option<FunctionId>,
    /// Runs that this key paid for.
    pub payer: Option<PublicKey>,
    /// Runs paid through this channel.
    pub channel: Option<ChannelId>,
    /// Runs with this sequence number in their channel.
    pub sequence: Option<Sequence>,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Receipts in journal order.
    pub receipts: Vec<(Position, ReceiptId, Receipt, Bytes)>,
    /// Where to go on, if there may be more. A page may be empty and still have this.
    pub next: Option<Position>,
}

impl Filter {
    fn may_match(&self, row: &Row) -> bool {
        self.function.is_none_or(|id| tags::function(&id) == row.function)
            && self.payer.is_none_or(|key| tags::payer(&key) == row.payer)
            && self.channel.is_none_or(|id| tags::channel(&id) == row.channel)
    }

    fn matches(&self, receipt: &Receipt) -> bool {
        let payment = receipt.payment.as_ref();
        self.function.is_none_or(|id| receipt.function == id)
            && self.payer.is_none_or(|key| payment.is_some_and(|p| p.payer == key))
            && self.channel.is_none_or(|id| payment.is_some_and(|p| p.channel == id))
            && self.sequence.is_none_or(|n| payment.is_some_and(|p| p.sequence == n))
    }
}

/// A handle for reading; clones share the view.
#[derive(Debug, Clone)]
pub struct JournalReader {
    shared: Arc<Shared>,
}

impl JournalReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Bodies stored now belong to this epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.shared.view(|view| view.live.header.segment.0))
    }

    /// Whether a commit may name a body of this epoch. The commit may open the next segment.
    pub fn takes_epoch(&self, epoch: Epoch) -> bool {
        epoch.0.saturating_add(1) >= self.epoch().0
    }

    /// The position that the next receipt will have: the number of receipts ever written.
    pub fn end(&self) -> Position {
        self.shared.view(|view| view.live.next_position())
    }

    /// Position of the oldest receipt that is retained.
    pub fn start(&self) -> Position {
        self.shared
            .view(|view| view.older.first().map_or(view.live.first, |older| older.facts().first))
    }

    /// The receipt with this id, if it is retained.
    pub fn by_id(&self, id: ReceiptId) -> Result<Option<StoredReceipt>, ReadError> {
        self.find(Wanted::Id(Key::of(id.digest().as_bytes())), |payload, _| {
            ReceiptId::of(payload) == id
        })
    }

    /// The receipt of this payment, if it is retained.
    pub fn by_payment(
        &self,
        channel: ChannelId,
        sequence: Sequence,
    ) -> Result<Option<StoredReceipt>, ReadError> {
        let filter =
            Filter { channel: Some(channel), sequence: Some(sequence), ..Filter::default() };
        let wanted = Wanted::Payment(tags::payment(&channel, sequence));
        self.find(wanted, |_, receipt| filter.matches(receipt))
    }

    /// Newest first: what is asked for is mostly what was just made.
    fn find(
        &self,
        wanted: Wanted,
        is_it: impl Fn(&[u8], &Receipt) -> bool,
    ) -> Result<Option<StoredReceipt>, ReadError> {
        let (place, rows, older) = self
            .shared
            .view(|view| (view.live.place(), view.live.rows(wanted), Arc::clone(&view.older)));
        if let Some(found) = place.first_match(&rows, &is_it)? {
            return Ok(Some(found));
        }
        for older in older.iter().rev() {
            match self.find_in(older, wanted, &is_it) {
                // Retention dropped the segment while this look-up was on its way.
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(None) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    fn find_in(
        &self,
        older: &Arc<Older>,
        wanted: Wanted,
        is_it: &impl Fn(&[u8], &Receipt) -> bool,
    ) -> Result<Option<StoredReceipt>, ReadError> {
        let rows = self.ask(older, |older| older.rows(&self.shared, wanted))?;
        if rows.is_empty() {
            return Ok(None);
        }
        older.place(&self.shared)?.first_match(&rows, is_it)
    }

    /// Asks an index, and asks again after making it anew if it is spoilt.
    fn ask<T>(
        &self,
        older: &Arc<Older>,
        question: impl Fn(&Older) -> io::Result<Result<T, Spoilt>>,
    ) -> Result<T, ReadError> {
        if let Ok(answer) = question(older)? {
            return Ok(answer);
        }
        let rebuilt = self.shared.rebuild(older)?;
        question(&rebuilt)?
            .map_err(|Spoilt| io::Error::other("an index was spoilt as soon as it was made").into())
    }

    /// Receipts that the filter lets through, after a position, in journal order.
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let mut page = Page::default();
        let mut at = after.map_or(Position(0), Position::next).max(self.start());
        let mut looked_at = 0;
        while page.receipts.len() < limit && looked_at < PAGE_ROWS_MAX {
            let Some((place, rows)) = self.rows_at(at)? else { return Ok(page) };
            let mut open = None::<(u64, OpenBatch)>;
            for row in &rows {
                if page.receipts.len() == limit {
                    break;
                }
                if filter.may_match(row) {
                    let batch = match open.take() {
                        Some((record_at, batch)) if record_at == row.record_at() => batch,
                        _ => place.open(row.record_at())?,
                    };
                    let (payload, receipt) = batch.receipt(row.index)?;
                    if filter.matches(&receipt) {
                        page.receipts.push((at, ReceiptId::of(&payload), receipt, payload));
                    }
                    open = Some((row.record_at(), batch));
                }
                at = at.next();
                looked_at += 1;
            }
        }
        page.next = (at < self.end()).then(|| Position(at.0.saturating_sub(1)));
        Ok(page)
    }

    /// Some rows starting at a position, from the segment that holds it; `None` at the end.
    fn rows_at(&self, at: Position) -> Result<Option<(Place, Vec<Row>)>, ReadError> {
        let found = self.shared.view(|view| match view.live.row_number(at) {
            Some(number) => Ok((view.live.place(), view.live.index.rows_from(number).to_vec())),
            None => Err(Arc::clone(&view.older)),
        });
        let older = match found {
            Ok((place, rows)) => return Ok((!rows.is_empty()).then_some((place, rows))),
            Err(older) => older,
        };
        let after = older.partition_point(|older| older.facts().first <= at);
        let Some(older) = after.checked_sub(1).and_then(|index| older.get(index)) else {
            return Ok(None);
        };
        let Some(number) = older.facts().first.row_of(at) else { return Ok(None) };
        let rows = self.ask(older, |older| older.rows_from(&self.shared, number))?;
        Ok((!rows.is_empty()).then_some((older.place(&self.shared)?, rows)))
    }
}
