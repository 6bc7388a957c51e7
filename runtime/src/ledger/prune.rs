//! Pruning: segments of the log that are full are written again without what nothing needs any more.
//!
//! What stays is what a rebuild makes the same database from: finalised blocks with the commits that made them final,
//! evidence, blocks and transactions that are still open, rejections and rounds that are still kept. What goes is
//! what followed a block to its end: accepted transactions that are in blocks, blocks of lost branches, votes of
//! old rounds, forgotten rejections. State roots of all times stay, in the headers of the blocks.
//!
//! # Durability
//! The database says which segment is being written again before its file is replaced, whole or not at all; the new
//! places of its records and the end of the work are one transaction of the database. A node that died between finds
//! the places again from the file. Nothing is looked up meanwhile: it is done while the ledger opens, before its thread
//! begins.
//!
//! # Absent
//! Blocks that go. A node that joins later asks for all of them.

use std::sync::Arc;

use talea_ledger::finality::Vote;
use talea_ledger::{
    Block, BlockId, DecodeError, Document as _, Header, PublicKey, Sealed, TransactionId,
};

use super::open::LedgerError;
use super::reader::Archive;
use super::record::{self, Kind};
use crate::store::disk::Disk;
use crate::store::ledger::{LedgerLog, LogOptions, LogRecord, OpenLogError, TransactionStanding};

/// The first segment that was not written again yet.
const NEXT: &str = "pruned";
/// The segment that is being written again; 0 when none is.
const CURRENT: &str = "pruning";

/// What a pruning took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pruned {
    /// Segments that were written again.
    pub(super) segments: u64,
    /// Their bytes before.
    pub(super) before: u64,
    /// And after.
    pub(super) after: u64,
}

/// Ends what a process that died had begun. To be done before anything of the log is looked up.
pub(super) fn mend(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    archive: &Archive,
) -> Result<(), LedgerError> {
    match number(archive, CURRENT)? {
        0 => Ok(()),
        segment => place(disk, options, archive, segment),
    }
}

/// Writes every full segment again that was not yet.
pub(super) fn prune(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    archive: &Archive,
    me: PublicKey,
) -> Result<Pruned, LedgerError> {
    let database = &archive.database;
    let in_use = database.checkpoint()?.unwrap_or_default().segment;
    let mut pruned = Pruned::default();
    let first = number(archive, NEXT)?.max(1);
    if first >= in_use {
        return Ok(pruned);
    }
    let live = Live::of(archive, me)?;
    for segment in first..in_use {
        let keeps = |record: &LogRecord| live.keeps(archive, record);
        let (bytes, before) = match LedgerLog::shortened(&**disk, options, segment, keeps) {
            Ok(shortened) => shortened,
            // What is damaged stays as it is: whoever reads it is told, and a node that needs none of it goes on.
            Err(LedgerError::Log(OpenLogError::Damaged(damage))) => {
                tracing::warn!(%damage, "the ledger's log is not pruned from there on");
                return Ok(pruned);
            }
            Err(error) => return Err(error),
        };
        database.write(|tables| tables.set_meta(CURRENT, &segment.to_le_bytes()))?;
        LedgerLog::replace(&**disk, options, segment, &bytes)?;
        place(disk, options, archive, segment)?;
        pruned.segments += 1;
        pruned.before += before;
        pruned.after += bytes.len() as u64;
    }
    Ok(pruned)
}

/// Notes where the records of a segment lie now, and that it is done.
fn place(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    archive: &Archive,
    segment: u64,
) -> Result<(), LedgerError> {
    archive.database.write(|tables| {
        LedgerLog::visit(&**disk, options, segment, |commit| -> Result<(), LedgerError> {
            for record in commit.records {
                match Kind::of(record.kind) {
                    Some(Kind::Block) => {
                        tables.move_block(&block_id(&record.bytes)?, record.place)?
                    }
                    Some(Kind::Transaction) => {
                        tables.move_pending(&transaction_id(&record.bytes)?, record.place)?;
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        tables.set_meta(NEXT, &segment.saturating_add(1).to_le_bytes())?;
        Ok(tables.set_meta(CURRENT, &0_u64.to_le_bytes())?)
    })
}

fn number(archive: &Archive, name: &str) -> Result<u64, LedgerError> {
    let Some(bytes) = archive.database.meta(name)? else { return Ok(0) };
    let bytes = <[u8; 8]>::try_from(bytes.as_slice());
    bytes.map(u64::from_le_bytes).map_err(|_| LedgerError::Incomplete("how far the log is pruned"))
}

/// What records are still needed by, beside the database's tables.
struct Live {
    me: PublicKey,
    /// The first round whose votes are kept.
    round: u64,
    /// The last slot in which this node made a block: it must never make another there.
    authored: u64,
}

impl Live {
    fn of(archive: &Archive, me: PublicKey) -> Result<Self, LedgerError> {
        let rounds = archive.database.meta("rounds")?.unwrap_or_default();
        // The first of one or two rounds, with its length in front.
        let round = match rounds.split_first() {
            None => 0,
            Some((len, rest)) => {
                let first = rest.get(..usize::from(*len));
                let first = first.ok_or(LedgerError::Incomplete("a round"))?;
                record::decode_round(first)?.number.get()
            }
        };
        Ok(Self { me, round, authored: number(archive, "authored")? })
    }

    fn keeps(&self, archive: &Archive, record: &LogRecord) -> Result<bool, LedgerError> {
        let database = &archive.database;
        let bytes = &record.bytes;
        Ok(match Kind::of(record.kind) {
            Some(Kind::Transaction) => {
                let standing = database.standing(&transaction_id(bytes)?)?;
                matches!(standing, Some(TransactionStanding::Pending(_)))
            }
            Some(Kind::Rejected) => {
                let standing = database.standing(&record::decode_rejected(bytes)?.id)?;
                matches!(standing, Some(TransactionStanding::Rejected { .. }))
            }
            Some(Kind::Block) => {
                let block = Block::decode(bytes)?;
                let id = BlockId::of(block.head.payload());
                let header = Header::decode(block.head.payload())?;
                let is_own_last = header.author == self.me && header.slot.0 >= self.authored;
                is_own_last || database.block(&id)?.is_some()
            }
            Some(Kind::Round) => record::decode_round(bytes)?.number.get() >= self.round,
            Some(Kind::Vote) => {
                let vote = Vote::decode(Sealed::decode(bytes)?.payload())?;
                vote.round.get() >= self.round
            }
            // What is not known here is not judged here.
            Some(Kind::Finalised | Kind::Equivocation) | None => true,
        })
    }
}

fn block_id(bytes: &[u8]) -> Result<BlockId, DecodeError> {
    Ok(BlockId::of(Block::decode(bytes)?.head.payload()))
}

fn transaction_id(envelope: &[u8]) -> Result<TransactionId, DecodeError> {
    Ok(TransactionId::of(Sealed::decode(envelope)?.payload()))
}
