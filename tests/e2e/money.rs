//! What the tests about money share: a node with a price, commands as JSON, amounts, keys.

use std::path::Path;

use serde_json::Value;
use talea_ledger::SecretKey;

use crate::node::{ECHO, Node};

const PRICE: [&str; 6] = ["--price-per-call", "10", "--price-rate", "100", "--price-per-kib", "1"];

pub fn node(folder: &Path, more: &[&str]) -> Node {
    Node::start(folder, &[&PRICE[..], more].concat())
}

pub fn json_of(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{e}: {} {said}", String::from_utf8_lossy(&output.stdout))
    })
}

/// A command that must succeed, as JSON.
pub fn told(node: &Node, args: &[&str]) -> Value {
    let output = node.cli(&[args, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "talea {}: {said}", args.join(" "));
    json_of(&output)
}

/// The exit code and the stable code of a command that must fail.
pub fn refused(node: &Node, args: &[&str]) -> (i32, String) {
    let output = node.cli(&[args, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "talea {} was let through", args.join(" "));
    let view = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let view = view.or_else(|| serde_json::from_str(&said).ok()).unwrap_or_default();
    let code = view["error"]["code"].as_str().unwrap_or("none").to_owned();
    (output.status.code().unwrap_or(-1), code)
}

pub fn number(view: &Value) -> u64 {
    view.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{view}"))
}

pub fn balance(node: &Node, key: &str) -> u64 {
    number(&node.call("GET", &format!("/accounts/{key}"), &[], b"").json()["balance"])
}

/// Fees that were ever taken.
pub fn fees(node: &Node) -> u64 {
    let network = node.call("GET", "/network", &[], b"").json();
    number(&network["taken"]["fees"])
}

pub fn wasm() -> Vec<u8> {
    wat::parse_str(ECHO).unwrap()
}

/// The key in a file of 64 hex digits.
pub fn secret(path: &Path) -> SecretKey {
    let text = std::fs::read_to_string(path).unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    SecretKey::from_bytes(&std::array::from_fn(byte))
}
