//! What fifty peers take of a node's memory: nodes of the network without ledger or guests, all in this process.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use talea_gossip::{Gossip, Inbox, Options, ask_params, start};
use zeroize::Zeroizing;

use super::node::{Member, until};
use super::{Nodes, Row};

/// As many as a node of a large network has.
const PEERS: u8 = 50;
/// And a few, to compare with: a node that nobody has called keeps what its start took.
const FEW: u8 = 10;
/// How long a stranger may take to be told what network this is.
const ASK_TIME: Duration = Duration::from_secs(5);
/// Time between two looks at the node's memory.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks without a fall of more than a hundredth, and the node has given back what it does not use.
const STEADY_LOOKS: u32 = 5;
/// After so many looks it is taken as it is.
const LOOKS_MAX: u32 = 60;

pub(super) fn rows(nodes: &Nodes) -> anyhow::Result<Vec<Row>> {
    let node = Member::start(nodes, "crowd", &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut peers = runtime.block_on(join(&node, 0..FEW))?;
    let few = resident_with(&node, FEW)?;
    peers.extend(runtime.block_on(join(&node, FEW..PEERS))?);
    let all = resident_with(&node, PEERS)?;
    drop(peers);
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    let each = all.saturating_sub(few) / u64::from(PEERS - FEW);
    Ok(vec![Row::new(
        format!("memory of a node with {PEERS} peers"),
        mib(all),
        format!("{} with {FEW}: {each} KiB for each further one", mib(few)),
    )])
}

/// Memory that is resident, in KiB, when so many peers have joined and it falls no more.
fn resident_with(node: &Member, peers: u8) -> anyhow::Result<u64> {
    until("all have joined", || Ok(node.metric("talea_peers")? >= f64::from(peers)))?;
    steady(node)
}

/// Memory that is resident, in KiB, once it falls no more: an allocator gives back later what a start or a greeting took.
fn steady(node: &Member) -> anyhow::Result<u64> {
    let (mut least, mut since) = (u64::MAX, 0);
    for _ in 0..LOOKS_MAX {
        thread::sleep(LOOK_EVERY);
        let now = node.resident()?;
        if now < least.saturating_sub(least / 100) {
            (least, since) = (now, 0);
        } else {
            since += 1;
        }
        if since == STEADY_LOOKS {
            break;
        }
    }
    node.resident()
}

async fn join(node: &Member, numbers: Range<u8>) -> anyhow::Result<Vec<(Gossip, Inbox)>> {
    let at = vec![node.join.parse()?];
    let secret = |number: u8| Zeroizing::new([0xa0 + number; 32]);
    let (network, params) = ask_params(secret(0), &at, ASK_TIME).await?;
    let mut peers = Vec::new();
    for number in numbers {
        let mut options = Options::new(secret(number), network, params.clone());
        options.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        options.join = at.clone();
        peers.push(start(options)?);
    }
    Ok(peers)
}
