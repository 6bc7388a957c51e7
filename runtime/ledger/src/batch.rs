//! The batch: one signature over the receipts of one commit, and each receipt's proof.
//!
//! A receipt's path and the signed batch stand in for a signature of its own.

use crate::codec::{Document, record};
use crate::id::{BatchId, Digest, NetworkId, PublicKey, SecretKey};
use crate::merkle::{self, LeafCount, LeafIndex, Path, ProofError, Tree};
use crate::receipt::Receipt;
use crate::sign::{self, Domain, Sealed, Verified, VerifyError};
use crate::units::UnixNanos;

/// Most receipts of one batch.
pub const RECEIPTS_MAX: usize = merkle::LEAVES_MAX as usize;

record! {
    /// What a host signs at each commit.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Batch {
        /// When it was sealed, by the host's clock.
        "at" => pub at: UnixNanos,
        /// The host, who signs.
        "by" => pub host: PublicKey,
        /// The network.
        "net" => pub network: NetworkId,
        /// The commit it belongs to, in the order of the host's journal.
        "num" => pub number: u64,
        /// The root over the receipts' payloads.
        "root" => pub root: Digest,
        /// How many receipts there are.
        "count" => pub count: LeafCount,
    }
}

record! {
    /// The way from one receipt to a signed batch.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Proof {
        /// The siblings from the receipt up.
        "path" => pub path: Path,
        /// The signed batch.
        "batch" => pub batch: Sealed,
        /// The place of the receipt.
        "index" => pub index: LeafIndex,
    }
}

impl Document for Batch {
    const DOMAIN: Domain = Domain::Batch;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.host)
    }
}

impl Document for Proof {
    const DOMAIN: Domain = Domain::Proof;
}

/// What a batch says beside its receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The network.
    pub network: NetworkId,
    /// The commit.
    pub number: u64,
    /// The time.
    pub at: UnixNanos,
}

/// A batch that was sealed here: it knows its tree and gives every receipt its proof.
#[derive(Debug, Clone)]
pub struct SealedBatch {
    batch: Batch,
    sealed: Sealed,
    tree: Tree,
}

/// Hashes the payloads into a tree and signs its root.
///
/// The payloads must be encoded receipts of this key's host and network: what is signed here, anyone can prove.
pub fn seal_batch<B: AsRef<[u8]>>(
    key: &SecretKey,
    head: BatchHead,
    receipts: &[B],
) -> Result<SealedBatch, ProofError> {
    let tree = Tree::over(receipts)?;
    let batch = Batch {
        at: head.at,
        host: key.public(),
        network: head.network,
        number: head.number,
        root: tree.root(),
        count: tree.count(),
    };
    let sealed = sign::seal_document(key, &batch);
    Ok(SealedBatch { batch, sealed, tree })
}

/// Checks one receipt against its proof: the batch's signature, the path, and that receipt and batch are of
/// one host and network.
pub fn verify_receipt(payload: &[u8], proof: &Proof) -> Result<Verified<Receipt>, VerifyError> {
    let batch = proof.batch.verify::<Batch>()?;
    verify_in(payload, proof.index, &proof.path, &batch)
}

/// The same for a batch whose signature was checked before: receipts of one batch share that cost.
pub fn verify_in(
    payload: &[u8],
    index: LeafIndex,
    path: &[Digest],
    batch: &Verified<Batch>,
) -> Result<Verified<Receipt>, VerifyError> {
    let signed = batch.document();
    let receipt = receipt_of(payload, signed)?;
    merkle::verify_proof(&signed.root, index, signed.count, payload, path)?;
    Ok(Verified::proven(receipt, payload.to_vec(), signed.host))
}

/// Checks all receipts of a batch at once, in their order: one signature and one hash tree instead of a path each.
pub fn verify_receipts<B: AsRef<[u8]>>(
    payloads: &[B],
    sealed: &Sealed,
) -> Result<Vec<Verified<Receipt>>, VerifyError> {
    let batch = sealed.verify::<Batch>()?;
    let signed = batch.document();
    if payloads.len() != signed.count.get() as usize {
        return Err(VerifyError::Count { found: payloads.len(), signed: signed.count.get() });
    }
    if merkle::root(payloads)? != signed.root {
        return Err(ProofError::Root.into());
    }
    payloads
        .iter()
        .map(|payload| {
            let payload = payload.as_ref();
            let receipt = receipt_of(payload, signed)?;
            Ok(Verified::proven(receipt, payload.to_vec(), signed.host))
        })
        .collect()
}

/// The receipt in `payload`, if it speaks of the host and network that signed the batch.
fn receipt_of(payload: &[u8], batch: &Batch) -> Result<Receipt, VerifyError> {
    let receipt = Receipt::decode(payload)?;
    if receipt.host != batch.host {
        return Err(VerifyError::Signer { named: receipt.host, found: batch.host });
    }
    if receipt.network != batch.network {
        return Err(VerifyError::Network { expected: batch.network, found: receipt.network });
    }
    Ok(receipt)
}

impl Batch {
    /// The name of this document.
    pub fn id(&self) -> BatchId {
        BatchId::of(&self.encode())
    }
}

// === impl SealedBatch ===

impl SealedBatch {
    /// The document.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The signed document.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// The siblings of the receipt at `index`.
    pub fn path(&self, index: LeafIndex) -> Result<Path, ProofError> {
        self.tree.path(index)
    }

    /// The proof of the receipt at `index`.
    pub fn proof(&self, index: LeafIndex) -> Result<Proof, ProofError> {
        Ok(Proof { index, path: self.tree.path(index)?, batch: self.sealed.clone() })
    }
}
