//! Names: content ids, networks, channels and keys. Each is a type of its own; none is a bare array.
//!
//! A content id is a CIDv1 of sha2-256, kept as its digest: version, codec and hash function are fixed by the
//! type. Its only text form is multibase base32 lower case (59 characters); ids of raw bytes also read
//! `sha256:<hex>`. Absent: every other form of CID, which would give one thing several names.

mod key;
mod text;

pub use key::{KeyError, KnownKey, PublicKey, SecretKey, Signature};

use core::fmt;
use core::str::FromStr;

use sha2::Digest as _;

use crate::codec::{DecodeError, Decoder, Encoder, Field};

/// Multicodec of plain bytes.
const RAW: u8 = 0x55;
/// Multicodec of documents.
const DAG_CBOR: u8 = 0x71;
/// Version 1, then the codec, then sha2-256 of 32 bytes.
const CID_LEN: usize = 36;
/// Tag, head and multibase prefix of a link in a document, then the binary CID.
const LINK_LEN: usize = 2 + 2 + 1 + CID_LEN;

/// A text or byte form that is not the id it was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Wrong length.
    #[error("{found} characters or bytes where {expected} are expected")]
    Length {
        /// The length given.
        found: usize,
        /// The only length allowed.
        expected: usize,
    },
    /// A character that cannot stand there.
    #[error("unexpected character at {at}")]
    Digit {
        /// Its place.
        at: usize,
    },
    /// Does not begin as this kind of id does.
    #[error("does not begin with {expected:?}")]
    Prefix {
        /// The prefix that is expected.
        expected: &'static str,
    },
    /// A CID, but of another kind of content, or not a CIDv1 of sha2-256.
    #[error("a CID of another kind")]
    Kind,
    /// A second text form of the same bytes.
    #[error("not the canonical form")]
    Form,
}

/// A sha2-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The network a document speaks about: the hash of its genesis.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId([u8; 32]);

/// A transaction: the hash of its payload. What a transaction makes (a channel, a claim) is named after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId([u8; 32]);

/// The escrow of one payer towards one host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId([u8; 32]);

impl Digest {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl NetworkId {
    /// The network of nodes that have no ledger: sha2-256 of `talea development network v1`.
    pub const DEVELOPMENT: Self = Self([
        0x55, 0xb6, 0xe8, 0x3d, 0xa6, 0x6b, 0x1a, 0x8b, 0xa0, 0xc9, 0x15, 0x74, 0x26, 0x57, 0xa1,
        0x0b, 0x6f, 0x99, 0xeb, 0x32, 0xd1, 0x91, 0xd4, 0xba, 0xb9, 0xd9, 0x80, 0x96, 0xc2, 0x46,
        0x1e, 0xb6,
    ]);
}

impl TransactionId {
    /// The name of the transaction with this payload.
    pub fn of(payload: &[u8]) -> Self {
        Self(Digest::of(payload).0)
    }
}

impl ChannelId {
    /// The channel that the transaction `opening` opens.
    pub fn opened_by(opening: &TransactionId) -> Self {
        let hash = sha2::Sha256::new()
            .chain_update(b"talea channel v1\0")
            .chain_update(opening.as_bytes());
        Self(hash.finalize().into())
    }

    /// The channel of a pair as long as no ledger opens channels: derived from both keys and the network.
    pub fn local(payer: &PublicKey, host: &PublicKey, network: &NetworkId) -> Self {
        let hash = sha2::Sha256::new()
            .chain_update(b"talea local channel v1\0")
            .chain_update(network.as_bytes())
            .chain_update(payer.as_bytes())
            .chain_update(host.as_bytes());
        Self(hash.finalize().into())
    }
}

macro_rules! hex_id {
    ($name:ident) => {
        impl $name {
            /// From its bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Its bytes, owned.
            pub const fn to_bytes(self) -> [u8; 32] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&text::hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text::from_hex(text).map(Self)
            }
        }

        impl Field for $name {
            const LEN_MAX: usize = 2 + 32;

            fn put(&self, out: &mut Encoder) {
                out.bytes(&self.0);
            }

            fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                input.bytes_exact().map(Self)
            }
        }
    };
}

hex_id!(Digest);
hex_id!(NetworkId);
hex_id!(ChannelId);
hex_id!(TransactionId);

macro_rules! content_id {
    ($(#[$meta:meta])* $name:ident, $codec:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Digest);

        impl $name {
            /// The id of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self(Digest::of(bytes))
            }

            /// From the hash of the bytes it names.
            pub const fn from_digest(digest: Digest) -> Self {
                Self(digest)
            }

            /// The hash of the bytes it names.
            pub const fn digest(&self) -> Digest {
                self.0
            }

            /// The binary CID.
            pub fn to_bytes(self) -> [u8; CID_LEN] {
                cid_bytes($codec, &self.0)
            }

            /// From a binary CID.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
                cid_digest($codec, bytes).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&text::base32(&self.to_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if $codec == RAW && let Some(hex) = text.strip_prefix("sha256:") {
                    return hex.parse().map(Self);
                }
                Self::from_bytes(&text::from_base32::<CID_LEN>(text)?)
            }
        }

        impl Field for $name {
            const LEN_MAX: usize = LINK_LEN;

            fn put(&self, out: &mut Encoder) {
                out.link($codec, &self.0.0);
            }

            fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                input.link($codec).map(|digest| Self(Digest(digest)))
            }
        }
    };
}

content_id!(
    /// A function: the exact bytes of one wasm module, as deployed.
    FunctionId,
    RAW
);
content_id!(
    /// The body of an input or an output.
    BodyId,
    RAW
);
content_id!(
    /// An input document.
    InputId,
    DAG_CBOR
);
content_id!(
    /// An output document.
    OutputId,
    DAG_CBOR
);
content_id!(
    /// A run: one order.
    RunId,
    DAG_CBOR
);
content_id!(
    /// A receipt: what the host says about one run.
    ReceiptId,
    DAG_CBOR
);
content_id!(
    /// A batch of receipts.
    BatchId,
    DAG_CBOR
);
content_id!(
    /// An execution profile.
    ProfileId,
    DAG_CBOR
);
content_id!(
    /// The registration of a function.
    RegistrationId,
    DAG_CBOR
);
content_id!(
    /// A grant to a session key.
    SessionId,
    DAG_CBOR
);
content_id!(
    /// A host's offer.
    OfferId,
    DAG_CBOR
);
content_id!(
    /// The record of a draw.
    DrawId,
    DAG_CBOR
);
content_id!(
    /// A block: its header names all of it.
    BlockId,
    DAG_CBOR
);

impl BlockId {
    /// The parent of a network's first block: the network itself.
    pub const fn genesis(network: &NetworkId) -> Self {
        Self(Digest(network.0))
    }
}

fn cid_bytes(codec: u8, digest: &Digest) -> [u8; CID_LEN] {
    let mut bytes = [0; CID_LEN];
    let (head, tail) = bytes.split_at_mut(4);
    head.copy_from_slice(&[1, codec, 0x12, 0x20]);
    tail.copy_from_slice(&digest.0);
    bytes
}

fn cid_digest(codec: u8, bytes: &[u8]) -> Result<Digest, IdError> {
    let bytes: &[u8; CID_LEN] =
        bytes.try_into().map_err(|_| IdError::Length { found: bytes.len(), expected: CID_LEN })?;
    match bytes.split_first_chunk::<4>() {
        Some((head, digest)) if *head == [1, codec, 0x12, 0x20] => {
            digest.try_into().map(Digest).map_err(|_| IdError::Kind)
        }
        _ => Err(IdError::Kind),
    }
}
