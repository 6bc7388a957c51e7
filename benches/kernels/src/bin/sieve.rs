//! Stores with a stride: primes below 200,000, `n` times.

use talea_kernels::fold;

fn kernel(n: u64) -> u64 {
    (0..n).fold(0, |sum, round| {
        let limit = 200_000 + round as usize;
        let mut composite = vec![false; limit];
        let (mut count, mut last) = (0_u64, 0);
        for i in 2..limit {
            if !composite[i] {
                count += 1;
                last = i as u64;
                // Beyond the root there is nothing left to strike, and the square would not fit.
                if i <= limit / i {
                    for multiple in (i * i..limit).step_by(i) {
                        composite[multiple] = true;
                    }
                }
            }
        }
        fold(fold(sum, count), last)
    })
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
