//! What talking costs: gossip per transaction in bytes and processor time, how soon and over how many hops twenty
//! nodes hear one, chain messages and pieces per second between two.
//!
//! Prints its table. All nodes run in this process over loopback. Bytes are counted by a relay between two nodes, so they
//! are what a line carries above TCP: ciphers, streams and gossip's own talk with them. The same relays are lines that
//! take their time, one for each link.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot build its case should stop there"
)]
#![allow(clippy::print_stdout, reason = "the table is the result")]
#![allow(clippy::disallowed_methods, reason = "measuring is reading the clock")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[path = "../tests/net/line.rs"]
mod line;

use talea_gossip::{
    Gossip, Inbox, Incoming, Multiaddr, Options, PIECE_LEN_MAX, Piece, Topic, Verdict, Wanted,
    fetch_checked, start,
};
use talea_ledger::{Digest, NetworkId, PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::line::line;

/// A signed transfer in its message.
const TRANSACTION_LEN: usize = 330;

struct Node {
    key: PublicKey,
    gossip: Gossip,
    inbox: Inbox,
    address: Multiaddr,
}

async fn node(seed: u8, join: &[Multiaddr]) -> Node {
    let secret = Zeroizing::new([seed; 32]);
    let key = SecretKey::from_bytes(&secret).public();
    let mut options = Options::new(secret, NetworkId::DEVELOPMENT, Vec::new());
    options.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    options.join = join.to_vec();
    let (gossip, inbox) = start(options).unwrap();
    let mut addresses = gossip.watch_addresses();
    let address = addresses.wait_for(|all| !all.is_empty()).await.unwrap()[0].clone();
    Node { key, gossip, inbox, address }
}

async fn joined(node: &Node, count: usize) {
    let mut views = node.gossip.watch_peers();
    views.wait_for(|all| all.iter().filter(|v| v.joined).count() >= count).await.unwrap();
}

/// Processor time of this process, in hundredths of a second as the system counts it.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = text.rsplit(')').next().unwrap();
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn transaction(number: u32) -> Vec<u8> {
    let mut bytes = Digest::of(&number.to_le_bytes()).as_bytes().repeat(TRANSACTION_LEN / 32 + 1);
    bytes.truncate(TRANSACTION_LEN);
    bytes
}

/// Takes and accepts gossip until this many messages came.
async fn hear(node: &mut Node, count: u32) {
    let mut heard = 0;
    while heard < count {
        if let Some(Incoming::Gossiped { id, from, .. }) = node.inbox.recv().await {
            node.gossip.verdict(id, from, Verdict::Accept);
            heard += 1;
        }
    }
}

async fn cost_of_a_transaction() {
    const COUNT: u32 = 20_000;
    let mut a = node(1, &[]).await;
    let through = line(&a.address, Duration::ZERO).await;
    let bytes = through.carried;
    let b = node(2, &[through.address]).await;
    joined(&b, 1).await;
    joined(&a, 1).await;
    // The meshes have formed when a first message has come.
    b.gossip.publish(Topic::Transaction, b"first".to_vec()).unwrap();
    hear(&mut a, 1).await;
    let (bytes_before, cpu_before, begun) =
        (bytes.load(Ordering::Relaxed), processor(), Instant::now());
    let gossip = b.gossip.clone();
    let publishing = tokio::spawn(async move {
        for i in 0..COUNT {
            while gossip.publish(Topic::Transaction, transaction(i)).is_err() {
                tokio::task::yield_now().await;
            }
            // As many as the inbox of one peer holds, then a breath: the flood is not what is measured.
            if i % 128 == 0 {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    });
    hear(&mut a, COUNT).await;
    publishing.await.unwrap();
    let wall = begun.elapsed();
    let cpu = processor() - cpu_before;
    let sent = bytes.load(Ordering::Relaxed) - bytes_before;
    println!(
        "gossip of a transaction of {TRANSACTION_LEN} bytes, one hop: {:.0} bytes on the line, {:.1} us of processor (both ends), {COUNT} in {:.1} s",
        sent as f64 / f64::from(COUNT),
        cpu.as_secs_f64() * 1e6 / f64::from(COUNT),
        wall.as_secs_f64(),
    );
}

async fn chain_messages() {
    let a = node(1, &[]).await;
    let mut b = node(2, std::slice::from_ref(&a.address)).await;
    joined(&a, 1).await;
    joined(&b, 1).await;
    // Length, number, and how many are on their way at most: what the peer's queue does not take is lost.
    for (len, count, window) in [(300_usize, 10_000_u64, 200), (1 << 20, 128, 2)] {
        let (gossip, to) = (a.gossip.clone(), b.key);
        let (cpu, begun) = (processor(), Instant::now());
        let sending = tokio::spawn(async move {
            for i in 0..count {
                while i > received() + window {
                    tokio::task::yield_now().await;
                }
                while gossip.send(to, vec![1; len]).is_err() {
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut came = 0;
        while came < count {
            if let Some(Incoming::Sent { .. }) = b.inbox.recv().await {
                came += 1;
                ACKNOWLEDGED.store(came, Ordering::Relaxed);
            }
        }
        sending.await.unwrap();
        ACKNOWLEDGED.store(0, Ordering::Relaxed);
        let (wall, cpu) = (begun.elapsed(), processor() - cpu);
        println!(
            "chain messages of {len} bytes: {:.0} a second, {:.1} MiB/s, {:.1} us of processor each; a peer may send 2000 a second and 32 MiB",
            count as f64 / wall.as_secs_f64(),
            (count as f64 * len as f64) / wall.as_secs_f64() / (1 << 20) as f64,
            cpu.as_secs_f64() * 1e6 / count as f64,
        );
    }
}

/// What the receiver in this process has taken.
static ACKNOWLEDGED: AtomicU64 = AtomicU64::new(0);

fn received() -> u64 {
    ACKNOWLEDGED.load(Ordering::Relaxed)
}

async fn pieces() {
    let mut a = node(1, &[]).await;
    let b = node(2, std::slice::from_ref(&a.address)).await;
    joined(&a, 1).await;
    joined(&b, 1).await;
    let bytes: Arc<Vec<u8>> = Arc::new((0..16_u32 << 20).map(|i| (i % 251) as u8).collect());
    let wanted = Wanted::Document(Digest::of(&bytes));
    let (from, served) = (a.key, bytes.clone());
    let serving = tokio::spawn(async move {
        while let Some(incoming) = a.inbox.recv().await {
            if let Incoming::Asked { offset, len, reply, .. } = incoming {
                let from = offset as usize;
                let to = served.len().min(from + len as usize);
                let _ = reply.send(Ok(Piece {
                    total: served.len() as u64,
                    bytes: served[from..to].to_vec(),
                }));
            }
        }
    });
    let begun = Instant::now();
    let mut held = Vec::new();
    fetch_checked(&b.gossip, from, wanted, 1 << 30, &mut held).await.unwrap();
    println!(
        "fetch of 16 MiB in pieces of {} KiB, hash checked: {:.1} MiB/s",
        PIECE_LEN_MAX / 1024,
        16.0 / begun.elapsed().as_secs_f64()
    );
    serving.abort();
}

/// What each node heard: message, who passed it on, when.
type Heard = (u32, PublicKey, Instant);

/// Twenty nodes, and how they are linked: their steps along the ring of all of them.
struct Links {
    name: &'static str,
    steps: &'static [u8],
    delay: Duration,
}

const NODES: u8 = 20;
/// Between two transactions: seldom enough that what is measured is the way and not the processor, which all share.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether two nodes are linked, by their seeds.
fn linked(links: &Links, one: u8, other: u8) -> bool {
    let apart = one.abs_diff(other);
    links.steps.contains(&apart.min(NODES - apart))
}

/// All of them, each linked with its own and with nobody else.
async fn nodes(links: &Links) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for seed in 1..=NODES {
        let mut join = Vec::new();
        for other in (1..seed).filter(|other| linked(links, seed, *other)) {
            let to = &nodes[usize::from(other) - 1].address;
            join.push(line(to, links.delay).await.address);
        }
        let node = node(seed, &join).await;
        for other in (1..=NODES).filter(|other| *other != seed && !linked(links, seed, *other)) {
            let stranger = SecretKey::from_bytes(&[other; 32]).public();
            // As often as it takes to be banned: else the two would find each other.
            for _ in 0..5 {
                node.gossip.blame(stranger, "not linked");
            }
        }
        nodes.push(node);
    }
    let degree = (1..=NODES).filter(|other| *other != 1 && linked(links, 1, *other)).count();
    for node in &nodes {
        joined(node, degree).await;
    }
    // The meshes of all form within some heartbeats.
    tokio::time::sleep(Duration::from_secs(3)).await;
    nodes
}

async fn latency(links: Links, messages: u32) {
    let nodes = nodes(&links).await;
    let nodes_count = NODES;
    let handles: Vec<(PublicKey, Gossip)> =
        nodes.iter().map(|n| (n.key, n.gossip.clone())).collect();
    let share = messages / u32::from(nodes_count);
    let hearing: Vec<_> = nodes
        .into_iter()
        .map(|mut node| {
            tokio::spawn(async move {
                let mut heard: Vec<Heard> = Vec::new();
                while heard.len() < (messages - share) as usize {
                    if let Some(Incoming::Gossiped { id, from, bytes, .. }) =
                        node.inbox.recv().await
                    {
                        node.gossip.verdict(id, from, Verdict::Accept);
                        let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
                        heard.push((number, from, Instant::now()));
                    }
                }
                (node.key, heard)
            })
        })
        .collect();
    let mut said = HashMap::new();
    for number in 0..messages {
        let (key, gossip) = &handles[number as usize % handles.len()];
        let mut bytes = transaction(number);
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        said.insert(number, (*key, Instant::now()));
        gossip.publish(Topic::Transaction, bytes).unwrap();
        tokio::time::sleep(PAUSE).await;
    }
    let (mut waits, mut parents) = (Vec::new(), HashMap::new());
    for hearing in hearing {
        let (key, heard) = hearing.await.unwrap();
        for (number, from, at) in heard {
            waits.push(at - said[&number].1);
            parents.insert((number, key), from);
        }
    }
    let mut hops = [0_u64; 8];
    for (number, key) in parents.keys() {
        let (mut at, mut count) = (*key, 0);
        while at != said[number].0 && count < 7 {
            at = parents[&(*number, at)];
            count += 1;
        }
        hops[count] += 1;
    }
    waits.sort();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{nodes_count} nodes, {}, {} ms each way, {messages} transactions: heard after p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms; hops 1: {}, 2: {}, 3: {}, more: {}",
        links.name,
        links.delay.as_millis(),
        at(0.5),
        at(0.99),
        at(1.0),
        hops[1],
        hops[2],
        hops[3],
        hops[4..].iter().sum::<u64>(),
    );
}

const ALL: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
/// Six links a node, two of them far: nobody is more than three hops away.
const SIX: &[u8] = &[1, 4, 9];

fn main() {
    // A part of a part's name, or all of them.
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let is_wanted = |name: &str| name.contains(&filter);
    if is_wanted("transaction") {
        runtime().block_on(cost_of_a_transaction());
    }
    if is_wanted("chain") {
        runtime().block_on(chain_messages());
    }
    if is_wanted("pieces") {
        runtime().block_on(pieces());
    }
    if is_wanted("latency") {
        for (name, steps) in [("all linked", ALL), ("six links each", SIX)] {
            for delay in [0, 25, 50] {
                let links = Links { name, steps, delay: Duration::from_millis(delay) };
                runtime().block_on(latency(links, 100));
            }
        }
    }
}
