//! Calls that are passed on: a gateway that runs nothing has another host run a paid call, pays it, and answers for it.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use talea_ledger::codec::List;
use talea_ledger::draw::Forward;
use talea_ledger::sign::seal_document;
use talea_ledger::transaction::Transfer;
use talea_ledger::{
    Action, BlockId, Bundle, Document as _, Draw, Nonce, PublicKey, SecretKey, Tal, Transaction,
    Verified,
};

use crate::money::{number, secret, told};
use crate::node::{ECHO, Node, talea};

/// What everybody may take at most: slots are short, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
pub const HOST: [&str; 4] = ["--price-per-call", "10", "--price-rate", "100"];
/// Twice what hosts take: the gateway's own share.
const GATEWAY: [&str; 8] = [
    "--price-per-call",
    "20",
    "--price-rate",
    "200",
    "--set",
    "network.fetch=false",
    "--set",
    "forward.budget=40000000",
];

pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    crate::within(PATIENCE, what, look)
}

fn ready(node: &Node) {
    until("the node is ready", || {
        (node.call("GET", "/ready", &[], b"").status == 200).then_some(())
    });
}

pub fn host_of(node: &Node) -> PublicKey {
    let info = node.call("GET", "/.well-known/talea/info", &[], b"").json();
    info["host"].as_str().unwrap().parse().unwrap()
}

pub fn offers(node: &Node) -> usize {
    node.call("GET", "/offers", &[], b"").json()["offers"].as_array().unwrap().len()
}

fn final_balance(node: &Node, key: &PublicKey) -> u64 {
    number(&node.call("GET", &format!("/accounts/{key}"), &[], b"").json()["final"]["balance"])
}

/// Money of the development network for a key, final when this returns.
pub fn fund(node: &Node, to: PublicKey, amount: u64) {
    let key = talea_runtime::ledger::development_key();
    let network = node.call("GET", "/network", &[], b"").json();
    let account = node.call("GET", &format!("/accounts/{}", key.public()), &[], b"").json();
    let transaction = Transaction {
        action: Action::Transfer(Transfer { to, amount: Tal(amount) }),
        network: network["id"].as_str().unwrap().parse().unwrap(),
        sender: key.public(),
        nonce: Nonce(number(&account["next"])),
        builds_on: None,
    };
    let answer = node.call("POST", "/transactions", &[], &transaction.seal(&key).encode());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let path = format!("/transactions/{}", transaction.id());
    until("the money is there", || {
        let answer = node.call("GET", &path, &[], b"");
        (answer.status == 200 && answer.json()["final"] == true).then_some(())
    });
}

/// Two hosts and a gateway that runs nothing, and a function that both hosts hold.
pub struct Three {
    pub a: Node,
    pub b: Node,
    pub gateway: Node,
    pub function: String,
    /// Where the first of them is reached by other nodes.
    pub at: String,
    /// What the gateway is started with.
    flags: Vec<String>,
}

/// `settings` are the gateway's, beyond those that all of these tests have.
pub fn three(folders: &[tempfile::TempDir; 3], settings: &[&str]) -> Three {
    let [fa, fb, fg] = folders.each_ref().map(tempfile::TempDir::path);
    let file = fa.join("peer-addresses");
    let listen = ["--peer-listen", "/ip4/127.0.0.1/tcp/0", "--peer-addr-file"];
    let a = Node::start(fa, &[&listen[..], &[file.to_str().unwrap()], &HOST].concat());
    let lines = std::fs::read_to_string(&file).unwrap();
    let at = lines.lines().next().unwrap().to_owned();
    let b = Node::start(fb, &[&["--join", &at][..], &HOST].concat());
    ready(&b);
    let function = a.deploy(&wat::parse_str(ECHO).unwrap(), &["--name", "me/echo"]).unwrap();
    let brought = b.call("POST", &format!("/f/{function}/"), &[], b"warm");
    assert_eq!(brought.status, 200, "{}", brought.text());
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let flags: Vec<&str> = ["--join", &at].into_iter().chain(GATEWAY).chain(settings).collect();
    let gateway = Node::start(fg, &flags);
    ready(&gateway);
    fund(&a, host_of(&gateway), 100_000_000);
    until("the gateway knows both hosts", || (offers(&gateway) >= 2).then_some(()));
    let flags = flags.into_iter().map(str::to_owned).collect();
    Three { a, b, gateway, function, at, flags }
}

pub fn folders() -> [tempfile::TempDir; 3] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

pub fn verify(wallet: &Path, what: &str, node: &Node) -> (Option<i32>, String) {
    let output = talea(wallet)
        .args(["receipt", "verify", what, "--node", &node.url()])
        .output()
        .expect("the binary under test starts");
    let code = output.status.code();
    (code, all(&output))
}

pub fn all(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_call_at_a_gateway_that_runs_nothing_is_run_and_billed_by_the_host_that_was_drawn() {
    let folders = folders();
    let Three { a, b, gateway, function, flags, .. } =
        three(&folders, &["forward.when=always", "forward.escrow=10000000"]);
    let free = gateway.call("POST", &format!("/f/{function}/"), &[], b"free");
    assert_eq!((free.status, free.code().as_str()), (402, "payment_required"));
    told(&gateway, &["channel", "open", "--escrow", "5M"]);
    let call = |word: &str| {
        told(&gateway, &["invoke", "me/echo", "--pay", "--max-fuel", "1M", "--data", word])
    };
    let said = call("through");
    assert_eq!((&said["body"], &said["verified"]), (&"through".into(), &true.into()));
    // What a direct call says and costs.
    told(&a, &["channel", "open", "--escrow", "5M"]);
    let direct = told(&a, &["invoke", &function, "--pay", "--max-fuel", "1M", "--data", "through"]);
    assert_eq!((&direct["body"], &direct["fuel"]), (&said["body"], &said["fuel"]));
    assert_eq!(number(&said["bill"]), 2 * number(&direct["bill"]), "{said} {direct}");

    let receipt = said["receipt"].as_str().unwrap();
    let view = gateway.call("GET", &format!("/receipts/{receipt}"), &[], b"").json();
    let inner = view["via"]["receipt"].as_str().unwrap_or_else(|| panic!("{view}"));
    let drawn = [&a, &b]
        .into_iter()
        .find(|node| node.call("GET", &format!("/receipts/{inner}"), &[], b"").status == 200);
    let drawn = drawn.expect("one of both ran it");
    let theirs = drawn.call("GET", &format!("/receipts/{inner}"), &[], b"").json();
    assert_eq!((&theirs["fuel"], &theirs["output"]), (&view["fuel"], &view["output"]));
    assert_eq!(theirs["payment"]["payer"], host_of(&gateway).to_string());
    assert_eq!(theirs["host"], host_of(drawn).to_string());

    // Both receipts hold, for anyone, and the draw is checked.
    let stranger = folders[0].path().join("stranger");
    let (code, said) = verify(&stranger, inner, drawn);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = verify(&stranger, receipt, &gateway);
    assert_eq!(code, Some(0), "{said}");
    let expected = format!("{} ran it, drawn from 2", host_of(drawn));
    assert!(said.contains(&expected) && said.contains("2 of their offers are here"), "{said}");
    assert!(said.contains("s before the run came"), "the age of the draw's block: {said}");

    // The payer has the bodies: the work itself is repeated, with the function from the host that has it.
    let output = gateway.cli(&["receipt", "verify", receipt, "--rerun"]);
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
    assert!(all(&output).contains("match"), "{}", all(&output));

    // The same run again is answered from the receipt, and the host is not asked.
    let (passed, _) = forwards(&gateway);
    let again = told(&gateway, &["invoke", "me/echo", "--pay", "--retry"]);
    assert_eq!(again["receipt"], receipt);
    assert_eq!(forwards(&gateway), (passed, 0));

    altered_papers_are_refused(&folders[0], &gateway, receipt);
    let words = ["one", "two", "three", "four", "five", "six"];
    let bills: u64 = words
        .iter()
        .map(|word| {
            let said = call(word);
            assert_eq!(said["body"], *word);
            number(&said["bill"])
        })
        .sum();
    // Killed and started again: no number is used twice, and what it owes is not forgotten.
    drop(gateway);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let gateway = Node::start(folders[2].path(), &flags);
    ready(&gateway);
    until("the gateway knows both hosts again", || (offers(&gateway) >= 2).then_some(()));
    let before = channels(&gateway);
    for word in words {
        let args = ["invoke", "me/echo", "--pay", "--max-fuel", "1M", "--data", word];
        assert_eq!(told(&gateway, &args)["body"], word);
    }
    assert_eq!(channels(&gateway), before, "no further channel was opened");
    balances_are_as_billed(&gateway, [&a, &b], bills);
}

fn channels(gateway: &Node) -> Vec<String> {
    let view = gateway.call("GET", "/forwards", &[], b"").json();
    let all = view["channels"].as_array().unwrap();
    all.iter().map(|channel| channel["channel"].as_str().unwrap().to_owned()).collect()
}

pub fn forwards(gateway: &Node) -> (u64, u64) {
    let view = gateway.call("GET", "/forwards", &[], b"").json();
    (number(&view["passed"]), number(&view["failed"]))
}

/// The gateway's own key signs a record of another draw: each is refused with its reason.
fn altered_papers_are_refused(folder: &tempfile::TempDir, gateway: &Node, receipt: &str) {
    let file = folder.path().join("call.talea");
    let wallet = folder.path().join("stranger");
    let saved = talea(&wallet)
        .args(["receipt", "save", receipt, file.to_str().unwrap(), "--without-function"])
        .args(["--node", &gateway.url()])
        .output()
        .unwrap();
    assert!(saved.status.success(), "{}", all(&saved));
    let whole = Bundle::decode(&std::fs::read(&file).unwrap()).unwrap();
    let key = secret(&gateway.data().join("key"));
    let check = |reason: &str, change: &dyn Fn(&mut Forward, &mut Draw, &SecretKey)| {
        let mut bundle = whole.clone();
        let via = bundle.forward.as_mut().unwrap();
        let draw: Verified<Draw> = via.draw.verify().unwrap();
        let mut draw = draw.document().clone();
        change(via, &mut draw, &key);
        std::fs::write(&file, bundle.encode()).unwrap();
        let (code, said) = verify(&wallet, file.to_str().unwrap(), gateway);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
    };
    check("the draw is not the one that is named", &|via, draw, key| {
        let fewer: Vec<_> = draw.candidates[..1].to_vec();
        draw.candidates = List::try_from(fewer).unwrap();
        draw.drawn = 0;
        via.draw = seal_document(key, draw);
    });
    check("the draw is not the one that is named", &|via, draw, key| {
        // A block that leads to the same candidate, so that the draw itself is a fair one.
        let fair = (0..u8::MAX).map(|salt| Draw { block: BlockId::of(&[salt]), ..draw.clone() });
        *draw = fair.into_iter().find(|draw| draw.check().is_ok()).unwrap();
        via.draw = seal_document(key, draw);
    });
    check("was taken where", &|via, draw, key| {
        let unfair = (0..u8::MAX).map(|salt| Draw { block: BlockId::of(&[salt]), ..draw.clone() });
        *draw = unfair.into_iter().find(|draw| draw.check().is_err()).unwrap();
        via.draw = seal_document(key, draw);
    });
    check("draw: ", &|via, draw, _| {
        // Signed by somebody else.
        via.draw = seal_document(&SecretKey::from_bytes(&[0x31; 32]), draw);
    });
    check("is not among the candidates", &|via, _, _| {
        let stranger = SecretKey::from_bytes(&[0x32; 32]);
        let offer: Verified<talea_ledger::Offer> = via.offers[0].verify().unwrap();
        let mut offer = offer.document().clone();
        offer.host = stranger.public();
        via.offers = List::try_from(vec![seal_document(&stranger, &offer)]).unwrap();
    });
}

/// What callers owe the gateway and what the gateway owes its hosts is what was billed, and it is redeemed.
fn balances_are_as_billed(gateway: &Node, hosts: [&Node; 2], bills: u64) {
    assert!(bills > 0);
    let shown = until("the hosts have vouchers for all that was counted", || {
        let view = gateway.call("GET", "/forwards", &[], b"").json();
        let channels = view["channels"].as_array()?.clone();
        let is_given = |it: &Value| it["owed"] == it["vouched"] && it["under_way"] == "0";
        (!channels.is_empty() && channels.iter().all(is_given)).then_some(channels)
    });
    for channel in &shown {
        let host = hosts.into_iter().find(|host| channel["host"] == host_of(host).to_string());
        let host = host.expect("one of both hosts");
        let id = channel["channel"].as_str().unwrap();
        let account = host.call("GET", &format!("/vouchers/{id}"), &[], b"").json();
        assert_eq!((&account["owed"], &account["vouched"]), (&channel["owed"], &channel["owed"]));
        let owed = number(&channel["owed"]);
        assert_eq!(number(&channel["escrow"]) + number(&channel["redeemed"]), 10_000_000);
        // A fee is taken from what the host has.
        let key = host_of(host);
        let before = final_balance(host, &key);
        let redeemed = talea(&host.data().join("unused"))
            .args(["channel", "redeem", id, "--node", &host.url(), "--key"])
            .arg(host.data().join("key"))
            .output()
            .unwrap();
        assert!(redeemed.status.success(), "{}", all(&redeemed));
        until("the host has been paid", || {
            let view = gateway.call("GET", "/forwards", &[], b"").json();
            let now = view["channels"].as_array()?.iter().find(|it| it["channel"] == id)?.clone();
            (number(&now["redeemed"]) == owed && final_balance(host, &key) > before).then_some(())
        });
        let fee = before + owed - final_balance(host, &key);
        assert!((1..=100).contains(&fee), "{before} + {owed} and a fee of {fee}");
    }
}

#[test]
fn a_host_that_is_gone_is_named_and_the_next_try_is_run_by_another() {
    let folders = folders();
    let Three { a, b, gateway, function, .. } =
        three(&folders, &["forward.when=missing", "forward.escrow=10000000"]);
    told(&gateway, &["channel", "open", "--escrow", "5M"]);
    let call = || {
        let args = ["invoke", &function, "--pay", "--max-fuel", "1M", "--data", "x"];
        gateway.cli(&[&args[..], &["--output", "json"]].concat())
    };
    // Channels to both are open before one goes.
    until("both hosts were paid", || {
        let said = call();
        assert!(said.status.success(), "{}", all(&said));
        let view = gateway.call("GET", "/forwards", &[], b"").json();
        (view["channels"].as_array()?.len() == 2).then_some(())
    });
    let gone = host_of(&b).to_string();
    drop(b);
    let refused = until("the one that is gone is drawn", || {
        let said = call();
        (!said.status.success()).then(|| all(&said))
    });
    assert!(refused.contains("forward_unreachable"), "{refused}");
    let (_, failed) = forwards(&gateway);
    assert_eq!(failed, 1);
    // The same run again: billed once, by the other.
    let again = told(&gateway, &["invoke", &function, "--pay", "--retry"]);
    assert_eq!(again["body"], "x");
    let view =
        gateway.call("GET", &format!("/receipts/{}", again["receipt"].as_str().unwrap()), &[], b"");
    let inner = view.json()["via"]["receipt"].as_str().unwrap().to_owned();
    let theirs = a.call("GET", &format!("/receipts/{inner}"), &[], b"").json();
    assert_ne!(theirs["host"], gone);
    // What was passed on is not passed on again.
    let run = [("talea-forwarded", "bafyreib")];
    let looped = a.call("POST", &format!("/f/{function}/"), &run, b"free");
    assert_eq!(looped.status, 200, "a host that runs calls runs it");
}
