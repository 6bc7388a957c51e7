//! What fifty peers take of a node's memory: nodes of the network without ledger or guests, all in this process.

use std::thread;
use std::time::Duration;

use talea_gossip::{Gossip, Inbox, Options, ask_params, start};
use zeroize::Zeroizing;

use super::node::{Member, until};
use super::{Nodes, Row};

/// As many as a node takes by default.
const PEERS: u8 = 50;
/// After the last has joined: what greets a peer is over.
const REST: Duration = Duration::from_secs(5);

pub(super) fn rows(nodes: &Nodes) -> anyhow::Result<Vec<Row>> {
    let node = Member::start(nodes, "crowd", &[])?;
    thread::sleep(REST);
    let alone = node.resident()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let peers = runtime.block_on(join(&node))?;
    until("all have joined", || Ok(node.metric("talea_peers")? >= f64::from(PEERS)))?;
    thread::sleep(REST);
    let together = node.resident()?;
    drop(peers);
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    let each = together.saturating_sub(alone) / u64::from(PEERS);
    Ok(vec![Row::new(
        format!("memory of a node with {PEERS} peers"),
        mib(together),
        format!("{} alone: {each} KiB for each", mib(alone)),
    )])
}

async fn join(node: &Member) -> anyhow::Result<Vec<(Gossip, Inbox)>> {
    let at = vec![node.join.parse()?];
    let secret = |number: u8| Zeroizing::new([0xa0 + number; 32]);
    let (network, params) = ask_params(secret(0), &at, REST).await?;
    let mut peers = Vec::new();
    for number in 0..PEERS {
        let mut options = Options::new(secret(number), network, params.clone());
        options.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        options.join = at.clone();
        peers.push(start(options)?);
    }
    Ok(peers)
}
