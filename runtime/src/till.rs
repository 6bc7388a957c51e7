//! The till: vouchers that payers gave, and what this host does to turn them and its receipts into money.
//!
//! Invariants: a voucher is on the disk before it is answered; one that is taken counts only what the journal's
//! receipts say and can be redeemed as long as its channel stands. What is redeemed is listed by function from the
//! receipts themselves. Everything the collector does follows from the journal, the kept vouchers and the ledger:
//! after a crash it does the same again, and the ledger pays nothing twice.
//! Evidence that a host cheated is kept here too, and reported where that costs the host something.
//! Absent: the ledger (the node hands in its states and its mailbox), and whether a run is taken: that is `auth`'s,
//! which asks here what is vouched for.

mod batch;
mod bills;
mod collector;
mod evidence;
mod spread;
mod vouchers;

use std::future::Future;
use std::pin::Pin;

use talea_ledger::{State, TransactionId};

pub use bills::BillsError;
pub use collector::{CollectError, Collector, CollectorParts, Desk, desk};
pub use evidence::{Evidence, EvidenceError, Prospect};
pub use spread::{EVIDENCE_LEN_MAX, Hearsay};
pub use vouchers::{Account, Till, VoucherError};

/// The ledger, as far as the till needs it. The node hands in the ledger's doors.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// The state after the last block.
    fn head(&self) -> State;

    /// The state after the last finalised block.
    fn finalised(&self) -> State;

    /// Hands in a transaction's envelope; accepted and on the disk when it answers.
    fn submit(&self, envelope: Vec<u8>) -> Submitting<'_>;
}

/// What becomes of a transaction that was handed in: its name, or the stable code of the refusal.
pub type Submitting<'a> = Pin<Box<dyn Future<Output = Result<TransactionId, String>> + Send + 'a>>;

/// Whether runs of a channel are under way. The node hands in `auth`.
pub trait Traffic: Send + Sync + std::fmt::Debug {
    /// Whether some run that the channel pays for has no receipt yet.
    fn is_busy(&self, channel: &talea_ledger::ChannelId) -> bool;
}
