//! Several nodes of one network: real processes over real sockets, one ledger among them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use talea_ledger::transaction::Transfer;
use talea_ledger::{Action, NetworkId, Nonce, PublicKey, SecretKey, Tal, Transaction};

use crate::node::{ECHO, Node, talea};

/// What everybody may take at most: slots are short, but the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until something is so.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    crate::within(PATIENCE, what, look)
}

/// A node that others may join, and where.
pub fn first(folder: &Path, flags: &[&str]) -> (Node, String) {
    let file = folder.join("peer-addresses");
    let listen = ["--peer-listen", "/ip4/127.0.0.1/tcp/0", "--peer-addr-file", text(&file)];
    let node = Node::start(folder, &[&listen[..], flags].concat());
    (node, address(&file))
}

fn address(file: &Path) -> String {
    let lines =
        std::fs::read_to_string(file).expect("written before the node says that it listens");
    lines.lines().next().expect("an address").to_owned()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

pub fn ready(node: &Node) {
    until("the node is ready", || {
        (node.call("GET", "/ready", &[], b"").status == 200).then_some(())
    });
}

pub fn network(node: &Node) -> Value {
    node.call("GET", "/network", &[], b"").json()
}

pub fn number(view: &Value) -> u64 {
    view.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{view}"))
}

pub fn final_balance(node: &Node, key: &PublicKey) -> u64 {
    number(&node.call("GET", &format!("/accounts/{key}"), &[], b"").json()["final"]["balance"])
}

/// A purse and the network it pays in.
pub struct Payer {
    key: SecretKey,
    network: NetworkId,
    nonce: u64,
}

impl Payer {
    pub fn of(node: &Node, key: SecretKey) -> Self {
        let network = network(node)["id"].as_str().unwrap().parse().unwrap();
        Self { key, network, nonce: 0 }
    }

    /// Hands in a transfer, and gives its name.
    pub fn pay(&mut self, node: &Node, to: PublicKey, amount: u64) -> String {
        let transaction = Transaction {
            action: Action::Transfer(Transfer { to, amount: Tal(amount) }),
            network: self.network,
            sender: self.key.public(),
            nonce: Nonce(self.nonce),
            builds_on: None,
        };
        self.nonce += 1;
        let envelope = transaction.seal(&self.key).encode();
        let answer = node.call("POST", "/transactions", &[], &envelope);
        assert_eq!(answer.status, 202, "{}", answer.text());
        transaction.id().to_string()
    }
}

pub fn settled(node: &Node, id: &str) {
    until("a transfer is final", || {
        let answer = node.call("GET", &format!("/transactions/{id}"), &[], b"");
        // A node that has not heard of it yet says 404.
        (answer.status == 200 && answer.json()["final"] == true).then_some(())
    });
}

pub fn in_step(one: &Node, other: &Node) {
    until("two nodes have the same final block", || {
        let (here, there) = (network(one), network(other));
        (here["final_height"] == there["final_height"]).then_some(())
    });
}

pub fn friend() -> PublicKey {
    SecretKey::from_bytes(&[0x77; 32]).public()
}

pub fn folders<const N: usize>() -> [tempfile::TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

#[test]
fn a_transfer_at_one_node_is_final_at_all_and_a_killed_node_comes_back() {
    let [fa, fb, fc] = folders();
    let (a, at) = first(fa.path(), &[]);
    // Nobody told them which network it is.
    let b = Node::start(fb.path(), &["--join", &at]);
    let c = Node::start(fc.path(), &["--join", &at]);
    for node in [&b, &c] {
        ready(node);
        assert_eq!(network(node)["id"], network(&a)["id"]);
    }
    let mut payer = Payer::of(&a, talea_runtime::ledger::development_key());
    for (count, node) in (1..).zip([&b, &a, &c]) {
        let id = payer.pay(node, friend(), 100);
        for node in [&a, &b, &c] {
            settled(node, &id);
            assert_eq!(final_balance(node, &friend()), 100 * count);
        }
    }
    // What people see of it.
    let shown = until("three peers see each other", || {
        let shown = a.call("GET", "/peers", &[], b"").json();
        (shown["peers"].as_array().unwrap().len() == 2).then_some(shown)
    });
    assert_eq!((&shown["in_step"], &shown["refused"]), (&true.into(), &serde_json::json!([])));
    let listed = b.cli(&["peers"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let host = a.call("GET", "/.well-known/talea/info", &[], b"").json()["host"].clone();
    assert!(listed.contains(host.as_str().unwrap()), "{listed}");
    assert_eq!(a.metric("talea_peers"), Some(2.0));
    assert!(a.metric("talea_gossip_accepted_total").unwrap() >= 1.0);

    // Gone without a word; the others go on.
    drop(c);
    let id = payer.pay(&b, friend(), 100);
    for node in [&a, &b] {
        settled(node, &id);
    }
    let c = Node::start(fc.path(), &["--join", &at]);
    ready(&c);
    settled(&c, &id);
    let id = payer.pay(&c, friend(), 100);
    for node in [&a, &b, &c] {
        settled(node, &id);
        assert_eq!(final_balance(node, &friend()), 500);
    }
    for node in [c, b, a] {
        assert!(node.terminate().success());
    }
}

#[test]
fn what_a_host_offers_is_known_everywhere() {
    let [fa, fb, fc] = folders();
    let (a, at) = first(fa.path(), &["--price-per-call", "7"]);
    let (b, bat) = first(fb.path(), &["--join", &at, "--price-per-call", "9"]);
    ready(&b);
    let offers = |node: &Node| node.call("GET", "/offers", &[], b"").json();
    let prices = |node: &Node| {
        let mut prices: Vec<u64> = offers(node)["offers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|offer| number(&offer["price"]["per_call"]))
            .collect();
        prices.sort_unstable();
        prices
    };
    for node in [&a, &b] {
        until("two know two offers", || (prices(node) == [7, 9]).then_some(()));
    }
    // It comes when both have been made, and offers nothing itself.
    let c = Node::start(fc.path(), &["--join", &bat, "--set", "network.offer=false"]);
    until("the third knows both", || (prices(&c) == [7, 9]).then_some(()));
    let shown = offers(&c);
    for offer in shown["offers"].as_array().unwrap() {
        let url = offer["endpoints"][0].as_str().unwrap();
        assert!([a.url(), b.url()].iter().any(|known| known == url), "{offer}");
        let sealed = offer["sealed"].as_str().unwrap();
        let sealed =
            talea_ledger::Sealed::decode(&BASE64_URL_SAFE_NO_PAD.decode(sealed).unwrap()).unwrap();
        let verified = sealed.verify::<talea_ledger::Offer>().unwrap();
        assert_eq!(offer["host"], verified.signer().to_string());
    }
    assert_eq!(shown["refused"].get("offer-forged"), None);
    let listed = c.cli(&["offers"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(&a.url()) && listed.contains(&b.url()), "{listed}");
}

#[test]
fn a_node_of_another_network_is_refused_with_the_reason() {
    let [fa, fb] = folders();
    // Each was a network of its own before they heard of each other.
    let (b, bat) = first(fb.path(), &[]);
    let theirs = network(&b)["id"].as_str().unwrap().to_owned();
    let (a, at) = first(fa.path(), &[]);
    let ours = network(&a)["id"].as_str().unwrap().to_owned();
    assert!(b.terminate().success());
    // Who starts with a folder of one network and means another is told at once.
    let refused = Node::try_start(fb.path(), &["--join", &at]).unwrap_err();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("belongs to the network"), "{said}");
    assert!(said.contains(&ours) && said.contains(&theirs), "{said}");
    let pinned = Node::try_start(fb.path(), &["--network", &ours]).unwrap_err();
    let said = String::from_utf8_lossy(&pinned.stderr).into_owned();
    assert!(said.contains(&ours) && said.contains(&theirs), "{said}");
    assert!(a.terminate().success());
    // It dials one that is not there yet; when that is, the two find out.
    let (a, _) = first(fa.path(), &["--join", &bat]);
    let port = bat.split('/').nth(4).unwrap();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let b = Node::start(fb.path(), &["--peer-listen", &listen]);
    let reason = until("the other network's node is refused", || {
        let shown = a.call("GET", "/peers", &[], b"").json();
        assert_eq!(shown["peers"], serde_json::json!([]));
        Some(shown["refused"][0]["reason"].as_str()?.to_owned())
    });
    assert!(reason.contains(&ours) && reason.contains(&theirs), "{reason}");
    assert_eq!(a.call("GET", "/ready", &[], b"").code(), "not_in_step");
    let listed = a.cli(&["peers"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("refused"));
    drop(b);
}

/// A network of a file, whose slots are short: its parameters and the one authority's key in place.
fn short_slots(folder: &Path, funded: PublicKey) -> PathBuf {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let secret = SecretKey::from_bytes(&[0x55; 32]);
    let key = data.join("key");
    std::fs::write(&key, "55".repeat(32)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).unwrap();
    let params = folder.join("net.params");
    let made = talea(&folder.join("wallet"))
        .args(["ledger", "genesis", text(&params), "--name", "short", "--slot", "50ms"])
        .args(["--authority", &secret.public().to_string()])
        .args(["--fund", &format!("{funded}=1000000")])
        .output()
        .expect("the binary under test starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    params
}

#[test]
fn a_late_node_syncs_hundreds_of_blocks() {
    let [fa, fb] = folders();
    let payer = SecretKey::from_bytes(&[0x66; 32]);
    let params = short_slots(fa.path(), payer.public());
    let setting = format!("network.params={}", text(&params));
    let (a, at) = first(fa.path(), &["--set", &setting]);
    let mut payer = Payer::of(&a, payer);
    let count = 200;
    for _ in 0..count {
        let id = payer.pay(&a, friend(), 10);
        until("the transfer is in a block", || {
            let status = a.call("GET", &format!("/transactions/{id}"), &[], b"").json();
            (status["status"] == "included").then_some(())
        });
    }
    assert!(number(&network(&a)["final_height"]) >= 200);
    let since = crate::monotonic();
    let b = Node::start(fb.path(), &["--join", &at]);
    ready(&b);
    in_step(&b, &a);
    println!("{} blocks after {:?}", number(&network(&b)["height"]), since.elapsed());
    assert_eq!(final_balance(&b, &friend()), 10 * count);
    // From now on the folder knows its network.
    drop(b);
    let b = Node::start(fb.path(), &["--peer-listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(network(&b)["id"], network(&a)["id"]);
    assert_eq!(final_balance(&b, &friend()), 10 * count);
}

#[test]
fn a_function_deployed_at_one_node_is_called_and_paid_at_every_other() {
    const PRICE: [&str; 4] = ["--price-per-call", "10", "--price-rate", "100"];
    let [fa, fb, fc] = folders();
    let (a, at) = first(fa.path(), &[]);
    let (b, bat) = first(fb.path(), &[&["--join", &at][..], &PRICE].concat());
    ready(&b);
    let id = a.deploy(&wat::parse_str(ECHO).unwrap(), &["--name", "me/echo"]).expect("deploys");
    // Nobody has this one.
    let nobodys = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    let nobodys = talea_ledger::FunctionId::of(&nobodys);
    let unknown = b.call("POST", &format!("/f/{nobodys}/"), &[], b"");
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "function_unknown"));
    // Many callers at once: one transfer.
    std::thread::scope(|scope| {
        let call = |word: usize| {
            let (b, id) = (&b, id.as_str());
            move || {
                let word = word.to_string();
                let answer = b.call("POST", &format!("/f/{id}/"), &[], word.as_bytes());
                assert_eq!((answer.status, answer.text()), (200, word));
            }
        };
        let calls: Vec<_> = (0..8).map(|word| scope.spawn(call(word))).collect();
        calls.into_iter().for_each(|call| call.join().unwrap());
    });
    assert_eq!(b.metric("talea_functions_brought_total"), Some(1.0));
    // Who deployed it is gone; who brought it gives it on, and the ledger leads to it by its name.
    drop(a);
    let c = Node::start(fc.path(), &[&["--join", &bat][..], &PRICE].concat());
    ready(&c);
    let answer = c.call("POST", "/f/me/echo/", &[], b"by name");
    assert_eq!((answer.status, answer.text().as_str()), (200, "by name"), "{}", c.stderr());
    assert_eq!(answer.header("talea-function"), Some(id.as_str()));
    // The authority is back, so that a channel can become final.
    let a = Node::start(fa.path(), &["--join", &bat]);
    ready(&a);
    // Paid where the payer has a channel; checked by the third, which never saw the call.
    let told = |args: &[&str]| {
        let output = b.cli(&[args, &["--output", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    told(&["channel", "open", "--escrow", "5M"]);
    let said = told(&["invoke", &id, "--pay", "--max-fuel", "1M", "--data", "paid"]);
    assert_eq!((&said["body"], &said["verified"]), (&"paid".into(), &true.into()));
    assert!(number(&said["bill"]) >= 10, "{said}");
    let receipt = said["receipt"].as_str().unwrap_or_else(|| panic!("{said}"));
    let verify = |wallet: &Path| {
        let output = talea(wallet)
            .args(["receipt", "verify", receipt, "--rerun", "--node", &c.url()])
            .output()
            .expect("the binary under test starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = verify(&fb.path().join("wallet"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("match"), "{said}");
    // The input's body is nobody else's business.
    let (code, said) = verify(&fc.path().join("wallet"));
    assert_eq!(code, Some(4), "{said}");
    // It is not this node's to name or to own.
    let described = c.call("GET", &format!("/functions/{id}"), &[], b"").json();
    assert_eq!(described["id"], id.as_str());
}
