//! Money from the command line, on a real node: a transfer, its block, a balance, a proof that holds without a node;
//! and a process that is killed right after it accepted a transaction.

use std::path::Path;
use std::process::Output;

use crate::node::{ECHO, Node, talea};

fn text(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", text(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(output)))
}

/// A further key of the wallet.
fn key(folder: &Path, name: &str) -> String {
    let made = talea(&folder.join("wallet"))
        .args(["wallet", "new", name, "--output", "json"])
        .output()
        .expect("the binary under test starts");
    json(&made)["key"].as_str().expect("a did:key").to_owned()
}

fn balance(node: &Node, name: &str) -> u64 {
    let shown = json(&node.cli(&["ledger", "balance", name, "--output", "json"]));
    shown["final_balance"].as_str().unwrap().parse().unwrap()
}

#[test]
fn money_moves_in_a_block_and_the_balance_is_proven_without_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let alice = key(folder.path(), "alice");
    let node = Node::start(folder.path(), &[]);
    let funded = json(&node.cli(&["wallet", "fund", "--amount", "1M", "--output", "json"]));
    assert_eq!(funded["balance"], "1000000");

    let sent = json(&node.cli(&["ledger", "transfer", "alice", "5k", "--output", "json"]));
    assert_eq!(sent["status"], "final");
    assert_eq!(balance(&node, "alice"), 5_000);
    // What was sent and the fee are gone.
    let left = json(&node.cli(&["ledger", "balance", "--output", "json"]));
    assert_eq!(left["balance"], "994990");

    // The block, by height and by name, and the transaction in it.
    let height = sent["height"].as_str().unwrap();
    let block = json(&node.cli(&["ledger", "show", height, "--output", "json"]));
    assert_eq!(block["id"], sent["block"]);
    assert_eq!(block["transactions"][0]["detail"]["to"], alice.as_str());
    let shown = node.cli(&["ledger", "show", sent["id"].as_str().unwrap()]);
    assert!(text(&shown).contains("included"), "{}", text(&shown));
    let listed = json(&node.cli(&["ledger", "blocks", "--output", "json"]));
    assert_eq!(listed["blocks"][0]["id"], sent["block"]);
    assert!(node.metric("talea_ledger_final_height").unwrap() >= 2.0);

    // Proofs: of the balance, of the transfer, and that nobody has a name.
    let saved = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let proofs = [
        (alice.as_str(), saved("balance.json")),
        (sent["id"].as_str().unwrap(), saved("transfer.json")),
        ("nobody/nothing", saved("name.json")),
    ];
    for (what, file) in &proofs {
        let proven = node.cli(&["ledger", "prove", what, "--save", file]);
        assert!(proven.status.success(), "{what}: {}", text(&proven));
    }
    let network = node.call("GET", "/network", &[], b"").json()["id"].as_str().unwrap().to_owned();
    assert!(node.terminate().success());

    // The node is gone; the files alone decide.
    let elsewhere = folder.path().join("elsewhere");
    let verify = |file: &str, network: &str| {
        talea(&elsewhere)
            .args(["ledger", "verify", file, "--network", network, "--output", "json"])
            .output()
            .expect("the binary under test starts")
    };
    let verified = json(&verify(&proofs[0].1, &network));
    assert_eq!((&verified["shown"]["balance"], &verified["final"]), (&"5000".into(), &true.into()));
    let verified = json(&verify(&proofs[1].1, &network));
    assert_eq!(
        (&verified["shown"]["action"], &verified["final"]),
        (&"transfer".into(), &true.into())
    );
    assert_eq!(json(&verify(&proofs[2].1, &network))["shown"]["present"], false);
    let foreign = verify(&proofs[0].1, &"00".repeat(32));
    assert_eq!(foreign.status.code(), Some(3), "{}", text(&foreign));
    // A changed byte of the evidence is refused, wherever it is.
    let whole = std::fs::read_to_string(&proofs[0].1).unwrap();
    let at = whole.find("\"evidence\": \"").unwrap() + 13;
    for step in [40, 300, 500] {
        let mut changed = whole.clone().into_bytes();
        changed[at + step] = if changed[at + step] == b'A' { b'B' } else { b'A' };
        let file = saved("changed.json");
        std::fs::write(&file, changed).unwrap();
        let refused = verify(&file, &network);
        assert!(matches!(refused.status.code(), Some(3 | 65)), "{step}: {}", text(&refused));
    }
}

#[test]
fn an_accepted_transaction_survives_a_kill_and_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    key(folder.path(), "bob");
    let mut node = Node::start(folder.path(), &[]);
    let funded = node.cli(&["wallet", "fund", "--amount", "1M"]);
    assert!(funded.status.success(), "{}", text(&funded));
    let mut sent = Vec::new();
    for round in 1..=5_u64 {
        // Accepted, the second as a rule in no block yet; then the process is gone.
        for _ in 0..2 {
            let id = node.cli(&["ledger", "transfer", "bob", "100", "--no-wait"]);
            assert!(id.status.success(), "{}", text(&id));
            let id = String::from_utf8_lossy(&id.stdout).trim().to_owned();
            assert!(!sent.contains(&id), "each transfer is one of its own");
            sent.push(id);
        }
        // Dropping it kills it.
        drop(node);
        node = Node::start(folder.path(), &[]);
        for id in &sent {
            let deadline = crate::monotonic() + std::time::Duration::from_secs(30);
            loop {
                let status = node.call("GET", &format!("/transactions/{id}"), &[], b"");
                assert_eq!(status.status, 200, "{id} vanished: {}", status.text());
                let status = status.json();
                assert_ne!(status["status"], "rejected", "{status}");
                if status["final"] == true {
                    break;
                }
                assert!(crate::monotonic() < deadline, "{id} is not in a block: {status}");
            }
        }
        assert_eq!(balance(&node, "bob"), 200 * round);
    }
    let head = node.call("GET", "/network", &[], b"").json()["final_height"].clone();
    let block = node.call("GET", &format!("/blocks/{}", head.as_str().unwrap()), &[], b"").json();
    let data = folder.path().join("data");
    let rebuild = || {
        talea(&folder.path().join("wallet"))
            .args(["ledger", "rebuild", "--output", "json", "--data"])
            .arg(&data)
            .output()
            .expect("the binary under test starts")
    };
    // Not while a node has the folder.
    assert_eq!(rebuild().status.code(), Some(69));
    assert!(node.terminate().success());
    std::fs::remove_file(data.join("ledger/index.redb")).unwrap();
    let rebuilt = json(&rebuild());
    assert_eq!((&rebuilt["root"], &rebuilt["height"]), (&block["state"], &head));
    let node = Node::start(folder.path(), &[]);
    assert_eq!(balance(&node, "bob"), 1_000);
}

#[test]
fn a_name_is_a_record_of_the_ledger_and_calls_follow_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let echo =
        node.deploy(&wat::parse_str(ECHO).unwrap(), &["--name", "me/echo"]).expect("deploys");
    let record = node.call("GET", "/names/me/echo", &[], b"").json();
    assert_eq!(
        (&record["final"]["function"], &record["version"]),
        (&echo.as_str().into(), &"1".into())
    );
    let answer = node.call("POST", "/f/me/echo/", &[], b"by name");
    assert_eq!((answer.status, answer.text().as_str()), (200, "by name"));
    // Other bytes under the same name: the name moves, and calls with it.
    let silent = r#"(module (func (export "_start")))"#;
    let silent =
        node.deploy(&wat::parse_str(silent).unwrap(), &["--name", "me/echo"]).expect("deploys");
    let record = node.call("GET", "/names/me/echo", &[], b"").json();
    assert_eq!((&record["function"], &record["version"]), (&silent.as_str().into(), &"2".into()));
    let answer = node.call("POST", "/f/me/echo/", &[], b"by name");
    assert_eq!((answer.status, answer.header("talea-function")), (200, Some(silent.as_str())));
    assert_eq!(answer.text(), "");
}

#[test]
fn what_the_ledger_refuses_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    key(folder.path(), "poor");
    let node = Node::start(folder.path(), &[]);
    let refused = node.cli(&["ledger", "transfer", "poor", "1", "--output", "json"]);
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("cannot-pay"), "{}", text(&refused));
    let nonsense = node.call("POST", "/transactions", &[], b"nonsense");
    assert_eq!((nonsense.status, nonsense.code().as_str()), (422, "transaction_refused"));
    assert_eq!(nonsense.json()["error"]["detail"]["reason"], "malformed");
    for (path, status, code) in [
        (format!("/transactions/{}", "00".repeat(32)), 404, "ledger_unknown"),
        ("/transactions/x".to_owned(), 400, "target_invalid"),
        ("/blocks/7".to_owned(), 404, "ledger_unknown"),
        ("/blocks/x".to_owned(), 400, "target_invalid"),
        ("/accounts/x".to_owned(), 400, "target_invalid"),
        (format!("/channels/{}", "00".repeat(32)), 404, "ledger_unknown"),
        (format!("/channels/{}?proof=1", "00".repeat(32)), 409, "not_provable"),
        ("/blocks?order=sideways".to_owned(), 400, "query_invalid"),
    ] {
        let answer = node.call("GET", &path, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
}
