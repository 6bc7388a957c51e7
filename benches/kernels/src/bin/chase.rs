//! Loads that miss the cache: one cycle through 16 MiB, 100,000 hops, `n` times.

use talea_kernels::{Numbers, fold};

/// 4 Mi places of 4 bytes: more than a core's own caches hold.
const PLACES: usize = 4 << 20;

fn kernel(n: u64) -> u64 {
    // Sattolo's shuffle makes a single cycle.
    let mut next: Vec<u32> = (0..PLACES as u32).collect();
    let mut numbers = Numbers(6);
    for i in (1..PLACES).rev() {
        let j = numbers.below(i as u64) as usize;
        next.swap(i, j);
    }
    let mut at = 0;
    for _ in 0..n * 100_000 {
        at = next[at as usize];
    }
    fold(0, u64::from(at))
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
