//! A compiled function at rest: authenticated before a byte of it is believed.
//!
//! # Format
//!
//! ```text
//! 0    8   magic, "TALEA-A3"
//! 8   32   BLAKE3 under the node's key, over the label below, the engine id, the function's digest, the
//!          profile's id, the variant, and all from byte 40 on
//! 40   8   static fuel, little endian
//! 48   8   initial pages of memory, little endian
//! 56   ..  what wasmtime made
//! ```
//!
//! Invariant: loading compiled code is running it, so a file that this node did not write for
//! exactly this function, profile, variant and engine is never handed to wasmtime. A file is never
//! taken from a peer. The MAC also finds a broken disk.

use std::io::{self, Read, Write};

use talea_ledger::id::{FunctionId, ProfileId};
use talea_meter::Variant;

use super::engine::EngineId;

const MAGIC: &[u8; 8] = b"TALEA-A3";
const LABEL: &[u8] = b"talea artefact v3\0";
const FACTS_LEN: usize = 16;

/// The key that the node keeps for its own artefacts.
#[derive(Clone)]
pub struct MacKey([u8; 32]);

impl MacKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// What an artefact is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) function: FunctionId,
    pub(super) profile: ProfileId,
    pub(super) variant: Variant,
}

impl Key {
    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        let profile = &self.profile.to_bytes()[CID_PREFIX_LEN..];
        let profile: String = profile.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{profile}.{}", self.function, variant_name(self.variant))
    }
}

/// Bytes of a binary CID before its digest.
const CID_PREFIX_LEN: usize = 4;

/// The stable name of a variant.
pub(super) fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Exact => "exact",
        Variant::Fast => "fast",
        Variant::Explained => "explained",
    }
}

/// What the executor must know of a module besides its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Charged once per run.
    pub(super) static_fuel: u64,
    /// Initial pages of its memory.
    pub(super) memory_pages: u64,
}

/// A compiled module and what must be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Artefact {
    pub(super) facts: Facts,
    /// What wasmtime made.
    pub(super) code: Vec<u8>,
}

/// Why a file is not an artefact of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArtefactFault {
    /// Too short, or begins with other bytes.
    #[error("not an artefact file")]
    Shape,
    /// Changed, cut, or written for another key, function, profile, variant or engine.
    #[error("not authentic")]
    Forged,
    /// It could not be read, or there was no memory for its code.
    #[error("not read: {0}")]
    Disk(#[from] io::Error),
}

impl Facts {
    pub(super) fn to_bytes(self) -> [u8; FACTS_LEN] {
        let mut bytes = [0; FACTS_LEN];
        bytes[..8].copy_from_slice(&self.static_fuel.to_le_bytes());
        bytes[8..].copy_from_slice(&self.memory_pages.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (static_fuel, memory_pages) = bytes.split_at_checked(8)?;
        Some(Self {
            static_fuel: u64::from_le_bytes(static_fuel.try_into().ok()?),
            memory_pages: u64::from_le_bytes(memory_pages.try_into().ok()?),
        })
    }
}

/// A MAC over everything but the code.
fn mac(mac_key: &MacKey, engine: &EngineId, key: &Key, facts: &[u8; FACTS_LEN]) -> blake3::Hasher {
    let variant = match key.variant {
        Variant::Exact => 0,
        Variant::Fast => 1,
        Variant::Explained => 2,
    };
    // Every part but the last has a fixed length, so no two lists of parts give the same bytes.
    let mut mac = blake3::Hasher::new_keyed(&mac_key.0);
    mac.update(LABEL).update(engine.as_bytes());
    mac.update(&key.function.to_bytes()).update(&key.profile.to_bytes()).update(&[variant]);
    mac.update(facts);
    mac
}

/// The head of a file for this artefact; its code follows as it is.
pub(super) fn head(artefact: &Artefact, mac_key: &MacKey, engine: &EngineId, key: &Key) -> Vec<u8> {
    let facts = artefact.facts.to_bytes();
    let mac = mac(mac_key, engine, key, &facts).update(&artefact.code).finalize();
    [&MAGIC[..], mac.as_bytes(), &facts].concat()
}

/// Facts of a file, if this node wrote it for this key and engine. Its code goes to `code` by way of `piece`, and is to
/// be believed only if there are facts.
pub(super) fn open(
    mut file: impl Read,
    mac_key: &MacKey,
    engine: &EngineId,
    key: &Key,
    piece: &mut [u8],
    code: &mut impl Write,
) -> Result<Facts, ArtefactFault> {
    let mut head = [0; MAGIC.len() + blake3::OUT_LEN + FACTS_LEN];
    file.read_exact(&mut head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArtefactFault::Shape,
        _ => ArtefactFault::Disk(error),
    })?;
    let rest = head.strip_prefix(MAGIC).ok_or(ArtefactFault::Shape)?;
    let (tag, facts) = rest.split_first_chunk().ok_or(ArtefactFault::Shape)?;
    let facts: &[u8; FACTS_LEN] = facts.try_into().map_err(|_| ArtefactFault::Shape)?;
    let mut mac = mac(mac_key, engine, key, facts);
    loop {
        let len = match file.read(piece) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        mac.update(&piece[..len]);
        code.write_all(&piece[..len])?;
    }
    // Compares in constant time.
    if mac.finalize() != blake3::Hash::from_bytes(*tag) {
        return Err(ArtefactFault::Forged);
    }
    Facts::from_bytes(facts).ok_or(ArtefactFault::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_opens_only_whole_in_its_order_and_for_its_key() {
        let mac_key = MacKey::new([3; 32]);
        let engine = EngineId([4; 32]);
        let key = Key {
            function: FunctionId::of(b"a function"),
            profile: ProfileId::of(b"a profile"),
            variant: Variant::Fast,
        };
        const CHUNK: usize = 4096;
        // Many of the pieces that are hashed side by side, and a part of one.
        let code: Vec<u8> = (0..CHUNK * 20 + 9).map(|at| (at / CHUNK + at % 251) as u8).collect();
        let facts = Facts { static_fuel: 7, memory_pages: 9 };
        let artefact = Artefact { facts, code: code.clone() };
        let head = head(&artefact, &mac_key, &engine, &key);
        let file = [&head[..], &code].concat();
        let opens = |file: &[u8], key: &Key| {
            let mut found = Vec::new();
            open(file, &mac_key, &engine, key, &mut [0; 1000], &mut found)
                .map(|facts| (facts, found))
        };
        assert_eq!(opens(&file, &key).unwrap(), (facts, code));
        for at in (0..file.len()).step_by(997).chain(0..head.len()).chain([file.len() - 1]) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opens(&changed, &key).is_err(), "byte {at}");
        }
        let mut swapped = file.clone();
        let (first, second) = swapped[head.len()..head.len() + 2 * CHUNK].split_at_mut(CHUNK);
        first.swap_with_slice(second);
        assert!(opens(&swapped, &key).is_err(), "pieces in another order");
        for len in [0, 8, 40, head.len(), head.len() + 20 * CHUNK, file.len() - 1] {
            assert!(opens(&file[..len], &key).is_err(), "cut at {len}");
        }
        let other = Key { variant: Variant::Exact, ..key };
        assert!(opens(&file, &other).is_err(), "of another variant");
    }
}
