//! Carries: 1,500 digits of pi by Machin's formula on limbs of nine digits, `n` times.

use talea_kernels::fold;

const BASE: u64 = 1_000_000_000;
const LIMBS: usize = 170;

fn divide(number: &mut [u64; LIMBS], by: u64) {
    number.iter_mut().fold(0, |carry, limb| {
        let whole = carry * BASE + *limb;
        *limb = whole / by;
        whole % by
    });
}

fn add(number: &mut [u64; LIMBS], other: &[u64; LIMBS]) {
    number.iter_mut().zip(other).rev().fold(0, |carry, (limb, more)| {
        let whole = *limb + more + carry;
        *limb = whole % BASE;
        whole / BASE
    });
}

fn subtract(number: &mut [u64; LIMBS], other: &[u64; LIMBS]) {
    number.iter_mut().zip(other).rev().fold(0, |borrow, (limb, less)| {
        let whole = BASE + *limb - less - borrow;
        *limb = whole % BASE;
        1 - whole / BASE
    });
}

/// `factor * arctan(1 / x)`.
fn arctan(factor: u64, x: u64) -> [u64; LIMBS] {
    let mut power = [0; LIMBS];
    power[0] = factor;
    divide(&mut power, x);
    let mut sum = power;
    for k in 1.. {
        divide(&mut power, x * x);
        let mut term = power;
        divide(&mut term, 2 * k + 1);
        if term.iter().all(|limb| *limb == 0) {
            break;
        }
        if k % 2 == 1 { subtract(&mut sum, &term) } else { add(&mut sum, &term) }
    }
    sum
}

fn kernel(n: u64) -> u64 {
    (0..n).fold(0, |sum, _| {
        let mut pi = arctan(16, 5);
        subtract(&mut pi, &arctan(4, 239));
        assert_eq!(pi[..3], [3, 141_592_653, 589_793_238]);
        pi[..167].iter().fold(sum, |sum, limb| fold(sum, *limb))
    })
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
