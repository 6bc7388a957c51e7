//! Automata: three expressions over a log of some 40 KiB, compiled once, run `n` times.

use std::fmt::Write;

use regex::Regex;
use talea_kernels::{Numbers, fold};

fn kernel(n: u64) -> u64 {
    let mut numbers = Numbers(2);
    let mut log = String::new();
    for i in 0..500 {
        let (a, b, ms) = (numbers.below(256), numbers.below(256), numbers.below(900));
        let name = ["/f/tally", "/receipts", "/health"][numbers.below(3) as usize];
        let _ = writeln!(log, "10.0.{a}.{b} - user{i}@example.org \"GET {name}?q={a}\" 200 {ms}ms");
    }
    let regexes = [
        r"(\d{1,3}\.){3}(\d{1,3}) - ",
        r"[a-z]+\d+@[a-z.]+",
        r#""(GET|POST) (/[a-z/]+)\?q=(\d+)" (\d+) ([5-9]\d\d)ms"#,
    ]
    .map(|text| Regex::new(text).expect("constant"));
    let mut sum = 0;
    for _ in 0..n {
        for regex in &regexes {
            for found in regex.captures_iter(&log) {
                let last = found.iter().flatten().last();
                sum = fold(sum, last.map_or(0, |part| part.end() as u64));
            }
        }
    }
    sum
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
