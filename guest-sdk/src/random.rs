//! Randomness from the run's seed: the same run draws the same numbers.
//!
//! Owns: the host's generator, and a local one for many numbers, since a host call costs more than
//! a few multiplications. Absent: secrets. Whoever knows the run knows its seed: never make keys
//! or tokens from it.

use crate::host;

/// Fills `bytes` from the host's generator.
pub fn fill(bytes: &mut [u8]) {
    host::random(bytes);
}

/// A number from the host's generator.
#[must_use]
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A local generator (xoshiro256++), seeded from the host or by hand.
#[derive(Debug, Clone)]
pub struct Generator {
    state: [u64; 4],
}

impl Generator {
    /// Seeded with 32 bytes of the host's generator.
    #[must_use]
    pub fn from_run() -> Generator {
        let mut bytes = [0; 32];
        fill(&mut bytes);
        let mut state = [0; 4];
        for (word, chunk) in state.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        }
        // The all-zero state is the only one the generator cannot leave.
        if state == [0; 4] {
            return Generator::from_seed(0);
        }
        Generator { state }
    }

    /// Seeded with a number.
    #[must_use]
    pub fn from_seed(seed: u64) -> Generator {
        let mut seed = seed;
        Generator { state: std::array::from_fn(|_| mix(&mut seed)) }
    }

    /// The next number.
    #[must_use]
    pub fn u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c = c ^ a;
        let d = d ^ b;
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number in `0.0..1.0`, from the upper 53 bits of [`Generator::u64`].
    #[must_use]
    pub fn f64(&mut self) -> f64 {
        // 2^-53: one step of a double between 0.5 and 1.
        (self.u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

/// SplitMix64, which the authors of xoshiro recommend for seeding it.
pub(crate) fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generator_gives_the_published_numbers() {
        // First outputs of the reference xoshiro256++ for the state 1, 2, 3, 4.
        let mut generator = Generator { state: [1, 2, 3, 4] };
        let numbers: Vec<u64> = (0..4).map(|_| generator.u64()).collect();
        assert_eq!(numbers, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn floats_stay_below_one() {
        let mut generator = Generator::from_seed(7);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            let x = generator.f64();
            assert!((0.0..1.0).contains(&x));
            sum += x;
        }
        // Mean of 10,000 uniforms: standard deviation 0.0029.
        assert!((sum / 10_000.0 - 0.5).abs() < 0.015, "{sum}");
    }
}
