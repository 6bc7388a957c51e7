//! `ABI.md` and the crate say the same: the page records the hash of `src/lib.rs`, and names every
//! import, code and bound.
#![allow(missing_docs, reason = "a test binary has no readers of its documentation")]

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use talea_host_api as api;

const PAGE: &str = include_str!("../ABI.md");
const SOURCE: &[u8] = include_bytes!("../src/lib.rs");

#[test]
fn page_records_the_hash_of_the_source() {
    let hash: String = Sha256::digest(SOURCE).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        PAGE.contains(&format!("(sha-256 `{hash}`)")),
        "host-api/src/lib.rs changed: read ABI.md, bring it up to date, and record {hash}"
    );
}

#[test]
fn page_shows_every_import_with_its_arity() {
    for import in &api::IMPORTS {
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| `{}(", import.name)))
            .unwrap_or_else(|| panic!("{} has no row", import.name));
        let signature = row.split('`').nth(1).expect("code in the first cell");
        let params = signature
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .expect("parentheses")
            .0;
        let arity = params.split(',').filter(|name| !name.is_empty()).count();
        assert_eq!(arity, import.params.len(), "{signature}");
        let result = match import.results {
            [api::ValueType::I32] => "i32",
            [api::ValueType::I64] => "i64",
            other => panic!("{other:?}"),
        };
        assert!(signature.ends_with(&format!("-> {result}")), "{signature}");
    }
}

#[test]
fn page_shows_codes_levels_and_constants() {
    for code in [api::BAD_POINTER, api::BAD_ARGUMENT, api::TOO_LATE, api::RESERVED, api::TOO_LARGE]
    {
        assert!(PAGE.contains(&format!("| {code} | ")), "{code}");
    }
    for number in 0..5 {
        let level = api::Level::from_number(number).expect("a level");
        assert_eq!(level.number(), number);
        assert!(PAGE.contains(&format!("{number} `{}`", level.word())));
    }
    for (name, value) in api::CGI_FIXED {
        assert!(PAGE.contains(&format!("`{name}={value}`")), "{name}");
    }
    assert!(PAGE.contains("16,642") && api::CGI_BLOCK_LEN_MAX == 16_642);
}

#[test]
fn numbers_round_trip_and_end() {
    for (number, field) in (0..).zip(api::Field::ALL) {
        assert_eq!(field.number(), number);
        assert_eq!(api::Field::from_number(number), Some(field));
    }
    assert_eq!(api::Field::from_number(6), None);
    assert_eq!(api::Field::from_number(-1), None);
    assert_eq!(api::Level::from_number(5), None);
}

#[test]
fn imports_are_found_by_name_and_unique() {
    let all: Vec<_> = api::IMPORTS.iter().chain(&api::WASI_IMPORTS).collect();
    let names: BTreeSet<_> = all.iter().map(|i| (i.module, i.name)).collect();
    assert_eq!(names.len(), 54);
    for import in all {
        assert_eq!(api::find_import(import.module, import.name), Some(import));
    }
    assert_eq!(api::find_import("talea", "fd_write"), None);
    assert_eq!(api::find_import("env", "log"), None);
}

#[test]
fn reserved_headers_in_any_case() {
    assert!(api::is_reserved_header("Talea-Receipt"));
    assert!(api::is_reserved_header("Set-Cookie"));
    assert!(!api::is_reserved_header("talea"));
    assert!(!api::is_reserved_header("content-type"));
}
