//! Guest chance: one stream of bytes per run, the ChaCha20 key stream under the run's seed.
//!
//! Invariant: the stream's bytes come in order whatever the sizes they are asked in, and do not
//! depend on how a version of the generator's crate cuts them. Nothing here reads the machine.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::errno::Errno;
use super::guest::{Call, Stop};
use super::memory;

/// Bytes that ChaCha20 makes at once.
const BLOCK: usize = 64;

/// The key stream under a seed, nonce and counter zero.
pub(super) struct KeyStream {
    seed: [u8; 32],
    /// Made on the first use: most runs never ask.
    cipher: Option<ChaCha20Rng>,
    block: [u8; BLOCK],
    /// Bytes of the block that are used up.
    spent: usize,
}

impl KeyStream {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed, cipher: None, block: [0; BLOCK], spent: BLOCK }
    }

    /// The next bytes of the stream.
    pub(super) fn fill(&mut self, mut target: &mut [u8]) {
        let cipher = self.cipher.get_or_insert_with(|| ChaCha20Rng::from_seed(self.seed));
        while !target.is_empty() {
            if self.spent == BLOCK {
                // Whole blocks only: then the cipher's own position never falls inside a word.
                cipher.fill_bytes(&mut self.block);
                self.spent = 0;
            }
            let ready = &self.block[self.spent..];
            let n = ready.len().min(target.len());
            let (now, later) = target.split_at_mut(n);
            now.copy_from_slice(&ready[..n]);
            self.spent += n;
            target = later;
        }
    }
}

/// Fills a range of the guest's memory; false, and nothing done, if it is not inside.
fn fill(call: &mut Call<'_>, ptr: i32, len: i32) -> Result<bool, Stop> {
    let len = len.cast_unsigned();
    if memory::bytes(call.parts().0, ptr, len).is_none() {
        return Ok(false);
    }
    call.charge_bytes(u64::from(len))?;
    let (memory, guest) = call.parts();
    if let Some(target) = memory::bytes_mut(memory, ptr, len) {
        guest.random.fill(target);
    }
    Ok(true)
}

/// `random_get` of preview 1.
///
/// # Cost
/// Flat, and per KiB of the range.
pub(super) fn random_get(call: &mut Call<'_>, ptr: i32, len: i32) -> Result<Errno, Stop> {
    Ok(if fill(call, ptr, len)? { Errno::Success } else { Errno::Fault })
}

/// `random` of the Talea ABI.
///
/// # Cost
/// Flat, and per KiB of the range.
pub(super) fn random(call: &mut Call<'_>, ptr: i32, len: i32) -> Result<i32, Stop> {
    Ok(if fill(call, ptr, len)? { talea_host_api::OK } else { talea_host_api::BAD_POINTER })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, A.1, test vectors 1 and 2: key and nonce zero, counters 0 and 1.
    const ZERO_KEY: [u8; 8] = [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90];
    const SECOND_BLOCK: [u8; 4] = [0x9f, 0x07, 0xe7, 0xbe];

    #[test]
    fn the_stream_is_chacha20_of_the_rfc() {
        let mut bytes = [0; 128];
        KeyStream::new([0; 32]).fill(&mut bytes);
        assert_eq!(bytes[..8], ZERO_KEY);
        assert_eq!(bytes[64..68], SECOND_BLOCK);
    }

    #[test]
    fn the_stream_does_not_depend_on_how_it_is_cut() {
        let mut whole = [0; 1000];
        KeyStream::new([7; 32]).fill(&mut whole);
        let mut stream = KeyStream::new([7; 32]);
        let mut parts = Vec::new();
        for size in [1, 3, 0, 64, 5, 127, 800] {
            let mut part = vec![0; size];
            stream.fill(&mut part);
            parts.extend(part);
        }
        assert_eq!(parts, whole);
    }
}
