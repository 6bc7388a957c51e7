//! The node's secret key, and what it signs: batches of receipts, blocks and votes, offers, the node's own transactions.
//!
//! Invariant: the key leaves this module neither as bytes nor as a reference, but for one copy that is wiped: the node's
//! name among other nodes is the same key, and its connections are proven with it. What is signed names the
//! network and the type of the document.
//! Absent: the store and tokio. The notary signs what it is handed; that nothing signed leaves the node before
//! it is on the disk is the chain's business.

use std::sync::Arc;

use talea_ledger::batch::{BatchHead, SealedBatch, seal_batch};
use talea_ledger::finality::Signer;
use talea_ledger::merkle::ProofError;
use talea_ledger::{
    Document, Domain, NetworkId, PublicKey, Sealed, SecretKey, Transaction, UnixNanos, sign,
};
use zeroize::Zeroizing;

/// Signs in the name of the node. Clones share the key.
#[derive(Debug, Clone)]
pub struct Notary {
    key: Arc<SecretKey>,
    public: PublicKey,
    network: NetworkId,
}

impl Notary {
    /// A notary of this key in this network.
    pub fn new(key: SecretKey, network: NetworkId) -> Self {
        let public = key.public();
        Self { key: Arc::new(key), public, network }
    }

    /// The node's public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The network that everything signed here names.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The secret behind the node's name among other nodes, for whoever makes its connections; wiped when dropped.
    pub fn peer_secret(&self) -> Zeroizing<[u8; 32]> {
        self.key.to_bytes()
    }

    /// Signs the root over these receipts: one signature for all of them.
    pub fn seal<B: AsRef<[u8]>>(
        &self,
        number: u64,
        at: UnixNanos,
        receipts: &[B],
    ) -> Result<SealedBatch, ProofError> {
        seal_batch(&self.key, BatchHead { network: self.network, number, at }, receipts)
    }

    /// Signs a document that this node makes of itself: an offer, and what it orders as a payer.
    pub fn document<T: Document>(&self, document: &T) -> Sealed {
        sign::seal_document(&self.key, document)
    }

    /// Signs a transaction that this node sends.
    pub fn transaction(&self, transaction: &Transaction) -> Sealed {
        transaction.seal(&self.key)
    }
}

/// The chain has its headers and votes signed here.
impl Signer for Notary {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn seal(&self, domain: Domain, payload: Vec<u8>) -> Sealed {
        sign::seal(&self.key, domain, payload)
    }
}

#[cfg(test)]
mod tests {
    use talea_ledger::Batch;

    use super::*;

    #[test]
    fn a_sealed_batch_is_signed_by_the_node_and_names_its_network() {
        let notary = Notary::new(SecretKey::from_bytes(&[7; 32]), NetworkId::DEVELOPMENT);
        let sealed = notary.seal(3, UnixNanos(9), &[b"one", b"two"]).unwrap();
        let verified = sealed.sealed().verify::<Batch>().unwrap();
        assert_eq!(*verified.signer(), notary.public());
        assert_eq!(verified.document().network, notary.network());
        assert_eq!((verified.document().number, verified.document().count.get()), (3, 2));
        assert!(notary.seal(3, UnixNanos(9), &[] as &[&[u8]]).is_err());
    }
}
