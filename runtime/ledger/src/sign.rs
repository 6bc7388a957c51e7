//! Signatures: every one has a domain, and what is verified is the bytes that were carried.
//!
//! Format: `Sealed = { p: payload, s: [ { g: signature, k: key } ], t: media type }`; the signature is Ed25519
//! over the pre-authentication encoding of DSSE, `"DSSEv1" SP len(t) SP t SP len(p) SP p` with decimal lengths.
//!
//! Invariants: a payload is never encoded again between signing and verifying; a [`Verified`] is made only by
//! verification; version 1 has exactly one signature, so "who signed this" has one answer (the list leaves room
//! for types that need several).

use crate::codec::{
    DecodeError, DecodeReason, Decoder, Document, Encoder, Field, LengthError, record,
};
use crate::id::{KnownKey, NetworkId, PublicKey, SecretKey, Signature};
use crate::merkle::ProofError;

/// What a document is. The text names it wherever it travels and is part of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// An execution profile. Never signed.
    Profile,
    /// What a run reads. Never signed.
    Input,
    /// What a run writes. Never signed.
    Output,
    /// An order.
    Run,
    /// What a host says about a run.
    Receipt,
    /// The root over the receipts of one commit.
    Batch,
    /// A receipt's path to a signed root. Never signed itself.
    Proof,
    /// All that an offline check needs. Never signed.
    Bundle,
    /// What an owner says about a function.
    Registration,
    /// A signed question to a node.
    Request,
    /// The rules and bounds of a network. Never signed: its hash is the network's name.
    Params,
    /// An order to the ledger.
    Transaction,
    /// What a payer promises a host.
    Voucher,
    /// What a payer lets a session key sign.
    Session,
    /// The header of a block.
    Block,
    /// An authority's vote for a block.
    Vote,
    /// What a host asks for, for the next minutes.
    Offer,
    /// How a gateway chose the host of a run.
    Draw,
    /// What the ledger's state holds under one key. Never signed: the state's root is in the header.
    Record,
    /// A path to a signed header. Never signed itself.
    Evidence,
    /// The votes that make a block final. Never signed itself.
    Commit,
    /// Two signatures of one authority that contradict each other. Never signed itself.
    Equivocation,
}

impl Domain {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Profile,
        Self::Input,
        Self::Output,
        Self::Run,
        Self::Receipt,
        Self::Batch,
        Self::Proof,
        Self::Bundle,
        Self::Registration,
        Self::Request,
        Self::Params,
        Self::Transaction,
        Self::Voucher,
        Self::Session,
        Self::Block,
        Self::Vote,
        Self::Offer,
        Self::Draw,
        Self::Record,
        Self::Evidence,
        Self::Commit,
        Self::Equivocation,
    ];

    /// The media type, with the version of the document.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Profile => "application/vnd.talea.profile.v1+dag-cbor",
            Self::Input => "application/vnd.talea.input.v1+dag-cbor",
            Self::Output => "application/vnd.talea.output.v1+dag-cbor",
            Self::Run => "application/vnd.talea.run.v1+dag-cbor",
            Self::Receipt => "application/vnd.talea.receipt.v1+dag-cbor",
            Self::Batch => "application/vnd.talea.batch.v1+dag-cbor",
            Self::Proof => "application/vnd.talea.proof.v1+dag-cbor",
            Self::Bundle => "application/vnd.talea.bundle.v1+dag-cbor",
            Self::Registration => "application/vnd.talea.registration.v1+dag-cbor",
            Self::Request => "application/vnd.talea.request.v1+dag-cbor",
            Self::Params => "application/vnd.talea.params.v1+dag-cbor",
            Self::Transaction => "application/vnd.talea.transaction.v1+dag-cbor",
            Self::Voucher => "application/vnd.talea.voucher.v1+dag-cbor",
            Self::Session => "application/vnd.talea.session.v1+dag-cbor",
            Self::Block => "application/vnd.talea.block.v1+dag-cbor",
            Self::Vote => "application/vnd.talea.vote.v1+dag-cbor",
            Self::Offer => "application/vnd.talea.offer.v1+dag-cbor",
            Self::Draw => "application/vnd.talea.draw.v1+dag-cbor",
            Self::Record => "application/vnd.talea.record.v1+dag-cbor",
            Self::Evidence => "application/vnd.talea.evidence.v1+dag-cbor",
            Self::Commit => "application/vnd.talea.commit.v1+dag-cbor",
            Self::Equivocation => "application/vnd.talea.equivocation.v1+dag-cbor",
        }
    }

    /// Whether documents of this type are signed. All that are name their network.
    pub const fn is_signed(self) -> bool {
        match self {
            Self::Run
            | Self::Receipt
            | Self::Batch
            | Self::Registration
            | Self::Request
            | Self::Transaction
            | Self::Voucher
            | Self::Session
            | Self::Block
            | Self::Vote
            | Self::Offer
            | Self::Draw => true,
            Self::Profile
            | Self::Input
            | Self::Output
            | Self::Proof
            | Self::Bundle
            | Self::Params
            | Self::Record
            | Self::Evidence
            | Self::Commit
            | Self::Equivocation => false,
        }
    }

    /// The longest payload of this type that is signed.
    pub const fn payload_len_max(self) -> usize {
        match self {
            Self::Transaction => TRANSACTION_LEN_MAX,
            _ => PAYLOAD_LEN_MAX,
        }
    }

    /// The type with this media type.
    pub fn from_media_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|domain| domain.media_type() == text)
    }
}

/// The longest media type, of a registration.
const MEDIA_TYPE_LEN_MAX: usize = 46;

impl Field for Domain {
    const LEN_MAX: usize = 2 + MEDIA_TYPE_LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.text(self.media_type());
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        Self::from_media_type(input.text(MEDIA_TYPE_LEN_MAX)?)
            .filter(|domain| domain.is_signed())
            .ok_or(DecodeError::new(offset, DecodeReason::Value("the type of a signed document")))
    }
}

/// Longest signed payload but a transaction's: 16 KiB hold a request with the longest path and query
/// (12,289 bytes), the largest.
pub const PAYLOAD_LEN_MAX: usize = 16 * 1024;

/// Longest payload of a transaction: with its envelope it stays below the 64 KiB of one gossip message, and about
/// 40 runs with their receipts and proofs fit (1.4 KB each).
pub const TRANSACTION_LEN_MAX: usize = 60 * 1024;

/// Longest payload of any type.
const ANY_LEN_MAX: usize = TRANSACTION_LEN_MAX;

/// What an envelope adds to its payload, at most: map head, three keys, head of the payload, one signature, type.
pub const ENVELOPE_LEN_MAX: usize = 1 + 3 * 2 + 3 + OneSignature::LEN_MAX + Domain::LEN_MAX;
const _: () = assert!(TRANSACTION_LEN_MAX + ENVELOPE_LEN_MAX <= 64 * 1024);
const _: () = {
    assert!(<crate::request::Request as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::registration::Registration as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::run::Run as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::receipt::Receipt as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::batch::Batch as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::transaction::Transaction as Document>::LEN_MAX <= TRANSACTION_LEN_MAX);
    assert!(<crate::voucher::Voucher as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::session::Session as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::block::Header as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::finality::Vote as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::offer::Offer as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
    assert!(<crate::draw::Draw as Document>::LEN_MAX <= PAYLOAD_LEN_MAX);
};

record! {
    /// One signature and its key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Signed {
        /// The signature.
        "g" => pub signature: Signature,
        /// The key.
        "k" => pub key: PublicKey,
    }
}

/// A payload with its type and its signature: an envelope, not a document, and not part of any CID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sealed {
    payload: Vec<u8>,
    signed: Signed,
    domain: Domain,
}

/// Why a signature or proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The payload is not a document of its type.
    #[error("the payload is malformed {0}")]
    Payload(#[from] DecodeError),
    /// Another type of document was signed.
    #[error("expected {}, found {}", .expected.media_type(), .found.media_type())]
    Domain {
        /// The type wanted.
        expected: Domain,
        /// The type signed.
        found: Domain,
    },
    /// The signature is not of this key over these bytes.
    #[error("the signature of {0} does not hold")]
    Signature(PublicKey),
    /// Signed by another key than the document names.
    #[error("signed by {found}, but it names {named}")]
    Signer {
        /// Whose signature would count.
        named: PublicKey,
        /// Whose it is.
        found: PublicKey,
    },
    /// A document of another network.
    #[error("of network {found}, not {expected}")]
    Network {
        /// The network it should be of.
        expected: NetworkId,
        /// The network it is of.
        found: NetworkId,
    },
    /// The path does not lead from the receipt to the signed root.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The number of receipts is not the one that was signed.
    #[error("{found} receipts, but {signed} were signed")]
    Count {
        /// How many there are.
        found: usize,
        /// How many were signed.
        signed: u32,
    },
}

/// A document whose signature (or proof) was checked. Only verification makes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Verified<T> {
    document: T,
    payload: Vec<u8>,
    signer: PublicKey,
}

/// What is signed: type and payload with their lengths, so that no two pairs give the same bytes.
pub fn pre_authentication(domain: Domain, payload: &[u8]) -> Vec<u8> {
    let media_type = domain.media_type();
    let head = format!("DSSEv1 {} {media_type} {} ", media_type.len(), payload.len());
    let mut bytes = Vec::with_capacity(head.len().saturating_add(payload.len()));
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs a payload of the type `domain`.
///
/// # Panics
/// When the type is never signed, or the payload is longer than any signed document: both are faults of the caller.
pub fn seal(key: &SecretKey, domain: Domain, payload: Vec<u8>) -> Sealed {
    assert!(domain.is_signed(), "documents of this type are never signed");
    assert!(payload.len() <= domain.payload_len_max(), "no document of this type is that long");
    let signature = key.sign_bytes(&pre_authentication(domain, &payload));
    Sealed { payload, signed: Signed { signature, key: key.public() }, domain }
}

/// Encodes and signs a document.
pub fn seal_document<T: Document>(key: &SecretKey, document: &T) -> Sealed {
    seal(key, T::DOMAIN, document.encode())
}

// === impl Sealed ===

impl Sealed {
    /// Puts an envelope together from its parts, as they came by another way. Says nothing about its truth.
    pub fn from_parts(
        domain: Domain,
        payload: Vec<u8>,
        signed: Signed,
    ) -> Result<Self, LengthError> {
        let max = domain.payload_len_max();
        if payload.len() > max {
            return Err(LengthError { found: payload.len(), max });
        }
        Ok(Self { payload, signed, domain })
    }

    /// The bytes that were signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What the payload is said to be.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The signatures: one, in this version.
    pub fn signatures(&self) -> &[Signed] {
        core::slice::from_ref(&self.signed)
    }

    /// The envelope's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(self.payload.len().saturating_add(192));
        self.put(&mut out);
        out.finish()
    }

    /// Reads an envelope that fills `bytes` to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let sealed = Self::take(&mut input)?;
        input.end()?;
        Ok(sealed)
    }

    /// Checks type, signature and the document's own say about who signs it.
    pub fn verify<T: Document>(&self) -> Result<Verified<T>, VerifyError> {
        let signer = self.signed.key;
        self.checked(|message, signature| signer.verify(message, signature))
    }

    /// The same with the signer's point at hand. One signed by another key is an error.
    pub fn verify_known<T: Document>(&self, known: &KnownKey) -> Result<Verified<T>, VerifyError> {
        let (named, found) = (known.key(), self.signed.key);
        if named != found {
            return Err(VerifyError::Signer { named, found });
        }
        self.checked(|message, signature| known.verify(message, signature))
    }

    fn checked<T: Document>(
        &self,
        holds: impl FnOnce(&[u8], &Signature) -> bool,
    ) -> Result<Verified<T>, VerifyError> {
        if self.domain != T::DOMAIN {
            return Err(VerifyError::Domain { expected: T::DOMAIN, found: self.domain });
        }
        let document = T::decode(&self.payload)?;
        let signer = self.signed.key;
        if let Some(named) = document.named_signer()
            && named != signer
        {
            return Err(VerifyError::Signer { named, found: signer });
        }
        let message = pre_authentication(self.domain, &self.payload);
        if !holds(&message, &self.signed.signature) {
            return Err(VerifyError::Signature(signer));
        }
        Ok(Verified { document, payload: self.payload.clone(), signer })
    }
}

impl Field for Sealed {
    const LEN_MAX: usize = ANY_LEN_MAX + ENVELOPE_LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.map(3);
        out.text("p");
        out.bytes(&self.payload);
        out.text("s");
        out.array(1);
        self.signed.put(out);
        out.text("t");
        self.domain.put(out);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let mut map = input.map(3)?;
        let payload: crate::codec::Blob<ANY_LEN_MAX> = map.field(input, "p")?;
        let OneSignature(signed) = map.field(input, "s")?;
        let domain: Domain = map.field(input, "t")?;
        map.end(input)?;
        if payload.len() > domain.payload_len_max() {
            let found = payload.len() as u64;
            return Err(DecodeError::too_long(offset, found, domain.payload_len_max()));
        }
        Ok(Self { payload: payload.into_vec(), signed, domain })
    }
}

/// The list of signatures, of which there is one.
struct OneSignature(Signed);

impl Field for OneSignature {
    const LEN_MAX: usize = 1 + Signed::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.array(1);
        self.0.put(out);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.array_exact(1)?;
        Signed::take(input).map(Self)
    }
}

// === impl Verified ===

impl<T: Document> Verified<T> {
    /// Only for proofs, which stand in for a signature: the caller has led the payload to a signed root.
    pub(crate) fn proven(document: T, payload: Vec<u8>, signer: PublicKey) -> Self {
        Self { document, payload, signer }
    }

    /// The document.
    pub fn document(&self) -> &T {
        &self.document
    }

    /// The bytes that were signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Who signed.
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// Document, payload, signer.
    pub fn into_parts(self) -> (T, Vec<u8>, PublicKey) {
        (self.document, self.payload, self.signer)
    }

    /// The same, if it is of this network.
    pub fn on(self, network: &NetworkId) -> Result<Self, VerifyError> {
        match self.document.network() {
            Some(found) if found != *network => {
                Err(VerifyError::Network { expected: *network, found })
            }
            _ => Ok(self),
        }
    }
}
