//! A rolling restart under load: every node of three is stopped and started again while paid calls go on.
//!
//! A client has a channel at two nodes. A call that one node does not answer is made once more at the other; the first
//! node may have carried it out all the same. At the end everything that any node has billed is accounted for: it was
//! answered, or it is found again by sending the same run.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use talea_ledger::{ChannelId, Document as _, Receipt, SecretKey, UnixNanos};
use talea_runtime::clock::{Clock as _, SystemClock};

use crate::http::{self, Answer};
use crate::money::{PRICE, Terms, json_of, number, secret, wasm};
use crate::node::{Node, talea};
use crate::peers::{first, folders, ready, until};

const NODES: usize = 3;
const CLIENTS: usize = 4;
/// Calls that every client makes between two restarts.
const BETWEEN: u64 = 10;
/// Calls on a channel between two vouchers: a quarter of the window of sequences.
const VOUCHED_EVERY: u64 = 256;
/// After a call that a node did not answer, so many go to the other node first.
const SPARED: u64 = 64;

/// Where the nodes are reached now, and how many calls each client has made.
struct Seen {
    addresses: [Mutex<SocketAddr>; NODES],
    made: [AtomicU64; CLIENTS],
    ends: AtomicBool,
}

impl Seen {
    fn address(&self, node: usize) -> SocketAddr {
        *self.addresses[node].lock().unwrap()
    }

    /// Every client makes so many calls, from their beginning on, in the time until this returns.
    fn calls_go_on(&self, count: u64) {
        let now = || self.made.each_ref().map(|made| made.load(Ordering::Relaxed));
        let before = now();
        until("every client's calls go on", || {
            // One more: the first had begun before.
            now().iter().zip(&before).all(|(made, before)| *made > before + count).then_some(())
        });
    }
}

/// A purse with a channel at two of the nodes.
struct Client {
    key: SecretKey,
    terms: Terms,
    ways: [Way; 2],
}

/// One of its two channels, and what has come of it.
struct Way {
    node: usize,
    channel: ChannelId,
    sequence: u64,
    /// Bills by receipt.
    answered: HashMap<String, u64>,
    /// Runs that were sent and not answered, with their bodies.
    unanswered: Vec<(String, Vec<u8>)>,
    /// Calls that are made elsewhere first.
    spared: u64,
}

/// An answer's receipt: its name, when the host recorded it, its bill, and what the channel owes with it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    id: String,
    at: UnixNanos,
    bill: u64,
    owed: u64,
}

/// What has become of runs that were not answered: how many, and their bills.
#[derive(Debug, Default)]
struct Found {
    /// Had been carried out.
    recorded: (u64, u64),
    /// Were carried out when they were sent again.
    late: (u64, u64),
}

fn open(folder: &Path, node: &Node) -> ChannelId {
    let opened = talea(folder)
        .args(["channel", "open", "--escrow", "50M", "--output", "json", "--node", &node.url()])
        .output()
        .expect("the binary under test starts");
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    json_of(&opened)["id"].as_str().unwrap().parse().unwrap()
}

/// The receipt of an answer, or why there is none.
fn receipt(answer: &Answer, body: &[u8]) -> Result<Told, String> {
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.code()));
    }
    assert_eq!(answer.body, body, "the answer to another call");
    let id = answer.header("talea-receipt").expect("a paid call has a receipt").to_owned();
    let payload = answer.header("talea-receipt-payload").expect("it was asked for");
    let receipt = Receipt::decode(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let owed = receipt.payment.expect("a paid call").owed.0;
    Ok(Told { id, at: receipt.at, bill: receipt.bill.0, owed })
}

// === impl Client ===

impl Client {
    /// A purse with channels at the `at`th node and the one after it.
    fn new(at: usize, folder: &Path, nodes: &[Node; NODES], terms: &Terms) -> Self {
        let folder = folder.join(format!("client-{at}"));
        let ways = [at % NODES, (at + 1) % NODES].map(|node| Way {
            node,
            channel: open(&folder, &nodes[node]),
            sequence: 0,
            answered: HashMap::new(),
            unanswered: Vec::new(),
            spared: 0,
        });
        Self { key: secret(&folder.join("wallet.key")), terms: terms.clone(), ways }
    }

    /// Calls once, and once more at the other node if that was not answered.
    fn call(&mut self, seen: &Seen, number: u64) {
        let body = format!("call {number}").into_bytes();
        let mut way = usize::from(number % 2 == 1);
        if self.ways[way].spared > 0 {
            self.ways[way].spared -= 1;
            way = 1 - way;
        }
        let Err(why) = self.attempt(seen, way, &body) else { return };
        if let Err(again) = self.attempt(seen, 1 - way, &body) {
            let at = [self.ways[way].node, self.ways[1 - way].node];
            panic!("a call failed at nodes {at:?}: first {why}, then {again}");
        }
    }

    fn attempt(&mut self, seen: &Seen, way: usize, body: &[u8]) -> Result<(), String> {
        let Way { node, channel, sequence, .. } = self.ways[way];
        let sequence = sequence + 1;
        let run = self.terms.run(&self.key, channel, sequence, body);
        let answer = self.send(seen.address(node), &run, body);
        let way = &mut self.ways[way];
        way.sequence = sequence;
        let told = match answer.and_then(|answer| receipt(&answer, body)) {
            Ok(told) => told,
            Err(why) => {
                way.unanswered.push((run, body.to_vec()));
                way.spared = SPARED;
                return Err(why);
            }
        };
        assert!(way.answered.insert(told.id, told.bill).is_none(), "two runs have one receipt");
        if (way.answered.len() as u64).is_multiple_of(VOUCHED_EVERY) {
            let voucher = self.terms.voucher(&self.key, channel, told.owed, sequence);
            // A node that is going takes none; the next one stands for it.
            let _ = http::call(seen.address(node), "POST", "/vouchers", &[], &voucher);
        }
        Ok(())
    }

    fn send(&self, to: SocketAddr, run: &str, body: &[u8]) -> Result<Answer, String> {
        let headers = [("talea-run", run), ("prefer", "return=receipt")];
        http::call(to, "POST", &self.terms.path(), &headers, body).map_err(|e| e.to_string())
    }

    /// Sends what was not answered again, twice: whatever has become of it, it has one receipt at most.
    fn settle(&mut self, nodes: &[Node; NODES], found: &mut Found) {
        let now = SystemClock::default().now();
        for at in 0..2 {
            let node = &nodes[self.ways[at].node];
            for (run, body) in std::mem::take(&mut self.ways[at].unanswered) {
                let [first, again] = [(); 2].map(|()| {
                    receipt(&self.send(node.addr, &run, &body).expect("the node is back"), &body)
                });
                assert_eq!(first, again, "one run, one answer");
                // Its sequence may have been passed over meanwhile: then it is refused for good, and billed never.
                let Ok(told) = first else { continue };
                let count = if told.at < now { &mut found.recorded } else { &mut found.late };
                *count = (count.0 + 1, count.1 + told.bill);
                assert!(self.ways[at].answered.insert(told.id, told.bill).is_none());
            }
        }
    }
}

/// What the hosts say they are owed, after comparing it with what the clients know channel by channel.
fn billed(clients: &[Client], nodes: &[Node; NODES]) -> u64 {
    let ways = clients.iter().flat_map(|client| &client.ways);
    ways.map(|way| {
        let path = format!("/vouchers/{}", way.channel);
        let account = nodes[way.node].call("GET", &path, &[], b"").json();
        let known: u64 = way.answered.values().sum();
        assert_eq!(number(&account["owed"]), known, "node {}: {account}", way.node);
        known
    })
    .sum()
}

#[test]
fn a_rolling_restart_loses_no_call_that_is_made_once_more_elsewhere() {
    let folders: [tempfile::TempDir; NODES] = folders();
    let begin = |at: usize, join: &[String]| {
        let join = join.join(",");
        let join = if join.is_empty() { vec![] } else { vec!["--join", join.as_str()] };
        // A redeem would cost a host fees that it does not have.
        let flags = [&PRICE[..], &["--set", "channels.redeem=1000000000"], &join].concat();
        first(folders[at].path(), &flags)
    };
    let (a, at_a) = begin(0, &[]);
    let (b, at_b) = begin(1, std::slice::from_ref(&at_a));
    let (c, at_c) = begin(2, &[at_a.clone(), at_b.clone()]);
    let (nodes, mut joins) = ([a, b, c], [at_a, at_b, at_c]);
    nodes.iter().for_each(ready);
    let function = nodes[0].deploy(&wasm(), &[]).expect("deploys");
    let terms = Terms::of(&nodes[0], &function);
    let purses = tempfile::tempdir().unwrap();
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|at| Client::new(at, purses.path(), &nodes, &terms)).collect();
    let seen = Seen {
        addresses: nodes.each_ref().map(|node| Mutex::new(node.addr)),
        made: Default::default(),
        ends: AtomicBool::new(false),
    };
    let mut nodes = nodes.map(Some);
    std::thread::scope(|scope| {
        for (client, made) in clients.iter_mut().zip(&seen.made) {
            let seen = &seen;
            scope.spawn(move || {
                while !seen.ends.load(Ordering::Relaxed) {
                    client.call(seen, made.load(Ordering::Relaxed));
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Whatever goes wrong here, the clients end.
        let _ends = Ends(&seen.ends);
        seen.calls_go_on(BETWEEN);
        for (at, is_killed) in [(0, false), (1, false), (2, false), (1, true)] {
            let others: Vec<String> =
                (0..NODES).filter(|other| *other != at).map(|other| joins[other].clone()).collect();
            let node = nodes[at].take().expect("it runs");
            match is_killed {
                true => drop(node),
                false => assert!(node.terminate().success(), "a node that is told to end does"),
            }
            // Calls go on without it.
            seen.calls_go_on(BETWEEN);
            let (node, join) = begin(at, &others);
            ready(&node);
            *seen.addresses[at].lock().unwrap() = node.addr;
            (nodes[at], joins[at]) = (Some(node), join);
            seen.calls_go_on(BETWEEN);
        }
    });
    let nodes = nodes.map(|node| node.expect("it runs"));
    let made: u64 = seen.made.iter().map(|made| made.load(Ordering::Relaxed)).sum();
    let ways = || clients.iter().flat_map(|client| &client.ways);
    let answered: usize = ways().map(|way| way.answered.len()).sum();
    let failed: usize = ways().map(|way| way.unanswered.len()).sum();
    let paid: u64 = ways().flat_map(|way| way.answered.values()).sum();
    assert_eq!(answered as u64, made, "every call was answered, once");
    assert!(failed > 0, "nobody noticed that nodes were gone");
    let mut found = Found::default();
    clients.iter_mut().for_each(|client| client.settle(&nodes, &mut found));
    let billed = billed(&clients, &nodes);
    let Found { recorded, late } = found;
    println!("{answered} calls answered for {paid} tal; {failed} first tries failed");
    println!("of those, {} had been carried out unseen for {} tal", recorded.0, recorded.1);
    println!("and {} were when they were sent again, for {} tal", late.0, late.1);
    println!("billed by the three hosts: {billed} tal");
    assert_eq!(billed, paid + recorded.1 + late.1);
    nodes.into_iter().for_each(|node| assert!(node.terminate().success()));
}

/// Tells the clients to end, also when the test fails before.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
