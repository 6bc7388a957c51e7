//! Doubles in a loop that ends early: a Mandelbrot set of 64 x 64 points, `n` times.

use talea_kernels::fold;

fn escape(cx: f64, cy: f64) -> u64 {
    let (mut x, mut y) = (0.0, 0.0);
    for i in 0..200 {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 4.0 {
            return i;
        }
        y = 2.0 * x * y + cy;
        x = xx - yy + cx;
    }
    200
}

fn kernel(n: u64) -> u64 {
    (0..n).fold(0, |sum, round| {
        let shift = round as f64 * 1e-4;
        (0..64 * 64).fold(sum, |sum, i| {
            let (px, py) = (f64::from(i % 64), f64::from(i / 64));
            fold(sum, escape(px / 64.0 * 3.0 - 2.2 + shift, py / 64.0 * 2.4 - 1.2))
        })
    })
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
