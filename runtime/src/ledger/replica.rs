//! The database as it follows from the records of the log: one transaction for each commit.
//!
//! The same steps serve a running node, an open after a crash and `talea ledger rebuild`, so what is rebuilt is what
//! was there. A finalised block is applied here once more, to the finalised state alone: its root is checked by the
//! rules at each, and what a bug of the chain's bookkeeping would do to the database shows at once.
//!
//! Invariant: database and memory show the same commit. After an error neither may be used: the node opens anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use talea_ledger::chain::{Record, Recovered};
use talea_ledger::finality::{RoundStart, Rounds, Vote};
use talea_ledger::pool::{Reason, Rejected};
use talea_ledger::rules::record::{Key, Record as StateRecord};
use talea_ledger::rules::{self, Tip};
use talea_ledger::{
    Block, BlockId, DecodeError, Document as _, Height, Network, PublicKey, Sealed, Slot, State,
    VerifiedBlock,
};

use super::open::LedgerError;
use super::reader::{Archive, StoredBlock};
use super::record;
use crate::store::ledger::{
    BlockPlace, Checkpoint, LedgerTables, LogCommit, LogPlace, TransactionPlace,
};

/// Finalised blocks handed to the chain at open, besides those that votes refer to: peers that lag a little
/// are served from memory.
const LINE_LEN: u64 = 64;

/// What the database holds, as far as the next commit needs it.
pub(super) struct Replica {
    network: Arc<Network>,
    me: PublicKey,
    archive: Archive,
    /// The finalised state.
    state: State,
    /// Blocks above the finalised one.
    open: BTreeMap<BlockId, Arc<VerifiedBlock>>,
    /// The last two rounds.
    starts: Vec<RoundStart>,
    authored: Slot,
}

impl Replica {
    /// What the database holds; in a new one, the beginning of the network.
    pub(super) fn load(
        network: Arc<Network>,
        me: PublicKey,
        archive: Archive,
        is_new: bool,
    ) -> Result<Self, LedgerError> {
        let state = if is_new {
            let state = State::genesis(Arc::clone(&network));
            archive.database.write(|tables| -> Result<(), LedgerError> {
                for (key, record) in state.records() {
                    tables.set_state(&key.encode(), Some(&record.encode()))?;
                }
                put_tip(tables, state.tip())?;
                Ok(tables.set_checkpoint(Checkpoint::default())?)
            })?;
            state
        } else {
            restore(&network, &archive)?
        };
        let mut this = Self {
            network,
            me,
            archive,
            state,
            open: BTreeMap::new(),
            starts: Vec::new(),
            authored: Slot::ZERO,
        };
        this.load_rest()?;
        Ok(this)
    }

    fn load_rest(&mut self) -> Result<(), LedgerError> {
        let database = &self.archive.database;
        for id in database.open_blocks()? {
            let stored = self.archive.block(&id)?.ok_or(LedgerError::Incomplete("a block"))?;
            self.open.insert(id, Arc::new(self.verified(stored.block, stored.place)?));
        }
        if let Some(bytes) = database.meta("rounds")? {
            // One or two of them, each with its length in front.
            let mut rest = bytes.as_slice();
            while let Some((len, after)) = rest.split_first() {
                let (start, after) = after
                    .split_at_checked(usize::from(*len))
                    .ok_or(LedgerError::Incomplete("a round"))?;
                self.starts.push(record::decode_round(start)?);
                rest = after;
            }
        }
        if let Some(bytes) = database.meta("authored")? {
            let bytes = bytes.as_slice().try_into();
            let bytes = bytes.map_err(|_| LedgerError::Incomplete("the last own slot"))?;
            self.authored = Slot(u64::from_le_bytes(bytes));
        }
        Ok(())
    }

    fn verified(&self, block: Block, place: LogPlace) -> Result<VerifiedBlock, LedgerError> {
        record::verified(block, &self.network).map_err(|source| LedgerError::Record {
            file: self.archive.log.file_of(place),
            offset: place.offset,
            source: Box::new(source.into()),
        })
    }

    /// Reads a commit of the log and writes it.
    pub(super) fn replay(&mut self, commit: &LogCommit) -> Result<(), LedgerError> {
        let records = commit
            .records
            .iter()
            .map(|each| {
                let read = record::decode(each.kind, &each.bytes, &self.network);
                let record = read.map_err(|source| LedgerError::Record {
                    file: self.archive.log.file_of(each.place),
                    offset: each.place.offset,
                    source: Box::new(source),
                })?;
                Ok((record, each.place))
            })
            .collect::<Result<Vec<_>, LedgerError>>()?;
        self.write(records.iter().map(|(record, place)| (record, *place)), commit)
    }

    /// Writes the records of a commit that is in the log.
    pub(super) fn write<'r>(
        &mut self,
        records: impl IntoIterator<Item = (&'r Record, LogPlace)>,
        commit: &LogCommit,
    ) -> Result<(), LedgerError> {
        let archive = self.archive.clone();
        archive.database.write(|tables| {
            for (record, place) in records {
                self.apply(tables, record, place)?;
            }
            let at = Checkpoint { commit: commit.number, segment: commit.segment, end: commit.end };
            Ok(tables.set_checkpoint(at)?)
        })
    }

    fn apply(
        &mut self,
        tables: &mut LedgerTables<'_>,
        record: &Record,
        place: LogPlace,
    ) -> Result<(), LedgerError> {
        match record {
            Record::Transaction(transaction) => tables.add_pending(&transaction.id(), place)?,
            Record::Rejected(rejected) => {
                tables.reject(&rejected.id, rejected.at, rejected.reason.as_str())?;
            }
            Record::Block(block) => {
                let header = block.header();
                tables.add_block(&block.id(), BlockPlace { height: header.height, place })?;
                if header.author == self.me && header.slot > self.authored {
                    self.authored = header.slot;
                    tables.set_meta("authored", &header.slot.0.to_le_bytes())?;
                }
                self.open.insert(block.id(), Arc::clone(block));
            }
            Record::Round(start) => self.begin_round(tables, start)?,
            Record::Vote(vote) => {
                let round = Vote::decode(vote.payload())?.round;
                tables.add_vote(round.get(), &vote.encode())?;
            }
            Record::Finalised { commit, line, lost } => {
                tables.add_commit(commit.height, &commit.encode())?;
                for id in line {
                    self.finalise(tables, id)?;
                }
                for id in lost {
                    self.open.remove(id);
                    tables.lose_block(id)?;
                }
                let retention = self.network.params().retention;
                let height = self.state.tip().height;
                tables.forget_rejections(Height(height.0.saturating_sub(retention)))?;
            }
            Record::Equivocation(evidence) => tables.add_evidence(&evidence.encode())?,
        }
        Ok(())
    }

    fn finalise(&mut self, tables: &mut LedgerTables<'_>, id: &BlockId) -> Result<(), LedgerError> {
        let block = self.open.remove(id).ok_or(LedgerError::Incomplete("a finalised block"))?;
        let height = block.header().height;
        self.state = rules::apply(&self.state, &block)
            .map_err(|source| LedgerError::Apply { block: *id, source: Box::new(source) })?;
        for (key, record) in self.state.changes() {
            let record = record.map(talea_ledger::Document::encode);
            tables.set_state(&key.encode(), record.as_deref())?;
        }
        for (index, transaction) in (0..).zip(block.transactions()) {
            tables.finalise_transaction(&transaction.id(), TransactionPlace { height, index })?;
        }
        tables.finalise_block(id, height)?;
        Ok(put_tip(tables, self.state.tip())?)
    }

    fn begin_round(
        &mut self,
        tables: &mut LedgerTables<'_>,
        start: &RoundStart,
    ) -> Result<(), LedgerError> {
        self.starts.push(*start);
        let surplus = self.starts.len().saturating_sub(2);
        self.starts.drain(..surplus);
        let mut bytes = Vec::new();
        for start in &self.starts {
            let start = record::encode_round(start);
            // Three numbers and a link: below 64 bytes.
            bytes.push(u8::try_from(start.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(&start);
        }
        tables.set_meta("rounds", &bytes)?;
        let oldest = self.starts.first().map_or(0, |start| start.number.get());
        Ok(tables.forget_votes(oldest)?)
    }

    /// The finalised state.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// What the chain goes on from.
    pub(super) fn recovered(&self) -> Result<Recovered, LedgerError> {
        let database = &self.archive.database;
        let tip = self.state.tip();
        let base = self.starts.first().map_or(tip.height, |start| start.base.height);
        let first = base.0.min(tip.height.0.saturating_sub(LINE_LEN));
        let line = database.line_from(Height(first), usize::MAX)?;
        let line = line
            .into_iter()
            .map(|(_, id)| {
                let stored = self.archive.block(&id)?;
                Ok(stored.ok_or(LedgerError::Incomplete("a finalised block"))?.block)
            })
            .collect::<Result<Vec<_>, LedgerError>>()?;
        let commit = database.commit_from(tip.height)?;
        let commit = commit.map(|bytes| talea_ledger::Document::decode(&bytes)).transpose()?;
        let votes = database.votes()?;
        let votes: Result<Vec<Sealed>, DecodeError> =
            votes.iter().map(|bytes| Sealed::decode(bytes)).collect();
        let pending = database.pending()?;
        let pending = pending.into_iter().map(|(_, place)| Ok(self.archive.log.read(place)?));
        let rejected = database.rejections()?;
        let rejected = rejected.into_iter().map(|(id, at, code)| Rejected {
            id,
            reason: Reason::new(&code),
            at,
        });
        Ok(Recovered {
            state: self.state.clone(),
            line,
            blocks: self.open.values().map(|block| block.to_block()).collect(),
            rounds: Rounds { starts: self.starts.clone(), votes: votes?, commit },
            pending: pending.collect::<Result<Vec<_>, LedgerError>>()?,
            rejected: rejected.collect(),
            authored: self.authored,
        })
    }
}

/// The finalised state, held against the root that its block's author signed.
fn restore(network: &Arc<Network>, archive: &Archive) -> Result<State, LedgerError> {
    let bytes = archive.database.meta("tip")?.ok_or(LedgerError::Incomplete("the tip"))?;
    let tip = decode_tip(&bytes)?;
    let records = archive.database.state()?;
    let records = records
        .iter()
        .map(|(key, record)| Ok((Key::decode(key)?, StateRecord::decode(record)?)))
        .collect::<Result<Vec<_>, DecodeError>>()?;
    let state = State::restore(Arc::clone(network), tip, records);
    let expected = if tip.height == Height::ZERO {
        State::genesis(Arc::clone(network)).root()
    } else {
        let stored: StoredBlock =
            archive.block(&tip.id)?.ok_or(LedgerError::Incomplete("the last block"))?;
        stored.header.state
    };
    let found = state.root();
    if found != expected {
        return Err(LedgerError::Root { height: tip.height, found, expected });
    }
    Ok(state)
}

fn put_tip(
    tables: &mut LedgerTables<'_>,
    tip: Tip,
) -> Result<(), crate::store::ledger::LookupError> {
    let mut bytes = tip.id.digest().to_bytes().to_vec();
    bytes.extend_from_slice(&tip.height.0.to_le_bytes());
    bytes.extend_from_slice(&tip.slot.0.to_le_bytes());
    tables.set_meta("tip", &bytes)
}

fn decode_tip(bytes: &[u8]) -> Result<Tip, LedgerError> {
    let damaged = || LedgerError::Incomplete("the tip");
    let (id, rest) = bytes.split_first_chunk::<32>().ok_or_else(damaged)?;
    let (height, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let slot: [u8; 8] = rest.try_into().map_err(|_| damaged())?;
    Ok(Tip {
        id: BlockId::from_digest(talea_ledger::Digest::new(*id)),
        height: Height(u64::from_le_bytes(*height)),
        slot: Slot(u64::from_le_bytes(slot)),
    })
}
