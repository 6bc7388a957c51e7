//! What can stand in a document: [`Field`] and its implementations for plain values.

use super::{DecodeError, Decoder, Encoder};

/// Head of an integer or length in its longest form.
pub(crate) const HEAD_LEN_MAX: usize = 9;

/// A value of a document. `put` and `take` are inverse to each other.
pub trait Field: Sized {
    /// No encoding of a value is longer.
    const LEN_MAX: usize;

    /// Writes the value.
    fn put(&self, out: &mut Encoder);

    /// Reads a value, refusing every form but the one that `put` writes.
    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// Whether the key of this value is left out. Only `Option` can be absent.
    fn is_absent(&self) -> bool {
        false
    }

    /// The value that stands for a key that was left out, if the type has one.
    fn absent() -> Option<Self> {
        None
    }
}

/// A value is longer than its type allows, or otherwise not of its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("length {found} is above the maximum of {max}")]
pub struct LengthError {
    /// The length that was given.
    pub found: usize,
    /// The most that is allowed.
    pub max: usize,
}

// === impl Field for plain values ===

impl<T: Field> Field for Option<T> {
    const LEN_MAX: usize = T::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::take(input).map(Some)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Field> Field for Box<T> {
    const LEN_MAX: usize = T::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        (**self).put(out);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::take(input).map(Self::new)
    }
}

/// Nothing to say: written as 0, so that a case of a choice can stand for itself.
impl Field for () {
    const LEN_MAX: usize = 1;

    fn put(&self, out: &mut Encoder) {
        out.uint(0);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.uint_max(0).map(|_| ())
    }
}

impl Field for u64 {
    const LEN_MAX: usize = HEAD_LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.uint(*self);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.uint()
    }
}

impl Field for u32 {
    const LEN_MAX: usize = 5;

    fn put(&self, out: &mut Encoder) {
        out.uint(u64::from(*self));
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        // Bounded by the maximum, so the narrowing loses nothing.
        input.uint_max(u64::from(u32::MAX)).map(|value| value as u32)
    }
}

impl Field for bool {
    const LEN_MAX: usize = 1;

    fn put(&self, out: &mut Encoder) {
        out.uint(u64::from(*self));
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.uint_max(1).map(|value| value == 1)
    }
}

impl<const N: usize> Field for [u8; N] {
    const LEN_MAX: usize = HEAD_LEN_MAX + N;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.bytes_exact()
    }
}

/// A byte string of at most `MAX` bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Blob<MAX> {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> core::fmt::Debug for Blob<MAX> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl<const MAX: usize> core::ops::Deref for Blob<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<Vec<u8>> for Blob<MAX> {
    type Error = LengthError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, LengthError> {
        if bytes.len() > MAX {
            return Err(LengthError { found: bytes.len(), max: MAX });
        }
        Ok(Self(bytes))
    }
}

impl<const MAX: usize> TryFrom<&[u8]> for Blob<MAX> {
    type Error = LengthError;

    fn try_from(bytes: &[u8]) -> Result<Self, LengthError> {
        if bytes.len() > MAX {
            return Err(LengthError { found: bytes.len(), max: MAX });
        }
        Ok(Self(bytes.to_vec()))
    }
}

impl<const MAX: usize> Field for Blob<MAX> {
    const LEN_MAX: usize = HEAD_LEN_MAX + MAX;

    fn put(&self, out: &mut Encoder) {
        out.bytes(&self.0);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.bytes(MAX).map(|bytes| Self(bytes.to_vec()))
    }
}

/// An array of at most `MAX` items.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// The items, owned.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> core::ops::Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = LengthError;

    fn try_from(items: Vec<T>) -> Result<Self, LengthError> {
        if items.len() > MAX {
            return Err(LengthError { found: items.len(), max: MAX });
        }
        Ok(Self(items))
    }
}

impl<T: Field, const MAX: usize> Field for List<T, MAX> {
    const LEN_MAX: usize = HEAD_LEN_MAX + MAX * T::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.array(self.0.len() as u64);
        for item in &self.0 {
            item.put(out);
        }
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = input.array(MAX)?;
        // Grown as items arrive: a declared count takes no memory by itself.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::take(input)?);
        }
        Ok(Self(items))
    }
}
