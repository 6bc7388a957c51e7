//! Money on one real node: channels, paid calls at once, vouchers, redeeming, closing, and who is refused.

use std::path::Path;

use serde_json::Value;
use talea_ledger::{ChannelId, SecretKey};

use crate::http::Answer;
use crate::money::{Terms, balance, fees, json_of, node, number, refused, secret, told, wasm};
use crate::node::{Node, talea};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_channel_from_its_opening_to_its_end_conserves_money() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &["--set", "channels.redeem=1000000000"]);
    let id = node.deploy(&wasm(), &[]).expect("deploys");
    let opened = told(&node, &["channel", "open", "--escrow", "5M"]);
    let channel = opened["id"].as_str().unwrap().to_owned();
    assert_eq!(number(&opened["escrow"]), 5_000_000);
    let (payer, host) =
        (opened["payer"].as_str().unwrap().to_owned(), opened["host"].as_str().unwrap().to_owned());
    let (payer_before, host_before) = (balance(&node, &payer), balance(&node, &host));
    let fees_before = fees(&node);

    // Many at once, each a process of its own over one wallet and one channel.
    let bills: Vec<u64> = std::thread::scope(|scope| {
        let call = |word: usize| {
            let (node, id) = (&node, id.as_str());
            move || {
                let word = word.to_string();
                let said =
                    told(node, &["invoke", id, "--pay", "--max-fuel", "1M", "--data", &word]);
                assert_eq!(said["body"], word.as_str());
                assert_eq!(said["verified"], true);
                number(&said["bill"])
            }
        };
        let calls: Vec<_> = (0..6).map(|word| scope.spawn(call(word))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let owed: u64 = bills.iter().sum();
    assert!(bills.iter().all(|bill| *bill >= 10), "{bills:?}");
    told(&node, &["channel", "voucher"]);
    let shown = told(&node, &["channel", "show"]);
    assert_eq!(
        (number(&shown["account"]["owed"]), number(&shown["account"]["vouched"])),
        (owed, owed)
    );
    assert_eq!((shown["id"].as_str(), number(&shown["redeemed"])), (Some(channel.as_str()), 0));

    // The host's owner asks for its money, and the ledger gives it once.
    let key = folder.path().join("data/key");
    let redeemed = told(&node, &["channel", "redeem", &channel, "--key", text(&key)]);
    assert!(redeemed["height"].is_string(), "{redeemed}");
    assert_eq!(number(&told(&node, &["channel", "show"])["redeemed"]), owed);
    let twice = refused(&node, &["channel", "redeem", &channel, "--key", text(&key)]);
    assert_eq!(twice, (1, "nothing_owed".to_owned()));
    assert_eq!(refused(&node, &["channel", "redeem", &channel]), (77, "not_permitted".to_owned()));

    // The payer closes; the host has nothing to wait for and gives the rest back at once.
    let closed = told(&node, &["channel", "close"]);
    assert_eq!((&closed["closed"], number(&closed["paid"])), (&Value::Bool(true), owed));
    assert_eq!(number(&closed["returned"]), 5_000_000 - owed);
    let (payer_after, host_after) = (balance(&node, &payer), balance(&node, &host));
    let taken = fees(&node) - fees_before;
    assert_eq!(payer_before + host_before + 5_000_000, payer_after + host_after + taken);
    // A redeem and an end cost the host its fees; everything else it was paid is there.
    assert!(host_after + taken >= host_before + owed, "{host_before} {host_after} {owed} {taken}");
    assert!(node.terminate().success());
}

#[test]
fn what_is_not_paid_for_is_refused_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &["--set", "free.calls=false"]);
    let id = node.deploy(&wasm(), &[]).expect("deploys");
    let unpaid = node.call("POST", &format!("/f/{id}/"), &[], b"x");
    assert_eq!(unpaid.status, 402, "{}", unpaid.text());
    let body = unpaid.json();
    assert_eq!((&body["x402Version"], &body["accepts"][0]["scheme"]), (&2.into(), &"upto".into()));
    assert!(unpaid.header("payment-required").is_some());

    // A channel that is too small for the cap, named so that nothing tops it up.
    let small = told(&node, &["channel", "open", "--escrow", "1000"]);
    let channel = small["id"].as_str().unwrap();
    let call = ["invoke", id.as_str(), "--pay", "--channel", channel];
    let big = [&call[..], &["--max-fuel", "1G"]].concat();
    assert_eq!(refused(&node, &big), (77, "escrow_low".to_owned()));
    let fitting = [&call[..], &["--max-bill", "900", "--data", "y"]].concat();
    assert_eq!(told(&node, &fitting)["body"], "y");
    assert_eq!(number(&told(&node, &["channel", "show", channel])["account"]["highest"]), 2);
    let nowhere = ChannelId::new([7; 32]).to_string();
    let unknown = ["invoke", id.as_str(), "--pay", "--channel", &nowhere, "--max-bill", "900"];
    assert_eq!(refused(&node, &unknown), (77, "channel_unknown".to_owned()));

    // A session key: not alone, not for another function, not above its sum, and else like the payer.
    let app = folder.path().join("app");
    let shown = talea(&app).args(["wallet", "show", "--output", "json"]).output().unwrap();
    let app_key = json_of(&shown)["key"].as_str().unwrap().to_owned();
    let secret = app.join("wallet.key");
    let grant = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        told(&node, &[&["wallet", "session", &app_key, "--out", text(&file)], more].concat());
        file
    };
    let as_app = |file: &Path| {
        let (file, secret) = (text(file).to_owned(), text(&secret).to_owned());
        let words =
            ["invoke", &id, "--pay", "--channel", channel, "--max-bill", "90", "--data", "z"];
        let words: Vec<String> = words.map(str::to_owned).to_vec();
        [words, vec!["--session".into(), file, "--key".into(), secret]].concat()
    };
    let run = |words: Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let refuse = |file: &Path| {
        let words = run(as_app(file));
        refused(&node, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let other = talea_ledger::FunctionId::of(b"other").to_string();
    assert_eq!(refuse(&grant("scope", &["--function", &other])), (77, "session_scope".to_owned()));
    assert_eq!(refuse(&grant("sum", &["--total", "5"])), (77, "session_spent".to_owned()));
    assert_eq!(refuse(&grant("time", &["--for", "1s"])).0, 77);
    let file = grant("good", &["--total", "500"]);
    let good = run(as_app(&file));
    let said = told(&node, &good.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said["body"], "z");
    // The wallet ends the session: its key is served no more, whatever its sum and its time.
    let ended = told(&node, &["channel", "revoke", text(&file), "--channel", channel]);
    assert!(ended["transaction"].is_string(), "{ended}");
    assert_eq!(refuse(&file), (77, "session_revoked".to_owned()));
    assert!(node.terminate().success());
}

/// Somebody who signs runs on a channel.
struct Caller<'a> {
    node: &'a Node,
    key: SecretKey,
    channel: ChannelId,
    terms: Terms,
}

impl Caller<'_> {
    fn run(&self, sequence: u64, body: &[u8]) -> String {
        self.terms.run(&self.key, self.channel, sequence, body)
    }

    fn send(&self, run: &str, body: &[u8]) -> Answer {
        self.node.call("POST", &self.terms.path(), &[("talea-run", run)], body)
    }

    fn voucher(&self, owed: u64, settled: u64) -> Answer {
        let sealed = self.terms.voucher(&self.key, self.channel, owed, settled);
        self.node.call("POST", "/vouchers", &[], &sealed)
    }
}

#[test]
fn a_kill_between_a_call_and_its_voucher_loses_no_receipt_and_bills_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = node(folder.path(), &[]);
    let function = first.deploy(&wasm(), &[]).expect("deploys");
    let opened = told(&first, &["channel", "open", "--escrow", "1M"]);
    let channel: ChannelId = opened["id"].as_str().unwrap().parse().unwrap();
    let key = || secret(&folder.path().join("wallet/wallet.key"));
    let terms = Terms::of(&first, &function);
    let caller = Caller { node: &first, key: key(), channel, terms: terms.clone() };
    let runs: Vec<String> = (1..=3).map(|sequence| caller.run(sequence, b"once")).collect();
    let answers: Vec<Answer> = runs.iter().map(|run| caller.send(run, b"once")).collect();
    let receipts: Vec<String> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.header("talea-receipt").unwrap().to_owned()
        })
        .collect();
    let bills: u64 =
        answers.iter().map(|it| it.header("talea-bill").unwrap().parse::<u64>().unwrap()).sum();
    // No voucher yet: the process is killed.
    drop(caller);
    drop(first);

    let second = node(folder.path(), &[]);
    let caller = Caller { node: &second, key: key(), channel, terms };
    for (run, receipt) in runs.iter().zip(&receipts) {
        let again = caller.send(run, b"once");
        assert_eq!((again.status, again.header("talea-receipt")), (200, Some(receipt.as_str())));
    }
    let other = caller.run(2, b"other");
    assert_eq!(caller.send(&other, b"other").status, 409, "another run with a used sequence");
    let shown = told(&second, &["channel", "show"]);
    assert_eq!(
        (number(&shown["account"]["owed"]), number(&shown["account"]["vouched"])),
        (bills, 0)
    );
    assert_eq!(caller.voucher(bills + 1, 3).status, 409, "more than was billed");
    assert_eq!(caller.voucher(bills, 2).status, 409, "sequence 3 is counted in it");
    let taken = caller.voucher(bills, 3);
    assert_eq!((taken.status, number(&taken.json()["vouched"])), (200, bills), "{}", taken.text());
    assert_eq!(caller.voucher(bills - 1, 3).status, 409, "it goes backwards");
    assert_eq!(caller.voucher(bills, 3).status, 200, "the same again changes nothing");
    drop(second);

    // A voucher that was answered is there after another kill, and is redeemed when the channel closes.
    let third = node(folder.path(), &[]);
    assert_eq!(number(&told(&third, &["channel", "show"])["account"]["vouched"]), bills);
    let closed = told(&third, &["channel", "close"]);
    assert_eq!(closed["closed"], true, "{closed}");
    assert!(third.terminate().success());
}
