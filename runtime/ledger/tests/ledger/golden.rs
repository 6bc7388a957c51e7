//! The bytes of every document type as they lie in `tests/conformance/documents`.
//!
//! They change only with a new version of a type. `UPDATE_GOLDEN=1` writes them anew; the change is then a
//! reviewed line.

use std::fmt::Write as _;
use std::path::PathBuf;

use talea_ledger::merkle::{self, Tree};
use talea_ledger::{Digest, RunId};

use crate::samples;

pub(crate) fn path(file: &str) -> PathBuf {
    let crate_root = env!("CARGO_MANIFEST_DIR");
    PathBuf::from(crate_root).join("../../tests/conformance/documents").join(file)
}

/// Compares with the committed file, or writes it when asked to.
pub(crate) fn check(file: &str, text: &str) {
    let path = path(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert!(
        golden == text,
        "{file} differs from its golden form: an encoding changed.\n--- golden\n{golden}\n--- now\n{text}"
    );
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn documents() {
    let mut index = String::from("# file, CID of the bytes (the envelope has none), media type\n");
    for sample in samples::all() {
        let mut lines = String::new();
        for line in hex(&sample.bytes).as_bytes().chunks(100) {
            writeln!(lines, "{}", std::str::from_utf8(line).unwrap()).unwrap();
        }
        check(&format!("{}.hex", sample.name), &lines);
        // Any dag-cbor id will do: the type of an id is not in its text.
        let cid = match sample.media_type {
            "-" => "-".to_owned(),
            _ => RunId::of(&sample.bytes).to_string(),
        };
        writeln!(index, "{}.hex {cid} {}", sample.name, sample.media_type).unwrap();
    }
    check("index.txt", &index);
}

#[test]
fn trees() {
    let mut text = String::from("# leaves (\"0\", \"1\", ... as ASCII), root\n");
    for count in (1..=33).chain([100, 1000, 4095, 4096]) {
        let leaves: Vec<String> = (0..count).map(|leaf| leaf.to_string()).collect();
        let root: Digest = Tree::over(&leaves).unwrap().root();
        assert_eq!(root, merkle::root(&leaves).unwrap());
        writeln!(text, "{count} {root}").unwrap();
    }
    check("trees.txt", &text);
}

#[test]
fn state() {
    check("state.txt", &crate::chain::tree());
}
