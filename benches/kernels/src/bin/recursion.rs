//! Calls and little else: Fibonacci by double recursion, of `20 + n`.

fn fibonacci(n: u64) -> u64 {
    if n < 2 { n } else { fibonacci(n - 1).wrapping_add(fibonacci(n - 2)) }
}

fn kernel(n: u64) -> u64 {
    fibonacci(std::hint::black_box(20 + n))
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
