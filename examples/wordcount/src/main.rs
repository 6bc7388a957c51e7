//! Counts lines, words and bytes of a text on stdin, and lists its commonest words.
//!
//! A plain program that knows nothing of the network it runs on. An argument says how many words
//! to list, 10 if there is none.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok(top) = std::env::args().nth(1).map_or(Ok(10), |text| text.parse()) else {
        eprintln!("the argument is not a number");
        return ExitCode::from(2);
    };
    let mut bytes = Vec::new();
    let counted = io::stdin().lock().read_to_end(&mut bytes);
    let text = match counted.map(|_| String::from_utf8(bytes)) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            eprintln!("{error}");
            return ExitCode::from(1);
        }
        Err(error) => {
            eprintln!("stdin: {error}");
            return ExitCode::from(1);
        }
    };
    match io::stdout().lock().write_all(report(&text, top).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

fn report(text: &str, top: usize) -> String {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut words = 0;
    for word in text.split_whitespace() {
        words += 1;
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        if !word.is_empty() {
            *counts.entry(word).or_default() += 1;
        }
    }
    let lines = text.bytes().filter(|byte| *byte == b'\n').count();
    let mut report = format!("{lines} lines, {words} words, {} bytes\n", text.len());
    let mut ranked: Vec<_> = counts.into_iter().collect();
    // Ties in the order of the alphabet: the answer must not hang on the map's own order.
    ranked.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    for (word, count) in ranked.into_iter().take(top) {
        report.push_str(&format!("{count:>6}  {word}\n"));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::report;

    #[test]
    fn counts() {
        assert_eq!(
            report("The cat, the dog\nand THE end.\n", 2),
            "2 lines, 7 words, 30 bytes\n     3  the\n     1  and\n"
        );
    }
}
