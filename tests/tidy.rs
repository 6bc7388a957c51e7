//! The machine as the strict reviewer: what a newcomer could check with grep, checked on every run.
//!
//! Sizes are a ratchet: the bounds below may only go down. What is absent here on purpose: opinions
//! that a compiler lint already holds.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file before its tests. About the 90th percentile of well-kept networked Rust
/// codebases lies between 350 and 780; beyond that a reader loses the thread.
const FILE_LINES_MAX: usize = 800;

/// Words that name nothing: a type called so has no job of its own.
const BANNED_NAMES: [&str; 9] =
    ["Manager", "Handler", "Helper", "Util", "Common", "Misc", "Impl", "Data", "Info"];

/// Who may import a heavy dependency. One owner each, so that a newcomer can check it with grep.
const OWNERS: [(&str, &[&str]); 7] = [
    ("wasmtime", &["executor"]),
    ("hyper", &["gateway", "cli"]),
    ("axum", &["gateway"]),
    ("redb", &["store"]),
    // Its one user is the crate of the network, whose handle the node and its control plane hold.
    ("libp2p", &[]),
    ("talea_gossip", &["node", "supply", "gateway"]),
    ("tokio::fs", &[]),
];

/// `(module, modules of this crate it must never import)`: the pipeline
/// `call < auth < registry < executor < notary < chain < ledger < till < market < purse < supply < gateway`, read from left to right.
const NEVER: [(&str, &[&str]); 17] = [
    (
        "limits",
        &[
            "clock", "config", "store", "call", "auth", "registry", "executor", "notary", "chain",
            "ledger", "till", "market", "purse", "supply", "gateway", "node", "cli",
        ],
    ),
    (
        "clock",
        &[
            "config", "store", "call", "auth", "registry", "executor", "notary", "chain", "ledger",
            "till", "market", "purse", "supply", "gateway", "node", "cli",
        ],
    ),
    (
        "config",
        &[
            "store", "call", "auth", "registry", "executor", "notary", "chain", "ledger", "till",
            "market", "purse", "supply", "gateway", "node", "cli",
        ],
    ),
    (
        "store",
        &[
            "call", "auth", "registry", "executor", "notary", "chain", "ledger", "till", "market",
            "purse", "supply", "gateway", "node", "cli",
        ],
    ),
    (
        "call",
        &[
            "store", "auth", "registry", "executor", "notary", "chain", "ledger", "till", "market",
            "purse", "supply", "gateway", "node", "cli",
        ],
    ),
    (
        "auth",
        &[
            "registry", "executor", "notary", "chain", "ledger", "till", "market", "purse",
            "supply", "gateway", "node", "cli",
        ],
    ),
    (
        "registry",
        &[
            "notary", "chain", "ledger", "till", "market", "purse", "supply", "gateway", "node",
            "cli",
        ],
    ),
    (
        "executor",
        &[
            "call", "auth", "registry", "notary", "chain", "ledger", "till", "market", "purse",
            "supply", "gateway", "node", "cli",
        ],
    ),
    (
        "notary",
        &[
            "store", "chain", "ledger", "till", "market", "purse", "supply", "gateway", "node",
            "cli",
        ],
    ),
    (
        "chain",
        &[
            "call", "auth", "registry", "till", "market", "purse", "supply", "gateway", "node",
            "cli",
        ],
    ),
    (
        "ledger",
        &[
            "call", "auth", "registry", "executor", "chain", "till", "market", "purse", "supply",
            "gateway", "node", "cli",
        ],
    ),
    ("till", &["call", "auth", "registry", "market", "purse", "supply", "gateway", "node", "cli"]),
    (
        "market",
        &[
            "store", "call", "auth", "registry", "executor", "chain", "ledger", "till", "supply",
            "gateway", "node", "cli",
        ],
    ),
    (
        "purse",
        &[
            "call", "auth", "registry", "executor", "chain", "market", "supply", "gateway", "node",
            "cli",
        ],
    ),
    (
        "supply",
        &[
            "call", "registry", "notary", "ledger", "till", "market", "purse", "gateway", "node",
            "cli",
        ],
    ),
    ("gateway", &["node", "cli"]),
    ("node", &["cli"]),
];

/// Folders whose sources are the project's own.
const ROOTS: [&str; 8] =
    ["host-api", "guest-sdk", "runtime", "tests", "benches", "fuzz", "xtask", "examples"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("runtime lies in the workspace").into()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                walk(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// Every Rust source of the project, with its path below the root and its text.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for folder in ROOTS {
        walk(&root.join(folder), &mut found);
    }
    let mut sources: Vec<(String, String)> = found
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    sources.sort();
    assert!(sources.len() > 20, "the walk found only {} sources", sources.len());
    sources
}

/// The part of a file that is not its unit tests.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

fn complain(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_source_says_what_it_is_and_is_ascii() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let is_input =
            name.contains("/ui/") || name.contains("/fail/") || name.contains("/templates/");
        if !text.starts_with("//!") && !is_input {
            faults.push(format!("{name}: does not open with `//!`"));
        }
        if let Some(line) = text.lines().position(|line| !line.is_ascii()) {
            faults.push(format!("{name}:{}: not ASCII", line + 1));
        }
    }
    complain(&faults);
}

#[test]
fn no_file_outgrows_its_reader() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let lines = without_tests(&text).lines().count();
        if lines > FILE_LINES_MAX {
            faults
                .push(format!("{name}: {lines} lines before its tests, at most {FILE_LINES_MAX}"));
        }
    }
    complain(&faults);
}

#[test]
fn types_and_modules_are_named_after_the_domain() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            // Indented: a method, or an associated type that a foreign trait has named.
            let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let declared = ["struct ", "enum ", "trait ", "type ", "mod "]
                .iter()
                .find_map(|word| line.strip_prefix(word));
            let Some(declared) = declared else { continue };
            let ident: String =
                declared.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            for banned in BANNED_NAMES {
                let snake = banned.to_lowercase();
                let is_banned = ident == banned
                    || (ident.ends_with(banned)
                        && ident.chars().next().is_some_and(char::is_uppercase))
                    || ident == snake
                    || ident == format!("{snake}s");
                if is_banned {
                    faults.push(format!("{name}:{}: `{ident}` says {banned}", number + 1));
                }
            }
        }
    }
    complain(&faults);
}

#[test]
fn nothing_unfinished_or_private_is_committed() {
    // Assembled, so that this file does not accuse itself.
    let marks = [
        ["FIX", "ME"].concat(),
        ["TO", "DO"].concat(),
        ["#[ign", "ore"].concat(),
        ["should_", "panic"].concat(),
    ];
    let mut faults = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            for mark in &marks {
                if line.contains(mark.as_str()) {
                    faults.push(format!("{name}:{}: {mark}", number + 1));
                }
            }
        }
    }
    complain(&faults);
}

/// `use crate::module` and `crate::module::` mentions outside comments, by first segment.
fn imports(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (number, line) in without_tests(text).lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("//") {
            continue;
        }
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let segment: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.entry(segment).or_insert(number + 1);
        }
    }
    found
}

/// The module of the node that a source belongs to, if it is one.
fn module_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("runtime/src/")?;
    let end = rest.find(['/', '.'])?;
    Some(&rest[..end])
}

#[test]
fn the_import_graph_is_the_pipeline() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let Some(module) = module_of(&name) else { continue };
        if name.ends_with("/tests.rs") || name.contains("/tests/") {
            // A test may make by hand what another step of the pipeline would hand it.
            continue;
        }
        let Some((_, never)) = NEVER.iter().find(|(from, _)| *from == module) else { continue };
        for (segment, line) in imports(&text) {
            if never.contains(&segment.as_str()) {
                faults.push(format!("{name}:{line}: {module} must not import {segment}"));
            }
        }
    }
    complain(&faults);
}

#[test]
fn every_heavy_dependency_has_one_owner() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let Some(module) = module_of(&name) else { continue };
        for (number, line) in without_tests(&text).lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("//") {
                continue;
            }
            for (dependency, owners) in OWNERS {
                let mentions = line.match_indices(&format!("{dependency}::")).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if mentions && !owners.contains(&module) {
                    faults
                        .push(format!("{name}:{}: {dependency} belongs to {owners:?}", number + 1));
                }
            }
        }
    }
    complain(&faults);
}

#[test]
fn consensus_code_reads_no_clock_no_disk_and_no_network() {
    let banned = [
        "std::fs",
        "std::net",
        "std::time",
        "std::thread",
        "std::env",
        "tokio",
        "hyper",
        "wasmtime",
        "serde_json",
        "getrandom",
        "rand::",
        "SystemTime",
        "Instant",
    ];
    let mut faults = Vec::new();
    let mut seen = 0;
    for (name, text) in sources() {
        if !(name.starts_with("runtime/ledger/src/") || name.starts_with("runtime/meter/src/")) {
            continue;
        }
        if name.ends_with("/tests.rs") || name.contains("/tests/") {
            continue;
        }
        seen += 1;
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for word in banned {
                if line.contains(word) {
                    faults.push(format!("{name}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(seen > 10, "the consensus crates were not found");
    complain(&faults);
}
