//! Text: splitting, case, replacing, formatting and edit distances, `n` times.

use std::fmt::Write;

use talea_kernels::{Numbers, fold};

const WORDS: [&str; 16] = [
    "tally",
    "stick",
    "Notch",
    "half",
    "debt",
    "Hazel",
    "split",
    "exchequer",
    "oak",
    "Willow",
    "clerk",
    "stock",
    "foil",
    "\u{e9}tat",
    "Gr\u{f6}\u{df}e",
    "\u{17f}hip",
];

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (corner + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

fn kernel(n: u64) -> u64 {
    let mut sum = 0;
    for round in 0..n {
        let mut numbers = Numbers(round);
        let mut text = String::new();
        for i in 0..400 {
            let word = WORDS[numbers.below(16) as usize];
            let _ = write!(text, "{word}-{i}{}", if i % 9 == 0 { "\n" } else { " " });
        }
        let text = text.to_lowercase().replace("st", "--");
        let words: Vec<&str> = text.split_whitespace().collect();
        for pair in words.windows(2) {
            sum = fold(sum, distance(pair[0], pair[1]) as u64);
        }
        let reversed: String = text.chars().rev().filter(|c| c.is_alphanumeric()).collect();
        sum = fold(sum, reversed.len() as u64);
        sum = reversed.bytes().step_by(17).fold(sum, |sum, byte| fold(sum, u64::from(byte)));
    }
    sum
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
