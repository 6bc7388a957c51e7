//! Indirect calls: 1,000 objects behind a trait, 100 rounds, `n` times.

use talea_kernels::{Numbers, fold};

trait Step {
    fn step(&mut self, x: u64) -> u64;
}

struct Add(u64);
struct Xor(u64);
struct Count(u64, u64);
struct Turn(u32);

impl Step for Add {
    fn step(&mut self, x: u64) -> u64 {
        x.wrapping_add(self.0)
    }
}

impl Step for Xor {
    fn step(&mut self, x: u64) -> u64 {
        self.0 = self.0.rotate_left(1);
        x ^ self.0
    }
}

impl Step for Count {
    fn step(&mut self, x: u64) -> u64 {
        self.0 += 1;
        if x & 1 == 0 { x.wrapping_add(self.0) } else { x.wrapping_mul(self.1) }
    }
}

impl Step for Turn {
    fn step(&mut self, x: u64) -> u64 {
        x.rotate_right(self.0)
    }
}

fn kernel(n: u64) -> u64 {
    let mut numbers = Numbers(3);
    let mut steps: Vec<Box<dyn Step>> = (0..1_000)
        .map(|_| -> Box<dyn Step> {
            let x = numbers.below(u64::MAX);
            match x % 4 {
                0 => Box::new(Add(x)),
                1 => Box::new(Xor(x)),
                2 => Box::new(Count(x >> 32, x | 1)),
                _ => Box::new(Turn((x >> 58) as u32)),
            }
        })
        .collect();
    let mut x = 1;
    for _ in 0..n * 100 {
        x = steps.iter_mut().fold(x, |x, step| step.step(x));
    }
    fold(0, x)
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
