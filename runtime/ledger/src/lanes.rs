//! sha2-256 of many messages side by side.
//!
//! The documents of a batch are short, and their hashes do not depend on each other. A processor that has
//! 512-bit vectors but no SHA instructions hashes sixteen of them, one per lane, in the time of three.
//! Invariant: the digests are those of [`Digest::of`], on every processor; which way they were made shows in
//! nothing but the time. Absent: messages that come in pieces, and any other hash.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "indices into arrays of fixed length; the hash's own sums wrap by name"
)]
#![allow(clippy::needless_range_loop, reason = "a lane is the same place in many arrays")]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "other processors hash one message after the other")
)]

use sha2::Digest as _;

use crate::id::Digest;

/// Messages side by side: 32-bit words in a 512-bit register.
const LANES: usize = 16;
/// Bytes that the hash takes at a time.
const BLOCK: usize = 64;
/// Words of a block, and of the part of the schedule that is kept.
const WORDS: usize = 16;
/// What padding adds at least: one bit, in a byte, and the length.
const PADDING: usize = 1 + 8;
/// Blocks that lanes must take at a time to be worth it: sixteen side by side take as long as 3.1 one by one.
const WORTH: usize = 4;

/// Round constants: the first 32 bits of the fractional parts of the cube roots of the first 64 primes
/// (FIPS 180-4, section 4.2.2).
const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];
/// The state before the first block (FIPS 180-4, section 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The digest of `prefix` followed by each message, in the order of the messages.
pub fn digests<B: AsRef<[u8]>>(prefix: &[u8], messages: &[B]) -> Vec<Digest> {
    let mut digests = Vec::with_capacity(messages.len());
    for group in messages.chunks(LANES) {
        if !side_by_side(prefix, group, &mut digests) {
            digests.extend(group.iter().map(|message| one(prefix, message.as_ref())));
        }
    }
    digests
}

/// The ids of messages that are whole documents.
pub fn names<B: AsRef<[u8]>>(messages: &[B]) -> Vec<Digest> {
    digests(&[], messages)
}

fn one(prefix: &[u8], message: &[u8]) -> Digest {
    let hash = sha2::Sha256::new().chain_update(prefix).chain_update(message);
    Digest::new(hash.finalize().into())
}

/// Hashes a group in lanes, if this processor can and it is worth it.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the door to code for a processor with wider vectors")]
fn side_by_side<B: AsRef<[u8]>>(prefix: &[u8], group: &[B], into: &mut Vec<Digest>) -> bool {
    let can = std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        // One message after the other by its own instructions is as fast.
        && !std::arch::is_x86_feature_detected!("sha");
    let mut blocks = [0; LANES];
    for (blocks, message) in blocks.iter_mut().zip(group) {
        *blocks = (prefix.len() + message.as_ref().len() + PADDING).div_ceil(BLOCK);
    }
    let most = blocks.iter().copied().max().unwrap_or(0);
    if !can || blocks.iter().sum::<usize>() < WORTH * most {
        return false;
    }
    // SAFETY: the processor has been asked for every feature that the function is compiled with.
    unsafe { avx512(prefix, group, &blocks, into) };
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn side_by_side<B: AsRef<[u8]>>(_: &[u8], _: &[B], _: &mut Vec<Digest>) -> bool {
    false
}

/// The same code as everywhere; the compiler makes one instruction of each loop over the lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn avx512<B: AsRef<[u8]>>(
    prefix: &[u8],
    group: &[B],
    blocks: &[usize; LANES],
    into: &mut Vec<Digest>,
) {
    lanes(prefix, group, blocks, into);
}

type Lanes = [u32; LANES];

/// Hashes up to [`LANES`] messages; `blocks` says how many blocks each has, 0 where there is no message.
#[inline(always)]
fn lanes<B: AsRef<[u8]>>(
    prefix: &[u8],
    group: &[B],
    blocks: &[usize; LANES],
    into: &mut Vec<Digest>,
) {
    let mut state = START.map(|word| [word; LANES]);
    let mut done = [[0; 32]; LANES];
    let mut rows = [[0; BLOCK]; LANES];
    let most = blocks.iter().copied().max().unwrap_or(0);
    for number in 0..most {
        for (lane, message) in group.iter().enumerate() {
            if number < blocks[lane] {
                block(prefix, message.as_ref(), number, &mut rows[lane]);
            }
        }
        let mut words = [[0; LANES]; WORDS];
        for (at, word) in words.iter_mut().enumerate() {
            for (lane, row) in rows.iter().enumerate() {
                let bytes = [row[4 * at], row[4 * at + 1], row[4 * at + 2], row[4 * at + 3]];
                word[lane] = u32::from_be_bytes(bytes);
            }
        }
        compress(&mut state, &mut words);
        for lane in (0..group.len()).filter(|&lane| blocks[lane] == number + 1) {
            for (bytes, word) in done[lane].chunks_exact_mut(4).zip(&state) {
                bytes.copy_from_slice(&word[lane].to_be_bytes());
            }
        }
    }
    into.extend(done[..group.len()].iter().map(|digest| Digest::new(*digest)));
}

/// Block `number` of prefix and message, padded as section 5.1.1 has it.
#[inline(always)]
fn block(prefix: &[u8], message: &[u8], number: usize, out: &mut [u8; BLOCK]) {
    let len = prefix.len() + message.len();
    let start = number * BLOCK;
    if start >= prefix.len() && start + BLOCK <= len {
        let from = start - prefix.len();
        out.copy_from_slice(&message[from..from + BLOCK]);
        return;
    }
    *out = [0; BLOCK];
    let mut at = 0;
    if let Some(rest) = prefix.get(start..) {
        at = rest.len().min(BLOCK);
        out[..at].copy_from_slice(&rest[..at]);
    }
    let from = (start + at).saturating_sub(prefix.len());
    if let Some(rest) = message.get(from..) {
        let part = rest.len().min(BLOCK - at);
        out[at..at + part].copy_from_slice(&rest[..part]);
    }
    if (start..start + BLOCK).contains(&len) {
        out[len - start] = 0x80;
    }
    if start + BLOCK >= len + PADDING {
        out[BLOCK - 8..].copy_from_slice(&(len as u64 * 8).to_be_bytes());
    }
}

/// The compression function (section 6.2.2) in every lane.
#[inline(always)]
fn compress(state: &mut [Lanes; 8], words: &mut [Lanes; WORDS]) {
    let mut now = *state;
    for (round, k) in K.iter().enumerate() {
        let at = round % WORDS;
        if round >= WORDS {
            let (near, far) = (words[(at + 1) % WORDS], words[(at + 14) % WORDS]);
            let middle = words[(at + 9) % WORDS];
            for lane in 0..LANES {
                let (x, y) = (near[lane], far[lane]);
                let sigma0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
                let sigma1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
                let sum = words[at][lane].wrapping_add(sigma0).wrapping_add(middle[lane]);
                words[at][lane] = sum.wrapping_add(sigma1);
            }
        }
        let [a, b, c, d, e, f, g, h] = now;
        let (mut first, mut fifth) = ([0; LANES], [0; LANES]);
        for lane in 0..LANES {
            let x = e[lane];
            let sum1 = x.rotate_right(6) ^ x.rotate_right(11) ^ x.rotate_right(25);
            let choice = g[lane] ^ (x & (f[lane] ^ g[lane]));
            let word = words[at][lane].wrapping_add(*k);
            let t1 = h[lane].wrapping_add(sum1).wrapping_add(choice).wrapping_add(word);
            let y = a[lane];
            let sum0 = y.rotate_right(2) ^ y.rotate_right(13) ^ y.rotate_right(22);
            let majority = (y & b[lane]) | (c[lane] & (y | b[lane]));
            first[lane] = t1.wrapping_add(sum0).wrapping_add(majority);
            fifth[lane] = d[lane].wrapping_add(t1);
        }
        now = [first, a, b, c, fifth, e, f, g];
    }
    for (state, now) in state.iter_mut().zip(&now) {
        for (state, now) in state.iter_mut().zip(now) {
            *state = state.wrapping_add(*now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length around the edges of blocks and padding.
    const LENGTHS: [usize; 20] =
        [0, 1, 8, 31, 32, 54, 55, 56, 57, 62, 63, 64, 65, 119, 120, 127, 128, 129, 430, 1000];

    fn message(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (seed * 31 + at * 7 + (at >> 8)) as u8).collect()
    }

    /// The lanes themselves, whatever this processor would choose.
    fn by_lanes(prefix: &[u8], group: &[Vec<u8>]) -> Vec<Digest> {
        let mut blocks = [0; LANES];
        for (blocks, message) in blocks.iter_mut().zip(group) {
            *blocks = (prefix.len() + message.len() + PADDING).div_ceil(BLOCK);
        }
        let mut digests = Vec::new();
        lanes(prefix, group, &blocks, &mut digests);
        digests
    }

    #[test]
    fn lanes_hash_what_the_crate_hashes() {
        for prefix in [&[][..], &[0], &[1; 3], &[7; 64], &[9; 70]] {
            for len in LENGTHS {
                for count in [1, 5, LANES] {
                    // Side by side lie messages of different lengths.
                    let group: Vec<_> =
                        (0..count).map(|seed| message(seed, len + seed % 3 * 29)).collect();
                    let expected: Vec<_> = group.iter().map(|bytes| one(prefix, bytes)).collect();
                    assert_eq!(by_lanes(prefix, &group), expected, "{len} {count}");
                    assert_eq!(digests(prefix, &group), expected, "{len} {count}");
                }
            }
        }
    }

    #[test]
    fn many_messages_keep_their_order() {
        let messages: Vec<_> = (0..100).map(|seed| message(seed, seed * 5)).collect();
        let expected: Vec<_> = messages.iter().map(|bytes| Digest::of(bytes)).collect();
        assert_eq!(names(&messages), expected);
        assert_eq!(names::<Vec<u8>>(&[]), []);
    }
}
