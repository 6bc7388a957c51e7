//! The transaction: one signed order to the ledger.
//!
//! Invariants: the payload names network, sender and nonce, so it counts once and on one network; its id is the
//! hash of the payload, never of the envelope. [`VerifiedTransaction`] is minted only by
//! [`VerifiedTransaction::verify`], which checks every signature there is in it, those of the vouchers, runs and
//! batches it carries too: what is left for the rules is the state alone.

mod action;
mod carried;
mod order;

pub use action::*;
pub use carried::{Bills, Carried, CarriedError, ProvenBill, Signer};
pub use order::{OrderError, canonical_order, is_canonical};

use crate::codec::{DecodeError, Document, record};
use crate::id::{Digest, NetworkId, PublicKey, SecretKey, TransactionId};
use crate::sign::{self, Domain, Sealed, TRANSACTION_LEN_MAX, VerifyError};
use crate::units::Nonce;

record! {
    /// One order.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Transaction {
        /// What is to be done.
        "act" => pub action: Action,
        /// The network.
        "net" => pub network: NetworkId,
        /// Who orders, pays the fee and signs.
        "from" => pub sender: PublicKey,
        /// How many transactions the sender has sent before.
        "nonce" => pub nonce: Nonce,
        /// The last transaction on the same resource, when the order is meant for that state of it only.
        "builds" => pub builds_on: Option<TransactionId>,
    }
}

impl Document for Transaction {
    const DOMAIN: Domain = Domain::Transaction;
    const LEN_MAX: usize = TRANSACTION_LEN_MAX;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.sender)
    }
}

impl Transaction {
    /// The name of this document.
    pub fn id(&self) -> TransactionId {
        TransactionId::of(&self.encode())
    }

    /// Signs it.
    ///
    /// # Panics
    /// When it is longer than a transaction may be, which no list in it can be by its own bound alone: a caller
    /// who fills a redeem by batch counts its bytes ([`Transaction::is_short_enough`]).
    pub fn seal(&self, key: &SecretKey) -> Sealed {
        sign::seal_document(key, self)
    }

    /// Whether it can be signed and sent.
    pub fn is_short_enough(&self) -> bool {
        self.encode().len() <= TRANSACTION_LEN_MAX
    }
}

/// Why bytes are not a transaction that can be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The envelope is not one.
    #[error("malformed envelope: {0}")]
    Envelope(#[from] DecodeError),
    /// The signature does not hold, or the payload is no transaction of this network.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// What it carries does not hold.
    #[error(transparent)]
    Carried(#[from] CarriedError),
}

impl TransactionError {
    /// The stable text for callers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) | Self::Verify(VerifyError::Payload(_)) => "malformed",
            Self::Verify(VerifyError::Domain { .. }) => "wrong-type",
            Self::Verify(VerifyError::Signature(_)) => "bad-signature",
            Self::Verify(VerifyError::Signer { .. }) => "wrong-signer",
            Self::Verify(VerifyError::Network { .. }) => "wrong-network",
            Self::Verify(VerifyError::Proof(_) | VerifyError::Count { .. }) => "bad-proof",
            Self::Carried(error) => error.code(),
        }
    }
}

/// A transaction whose signatures all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTransaction {
    id: TransactionId,
    transaction: Transaction,
    carried: Carried,
    payload_len: usize,
    bytes: Vec<u8>,
}

impl VerifiedTransaction {
    /// Reads an envelope and checks it.
    pub fn decode(bytes: &[u8], network: &NetworkId) -> Result<Self, TransactionError> {
        Self::verify(&Sealed::decode(bytes)?, network)
    }

    /// Checks the signature, the network, and every signature and proof the transaction carries.
    pub fn verify(sealed: &Sealed, network: &NetworkId) -> Result<Self, TransactionError> {
        let (transaction, payload, _) = sealed.verify::<Transaction>()?.on(network)?.into_parts();
        let carried = carried::check(&transaction)?;
        Ok(Self {
            id: TransactionId::of(&payload),
            transaction,
            carried,
            payload_len: payload.len(),
            bytes: sealed.encode(),
        })
    }

    /// Its name.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The document.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// What is to be done.
    pub fn action(&self) -> &Action {
        &self.transaction.action
    }

    /// Who orders it.
    pub fn sender(&self) -> PublicKey {
        self.transaction.sender
    }

    /// Its place among the sender's transactions.
    pub fn nonce(&self) -> Nonce {
        self.transaction.nonce
    }

    /// What was checked beside its own signature.
    pub fn carried(&self) -> &Carried {
        &self.carried
    }

    /// The envelope's bytes, as a block carries them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length of the payload, after which the fee is counted.
    pub fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// The hash of the envelope's bytes: two envelopes of one transaction differ in it.
    pub fn envelope(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}
