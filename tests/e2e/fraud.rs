//! A host that cheats: two receipts that one key really signed, found by command, by route and by the wallet, and put
//! on the ledger of a real node.

use std::path::{Path, PathBuf};

use serde_json::Value;
use talea_ledger::batch::{BatchHead, seal_batch};
use talea_ledger::merkle::LeafIndex;
use talea_ledger::transaction::{OpenChannel, ProvenReceipt, ReportFraud};
use talea_ledger::{
    Action, Bundle, ChannelId, Document as _, Nonce, Receipt, SecretKey, Sequence, Slot, Tal,
    Transaction, UnixNanos,
};

use crate::forward::{fund, host_of};
use crate::money::{PRICE, node, number, refused, secret, told, wasm};
use crate::node::Node;
use crate::peers::{first, folders, in_step, ready, until};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A receipt like the one in `bundle` but for a change, as its host signs it.
fn another(bundle: &Bundle, host: &SecretKey, change: impl FnOnce(&mut Receipt)) -> Bundle {
    let mut receipt = Receipt::decode(&bundle.receipt).unwrap();
    receipt.host = host.public();
    change(&mut receipt);
    let head = BatchHead { network: receipt.network, number: 77, at: receipt.at };
    let payload = receipt.encode();
    let sealed = seal_batch(host, head, &[&payload]).unwrap();
    let proof = sealed.proof(LeafIndex::new(0)).unwrap();
    Bundle { proof, receipt: payload.try_into().unwrap(), ..bundle.clone() }
}

fn evidence(first: &Bundle, second: &Bundle) -> Vec<u8> {
    let proven = |bundle: &Bundle| ProvenReceipt {
        proof: bundle.proof.clone(),
        receipt: bundle.receipt.clone(),
    };
    ReportFraud { first: proven(first), second: proven(second) }.encode()
}

fn saved(folder: &Path, name: &str, bundle: &Bundle) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bundle.encode()).unwrap();
    path
}

/// A paid call: what the CLI said, and its receipt in a file.
fn paid(node: &Node, folder: &Path) -> (Value, PathBuf, Bundle) {
    let id = node.deploy(&wasm(), &[]).expect("deploys");
    let said = told(node, &["invoke", &id, "--pay", "--max-fuel", "1M", "--data", "x"]);
    let file = folder.join("honest.talea");
    told(node, &["receipt", "save", said["receipt"].as_str().unwrap(), text(&file)]);
    let bundle = Bundle::decode(&std::fs::read(&file).unwrap()).unwrap();
    (said, file, bundle)
}

/// A command's exit code and what it printed as JSON.
fn said(node: &Node, args: &[&str]) -> (Option<i32>, Value) {
    let output = node.cli(&[args, &["--output", "json"]].concat());
    let view = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{e}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code(), view)
}

#[test]
fn two_receipts_for_one_sequence_end_on_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let first = node(folder.path(), &[]);
    let (call, honest_file, honest) = paid(&first, folder.path());
    let host = secret(&folder.path().join("data/key"));
    let other = another(&honest, &host, |receipt| receipt.at.0 += 1);
    let other_file = saved(folder.path(), "other.talea", &other);
    let files = [text(&honest_file), text(&other_file)];

    // Offline: two receipts, or one twice.
    let (code, view) = said(&first, &["receipt", "fraud", files[0], files[1]]);
    assert_eq!((code, &view["fraud"]), (Some(3), &"sequence".into()), "{view}");
    let (code, view) = said(&first, &["receipt", "fraud", files[0], files[0]]);
    assert_eq!((code, &view["fraud"]), (Some(0), &Value::Null), "{view}");

    // What proves nothing is not taken.
    let accuse = |node: &Node, bytes: &[u8]| node.call("POST", "/fraud", &[], bytes);
    let stranger = SecretKey::from_bytes(&[66; 32]);
    let framed = {
        let mut framed = another(&honest, &stranger, |receipt| receipt.host = host.public());
        framed.receipt = other.receipt.clone();
        framed
    };
    for (bytes, status, code) in [
        (evidence(&honest, &honest), 422, "fraud_unproven"),
        (evidence(&honest, &framed), 401, "signature_invalid"),
        (evidence(&honest, &another(&honest, &stranger, |_| ())), 422, "fraud_unproven"),
        (b"rubbish".to_vec(), 400, "signature_malformed"),
    ] {
        let answer = accuse(&first, &bytes);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
    }
    let listed = |node: &Node| node.call("GET", "/fraud", &[], b"").json()["fraud"].clone();
    assert_eq!(listed(&first), Value::Array(vec![]));

    // Reported: a node does not accuse itself, so the wallet pays.
    let taken = accuse(&first, &evidence(&honest, &other));
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!((&taken.json()["report"], &taken.json()["why"]), (&"no".into(), &"own".into()));
    let (code, view) = said(&first, &["receipt", "fraud", files[0], files[1], "--report"]);
    assert_eq!((code, &view["reported_by"]), (Some(3), &"wallet".into()), "{view}");
    let transaction = view["transaction"].as_str().unwrap();
    let shown = first.call("GET", &format!("/transactions/{transaction}"), &[], b"").json();
    assert_eq!((&shown["status"], &shown["final"]), (&"included".into(), &true.into()), "{shown}");
    let again = accuse(&first, &evidence(&other, &honest));
    assert_eq!((again.status, &again.json()["report"]), (200, &"recorded".into()));
    let (_, view) = said(&first, &["receipt", "fraud", files[0], files[1], "--report"]);
    assert_eq!(
        (&view["reported_by"], view["transaction"].as_str()),
        (&"before".into(), Some(transaction))
    );

    // It is on the disk: a kill loses neither the evidence nor the record.
    drop(first);
    let second = node(folder.path(), &[]);
    let kept = listed(&second);
    assert_eq!(kept.as_array().unwrap().len(), 1, "{kept}");
    assert_eq!(kept[0]["record"]["transaction"], transaction);
    assert_eq!(kept[0]["channel"], call["paid"]["channel"]);
    assert!(kept[0]["evidence"].as_str().unwrap().len() > 1000);
    assert!(second.terminate().success());
}

#[test]
fn a_node_pays_for_the_report_of_another_host_where_it_has_consequences() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &[]);
    let (call, _, honest) = paid(&node, folder.path());
    let thief = SecretKey::from_bytes(&[67; 32]);
    let two = |channel: ChannelId| {
        let receipt = |at: u64| {
            another(&honest, &thief, |receipt| {
                receipt.at = UnixNanos(at);
                receipt.payment.as_mut().unwrap().channel = channel;
            })
        };
        [receipt(1), receipt(2)]
    };
    let outlook = |pair: &[Bundle; 2]| {
        let answer = node.call("POST", "/fraud", &[], &evidence(&pair[0], &pair[1]));
        let view = answer.json();
        (view["report"].as_str().unwrap().to_owned(), view["why"].as_str().map(str::to_owned))
    };
    let nowhere = two(ChannelId::new([5; 32]));
    assert_eq!(outlook(&nowhere), ("no".to_owned(), Some("no-consequence".to_owned())));

    // A channel to the thief, on the ledger.
    let wallet = secret(&folder.path().join("wallet/wallet.key"));
    let account = node.call("GET", &format!("/accounts/{}", wallet.public()), &[], b"").json();
    let open = Transaction {
        action: Action::OpenChannel(OpenChannel {
            host: thief.public(),
            escrow: Tal(10),
            expires: Slot(u64::MAX),
            batch_cap: Tal(0),
            watermark: Tal(0),
        }),
        network: Receipt::decode(&honest.receipt).unwrap().network,
        sender: wallet.public(),
        nonce: Nonce(number(&account["next"])),
        builds_on: None,
    };
    let answer = node.call("POST", "/transactions", &[], &open.seal(&wallet).encode());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let pair = two(ChannelId::opened_by(&open.id()));
    let files =
        [saved(folder.path(), "a.talea", &pair[0]), saved(folder.path(), "b.talea", &pair[1])];

    // The node has no money yet; the transfer comes after the opening, so both are in the chain when it returns.
    let host = Receipt::decode(&honest.receipt).unwrap().host.to_string();
    told(&node, &["wallet", "fund"]);
    told(&node, &["ledger", "transfer", &host, "1000"]);
    let (code, view) =
        said(&node, &["receipt", "fraud", text(&files[0]), text(&files[1]), "--report"]);
    assert_eq!((code, &view["reported_by"]), (Some(3), &"node".into()), "{view}");
    let path = format!("/fraud?host={}", thief.public());
    let kept = node.call("GET", &path, &[], b"").json()["fraud"].clone();
    let ours = kept.as_array().unwrap().iter().find(|it| it["report"] == "recorded").unwrap();
    assert_eq!(
        (ours["record"]["by"].as_str(), &ours["kind"]),
        (Some(host.as_str()), &"sequence".into())
    );
    assert_ne!(ours["channel"], call["paid"]["channel"]);
    assert!(node.terminate().success());
}

#[test]
fn a_wallet_holds_new_receipts_against_those_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &[]);
    let (call, _, honest) = paid(&node, folder.path());
    let clean = told(&node, &["channel", "show"]);
    assert_eq!(clean["contradictions"], Value::Array(vec![]));
    let host = secret(&folder.path().join("data/key"));
    let channel = call["paid"]["channel"].as_str().unwrap();
    let sequence = number(&call["paid"]["sequence"]);
    let receipts = folder.path().join("wallet/runs").join(channel).join("receipts");
    let kept = receipts.join(format!("{sequence:020}.talea"));
    assert_eq!(Bundle::decode(&std::fs::read(&kept).unwrap()).unwrap().receipt, honest.receipt);

    // The host had given another receipt for this sequence, and now lists and repeats the honest one.
    let other = another(&honest, &host, |receipt| receipt.at.0 += 1);
    std::fs::write(&kept, other.encode()).unwrap();
    let cheated = (3, "host_fraud".to_owned());
    let (_, view) = said(&node, &["channel", "show"]);
    let found = &view["contradictions"][0];
    assert_eq!(found["kind"], "sequence", "{view}");
    let files: Vec<&str> =
        found["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    let (code, view) = said(&node, &["receipt", "fraud", files[0], files[1]]);
    assert_eq!((code, &view["fraud"]), (Some(3), &"sequence".into()), "the files prove it: {view}");
    assert_eq!(refused(&node, &["channel", "show"]), cheated);
    let function = call["function"].as_str().unwrap();
    let retry = sequence.to_string();
    assert_eq!(refused(&node, &["invoke", function, "--pay", "--retry", &retry]), cheated);

    // Or a bill of another sequence over the same money.
    std::fs::remove_dir_all(&receipts).unwrap();
    std::fs::create_dir(&receipts).unwrap();
    let twice = another(&honest, &host, |receipt| {
        receipt.payment.as_mut().unwrap().sequence = Sequence(sequence + 7);
    });
    std::fs::write(receipts.join(format!("{:020}.talea", sequence + 7)), twice.encode()).unwrap();
    let (code, view) = said(&node, &["channel", "show"]);
    assert_eq!((code, &view["contradictions"][0]["kind"]), (Some(3), &"owed".into()), "{view}");
    assert!(node.terminate().success());
}

#[test]
fn evidence_reaches_a_node_that_can_pay_for_the_report_wherever_it_is_handed_in() {
    let [fa, fb, fc] = folders();
    let (accused, at) = first(fa.path(), &PRICE);
    let poor = Node::start(fb.path(), &["--join", &at]);
    let rich = Node::start(fc.path(), &["--join", &at]);
    [&poor, &rich].into_iter().for_each(ready);
    fund(&accused, host_of(&rich), 100_000);
    let (_, _, honest) = paid(&accused, fa.path());
    let host = secret(&fa.path().join("data/key"));
    let other = another(&honest, &host, |receipt| receipt.at.0 += 1);
    let bytes = evidence(&honest, &other);
    for node in [&poor, &rich] {
        in_step(&accused, node);
    }
    let taken = poor.call("POST", "/fraud", &[], &bytes);
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!(
        (&taken.json()["report"], &taken.json()["why"]),
        (&"no".into(), &"cannot-pay".into())
    );
    // The one it was handed to has no money, and the accused does not report itself: the third does.
    let by = host_of(&rich).to_string();
    for node in [&rich, &poor, &accused] {
        until("the evidence is there, and on the ledger", || {
            let listed = node.call("GET", "/fraud", &[], b"").json()["fraud"][0].clone();
            (listed["report"] == "recorded" && listed["record"]["by"] == by.as_str()).then_some(())
        });
    }
    // It came to the third as gossip, once, and nobody was blamed for it.
    let shown = rich.call("GET", "/peers", &[], b"").json();
    let scores = shown["peers"].as_array().unwrap().iter().map(|peer| peer["score"].as_f64());
    assert!(scores.flatten().all(|score| score >= 0.0), "{shown}");
}
