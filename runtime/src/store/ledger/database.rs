//! The database: what is looked up, each commit of the log in one transaction.
//!
//! ```text
//! meta          text                  -> bytes   "format", "checkpoint", "tip", "authored", "rounds", "pruned", "pruning"
//! state         key of a record       -> record               of the finalised state
//! blocks        block id (32)         -> height 8, segment 8, offset 8, length 4
//! line          height u64            -> block id (32)        finalised blocks
//! open          height u64, block id  -> ()                   blocks above the finalised one
//! transactions  transaction id (32)   -> height 8, index 4    of finalised blocks
//! pending       transaction id (32)   -> segment 8, offset 8, length 4
//! rejected      transaction id (32)   -> height 8, code
//! rejected_at   height u64, id        -> ()
//! votes         round u64, serial u64 -> sealed vote          of the last two rounds
//! commits       height u64            -> commit               why a block is final
//! evidence      serial u64            -> equivocation
//! ```
//! Numbers inside values are little-endian.
//!
//! # Durability
//! A write is one transaction of redb with two-phase commit: all of it is there after a crash, or none. Quick repair
//! spares the walk over the whole file at open. No savepoints, no `Durability::None`.
//!
//! # Invariant
//! `checkpoint` names the last commit of the log that is in here.

use std::io;
use std::sync::Arc;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition,
    TableError, WriteTransaction,
};
use talea_ledger::{BlockId, Height, TransactionId};
use thiserror::Error;

use super::backend::Backend;
use super::log::LogPlace;
use crate::store::disk::Disk;

type Id = [u8; 32];

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
const BLOCKS: TableDefinition<'_, &Id, &[u8; 28]> = TableDefinition::new("blocks");
const LINE: TableDefinition<'_, u64, &Id> = TableDefinition::new("line");
const OPEN: TableDefinition<'_, (u64, &Id), ()> = TableDefinition::new("open");
const TRANSACTIONS: TableDefinition<'_, &Id, &[u8; 12]> = TableDefinition::new("transactions");
const PENDING: TableDefinition<'_, &Id, &[u8; 20]> = TableDefinition::new("pending");
const REJECTED: TableDefinition<'_, &Id, &[u8]> = TableDefinition::new("rejected");
const REJECTED_AT: TableDefinition<'_, (u64, &Id), ()> = TableDefinition::new("rejected_at");
const VOTES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("votes");
const COMMITS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("commits");
const EVIDENCE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("evidence");

/// The version of this format.
const FORMAT: u32 = 1;
/// Pages redb keeps in memory: state and indexes of some 100,000 accounts.
const CACHE_LEN: usize = 32 << 20;

/// Why nothing was found or written.
#[derive(Debug, Error)]
pub enum LookupError {
    /// The database did not answer. After a failed commit it takes no more writes until it is opened again.
    #[error("the ledger's database could not be used")]
    Database(#[source] Box<redb::Error>),
    /// The disk did not answer.
    #[error("the ledger's database could not be opened")]
    Io(#[from] io::Error),
    /// A value that nobody wrote.
    #[error("the ledger's database is damaged: {0}")]
    Damaged(&'static str),
    /// Made by another version of this program.
    #[error("the ledger's database has format {0}, this program writes format 1")]
    Format(u32),
}

/// Which commit of the log is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Its number; 0 before the first.
    pub commit: u64,
    /// The segment it lies in.
    pub segment: u64,
    /// The byte after it.
    pub end: u64,
}

/// Where a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlace {
    /// Its height.
    pub height: Height,
    /// Its bytes.
    pub place: LogPlace,
}

/// Where a finalised transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The height of its block.
    pub height: Height,
    /// Its place in the block.
    pub index: u32,
}

/// What is known of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStanding {
    /// In a finalised block.
    Final(TransactionPlace),
    /// Accepted, and not final.
    Pending(LogPlace),
    /// Rejected, for this reason, at this finalised height.
    Rejected {
        /// The finalised height.
        at: Height,
        /// The code.
        code: String,
    },
}

/// An encoded key and its encoded record.
pub type StateRow = (Vec<u8>, Vec<u8>);

/// The database of one ledger.
#[derive(Debug)]
pub struct LedgerDatabase(Database);

/// All tables, within one transaction.
pub struct LedgerTables<'t> {
    meta: Table<'t, &'static str, &'static [u8]>,
    state: Table<'t, &'static [u8], &'static [u8]>,
    blocks: Table<'t, &'static Id, &'static [u8; 28]>,
    line: Table<'t, u64, &'static Id>,
    open: Table<'t, (u64, &'static Id), ()>,
    transactions: Table<'t, &'static Id, &'static [u8; 12]>,
    pending: Table<'t, &'static Id, &'static [u8; 20]>,
    rejected: Table<'t, &'static Id, &'static [u8]>,
    rejected_at: Table<'t, (u64, &'static Id), ()>,
    votes: Table<'t, (u64, u64), &'static [u8]>,
    commits: Table<'t, u64, &'static [u8]>,
    evidence: Table<'t, u64, &'static [u8]>,
}

fn database(error: impl Into<redb::Error>) -> LookupError {
    LookupError::Database(Box::new(error.into()))
}

// === impl LedgerDatabase ===

impl LedgerDatabase {
    /// Opens the database in a file of the disk, making it if there is none. The flag says whether it was made.
    pub fn open(
        disk: &Arc<dyn Disk>,
        folder: &str,
        name: &str,
    ) -> Result<(Self, bool), LookupError> {
        let path = format!("{folder}/{name}");
        disk.create_folder(folder)?;
        let found = disk.open(&path)?;
        let file = match &found {
            Some(file) => Arc::clone(file),
            None => {
                let file = disk.create(&path)?;
                disk.sync_folder(folder)?;
                file
            }
        };
        let database = Database::builder()
            .set_cache_size(CACHE_LEN)
            .create_with_backend(Backend(file))
            .map_err(self::database)?;
        let this = Self(database);
        // A process that died while it made the file has left one without tables.
        let format = this.meta("format")?;
        match format.as_deref().map(<[u8; 4]>::try_from) {
            None => {
                this.write(|tables| tables.set_meta("format", &FORMAT.to_le_bytes()))?;
                Ok((this, true))
            }
            Some(Ok(format)) if u32::from_le_bytes(format) == FORMAT => {
                let is_new = this.meta("checkpoint")?.is_none();
                Ok((this, is_new))
            }
            Some(Ok(format)) => Err(LookupError::Format(u32::from_le_bytes(format))),
            Some(Err(_)) => Err(LookupError::Damaged("format")),
        }
    }

    /// One durable transaction.
    pub fn write<T, E: From<LookupError>>(
        &self,
        change: impl FnOnce(&mut LedgerTables<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut write = self.0.begin_write().map_err(database)?;
        write.set_two_phase_commit(true);
        write.set_quick_repair(true);
        let result = {
            let mut tables = LedgerTables::open(&write)?;
            change(&mut tables)
        };
        match result {
            Ok(result) => {
                write.commit().map_err(database)?;
                Ok(result)
            }
            Err(error) => {
                write.abort().map_err(database)?;
                Err(error)
            }
        }
    }

    fn read(&self) -> Result<ReadTransaction, LookupError> {
        self.0.begin_read().map_err(database)
    }

    /// A value of `meta`.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, LookupError> {
        let read = self.read()?;
        let table = match read.open_table(META) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(database(error)),
        };
        let found = table.get(name).map_err(database)?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }

    /// The last commit of the log that is in here.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, LookupError> {
        let Some(bytes) = self.meta("checkpoint")? else { return Ok(None) };
        let bytes = <[u8; 24]>::try_from(bytes.as_slice());
        let bytes = bytes.map_err(|_| LookupError::Damaged("checkpoint"))?;
        Ok(Some(Checkpoint {
            commit: u64_at(&bytes, 0),
            segment: u64_at(&bytes, 8),
            end: u64_at(&bytes, 16),
        }))
    }

    /// Keys and records of the finalised state.
    pub fn state(&self) -> Result<Vec<StateRow>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(STATE).map_err(database)?;
        let all = table.range::<&[u8]>(..).map_err(database)?;
        all.map(|entry| {
            let (key, record) = entry.map_err(database)?;
            Ok((key.value().to_vec(), record.value().to_vec()))
        })
        .collect()
    }

    /// Where a block is stored.
    pub fn block(&self, id: &BlockId) -> Result<Option<BlockPlace>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(BLOCKS).map_err(database)?;
        let found = table.get(&id.digest().to_bytes()).map_err(database)?;
        Ok(found.map(|bytes| decode_block(bytes.value())))
    }

    /// The finalised block at a height.
    pub fn line(&self, height: Height) -> Result<Option<BlockId>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(LINE).map_err(database)?;
        let found = table.get(height.0).map_err(database)?;
        Ok(found.map(|id| block_id(id.value())))
    }

    /// Finalised blocks from a height on, at most so many.
    pub fn line_from(
        &self,
        from: Height,
        limit: usize,
    ) -> Result<Vec<(Height, BlockId)>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(LINE).map_err(database)?;
        let range = table.range(from.0..).map_err(database)?;
        range
            .take(limit)
            .map(|entry| {
                let (height, id) = entry.map_err(database)?;
                Ok((Height(height.value()), block_id(id.value())))
            })
            .collect()
    }

    /// Blocks above the finalised one, lowest first.
    pub fn open_blocks(&self) -> Result<Vec<BlockId>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(OPEN).map_err(database)?;
        let all = table.range::<(u64, &Id)>(..).map_err(database)?;
        all.map(|entry| Ok(block_id(entry.map_err(database)?.0.value().1))).collect()
    }

    /// What is known of a transaction, all of one moment.
    pub fn standing(&self, id: &TransactionId) -> Result<Option<TransactionStanding>, LookupError> {
        let read = self.read()?;
        let key = id.as_bytes();
        let table = read.open_table(TRANSACTIONS).map_err(database)?;
        if let Some(bytes) = table.get(key).map_err(database)? {
            let bytes = bytes.value();
            let place =
                TransactionPlace { height: Height(u64_at(bytes, 0)), index: u32_at(bytes, 8) };
            return Ok(Some(TransactionStanding::Final(place)));
        }
        let table = read.open_table(PENDING).map_err(database)?;
        if let Some(bytes) = table.get(key).map_err(database)? {
            return Ok(Some(TransactionStanding::Pending(decode_place(bytes.value()))));
        }
        let table = read.open_table(REJECTED).map_err(database)?;
        let found = table.get(key).map_err(database)?;
        let found = found.map(|bytes| decode_rejection(bytes.value())).transpose()?;
        Ok(found.map(|(at, code)| TransactionStanding::Rejected { at, code }))
    }

    /// All accepted transactions that are not final.
    pub fn pending(&self) -> Result<Vec<(TransactionId, LogPlace)>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(PENDING).map_err(database)?;
        let all = table.range::<&Id>(..).map_err(database)?;
        all.map(|entry| {
            let (id, place) = entry.map_err(database)?;
            Ok((TransactionId::new(*id.value()), decode_place(place.value())))
        })
        .collect()
    }

    /// All rejections that are kept.
    pub fn rejections(&self) -> Result<Vec<(TransactionId, Height, String)>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(REJECTED).map_err(database)?;
        let all = table.range::<&Id>(..).map_err(database)?;
        all.map(|entry| {
            let (id, bytes) = entry.map_err(database)?;
            let (at, code) = decode_rejection(bytes.value())?;
            Ok((TransactionId::new(*id.value()), at, code))
        })
        .collect()
    }

    /// The votes that are kept, oldest first.
    pub fn votes(&self) -> Result<Vec<Vec<u8>>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(VOTES).map_err(database)?;
        let all = table.range::<(u64, u64)>(..).map_err(database)?;
        all.map(|entry| Ok(entry.map_err(database)?.1.value().to_vec())).collect()
    }

    /// Why the block at a height is final, or one above it: the commit of the lowest such height.
    pub fn commit_from(&self, height: Height) -> Result<Option<Vec<u8>>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(COMMITS).map_err(database)?;
        let mut range = table.range(height.0..).map_err(database)?;
        let first = range.next().transpose().map_err(database)?;
        Ok(first.map(|(_, bytes)| bytes.value().to_vec()))
    }

    /// The commit of the highest block up to a height.
    pub fn commit_upto(&self, height: Height) -> Result<Option<(Height, Vec<u8>)>, LookupError> {
        let read = self.read()?;
        let table = read.open_table(COMMITS).map_err(database)?;
        let mut range = table.range(..=height.0).map_err(database)?;
        let last = range.next_back().transpose().map_err(database)?;
        Ok(last.map(|(height, bytes)| (Height(height.value()), bytes.value().to_vec())))
    }

    /// How many pairs of contradicting signatures are kept.
    pub fn evidence_count(&self) -> Result<u64, LookupError> {
        let read = self.read()?;
        let table = read.open_table(EVIDENCE).map_err(database)?;
        let last = table.last().map_err(database)?;
        Ok(last.map_or(0, |(serial, _)| serial.value().saturating_add(1)))
    }
}

// === impl LedgerTables ===

impl<'t> LedgerTables<'t> {
    fn open(write: &'t WriteTransaction) -> Result<Self, LookupError> {
        Ok(Self {
            meta: write.open_table(META).map_err(database)?,
            state: write.open_table(STATE).map_err(database)?,
            blocks: write.open_table(BLOCKS).map_err(database)?,
            line: write.open_table(LINE).map_err(database)?,
            open: write.open_table(OPEN).map_err(database)?,
            transactions: write.open_table(TRANSACTIONS).map_err(database)?,
            pending: write.open_table(PENDING).map_err(database)?,
            rejected: write.open_table(REJECTED).map_err(database)?,
            rejected_at: write.open_table(REJECTED_AT).map_err(database)?,
            votes: write.open_table(VOTES).map_err(database)?,
            commits: write.open_table(COMMITS).map_err(database)?,
            evidence: write.open_table(EVIDENCE).map_err(database)?,
        })
    }

    /// Sets a value of `meta`.
    pub fn set_meta(&mut self, name: &str, value: &[u8]) -> Result<(), LookupError> {
        self.meta.insert(name, value).map(drop).map_err(database)
    }

    /// Says which commit of the log is in here.
    pub fn set_checkpoint(&mut self, at: Checkpoint) -> Result<(), LookupError> {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&at.commit.to_le_bytes());
        bytes[8..16].copy_from_slice(&at.segment.to_le_bytes());
        bytes[16..].copy_from_slice(&at.end.to_le_bytes());
        self.set_meta("checkpoint", &bytes)
    }

    /// A record of the finalised state, or that there is none any more.
    pub fn set_state(&mut self, key: &[u8], record: Option<&[u8]>) -> Result<(), LookupError> {
        match record {
            Some(record) => self.state.insert(key, record).map(drop).map_err(database),
            None => self.state.remove(key).map(drop).map_err(database),
        }
    }

    /// A block above the finalised one.
    pub fn add_block(&mut self, id: &BlockId, at: BlockPlace) -> Result<(), LookupError> {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&at.height.0.to_le_bytes());
        bytes[8..].copy_from_slice(&encode_place(at.place));
        let id = id.digest().to_bytes();
        self.blocks.insert(&id, &bytes).map_err(database)?;
        self.open.insert((at.height.0, &id), ()).map(drop).map_err(database)
    }

    /// The bytes of a block lie elsewhere now. One that is not looked up any more is passed over.
    pub fn move_block(&mut self, id: &BlockId, place: LogPlace) -> Result<(), LookupError> {
        let id = id.digest().to_bytes();
        let known = self.blocks.get(&id).map_err(database)?.map(|bytes| *bytes.value());
        let Some(mut bytes) = known else { return Ok(()) };
        bytes[8..].copy_from_slice(&encode_place(place));
        self.blocks.insert(&id, &bytes).map(drop).map_err(database)
    }

    /// The bytes of a pending transaction lie elsewhere now. One that is not pending is passed over.
    pub fn move_pending(&mut self, id: &TransactionId, place: LogPlace) -> Result<(), LookupError> {
        if self.pending.get(id.as_bytes()).map_err(database)?.is_none() {
            return Ok(());
        }
        self.pending.insert(id.as_bytes(), &encode_place(place)).map(drop).map_err(database)
    }

    /// A block that is final.
    pub fn finalise_block(&mut self, id: &BlockId, height: Height) -> Result<(), LookupError> {
        let id = id.digest().to_bytes();
        self.open.remove((height.0, &id)).map_err(database)?;
        self.line.insert(height.0, &id).map(drop).map_err(database)
    }

    /// A block that can never be any more. Its bytes stay in the log; it is not looked up again.
    pub fn lose_block(&mut self, id: &BlockId) -> Result<(), LookupError> {
        let id = id.digest().to_bytes();
        let height = self.blocks.remove(&id).map_err(database)?;
        let height = height.map(|bytes| u64_at(bytes.value(), 0));
        if let Some(height) = height {
            self.open.remove((height, &id)).map_err(database)?;
        }
        Ok(())
    }

    /// A transaction that is final: it is no more pending, and was not rejected after all.
    pub fn finalise_transaction(
        &mut self,
        id: &TransactionId,
        at: TransactionPlace,
    ) -> Result<(), LookupError> {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&at.height.0.to_le_bytes());
        bytes[8..].copy_from_slice(&at.index.to_le_bytes());
        self.transactions.insert(id.as_bytes(), &bytes).map_err(database)?;
        self.pending.remove(id.as_bytes()).map(drop).map_err(database)?;
        self.forgive(id)
    }

    /// A transaction that was accepted.
    pub fn add_pending(&mut self, id: &TransactionId, place: LogPlace) -> Result<(), LookupError> {
        self.pending.insert(id.as_bytes(), &encode_place(place)).map(drop).map_err(database)?;
        self.forgive(id)
    }

    /// A transaction that was rejected.
    pub fn reject(
        &mut self,
        id: &TransactionId,
        at: Height,
        code: &str,
    ) -> Result<(), LookupError> {
        self.forgive(id)?;
        self.pending.remove(id.as_bytes()).map(drop).map_err(database)?;
        let mut bytes = at.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(code.as_bytes());
        self.rejected.insert(id.as_bytes(), bytes.as_slice()).map(drop).map_err(database)?;
        self.rejected_at.insert((at.0, id.as_bytes()), ()).map(drop).map_err(database)
    }

    fn forgive(&mut self, id: &TransactionId) -> Result<(), LookupError> {
        let before = self.rejected.remove(id.as_bytes()).map_err(database)?;
        let at = before.map(|bytes| decode_rejection(bytes.value())).transpose()?;
        if let Some((at, _)) = at {
            self.rejected_at.remove((at.0, id.as_bytes())).map_err(database)?;
        }
        Ok(())
    }

    /// Forgets what was rejected before a height.
    pub fn forget_rejections(&mut self, before: Height) -> Result<(), LookupError> {
        let old =
            self.rejected_at.extract_from_if((0, &[0; 32])..(before.0, &[0; 32]), |_, ()| true);
        for entry in old.map_err(database)? {
            let (key, _) = entry.map_err(database)?;
            self.rejected.remove(key.value().1).map_err(database)?;
        }
        Ok(())
    }

    /// A vote that was counted.
    pub fn add_vote(&mut self, round: u64, vote: &[u8]) -> Result<(), LookupError> {
        let last = self.votes.range((round, 0)..=(round, u64::MAX)).map_err(database)?.next_back();
        let last = last.transpose().map_err(database)?;
        let serial = last.map_or(0, |(key, _)| key.value().1.saturating_add(1));
        self.votes.insert((round, serial), vote).map(drop).map_err(database)
    }

    /// Forgets votes of rounds before one.
    pub fn forget_votes(&mut self, before: u64) -> Result<(), LookupError> {
        self.votes.retain_in((0, 0)..(before, 0), |_, _| false).map_err(database)
    }

    /// Why a block is final.
    pub fn add_commit(&mut self, height: Height, commit: &[u8]) -> Result<(), LookupError> {
        self.commits.insert(height.0, commit).map(drop).map_err(database)
    }

    /// Two signatures that contradict each other.
    pub fn add_evidence(&mut self, bytes: &[u8]) -> Result<(), LookupError> {
        let last = self.evidence.last().map_err(database)?;
        let serial = last.map_or(0, |(serial, _)| serial.value().saturating_add(1));
        self.evidence.insert(serial, bytes).map(drop).map_err(database)
    }
}

impl std::fmt::Debug for LedgerTables<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LedgerTables")
    }
}

fn encode_place(place: LogPlace) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&place.segment.to_le_bytes());
    bytes[8..16].copy_from_slice(&place.offset.to_le_bytes());
    bytes[16..].copy_from_slice(&place.len.to_le_bytes());
    bytes
}

fn decode_place(bytes: &[u8]) -> LogPlace {
    LogPlace { segment: u64_at(bytes, 0), offset: u64_at(bytes, 8), len: u32_at(bytes, 16) }
}

fn decode_block(bytes: &[u8; 28]) -> BlockPlace {
    BlockPlace { height: Height(u64_at(bytes, 0)), place: decode_place(&bytes[8..]) }
}

fn decode_rejection(bytes: &[u8]) -> Result<(Height, String), LookupError> {
    let damaged = || LookupError::Damaged("a rejection");
    let (at, code) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let code = std::str::from_utf8(code).map_err(|_| damaged())?;
    Ok((Height(u64::from_le_bytes(*at)), code.to_owned()))
}

fn block_id(bytes: &Id) -> BlockId {
    BlockId::from_digest(talea_ledger::Digest::new(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}
