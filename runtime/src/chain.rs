//! The single writer: one thread that turns finished runs into durable, signed receipts.
//!
//! A run that has been executed is handed to the [`Mailbox`]. The chain's thread takes everything that
//! waits, bills it in that order, encodes the receipts, hashes them into one tree, signs its root, writes it
//! all as one commit of the journal, syncs once, and only then answers. What arrives meanwhile is the next
//! commit: under load the batches grow by themselves, an idle node's batch is one receipt.
//!
//! # Durability
//! `record` answers when the receipt, its run, its documents and its bodies are on the disk. A receipt that
//! was not answered may or may not be there after a crash; sending the same paid run again tells.
//!
//! # Invariants
//! Nothing signed leaves this module before its sync. `owed` is assigned in journal order, so the intervals
//! (owed - bill, owed] of a channel never overlap. A (channel, sequence) is billed once, also when the same run
//! is in flight twice. After a failed write nothing is recorded until the node has been started again.
//!
//! # Absent
//! Execution, permission and cover, which are decided before; blocks and vouchers.

mod batcher;
pub mod channels;
mod keeper;
pub mod mailbox;
mod open;
mod reader;
mod task;
#[cfg(test)]
mod tests;

pub use channels::Channel;
pub use keeper::Unpaid;
pub use mailbox::{Finished, Mailbox, RecordError, Recorded, Via};
pub use open::{Chain, ChainError, ChainOptions};
pub use reader::{KeptError, KeptReceipt, Lookup, ReceiptReader};
pub use task::Commits;
