//! Fixed 128-bit SIMD: blends two pictures of 64 KiB with a weight, 10 times, `n` times. Elsewhere
//! than in wasm the same sums byte by byte.
#![allow(unsafe_code, reason = "loads and stores of the intrinsics take pointers")]

use talea_kernels::{Numbers, fold};

#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
fn blend(a: &mut [u8], b: &[u8], weight: u16) {
    use core::arch::wasm32::{
        i8x16_add, i8x16_splat, i16x8_add, i16x8_mul, i16x8_splat, u8x16_narrow_i16x8,
        u16x8_extend_high_u8x16, u16x8_extend_low_u8x16, u16x8_shr, v128, v128_load, v128_store,
    };
    let (w, v) = (i16x8_splat(weight as i16), i16x8_splat(256 - weight as i16));
    // Without a step the two pictures would soon be one.
    let step = i8x16_splat(weight as i8);
    for (x, y) in a.as_chunks_mut::<16>().0.iter_mut().zip(b.as_chunks::<16>().0) {
        // SAFETY: both chunks are 16 bytes, and wasm's vector accesses need no alignment.
        let (p, q) = unsafe { (v128_load(x.as_ptr().cast()), v128_load(y.as_ptr().cast())) };
        let mix = |p: v128, q: v128| u16x8_shr(i16x8_add(i16x8_mul(p, v), i16x8_mul(q, w)), 8);
        let low = mix(u16x8_extend_low_u8x16(p), u16x8_extend_low_u8x16(q));
        let high = mix(u16x8_extend_high_u8x16(p), u16x8_extend_high_u8x16(q));
        let mixed = i8x16_add(u8x16_narrow_i16x8(low, high), step);
        // SAFETY: as above.
        unsafe { v128_store(x.as_mut_ptr().cast(), mixed) };
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn blend(a: &mut [u8], b: &[u8], weight: u16) {
    for (x, y) in a.iter_mut().zip(b) {
        let mixed = (u16::from(*x) * (256 - weight) + u16::from(*y) * weight) >> 8;
        *x = (mixed as u8).wrapping_add(weight as u8);
    }
}

fn kernel(n: u64) -> u64 {
    let mut numbers = Numbers(5);
    let mut fill = || (0..64 * 1024).map(|_| numbers.below(256) as u8).collect::<Vec<u8>>();
    let (mut a, mut b) = (fill(), fill());
    for round in 0..n * 10 {
        let weight = (round * 37 % 255 + 1) as u16;
        blend(&mut a, &b, weight);
        std::mem::swap(&mut a, &mut b);
    }
    a.iter().step_by(31).fold(0, |sum, x| fold(sum, u64::from(*x)))
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
