//! Loads that miss the cache: one cycle through 16 MiB, 100,000 hops, `n` times.

use talea_kernels::fold;

/// 4 Mi places of 4 bytes: more than a core's own caches hold.
const PLACES: usize = 4 << 20;

fn kernel(n: u64) -> u64 {
    // A congruence of full period (Hull and Dobell) makes a single cycle, far apart at each hop.
    let next: Vec<u32> = (0..PLACES as u32)
        .map(|i| i.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % PLACES as u32)
        .collect();
    let mut at = 0;
    for _ in 0..n * 100_000 {
        at = next[at as usize];
    }
    fold(0, u64::from(at))
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
