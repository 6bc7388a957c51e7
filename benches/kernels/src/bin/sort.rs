//! Comparisons and moves: `n` times 10,000 numbers sorted without and with stability.

use talea_kernels::{Numbers, fold};

fn kernel(n: u64) -> u64 {
    (0..n).fold(0, |sum, round| {
        let mut numbers: Vec<u64> = Numbers(round).take(10_000).collect();
        let mut pairs: Vec<(u16, u64)> = numbers.iter().map(|x| (*x as u16, x >> 40)).collect();
        numbers.sort_unstable();
        pairs.sort_by_key(|pair| pair.0);
        numbers.iter().zip(&pairs).step_by(97).fold(sum, |sum, (x, y)| fold(fold(sum, *x), y.1))
    })
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
