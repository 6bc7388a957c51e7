//! Every target over its corpus and a bounded, seeded number of mutations, on stable.
//!
//! `TALEA_FUZZ_RUNS` multiplies the number of mutations, `TALEA_SEED` changes which.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly and print its seed"
)]

use std::path::{Path, PathBuf};

use talea_fuzz::{Mutator, document, front_door, http_edge, peer, peer_corpus, wire, wire_corpus};

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            files_below(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Runs a target over its corpus and over `runs` inputs made from it. A failing input is printed as
/// hex before the panic goes on, so that it can be added to the corpus.
fn search(name: &str, target: fn(&[u8]), corpus: Vec<Vec<u8>>, runs: u64, len_max: usize) {
    struct Shown<'a>(&'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let hex: String = self.0.iter().map(|b| format!("{b:02x}")).collect();
                println!("failing input: {hex}");
            }
        }
    }
    assert!(corpus.len() >= 5, "{name}: the corpus was not found");
    let run = |input: &[u8]| {
        let _shown = Shown(input);
        target(input);
    };
    for input in &corpus {
        run(input);
    }
    let seed = from_env("TALEA_SEED", 1);
    let runs = runs * from_env("TALEA_FUZZ_RUNS", 1);
    println!("{name}: {} inputs and {runs} mutations, TALEA_SEED={seed}", corpus.len());
    let mut mutator = Mutator::new(seed, corpus, len_max);
    for _ in 0..runs {
        run(&mutator.next_input());
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_document_decoder_holds_for_any_bytes() {
    let mut files = Vec::new();
    files_below(&root().join("tests/conformance/documents"), &mut files);
    let corpus: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "hex"))
        .map(|path| from_hex(&std::fs::read_to_string(path).unwrap()))
        .collect();
    search("document", document, corpus, 200_000, 4_096);
}

#[test]
fn the_front_door_holds_for_any_bytes() {
    let mut files = Vec::new();
    files_below(&root().join("tests/hostile/corpus"), &mut files);
    files_below(&root().join("tests/conformance/meter"), &mut files);
    let corpus: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "wat" || e == "wasm"))
        .map(|path| wat::parse_bytes(&std::fs::read(path).unwrap()).unwrap().into_owned())
        .collect();
    search("front door", front_door, corpus, 20_000, 64 << 10);
}

#[test]
fn the_http_edge_holds_for_any_bytes() {
    let mut files = Vec::new();
    files_below(&root().join("tests/hostile/http"), &mut files);
    let corpus: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "http"))
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    search("HTTP edge", http_edge, corpus, 2_000, 32 << 10);
}

#[test]
fn a_chain_holds_for_anything_a_peer_sends() {
    search("peer", peer, peer_corpus(), 5_000, 8_192);
}

#[test]
fn what_peers_write_holds_for_any_bytes() {
    search("wire", wire, wire_corpus(), 200_000, 4096);
}
