//! A peer that lies to real nodes: it speaks the network's protocols properly, and nothing it says is true.
//!
//! What does not need a whole node (garbage, frames of wrong sizes, streams that stall) is tested at the network's own
//! crate. Here the node itself judges: it finds out, holds it against the liar, shows it, and everybody else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use talea_gossip::{
    Gossip, Inbox, Incoming, NotHere, Options, Piece, Topic, Wanted, ask_params, start,
};
use talea_ledger::chain::message::{Message, Status};
use talea_ledger::codec::{Blob, List};
use talea_ledger::finality::{Commit, Phase, Vote};
use talea_ledger::registration::{Kind, Limits};
use talea_ledger::sign::seal_document;
use talea_ledger::transaction::Transfer;
use talea_ledger::{
    Action, Digest, Fuel, FunctionId, Header, Height, NetworkId, Nonce, Offer, Pages, Price,
    ProfileId, PublicKey, Registration, SecretKey, Slot, Tal, Transaction, UnixNanos,
};
use talea_runtime::clock::{Clock as _, SystemClock};
use talea_runtime::ledger::development_key;
use talea_runtime::market::page_key;
use talea_runtime::supply::registration_key;
use zeroize::Zeroizing;

use crate::node::{ECHO, Node};
use crate::peers::{
    Payer, final_balance, first, folders, friend, in_step, network, number, ready, settled, until,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Two honest nodes, and where the first is reached.
struct Pair {
    a: Node,
    b: Node,
    at: String,
    _folders: [tempfile::TempDir; 2],
}

/// A liar that is a peer of the first of them.
struct Liar {
    key: SecretKey,
    gossip: Gossip,
    inbox: Inbox,
    network: NetworkId,
    /// The node it talks to.
    to: PublicKey,
}

fn pair() -> Pair {
    let folders = folders();
    let [fa, fb] = &folders;
    let (a, at) = first(fa.path(), &[]);
    let b = Node::start(fb.path(), &["--join", &at]);
    ready(&b);
    Pair { a, b, at, _folders: folders }
}

/// The words of a test that talks to peers itself.
fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(future);
}

fn peers(node: &Node) -> Value {
    node.call("GET", "/peers", &[], b"").json()
}

// === impl Pair ===

impl Pair {
    async fn liar(&self, seed: u8) -> Liar {
        let secret = Zeroizing::new([seed; 32]);
        let key = SecretKey::from_bytes(&secret);
        let at = self.at.parse().unwrap();
        let told = ask_params(secret.clone(), std::slice::from_ref(&at), PATIENCE).await;
        let (network, params) = told.unwrap();
        let mut options = Options::new(secret, network, params);
        options.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        options.join = vec![at];
        let (gossip, inbox) = start(options).unwrap();
        let info = self.a.call("GET", "/.well-known/talea/info", &[], b"").json();
        let to = info["host"].as_str().unwrap().parse().unwrap();
        let mut liar = Liar { key, gossip, inbox, network, to };
        liar.until(|incoming| matches!(incoming, Incoming::Joined(who) if who == to).then_some(()))
            .await;
        until("the node sees it", || {
            let listed = peers(&self.a)["peers"].clone();
            let name = liar.key.public().to_string();
            listed.as_array()?.iter().any(|peer| peer["host"] == name.as_str()).then_some(())
        });
        liar
    }

    /// Why the first node has cut a peer off.
    fn cut_off(&self, who: PublicKey) -> String {
        let name = who.to_string();
        until("the liar is cut off", || {
            let shown = peers(&self.a);
            let is = |peer: &&Value| peer["host"] == name.as_str();
            assert!(shown["peers"].is_array());
            let refused = shown["refused"].as_array()?.iter().find(is)?.clone();
            Some(refused["reason"].as_str()?.to_owned())
        })
    }

    /// The two go on: a transfer at each is final at both, and calls answer.
    fn go_on(&self, payer: &mut Payer, function: &str) {
        for node in [&self.a, &self.b] {
            let id = payer.pay(node, friend(), 100);
            settled(&self.a, &id);
            settled(&self.b, &id);
            let answer = node.call("POST", &format!("/f/{function}/"), &[], b"still here");
            assert_eq!((answer.status, answer.text().as_str()), (200, "still here"));
        }
        in_step(&self.a, &self.b);
        let name = |node: &Node| {
            let info = node.call("GET", "/.well-known/talea/info", &[], b"").json();
            info["host"].as_str().unwrap().to_owned()
        };
        let b = name(&self.b);
        let shown = peers(&self.a);
        let honest = shown["peers"].as_array().unwrap().iter().find(|peer| peer["host"] == b);
        assert!(honest.is_some_and(|peer| peer["score"].as_f64().unwrap() >= 0.0), "{shown}");
    }
}

// === impl Liar ===

impl Liar {
    async fn until<T>(&mut self, mut wanted: impl FnMut(Incoming) -> Option<T>) -> T {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = wanted(self.inbox.recv().await.expect("the network ended")) {
                    return found;
                }
            }
        });
        found.await.expect("what is awaited did not come")
    }

    /// Where the node says that its ledger stands.
    async fn status(&mut self) -> Status {
        let to = self.to;
        self.until(|incoming| match incoming {
            Incoming::Sent { from, bytes } if from == to => match Message::decode(&bytes) {
                Ok(Message::Status(status)) => Some(status),
                _ => None,
            },
            _ => None,
        })
        .await
    }

    /// Says it to the node alone.
    fn say(&self, message: &Message) {
        self.gossip.send(self.to, message.encode()).unwrap();
    }

    /// A header in the name of an authority.
    fn header(&self, author: PublicKey, status: &Status, number: u64) -> Header {
        Header {
            author,
            body_len: 0,
            network: self.network,
            body: Digest::of(b""),
            slot: Slot(status.slot.0 + 1),
            count: 0,
            state: Digest::of(&number.to_le_bytes()),
            height: Height(status.height.0 + 1),
            parent: status.head,
        }
    }

    /// A vote in the name of an authority.
    fn vote(&self, voter: PublicKey, status: &Status, number: u64) -> Vote {
        Vote {
            voter,
            network: self.network,
            block: Header { author: voter, ..self.header(voter, status, number) }.id(),
            phase: Phase::Precommit,
            round: status.round,
            height: status.height,
        }
    }

    /// A transfer of somebody else's money to itself, in his name.
    fn theft(&self, number: u64) -> Message {
        let transaction = Transaction {
            action: Action::Transfer(Transfer { to: self.key.public(), amount: Tal(1 + number) }),
            network: self.network,
            sender: development_key().public(),
            nonce: Nonce(number),
            builds_on: None,
        };
        let envelope = seal_document(&self.key, &transaction).encode();
        Message::Transaction(Blob::try_from(envelope.as_slice()).unwrap())
    }
}

/// Says one lie after the other until the node has had enough, and gives the reason it shows.
fn until_cut_off(pair: &Pair, liar: &Liar, mut lie: impl FnMut(u64) -> Message) -> String {
    for number in 0..5 {
        liar.say(&lie(number));
    }
    pair.cut_off(liar.key.public())
}

#[test]
fn forged_blocks_votes_commits_and_transactions_are_held_against_their_sender() {
    let pair = pair();
    let function = pair.a.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("deploys");
    let authority: PublicKey = {
        let params = network(&pair.a);
        params["authorities"][0].as_str().unwrap_or_else(|| panic!("{params}")).parse().unwrap()
    };
    let mut payer = Payer::of(&pair.a, development_key());
    // Something is final before, so that there is something to contradict.
    pair.go_on(&mut payer, &function);
    run(async {
        let mut liar = pair.liar(0xb1).await;
        let status = liar.status().await;
        let reason = until_cut_off(&pair, &liar, |number| {
            Message::Announce(seal_document(&liar.key, &liar.header(authority, &status, number)))
        });
        assert!(reason.contains("wrong-signer"), "a block in another's name: {reason}");
        pair.go_on(&mut payer, &function);

        let mut liar = pair.liar(0xb2).await;
        let status = liar.status().await;
        let own = liar.key.public();
        let reason = until_cut_off(&pair, &liar, |number| {
            Message::Announce(seal_document(&liar.key, &liar.header(own, &status, number)))
        });
        assert!(reason.contains("wrong-author"), "a block of no authority: {reason}");

        let mut liar = pair.liar(0xb3).await;
        let status = liar.status().await;
        let reason = until_cut_off(&pair, &liar, |number| {
            Message::Vote(seal_document(&liar.key, &liar.vote(authority, &status, number)))
        });
        assert!(reason.contains("not-authority"), "a vote in another's name: {reason}");

        let mut liar = pair.liar(0xb4).await;
        let status = liar.status().await;
        let reason = until_cut_off(&pair, &liar, |number| {
            let header = liar.header(authority, &status, number);
            Message::Commit(Commit {
                network: liar.network,
                block: header.id(),
                round: status.round,
                votes: List::try_from(vec![]).unwrap(),
                height: header.height,
            })
        });
        assert!(reason.contains("too-few-votes"), "a commit without votes: {reason}");

        // Gossiped lies count too, and go no further than the first node that hears them.
        let liar = pair.liar(0xb5).await;
        for number in 0..5 {
            liar.gossip.publish(Topic::Transaction, liar.theft(number).encode()).unwrap();
        }
        let reason = pair.cut_off(liar.key.public());
        assert!(reason.contains("banned"), "a transfer in another's name: {reason}");
        assert_eq!(final_balance(&pair.b, &liar.key.public()), 0);
        pair.go_on(&mut payer, &function);
    });
    assert_eq!(pair.a.metric("talea_peers_banned_total"), Some(5.0));
}

#[test]
fn replays_change_nothing_and_they_and_floods_of_questions_end_in_bans() {
    let pair = pair();
    let function = pair.a.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("deploys");
    let mut payer = Payer::of(&pair.a, development_key());
    run(async {
        let mut liar = pair.liar(0xc1).await;
        let to = friend();
        let id = payer.pay(&pair.a, to, 1_000);
        // As it came over the wire, and as anybody could keep it.
        let heard = liar
            .until(|incoming| match incoming {
                Incoming::Gossiped { topic: Topic::Transaction, bytes, .. } => Some(bytes),
                _ => None,
            })
            .await;
        settled(&pair.a, &id);
        settled(&pair.b, &id);
        // A few are nobody's fault.
        for _ in 0..10 {
            liar.gossip.send(liar.to, heard.clone()).unwrap();
            let _ = liar.gossip.publish(Topic::Transaction, heard.clone());
        }
        pair.go_on(&mut payer, &function);
        assert_eq!(peers(&pair.a)["refused"], serde_json::json!([]));
        // Nobody asked for so many.
        for _ in 0..200 {
            let _ = liar.gossip.send(liar.to, heard.clone());
        }
        let reason = pair.cut_off(liar.key.public());
        assert!(reason.contains("replayed"), "{reason}");
        pair.go_on(&mut payer, &function);
        for node in [&pair.a, &pair.b] {
            assert_eq!(final_balance(node, &to), 1_400, "a transfer counts once");
        }
        let liar = pair.liar(0xc2).await;
        // One slot's worth of questions is answered; what comes above that is held against who asks.
        let nothing = Message::GetBlocks(List::try_from(vec![]).unwrap()).encode();
        let mut asked = 0_u64;
        let reason = loop {
            // A full queue is the flood's own affair.
            for _ in 0..512 {
                asked += u64::from(liar.gossip.send(liar.to, nothing.clone()).is_ok());
            }
            let refused = peers(&pair.a)["refused"].clone();
            let name = liar.key.public().to_string();
            let mut refused = refused.as_array().unwrap().iter();
            if let Some(cut) = refused.find(|peer| peer["host"] == name.as_str()) {
                break cut["reason"].as_str().unwrap().to_owned();
            }
            assert!(asked < 10_000_000, "nobody minds a flood of {asked} questions");
        };
        assert!(reason.contains("too-many-requests"), "{reason}");
        pair.go_on(&mut payer, &function);
    });
}

/// A registration of a function that its signer says is his.
fn registration(liar: &Liar, function: FunctionId) -> Vec<u8> {
    let registration = Registration {
        at: UnixNanos(1),
        function,
        cgi: false,
        limits: Limits { log: 1024, memory: Pages(16), output: 1024, fuel: Fuel(1_000_000) },
        network: liar.network,
        kind: Kind::Handler,
        name: None,
        owner: liar.key.public(),
        headers: Vec::new().try_into().unwrap(),
    };
    seal_document(&liar.key, &registration).encode()
}

/// Claims to hold these functions, and gives other bytes. Counts how often it was believed.
fn serve_lies(liar: Liar, functions: &[FunctionId]) -> (Gossip, Arc<AtomicU64>) {
    let claims: Vec<(Digest, Vec<u8>)> =
        functions.iter().map(|id| (registration_key(*id), registration(&liar, *id))).collect();
    let lies = Arc::<AtomicU64>::default();
    let (counted, gossip) = (lies.clone(), liar.gossip.clone());
    let mut inbox = liar.inbox;
    tokio::spawn(async move {
        while let Some(incoming) = inbox.recv().await {
            let Incoming::Asked { wanted, reply, .. } = incoming else { continue };
            let bytes = match wanted {
                Wanted::Document(digest) => {
                    claims.iter().find(|(key, _)| *key == digest).map(|(_, claim)| claim.clone())
                }
                Wanted::Function(_) => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    Some(b"\0asm something else altogether".to_vec())
                }
            };
            let piece = bytes.map(|bytes| Piece { total: bytes.len() as u64, bytes });
            // Nobody may wait any more.
            let _ = reply.send(piece.ok_or(NotHere));
        }
    });
    (gossip, lies)
}

/// The echo with so much more memory: another function that answers the same.
fn echoes(count: u8) -> Vec<Vec<u8>> {
    let of = |pages: u8| ECHO.replace(r#""memory") 2)"#, &format!(r#""memory") {})"#, 2 + pages));
    (1..=count).map(|pages| wat::parse_str(of(pages)).unwrap()).collect()
}

#[test]
fn wrong_bytes_for_a_hash_cost_their_sender_and_no_call_that_an_honest_node_can_serve() {
    let pair = pair();
    run(async {
        // Nobody has these but the liar, so it is asked for them, each time.
        let liar = pair.liar(0xd1).await;
        let who = liar.key.public();
        let nobodys: Vec<FunctionId> = (0..6_u8).map(|byte| FunctionId::of(&[byte])).collect();
        let (_gossip, lies) = serve_lies(liar, &nobodys);
        for function in &nobodys[..5] {
            let answer = pair.a.call("POST", &format!("/f/{function}/"), &[], b"x");
            assert_eq!(answer.code(), "function_unreachable", "{}", answer.text());
        }
        assert_eq!(lies.load(Ordering::Relaxed), 5);
        let reason = pair.cut_off(who);
        assert!(reason.contains("wrong-bytes"), "{reason}");
        let answer = pair.a.call("POST", &format!("/f/{}/", nobodys[5]), &[], b"x");
        assert_eq!(answer.code(), "function_unknown", "it is asked nothing any more");

        // These an honest node has too. Whoever answers first, the call is answered with the right bytes.
        let modules = echoes(4);
        let functions: Vec<FunctionId> = modules.iter().map(|wasm| FunctionId::of(wasm)).collect();
        for wasm in &modules {
            pair.b.deploy(wasm, &[]).expect("deploys");
        }
        let mut all = Vec::new();
        for seed in 0xd2..0xd5 {
            all.push(serve_lies(pair.liar(seed).await, &functions));
        }
        for function in &functions {
            let answer = pair.a.call("POST", &format!("/f/{function}/"), &[], b"the truth");
            assert_eq!((answer.status, answer.text().as_str()), (200, "the truth"));
        }
        let lies: u64 = all.iter().map(|(_, lies)| lies.load(Ordering::Relaxed)).sum();
        println!("{lies} lies were believed until the bytes had come");
        assert_eq!(pair.a.metric("talea_functions_brought_total"), Some(4.0));
    });
}

/// What makes a lie of an offer.
type Alteration = fn(&mut Offer);

/// An offer that nothing is wrong with, but for a change, signed by the liar.
fn offer(liar: &Liar, number: u64, change: impl Fn(&mut Offer)) -> Vec<u8> {
    let now = SystemClock::default().now();
    let mut offer = Offer {
        host: liar.key.public(),
        limits: Limits {
            log: 1024,
            memory: Pages(1024),
            output: 1 << 20,
            fuel: Fuel(1_000_000_000),
        },
        network: liar.network,
        price: Price { per_call: Tal(1 + number), rate: 1, per_kib: Tal::ZERO },
        issued: now,
        expires: UnixNanos(now.0 + 600_000_000_000),
        profiles: vec![ProfileId::of(b"some profile")].try_into().unwrap(),
        endpoints: vec!["http://192.0.2.7:7600".try_into().unwrap()].try_into().unwrap(),
    };
    change(&mut offer);
    seal_document(&liar.key, &offer).encode()
}

/// What a node has heard of offers: hosts in its book, and how many it refused for each reason.
fn market(node: &Node) -> (Vec<String>, Value) {
    let view = node.call("GET", "/offers", &[], b"").json();
    let hosts = view["offers"].as_array().unwrap().iter();
    let hosts = hosts.map(|offer| offer["host"].as_str().unwrap().to_owned()).collect();
    (hosts, view["refused"].clone())
}

#[test]
fn forged_offers_and_evidence_are_held_against_their_sender_and_go_no_further() {
    let pair = pair();
    let function = pair.a.deploy(&wat::parse_str(ECHO).unwrap(), &[]).expect("deploys");
    let mut payer = Payer::of(&pair.a, development_key());
    pair.go_on(&mut payer, &function);
    let forged: [(&str, Alteration); 5] = [
        ("offer-forged", |offer| offer.host = friend()),
        ("offer-network", |offer| offer.network = NetworkId::new([9; 32])),
        ("offer-expired", |offer| {
            offer.issued.0 -= 2_000_000_000_000;
            offer.expires.0 -= 2_000_000_000_000;
        }),
        ("offer-void", |offer| offer.profiles = Vec::new().try_into().unwrap()),
        ("offer-void", |offer| offer.expires.0 += 86_400_000_000_000),
    ];
    run(async {
        for (seed, (code, change)) in (0xe1..).zip(forged) {
            let liar = pair.liar(seed).await;
            for number in 0..6 {
                liar.gossip.publish(Topic::Offer, offer(&liar, number, change)).unwrap();
            }
            let reason = pair.cut_off(liar.key.public());
            assert!(reason.contains("banned"), "{code}: {reason}");
            assert!(number(&market(&pair.a).1[code]) >= 1, "{code}: {:?}", market(&pair.a));
        }
        let liar = pair.liar(0xe8).await;
        // Only some are judged at once, and nobody is blamed for the rest.
        for number in 0..200_u8 {
            let _ = liar.gossip.publish(Topic::Fraud, vec![b'?', number]);
        }
        let reason = pair.cut_off(liar.key.public());
        assert!(reason.contains("banned"), "evidence that is none: {reason}");

        // Before the part in which the other node may ask the liar itself.
        let (hosts, refused) = market(&pair.b);
        assert!(!hosts.contains(&friend().to_string()));
        let told = forged.iter().filter(|(code, _)| !refused[code].is_null()).count();
        assert_eq!(told, 0, "the other node was told none of it: {refused}");

        // Whoever joins is asked for all offers; what it answers is judged in the same way.
        let liar = pair.liar(0xe9).await;
        let name = liar.key.public().to_string();
        let (key, bytes) =
            (page_key(&liar.network), offer(&liar, 1, |offer| offer.host = friend()));
        let mut page = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
        page.extend_from_slice(&bytes);
        let Liar { mut inbox, gossip: _gossip, .. } = liar;
        tokio::spawn(async move {
            while let Some(incoming) = inbox.recv().await {
                if let Incoming::Asked { wanted: Wanted::Document(asked), reply, .. } = incoming
                    && asked == key
                {
                    let piece = Piece { total: page.len() as u64, bytes: page.clone() };
                    let _ = reply.send(Ok(piece));
                }
            }
        });
        until("a forged page costs its sender", || {
            let shown = peers(&pair.a)["peers"].clone();
            let peer = shown.as_array()?.iter().find(|peer| peer["host"] == name.as_str())?.clone();
            (peer["score"].as_f64()? < 0.0).then_some(())
        });

        // One that is in order stays, although nobody here could use it.
        let odd = pair.liar(0xea).await;
        odd.gossip.publish(Topic::Offer, offer(&odd, 1, |_| {})).unwrap();
        let name = odd.key.public().to_string();
        for node in [&pair.a, &pair.b] {
            until("an honest offer is heard", || market(node).0.contains(&name).then_some(()));
        }
        pair.go_on(&mut payer, &function);
    });
}
