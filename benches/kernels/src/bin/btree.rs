//! Ordered maps: 20,000 insertions, ranges and removals, `n` times.

use std::collections::BTreeMap;

use talea_kernels::{Numbers, fold};

fn kernel(n: u64) -> u64 {
    let mut sum = 0;
    for round in 0..n {
        let mut map = BTreeMap::new();
        let mut numbers = Numbers(round);
        for i in 0..20_000_u64 {
            map.insert(numbers.below(1 << 20), i);
            if i % 4 == 0 {
                let from = numbers.below(1 << 20);
                sum = map.range(from..).take(5).fold(sum, |sum, (k, v)| fold(sum, k ^ v));
            }
            if i % 3 == 0 {
                map.pop_first();
            }
        }
        sum = fold(sum, map.len() as u64);
    }
    sum
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
