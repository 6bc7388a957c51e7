//! Hashing and probing: 20,000 insertions, look-ups and removals, `n` times.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use talea_kernels::{Numbers, fold};

/// The standard hasher draws its key from the host; a kernel's work must not hang on that.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| fold(sum, u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

fn kernel(n: u64) -> u64 {
    let mut sum = 0;
    for round in 0..n {
        let mut map: HashMap<u64, u64, BuildHasherDefault<Multiply>> = HashMap::default();
        let mut numbers = Numbers(round);
        for i in 0..20_000 {
            *map.entry(numbers.below(8_192)).or_default() += i;
            if let Some(value) = map.get(&numbers.below(8_192)) {
                sum = fold(sum, *value);
            }
            map.remove(&numbers.below(32_768));
        }
        sum = fold(sum, map.len() as u64);
    }
    sum
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
