//! What a person and a dApp do, from the command line and over plain HTTP, on one real node.

use std::path::Path;

use crate::node::{ECHO, Node, talea};

/// Counts to ten million, then divides by zero.
const WORK_THEN_TRAP: &str = r#"(module (memory (export "memory") 1)
  (func (export "_start")
    (local $n i32)
    (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 10000000))))
    (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))))"#;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A node that wants to be paid; the command line opens its channel by itself.
fn paid_node(folder: &Path) -> Node {
    let price = ["--price-per-call", "10", "--price-rate", "100", "--price-per-kib", "1"];
    Node::start(folder, &price)
}

fn json_of(output: &std::process::Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "{e}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

#[test]
fn a_call_by_hash_is_answered_with_fuel_bill_and_a_receipt_that_verifies_offline() {
    let folder = tempfile::tempdir().unwrap();
    let node = paid_node(folder.path());
    let id = node.deploy(&wasm(ECHO), &[]).expect("deploys");
    let saved = folder.path().join("call.talea");
    let saved = saved.to_str().unwrap();
    let called = node.cli(&["invoke", &id, "--data", "ping", "--pay", "--save", saved]);
    assert!(called.status.success(), "{}", String::from_utf8_lossy(&called.stderr));
    assert_eq!(String::from_utf8_lossy(&called.stdout), "ping");
    // The node is gone; the file alone decides.
    assert!(node.terminate().success());
    let home = folder.path().join("elsewhere");
    let verified = talea(&home)
        .args(["receipt", "verify", saved, "--rerun", "--output", "json"])
        .output()
        .expect("the binary under test starts");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert!(String::from_utf8_lossy(&verified.stdout).contains("match"));
    // One flipped bit anywhere in the file is refused.
    let bytes = std::fs::read(saved).unwrap();
    for at in [bytes.len() / 4, bytes.len() / 2, bytes.len() - 2] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        let path = folder.path().join("damaged.talea");
        std::fs::write(&path, damaged).unwrap();
        let refused = talea(&home).args(["receipt", "verify"]).arg(&path).output().unwrap();
        assert!(!refused.status.success(), "a bit flipped at {at} went unnoticed");
    }
}

#[test]
fn explain_attributes_fuel_by_function_and_sums_to_the_bill() {
    let folder = tempfile::tempdir().unwrap();
    let node = paid_node(folder.path());
    let id = node.deploy(&wasm(WORK_THEN_TRAP), &[]).expect("deploys");
    let saved = folder.path().join("trap.talea");
    let saved = saved.to_str().unwrap();
    let called = node.cli(&["invoke", &id, "--pay", "--save", saved, "--output", "json"]);
    assert!(!called.status.success(), "a trap is not a success");
    let explained = node.cli(&["receipt", "explain", saved, "--output", "json"]);
    assert!(explained.status.success(), "{}", String::from_utf8_lossy(&explained.stderr));
    let json = json_of(&explained);
    let number = |value: &serde_json::Value| -> u64 {
        value.as_str().map_or_else(|| value.as_u64().unwrap(), |text| text.parse().unwrap())
    };
    let total = number(&json["fuel"]);
    assert!(total > 10_000_000, "ten million steps cost {total}");
    let lines = json["lines"].as_array().expect("lines");
    let sum: u64 = lines.iter().map(|line| number(&line["fuel"])).sum();
    assert_eq!(sum, total, "the lines do not sum to the fuel: {json}");
}

#[test]
fn a_run_sent_again_gives_its_receipt_and_output_and_is_billed_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = paid_node(folder.path());
    let id = node.deploy(&wasm(ECHO), &[]).expect("deploys");
    let call = ["invoke", id.as_str(), "--data", "once", "--pay", "--output", "json"];
    let first = node.cli(&call);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let again =
        node.cli(&["invoke", &id, "--data", "once", "--pay", "--retry", "--output", "json"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let (first, again) = (json_of(&first), json_of(&again));
    assert_eq!(first["receipt"], again["receipt"], "{first} {again}");
    assert_eq!(first["body"], again["body"]);
    let list = node.call("GET", "/receipts", &[], b"").json();
    assert_eq!(list["receipts"].as_array().expect("a list").len(), 1, "{list}");
    // The next run of the channel owes the sum of both.
    let other = json_of(&node.cli(&call));
    assert_ne!(other["receipt"], first["receipt"]);
    let receipt = other["receipt"].as_str().unwrap();
    let view = node.call("GET", &format!("/receipts/{receipt}"), &[], b"").text();
    let bill: u64 = other["bill"]
        .as_str()
        .map_or_else(|| other["bill"].as_u64().unwrap(), |text| text.parse().unwrap());
    assert!(bill > 0, "a paid call costs something");
    assert!(view.contains(&format!("\"owed\":\"{}\"", 2 * bill)), "{view}");
}

#[test]
fn an_unsigned_call_is_free_and_an_unknown_payer_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let id = node.deploy(&wasm(ECHO), &[]).expect("deploys");
    let free = node.call("POST", &format!("/f/{id}/"), &[], b"x");
    assert_eq!((free.status, free.header("talea-bill")), (200, Some("0")), "{:?}", free.headers);
    let credit = ["invoke", id.as_str(), "--data", "x", "--pay", "--on-credit", "--output", "json"];
    let refused = node.cli(&credit);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned()
        + &String::from_utf8_lossy(&refused.stdout);
    assert!(said.contains("402") || said.contains("payer"), "{said}");
    let list = node.call("GET", "/receipts", &[], b"").json();
    assert_eq!(list["receipts"].as_array().expect("a list").len(), 1, "{list}");
}

#[test]
fn bad_configuration_ends_with_64_before_a_port_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talea.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:0\"\nlissten = 3\n").unwrap();
    let output = Node::try_start(folder.path(), &["--config", file.to_str().unwrap()])
        .expect_err("an unknown setting is an error");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("lissten"), "{said}");
}

#[test]
fn the_same_bytes_have_the_same_name_and_are_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let first = node.deploy(&wasm(ECHO), &[]).expect("deploys");
    let second = node.deploy(&wasm(ECHO), &[]).expect("deploys again");
    assert_eq!(first, second);
    let listed = node.call("GET", "/functions", &[], b"").json();
    assert_eq!(listed["functions"].as_array().expect("a list").len(), 1, "{listed}");
    let bytes =
        node.call("GET", &format!("/functions/{first}"), &[("accept", "application/wasm")], b"");
    assert_eq!(bytes.body, wasm(ECHO));
}

#[test]
fn a_tampered_artefact_is_refused_and_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let id = node.deploy(&wasm(ECHO), &[]).expect("deploys");
    assert_eq!(node.call("POST", &format!("/f/{id}/"), &[], b"a").text(), "a");
    assert!(node.terminate().success());
    let mut tampered = 0;
    for path in files_below(&folder.path().join("data/artefacts")) {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        tampered += 1;
    }
    assert!(tampered > 0, "there was no artefact to tamper with");
    let node = Node::start(folder.path(), &[]);
    assert_eq!(node.call("POST", &format!("/f/{id}/"), &[], b"b").text(), "b");
}
