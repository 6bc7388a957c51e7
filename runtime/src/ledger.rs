//! The ledger in the node: one thread drives the chain, everybody else reads what it has made durable.
//!
//! Transactions are handed to the [`Mailbox`]; the thread lets the pure chain decide (`talea_ledger::chain`), writes
//! every record it asks for, syncs, and only then answers. A [`Reader`] gives the [`View`] of the moment and what is
//! stored of blocks and transactions.
//!
//! A node without further settings is a network of its own: its key is the one authority, which finalises each of
//! its blocks at once, and [`development_key`], which everybody knows, has the money.
//!
//! # Invariants
//! Nothing is answered or shown before it is on the disk. After a failed write nothing is accepted until the node
//! has been started again.
//!
//! With peers, what they say comes in through a [`Wire`] and what is said to them goes out through a [`Line`], as opaque
//! messages of the chain and keys of nodes.
//!
//! # Absent
//! The rules, and connections: whoever has them implements [`Line`].

mod company;
mod librarian;
mod line;
mod mailbox;
mod open;
mod prune;
mod reader;
mod record;
mod replica;
mod task;
#[cfg(test)]
mod tests;
mod view;
mod wire;

pub use line::{BLOCK_NEWS_LEN_MAX, Judge, Line, News, Nobody, Verdict};
pub use mailbox::{Mailbox, Refusal, SubmitError};
pub use open::{
    DATABASE, FOLDER, Ledger, LedgerError, LedgerOptions, Rebuilt, development, rebuild,
};
pub use reader::{LedgerReadError, Reader, Status, StoredBlock, Told};
pub use record::RecordError;
pub use view::View;
pub use wire::Wire;

use talea_ledger::{Digest, SecretKey};

/// The key that a development network's genesis funds. It is derived from a published text, so everybody has it:
/// what it signs is worth nothing, on purpose, and no wallet needs to be set up before a first paid call.
pub fn development_key() -> SecretKey {
    SecretKey::from_bytes(&Digest::of(b"talea development wallet v1").to_bytes())
}
