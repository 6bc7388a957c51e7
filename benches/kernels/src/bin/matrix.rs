//! Multiply and add on doubles: products of 96 x 96 matrices, `n` times.

use talea_kernels::{Numbers, fold};

const SIDE: usize = 96;

fn product(a: &[f64], b: &[f64], c: &mut [f64]) {
    for (row, out) in a.chunks_exact(SIDE).zip(c.chunks_exact_mut(SIDE)) {
        out.fill(0.0);
        for (factor, line) in row.iter().zip(b.chunks_exact(SIDE)) {
            for (sum, value) in out.iter_mut().zip(line) {
                *sum += factor * value;
            }
        }
    }
}

fn kernel(n: u64) -> u64 {
    let mut numbers = Numbers(1);
    let mut fill = || (0..SIDE * SIDE).map(|_| numbers.unit() / 48.0).collect::<Vec<f64>>();
    let (mut a, b) = (fill(), fill());
    let mut c = vec![0.0; SIDE * SIDE];
    for _ in 0..n {
        product(&a, &b, &mut c);
        std::mem::swap(&mut a, &mut c);
        // The spectral radius is near 1; what it drifts is taken back here.
        let peak = a.iter().fold(0.0_f64, |peak, x| peak.max(*x));
        a.iter_mut().for_each(|x| *x /= peak * 48.0);
    }
    a.iter().fold(0, |sum, x| fold(sum, x.to_bits()))
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
