//! Reads canonical items and refuses every other form of them, naming the offset and the reason.

use super::encoder::{ARRAY, BYTES, LINK_HEAD, MAP, MULTIHASH_HEAD, TEXT, UINT};
use super::field::Field;

/// Why bytes are not the document they were read as, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {reason}")]
pub struct DecodeError {
    /// Offset of the item that was refused.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: DecodeReason,
}

/// What is wrong with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeReason {
    /// The bytes end inside an item.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes follow after the document.
    #[error("bytes follow after the end")]
    Trailing,
    /// Another kind of item stands here.
    #[error("expected {expected}")]
    Kind {
        /// The kind that belongs here.
        expected: &'static str,
    },
    /// An integer or length is not in its shortest form.
    #[error("an integer is not in its shortest form")]
    LongForm,
    /// An indefinite length or a reserved form.
    #[error("indefinite lengths are not allowed")]
    Indefinite,
    /// A length, count or number above its maximum.
    #[error("{found} is above the maximum of {max}")]
    TooLong {
        /// What was declared.
        found: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A length other than the only allowed one.
    #[error("length {found} where it must be {expected}")]
    Length {
        /// What was declared.
        found: u64,
        /// The only length allowed.
        expected: u64,
    },
    /// A key that must be there is not.
    #[error("key {0:?} is missing or out of order")]
    MissingKey(&'static str),
    /// A key that does not belong here: unknown, repeated or out of order.
    #[error("unknown, repeated or misplaced key")]
    UnexpectedKey,
    /// Text with a byte that is not ASCII.
    #[error("text is not ASCII")]
    NotAscii,
    /// A link that is not a CIDv1 of sha2-256 with the codec that belongs here.
    #[error("not a link of the kind that belongs here")]
    Link,
    /// A well-formed value that is not allowed here.
    #[error("{0}")]
    Value(&'static str),
}

impl DecodeError {
    pub(crate) fn new(offset: usize, reason: DecodeReason) -> Self {
        Self { offset, reason }
    }

    pub(crate) fn too_long(offset: usize, found: u64, max: usize) -> Self {
        Self::new(offset, DecodeReason::TooLong { found, max: max as u64 })
    }
}

/// A cursor over the bytes of a document.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next item starts.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// All bytes must have been read.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fault(DecodeReason::Trailing)) }
    }

    /// An error at the next item.
    pub fn fault(&self, reason: DecodeReason) -> DecodeError {
        DecodeError::new(self.at, reason)
    }

    /// An unsigned integer.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        self.head(UINT, "an unsigned integer")
    }

    /// An unsigned integer of at most `max`.
    pub fn uint_max(&mut self, max: u64) -> Result<u64, DecodeError> {
        let offset = self.at;
        let found = self.uint()?;
        if found > max {
            return Err(DecodeError::new(offset, DecodeReason::TooLong { found, max }));
        }
        Ok(found)
    }

    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        self.string(BYTES, "a byte string", max)
    }

    /// A byte string of exactly `N` bytes.
    pub fn bytes_exact<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let offset = self.at;
        let bytes = self.bytes(N)?;
        <[u8; N]>::try_from(bytes).map_err(|_| {
            DecodeError::new(
                offset,
                DecodeReason::Length { found: bytes.len() as u64, expected: N as u64 },
            )
        })
    }

    /// ASCII text of at most `max` bytes.
    pub fn text(&mut self, max: usize) -> Result<&'a str, DecodeError> {
        let offset = self.at;
        let bytes = self.string(TEXT, "text", max)?;
        if !bytes.is_ascii() {
            return Err(DecodeError::new(offset, DecodeReason::NotAscii));
        }
        // ASCII is UTF-8, so this cannot fail; an error is still the right answer if it did.
        core::str::from_utf8(bytes).map_err(|_| DecodeError::new(offset, DecodeReason::NotAscii))
    }

    /// The head of an array of at most `max` items.
    pub fn array(&mut self, max: usize) -> Result<usize, DecodeError> {
        self.count(ARRAY, "an array", max)
    }

    /// The head of an array of exactly `expected` items.
    pub fn array_exact(&mut self, expected: usize) -> Result<(), DecodeError> {
        let offset = self.at;
        let found = self.array(expected)?;
        if found == expected {
            return Ok(());
        }
        Err(DecodeError::new(
            offset,
            DecodeReason::Length { found: found as u64, expected: expected as u64 },
        ))
    }

    /// The head of a map of at most `max` keys.
    pub fn map(&mut self, max: usize) -> Result<MapReader, DecodeError> {
        Ok(MapReader { left: self.count(MAP, "a map", max)? })
    }

    /// Whether the next item is a map: for the few fields that are one of two kinds.
    pub fn at_map(&self) -> bool {
        self.bytes.get(self.at).is_some_and(|byte| byte & 0xe0 == MAP)
    }

    /// A link to a sha2-256 digest under the multicodec `codec`.
    pub fn link(&mut self, codec: u8) -> Result<[u8; 32], DecodeError> {
        const HEAD: usize = LINK_HEAD.len() + 1 + MULTIHASH_HEAD.len();
        let offset = self.at;
        let link = DecodeError::new(offset, DecodeReason::Link);
        let head: [u8; HEAD] = self.fixed()?;
        let (tag, rest) = head.split_at(LINK_HEAD.len());
        if tag != LINK_HEAD || rest != [codec, MULTIHASH_HEAD[0], MULTIHASH_HEAD[1]] {
            return Err(link);
        }
        self.fixed()
    }

    fn count(
        &mut self,
        major: u8,
        expected: &'static str,
        max: usize,
    ) -> Result<usize, DecodeError> {
        let offset = self.at;
        let found = self.head(major, expected)?;
        match usize::try_from(found) {
            Ok(count) if count <= max => Ok(count),
            _ => Err(DecodeError::too_long(offset, found, max)),
        }
    }

    fn string(
        &mut self,
        major: u8,
        expected: &'static str,
        max: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let len = self.count(major, expected, max)?;
        self.slice(len)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.saturating_add(len);
        match self.bytes.get(self.at..end) {
            Some(slice) => {
                self.at = end;
                Ok(slice)
            }
            None => Err(DecodeError::new(self.bytes.len(), DecodeReason::Truncated)),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let short = DecodeError::new(self.bytes.len(), DecodeReason::Truncated);
        self.bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<N>())
            .map(|chunk| {
                self.at = self.at.saturating_add(N);
                *chunk
            })
            .ok_or(short)
    }

    #[inline]
    fn head(&mut self, major: u8, expected: &'static str) -> Result<u64, DecodeError> {
        let offset = self.at;
        let [first] = self.fixed::<1>()?;
        if first & 0xe0 != major {
            self.at = offset;
            return Err(DecodeError::new(offset, DecodeReason::Kind { expected }));
        }
        let (value, least) = match first & 0x1f {
            short @ 0..24 => return Ok(u64::from(short)),
            24 => (u64::from(u8::from_be_bytes(self.fixed()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.fixed()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.fixed()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.fixed()?), 0x1_0000_0000),
            _ => return Err(DecodeError::new(offset, DecodeReason::Indefinite)),
        };
        if value < least {
            return Err(DecodeError::new(offset, DecodeReason::LongForm));
        }
        Ok(value)
    }
}

/// The keys of one map, read in canonical order.
#[derive(Debug)]
#[must_use = "a map is read completely only by `end`"]
pub struct MapReader {
    left: usize,
}

impl MapReader {
    /// The value under `key`, which must be the next key, unless the field may be absent.
    #[inline]
    pub fn field<T: Field>(
        &mut self,
        input: &mut Decoder<'_>,
        key: &'static str,
    ) -> Result<T, DecodeError> {
        if self.left > 0 && next_key_is(input, key)? {
            self.left = self.left.saturating_sub(1);
            return T::take(input);
        }
        T::absent().ok_or_else(|| input.fault(DecodeReason::MissingKey(key)))
    }

    /// The next key, when keys are not known beforehand. The caller checks their order.
    pub fn key<'a>(
        &mut self,
        input: &mut Decoder<'a>,
        max: usize,
    ) -> Result<Option<&'a str>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left = self.left.saturating_sub(1);
        input.text(max).map(Some)
    }

    /// How many keys are still to come.
    pub fn left(&self) -> usize {
        self.left
    }

    /// No key may be left.
    pub fn end(self, input: &Decoder<'_>) -> Result<(), DecodeError> {
        if self.left == 0 { Ok(()) } else { Err(input.fault(DecodeReason::UnexpectedKey)) }
    }
}

/// Steps over the next key when it is `key`, else leaves the cursor before it. Keys of records are shorter
/// than 24 bytes (asserted by the table), so their only head is one byte.
#[inline]
fn next_key_is(input: &mut Decoder<'_>, key: &'static str) -> Result<bool, DecodeError> {
    let rest = input.bytes.get(input.at..).unwrap_or_default();
    let Some((&head, rest)) = rest.split_first() else {
        return Err(input.fault(DecodeReason::Truncated));
    };
    if head & 0xe0 != TEXT {
        return Err(input.fault(DecodeReason::Kind { expected: "a text key" }));
    }
    if head == TEXT | key.len() as u8 && rest.starts_with(key.as_bytes()) {
        input.at = input.at.saturating_add(key.len()).saturating_add(1);
        return Ok(true);
    }
    Ok(false)
}
