//! The canonical encoding: a strict subset of DAG-CBOR.
//!
//! Format: unsigned integers up to 64 bits, byte strings, ASCII text, arrays, maps with short text keys sorted
//! by length and then bytewise, and CID links (tag 42). No floats, null, booleans, negative numbers, indefinite
//! lengths or other tags; every integer and length in its shortest form.
//!
//! Invariants: `decode(b) == Ok(x)` implies `x.encode() == b`. The decoder takes memory only after a length has
//! passed its maximum *and* is covered by the bytes at hand. It descends as the types do, and no type contains
//! itself, so its depth is that of the deepest document.
//! An encode and its decode cannot diverge: both come from one [`record!`] table, whose keys are checked to be
//! in canonical order when the crate is compiled.
//!
//! Absent: a tree of values. A document is written and read field by field.

mod choice;
mod decoder;
mod encoder;
mod field;
mod record;
mod table;

pub(crate) use choice::choice;
pub use decoder::{DecodeError, DecodeReason, Decoder, MapReader};
pub use encoder::Encoder;
pub use field::{Blob, Field, LengthError, List};
pub(crate) use record::record;
pub use record::{key_len, keys_are_canonical};
pub use table::{Table, TableError};

use core::cell::Cell;

use crate::id::{NetworkId, PublicKey};
use crate::sign::Domain;

/// Documents up to this size get all their memory at once when they are encoded; it holds every document
/// of the hot path (the largest of them, a paid run, stays below 600 bytes).
const CAPACITY_MAX: usize = 1024;

/// The most memory that a thread keeps for encoding.
const SHEET_LEN_MAX: usize = 16 * CAPACITY_MAX;

thread_local! {
    /// Where short documents are encoded, so that each takes the memory of its length, once its length is known.
    static SHEET: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes of a value that stands alone. `capacity` is room for most values of its type; it grows if need be.
pub(crate) fn to_bytes<T: Field>(value: &T, capacity: usize) -> Vec<u8> {
    if capacity > CAPACITY_MAX {
        let mut out = Encoder::with_capacity(capacity);
        value.put(&mut out);
        return out.finish();
    }
    // Taken, not borrowed: a value that encodes another one by itself finds an empty sheet.
    let mut out = Encoder::on(SHEET.take());
    value.put(&mut out);
    let sheet = out.finish();
    let bytes = sheet.clone();
    if sheet.capacity() <= SHEET_LEN_MAX {
        SHEET.set(sheet);
    }
    bytes
}

/// Reads a value that fills `bytes`, at most `len_max` of them, to the last byte.
pub(crate) fn from_bytes<T: Field>(bytes: &[u8], len_max: usize) -> Result<T, DecodeError> {
    if bytes.len() > len_max {
        return Err(DecodeError::too_long(0, bytes.len() as u64, len_max));
    }
    let mut input = Decoder::new(bytes);
    let value = T::take(&mut input)?;
    input.end()?;
    Ok(value)
}

/// A document: a map with a type of its own, named by the CID of its bytes.
pub trait Document: Field {
    /// What it is: its media type, and the domain under which it is signed.
    const DOMAIN: Domain;
    /// No valid encoding is longer.
    const LEN_MAX: usize = <Self as Field>::LEN_MAX;

    /// The one encoding of this document.
    fn encode(&self) -> Vec<u8> {
        to_bytes(self, <Self as Document>::LEN_MAX.min(CAPACITY_MAX))
    }

    /// Reads a document that fills `bytes` to the last byte.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let document: Self = from_bytes(bytes, <Self as Document>::LEN_MAX)?;
        debug_assert_eq!(document.encode(), bytes, "a strict decoder accepts one form");
        Ok(document)
    }

    /// The network the document speaks about. Every signed document has one.
    fn network(&self) -> Option<NetworkId> {
        None
    }

    /// The only key whose signature counts, when the document itself names it.
    fn named_signer(&self) -> Option<PublicKey> {
        None
    }
}
