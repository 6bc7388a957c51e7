//! What the kernels share: how they are called, and a source of numbers.
//!
//! Owns: reading `n`, printing the checksum. Invariant: a kernel's checksum depends on `n` alone,
//! on every target, so that a miscompiled or mismetered run shows.

use std::io::Read;
use std::process::ExitCode;

/// Runs a kernel for the `n` on stdin and prints its checksum.
pub fn main(kernel: fn(u64) -> u64) -> ExitCode {
    let mut text = String::new();
    match std::io::stdin().read_to_string(&mut text).map(|_| text.trim().parse()) {
        Ok(Ok(n)) => {
            println!("{:016x}", kernel(n));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("a number on stdin");
            ExitCode::from(2)
        }
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Numbers(pub u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }
}

impl Numbers {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next().map_or(0, |number| number % bound)
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.below(1 << 53)) as f64 / 9_007_199_254_740_992.0
    }
}

/// Folds a value into a checksum.
#[must_use]
pub fn fold(sum: u64, value: u64) -> u64 {
    (sum ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}
