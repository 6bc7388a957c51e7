//! The ledger at rest: a log of everything the chain has accepted, and a database made from it.
//!
//! The log ([`LedgerLog`]) is the truth: append-only segments that hold every record in the order in which the
//! chain made them, blocks among them. The database ([`LedgerDatabase`], redb) holds what is looked up: the
//! finalised state, where each block and transaction lies, what is pending. It is committed after each commit of
//! the log and names it, so that an open reads the log from there on; without a database everything is read again.
//! `store/LEDGER.md` draws both byte by byte.
//!
//! Invariant: the database is never ahead of the log.
//! Absent: what the records mean. `crate::ledger` writes and reads them.

mod backend;
mod database;
mod format;
mod log;
#[cfg(test)]
mod tests;

pub use database::{
    BlockPlace, Checkpoint, LedgerDatabase, LedgerTables, LookupError, StateRow, TransactionPlace,
    TransactionStanding,
};
pub use log::{
    AppendLogError, LOG_SEGMENT_LEN, LedgerLog, LedgerLogReader, LogCommit, LogDamage, LogOptions,
    LogPlace, LogRecord, OpenLogError, ReadLogError,
};
