//! A map from text to unsigned integers whose keys are data (a cost table), kept in canonical order.

use super::record::is_before;
use super::{DecodeError, DecodeReason, Decoder, Encoder, Field};

/// Longest key of a table: the longest instruction name of WebAssembly has 39 bytes.
const KEY_LEN_MAX: usize = 64;

/// Most entries: WebAssembly with SIMD, reference types and tail calls has about 450 instructions.
const ENTRIES_MAX: usize = 1024;

/// A map from short ASCII text to u64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// Strictly ascending in canonical order.
    entries: Vec<(String, u64)>,
}

/// Why entries do not make a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// More entries than a table may have.
    #[error("{found} entries, at most {ENTRIES_MAX} are allowed")]
    TooMany {
        /// How many were given.
        found: usize,
    },
    /// A key that is empty, too long or not ASCII.
    #[error("{0:?} is not a key of 1 to {KEY_LEN_MAX} ASCII bytes")]
    Key(String),
    /// A key that was given twice.
    #[error("{0:?} is given twice")]
    Twice(String),
}

impl Table {
    /// A table of these entries, in any order.
    pub fn of<K: Into<String>>(
        entries: impl IntoIterator<Item = (K, u64)>,
    ) -> Result<Self, TableError> {
        let mut entries: Vec<(String, u64)> =
            entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        if entries.len() > ENTRIES_MAX {
            return Err(TableError::TooMany { found: entries.len() });
        }
        entries.sort_by(|(left, _), (right, _)| {
            (left.len(), left.as_bytes()).cmp(&(right.len(), right.as_bytes()))
        });
        for (key, _) in &entries {
            if key.is_empty() || key.len() > KEY_LEN_MAX || !key.is_ascii() {
                return Err(TableError::Key(key.clone()));
            }
        }
        for pair in entries.windows(2) {
            if let [(left, _), (right, _)] = pair
                && left == right
            {
                return Err(TableError::Twice(left.clone()));
            }
        }
        Ok(Self { entries })
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<u64> {
        self.entries
            .binary_search_by(|(entry, _)| {
                (entry.len(), entry.as_bytes()).cmp(&(key.len(), key.as_bytes()))
            })
            .ok()
            .and_then(|at| self.entries.get(at))
            .map(|(_, value)| *value)
    }

    /// The entries in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), *value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Field for Table {
    // 3 bytes of head, then per entry a key with a head of 2 and a value of at most 9: 76,803 bytes.
    const LEN_MAX: usize = 3 + ENTRIES_MAX * (2 + KEY_LEN_MAX + 9);

    fn put(&self, out: &mut Encoder) {
        out.map(self.entries.len() as u64);
        for (key, value) in &self.entries {
            out.text(key);
            out.uint(*value);
        }
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut map = input.map(ENTRIES_MAX)?;
        let mut entries: Vec<(String, u64)> = Vec::new();
        loop {
            let offset = input.offset();
            let Some(key) = map.key(input, KEY_LEN_MAX)? else {
                break;
            };
            let ascends = match entries.last() {
                None => !key.is_empty(),
                Some((last, _)) => is_before(last.as_bytes(), key.as_bytes()),
            };
            if !ascends {
                return Err(DecodeError::new(offset, DecodeReason::UnexpectedKey));
            }
            entries.push((key.to_owned(), input.uint()?));
        }
        map.end(input)?;
        Ok(Self { entries })
    }
}
