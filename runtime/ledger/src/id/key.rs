//! Ed25519 keys and signatures.
//!
//! Invariants: a [`PublicKey`] has a canonical encoding and is not of small order, which is decided on its bytes
//! alone, so a document of many keys decodes fast. Whether it is a point of the curve is checked where a person
//! gives it ([`PublicKey::from_bytes`], `FromStr`) and at every signature ([`PublicKey::verify`]); a key that is
//! no point can be named, but it can never sign. Verification has the verdicts of `verify_strict`: one signature,
//! one form ([`KnownKey::verify`] says how it comes by them for less).
//! A [`SecretKey`] is wiped when dropped and never printed.

use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey, Verifier as _, VerifyingKey};
use zeroize::Zeroizing;

use super::{IdError, text};
use crate::codec::{DecodeError, DecodeReason, Decoder, Encoder, Field};

/// Multicodec `ed25519-pub` as a varint.
const MULTICODEC: [u8; 2] = [0xed, 0x01];
/// Multicodec and key.
const TAGGED_LEN: usize = 34;
/// 34 bytes that begin with 0xed are between 58^46 and 58^47.
const BASE58_LEN: usize = 47;
const DID: &str = "did:key:";

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

/// A key with its point of the curve, for whoever has several of its signatures to verify: finding the point is a
/// tenth of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    key: PublicKey,
    point: VerifyingKey,
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

/// An Ed25519 secret key.
pub struct SecretKey(SigningKey);

/// Why bytes are not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a key in text form.
    #[error("not a did:key of Ed25519: {0}")]
    Text(#[from] IdError),
    /// The coordinate is not below the field's prime.
    #[error("the key is not in its canonical form")]
    Form,
    /// A key of small order: signatures under it bind to nothing.
    #[error("the key is weak")]
    Weak,
    /// Not a point of the curve.
    #[error("the key is not a point of the curve")]
    Point,
}

// === impl PublicKey ===

impl PublicKey {
    /// A key that can sign: canonical, a point of the curve, not of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = Self::named(*bytes)?;
        key.point()?;
        Ok(key)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` is this key's over `message`; strict, so that each signature has one form.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        self.known().is_ok_and(|key| key.verify(message, signature))
    }

    /// The key with its point; an error for one that can be named but can never sign.
    pub fn known(&self) -> Result<KnownKey, KeyError> {
        Ok(KnownKey { key: *self, point: self.point()? })
    }

    /// A key that can be named: canonical and not of small order.
    fn named(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let y = y_of(&bytes);
        if !is_below_prime(&y) {
            return Err(KeyError::Form);
        }
        if SMALL_ORDER_Y.contains(&y) {
            return Err(KeyError::Weak);
        }
        Ok(Self(bytes))
    }

    fn point(&self) -> Result<VerifyingKey, KeyError> {
        let point = VerifyingKey::from_bytes(&self.0).map_err(|_| KeyError::Point)?;
        if point.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(point)
    }
}

// === impl KnownKey ===

impl KnownKey {
    /// The key.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// Whether `signature` is this key's over `message`. The verdict is that of `verify_strict`, without finding the
    /// point R of the signature: `verify` computes what R must be and compares the encodings. One that is equal is
    /// canonical and a point, and it is of small order exactly when its y is that of a point of small order. The other
    /// half of strictness, a key that is not of small order, holds for every key that has a point here.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        !SMALL_ORDER_Y.contains(&y_of(signature.r_bytes()))
            && self.point.verify(message, &signature).is_ok()
    }
}

/// The y coordinate of an encoded point: all but the sign of x.
fn y_of(point: &[u8; 32]) -> [u8; 32] {
    let mut y = *point;
    y[31] &= 0x7f;
    y
}

/// The prime of the field, 2^255 - 19, least byte first.
const PRIME_LOW: u8 = 0xed;

/// Whether a coordinate (sign bit cleared) is below 2^255 - 19.
fn is_below_prime(y: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = y;
    *high != 0x7f || middle.iter().any(|byte| *byte != 0xff) || *low < PRIME_LOW
}

/// The y coordinates of the eight points of small order, sign bit cleared: orders 4, 1, 2 and twice 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tagged = [0; TAGGED_LEN];
        let (head, tail) = tagged.split_at_mut(MULTICODEC.len());
        head.copy_from_slice(&MULTICODEC);
        tail.copy_from_slice(&self.0);
        f.pad(&format!("{DID}{}", text::base58(&tagged)))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let multibase = text.strip_prefix(DID).ok_or(IdError::Prefix { expected: DID })?;
        let tagged = text::from_base58::<TAGGED_LEN>(multibase, BASE58_LEN)?;
        match tagged.split_last_chunk::<32>() {
            Some((head, key)) if head == MULTICODEC => Self::from_bytes(key),
            _ => Err(KeyError::Text(IdError::Kind)),
        }
    }
}

impl Field for PublicKey {
    const LEN_MAX: usize = 2 + TAGGED_LEN;

    fn put(&self, out: &mut Encoder) {
        out.bytes_of_two(&MULTICODEC, &self.0);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let tagged: [u8; TAGGED_LEN] = input.bytes_exact()?;
        let refuse = |what| DecodeError::new(offset, DecodeReason::Value(what));
        match tagged.split_last_chunk::<32>() {
            Some((head, key)) if head == MULTICODEC => {
                Self::named(*key).map_err(|_| refuse("a weak or non-canonical key"))
            }
            _ => Err(refuse("not an Ed25519 key")),
        }
    }
}

// === impl Signature ===

impl Signature {
    /// From its bytes. Whether it is a signature shows only against a key and a message.
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", text::hex(&self.0))
    }
}

impl Field for Signature {
    const LEN_MAX: usize = 2 + 64;

    fn put(&self, out: &mut Encoder) {
        out.bytes(&self.0);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.bytes_exact().map(Self)
    }
}

// === impl SecretKey ===

impl SecretKey {
    /// From 32 secret random bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The secret bytes, wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Only `sign` calls this: a signature without a domain does not exist.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}
