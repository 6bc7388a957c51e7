//! The chain's records as the log has them: a kind and bytes each.
//!
//! | kind | record | bytes |
//! |---|---|---|
//! | 1 | a transaction was accepted | its envelope |
//! | 2 | a transaction was rejected | `[id, code, finalised height]` |
//! | 3 | a block was found valid | the block |
//! | 4 | a round of votes began | `[number, base's id, base's height]` |
//! | 5 | a vote was counted | the sealed vote |
//! | 6 | blocks became final | `[commit as bytes, [ids, lowest first], [ids of blocks that are lost]]` |
//! | 7 | an authority contradicted itself | the equivocation |
//!
//! All in the ledger's own encoding. What is read back is checked like what comes from a stranger: a log that was
//! tampered with is found out by signatures, not believed.

use std::sync::Arc;

use talea_ledger::chain::Record;
use talea_ledger::codec::{Decoder, Encoder, Field};
use talea_ledger::finality::{Commit, Equivocation, RoundStart, Target};
use talea_ledger::pool::Rejected;
use talea_ledger::{
    Block, BlockError, DecodeError, Document as _, Network, Sealed, SignedBlock, Slot,
    TransactionError, VerifiedBlock, VerifiedTransaction,
};
use thiserror::Error;

/// Why a record of the log is not one.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Not the bytes of such a record.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// A kind that this program does not write.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// A transaction that does not hold.
    #[error("transaction: {0}")]
    Transaction(#[from] TransactionError),
    /// A block that does not hold.
    #[error("block: {0}")]
    Block(#[from] BlockError),
}

/// What a record is, by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Transaction,
    Rejected,
    Block,
    Round,
    Vote,
    Finalised,
    Equivocation,
}

impl Kind {
    /// `None` for a kind that this program does not write.
    pub(super) fn of(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::Transaction,
            2 => Self::Rejected,
            3 => Self::Block,
            4 => Self::Round,
            5 => Self::Vote,
            6 => Self::Finalised,
            7 => Self::Equivocation,
            _ => return None,
        })
    }
}

/// Kind and bytes of a record.
pub(super) fn encode(record: &Record) -> (u8, Vec<u8>) {
    match record {
        Record::Transaction(transaction) => (1, transaction.bytes().to_vec()),
        Record::Rejected(rejected) => (
            2,
            array(|out| {
                out.array(3);
                rejected.id.put(out);
                rejected.reason.put(out);
                rejected.at.put(out);
            }),
        ),
        Record::Block(block) => (3, block.to_block().encode()),
        Record::Round(start) => (4, encode_round(start)),
        Record::Vote(vote) => (5, vote.encode()),
        Record::Finalised { commit, line, lost } => (
            6,
            array(|out| {
                out.array(3);
                out.bytes(&commit.encode());
                for ids in [line, lost] {
                    out.array(ids.len() as u64);
                    ids.iter().for_each(|id| id.put(out));
                }
            }),
        ),
        Record::Equivocation(evidence) => (7, evidence.encode()),
    }
}

/// Reads a record and checks every signature in it.
pub(super) fn decode(kind: u8, bytes: &[u8], network: &Network) -> Result<Record, RecordError> {
    Ok(match Kind::of(kind).ok_or(RecordError::Kind(kind))? {
        Kind::Transaction => {
            let transaction = VerifiedTransaction::decode(bytes, &network.id())?;
            Record::Transaction(Arc::new(transaction))
        }
        Kind::Rejected => Record::Rejected(decode_rejected(bytes)?),
        Kind::Block => Record::Block(Arc::new(verified(Block::decode(bytes)?, network)?)),
        Kind::Round => Record::Round(decode_round(bytes)?),
        Kind::Vote => Record::Vote(Sealed::decode(bytes)?),
        Kind::Finalised => whole(bytes, |input| {
            input.array_exact(3)?;
            let commit = Commit::decode(input.bytes(<Commit as Field>::LEN_MAX)?)?;
            let mut ids = || {
                let count = input.array(usize::MAX)?;
                (0..count).map(|_| Field::take(input)).collect::<Result<Vec<_>, _>>()
            };
            Ok(Record::Finalised { commit, line: ids()?, lost: ids()? })
        })?,
        Kind::Equivocation => Record::Equivocation(Equivocation::decode(bytes)?),
    })
}

/// Reads a rejection.
pub(super) fn decode_rejected(bytes: &[u8]) -> Result<Rejected, DecodeError> {
    whole(bytes, |input| {
        input.array_exact(3)?;
        let id = Field::take(input)?;
        let reason = Field::take(input)?;
        Ok(Rejected { id, reason, at: Field::take(input)? })
    })
}

/// A block of this node's own records: its slot has passed.
pub(super) fn verified(block: Block, network: &Network) -> Result<VerifiedBlock, BlockError> {
    let signed = SignedBlock::verify(block, network, Slot::MAX)?;
    VerifiedBlock::verify(&signed, network)
}

/// The beginning of a round.
pub(super) fn encode_round(start: &RoundStart) -> Vec<u8> {
    array(|out| {
        out.array(3);
        start.number.put(out);
        start.base.id.put(out);
        start.base.height.put(out);
    })
}

/// Reads the beginning of a round.
pub(super) fn decode_round(bytes: &[u8]) -> Result<RoundStart, DecodeError> {
    whole(bytes, |input| {
        input.array_exact(3)?;
        let number = Field::take(input)?;
        let id = Field::take(input)?;
        Ok(RoundStart { number, base: Target { id, height: Field::take(input)? } })
    })
}

fn array(put: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut out = Encoder::with_capacity(256);
    put(&mut out);
    out.finish()
}

fn whole<T>(
    bytes: &[u8],
    take: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut input = Decoder::new(bytes);
    let found = take(&mut input)?;
    input.end()?;
    Ok(found)
}
