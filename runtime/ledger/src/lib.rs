//! The documents and the ledger of Talea: what is named, signed, billed, proven and paid.
//!
//! Owns: ids, the canonical encoding, signatures with a mandatory domain, Merkle trees; the documents
//! of one invocation (run, input, output, receipt, batch, bundle, registration, request) with the rules that
//! bind them: the bill, the proof of a receipt, the comparison of a receipt with a re-execution; and the ledger:
//! its documents (parameters, transaction, voucher, session, block) and the rules that lead from state to state.
//!
//! Invariants: bytes in, decisions out. A document has exactly one encoding; nothing is verified but the bytes
//! that were carried; nothing is signed without a domain and a network; every length has a maximum that is
//! checked before memory is taken. `DOCUMENTS.md` beside this crate describes every byte.
//!
//! Deliberately absent: clocks, randomness, files, sockets, threads, async, serde. Time and seeds are fields.

#![deny(clippy::arithmetic_side_effects)]

// The simulator of `tests/sim` is also compiled into the unit tests, which can break rules on purpose.
#[cfg(test)]
extern crate self as talea_ledger;

pub mod audit;
pub mod batch;
pub mod block;
pub mod bundle;
pub mod chain;
pub mod codec;
pub mod cover;
pub mod draw;
pub mod finality;
pub mod fork;
pub mod fraud;
pub mod id;
pub mod input;
pub mod lanes;
pub mod merkle;
pub mod message;
pub mod offer;
pub mod outcome;
pub mod output;
pub mod params;
pub mod pool;
pub mod price;
pub mod profile;
pub mod proof;
pub mod receipt;
pub mod registration;
pub mod request;
pub mod rules;
pub mod run;
pub mod session;
pub mod sign;
pub mod transaction;
pub mod units;
pub mod voucher;

pub use audit::{Facts, Verdict};
pub use batch::{Batch, Proof, SealedBatch};
pub use block::{Block, BlockError, Header, SignedBlock, SignedHeader, VerifiedBlock};
pub use bundle::Bundle;
pub use codec::{DecodeError, Document};
pub use draw::{Candidate, Draw};
pub use fraud::{Fraud, FraudKind};
pub use id::{
    BlockId, BodyId, ChannelId, Digest, DrawId, FunctionId, InputId, KnownKey, NetworkId, OfferId,
    OutputId, ProfileId, PublicKey, ReceiptId, RegistrationId, RunId, SecretKey, SessionId,
    TransactionId,
};
pub use input::Input;
pub use message::Headers;
pub use offer::Offer;
pub use outcome::{ExitCode, LimitKind, Outcome, TrapCode};
pub use output::Output;
pub use params::{Network, NetworkParams};
pub use price::Price;
pub use proof::{Evidence, Proven};
pub use receipt::{Forwarded, Receipt, ReceiptPayment};
pub use registration::Registration;
pub use request::Request;
pub use rules::{ApplyError, Place, Rejection, State, apply, propose};
pub use run::{Payment, Run};
pub use session::Session;
pub use sign::{Domain, Sealed, Verified, VerifyError};
pub use transaction::{Action, Transaction, TransactionError, VerifiedTransaction};
pub use units::{Fuel, Height, Nonce, Pages, Ppm, Sequence, Slot, Slots, Tal, UnixNanos};
pub use voucher::Voucher;
