//! How fast a newcomer catches up: blocks that another node has made, with and without much in them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use talea_ledger::transaction::Transfer;
use talea_ledger::{Action, NetworkId, Nonce, SecretKey, Tal, Transaction};

use super::node::{Member, until};
use super::{Nodes, Row};
use crate::asking::ask;
use crate::stopwatch::Stopwatch;

/// Who hands in transactions at once.
const SENDERS: u8 = 8;
/// How long blocks are made, one each slot.
const MAKING: Duration = Duration::from_secs(15);
const SLOT_MILLIS: u64 = 50;

pub(super) fn rows(nodes: &Nodes) -> anyhow::Result<Vec<Row>> {
    // Some to make blocks with hardly anything in them, then as many as a node takes.
    Ok(vec![row(nodes, "sync-few", 1)?, row(nodes, "sync-many", SENDERS)?])
}

fn row(nodes: &Nodes, name: &str, senders: u8) -> anyhow::Result<Row> {
    let params = genesis(nodes, name)?;
    let setting = format!("network.params={params}");
    let author = Member::start(nodes, name, &["--set", &setting])?;
    let network: NetworkId = author.json("/network")?["id"]
        .as_str()
        .context("no id of the network")?
        .parse()
        .context("the id of the network")?;
    let sent = make(&author, network, senders)?;
    let height = |node: &Member, of: &str| -> anyhow::Result<u64> {
        Ok(node.json("/network")?[of].as_str().context("no height")?.parse()?)
    };
    until("all is final", || {
        let pending = author.json("/.well-known/talea/info")?["ledger"]["pending"].as_u64();
        Ok(pending == Some(0) && height(&author, "height")? == height(&author, "final_height")?)
    })?;
    let blocks = height(&author, "final_height")?;
    let newcomer = format!("{name}-newcomer");
    let begun = Stopwatch::start();
    let late = Member::start(nodes, &newcomer, &["--join", &author.join])?;
    until("the newcomer has them all", || Ok(height(&late, "final_height")? >= blocks))?;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = late.metric("talea_chain_received_bytes_total")?;
    let mib = bytes / f64::from(1 << 20);
    let made = blocks as f64 * SLOT_MILLIS as f64 / 1000.0;
    Ok(Row::new(
        format!("a newcomer with {blocks} blocks and {sent} transactions, its start included"),
        format!("{:.0} blocks/s, {:.1} MiB/s", blocks as f64 / seconds, mib / seconds),
        format!("{seconds:.2} s for what took {made:.0} s to make, {mib:.1} MiB"),
    ))
}

fn payer(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[0x80 + number; 32])
}

/// A network of this node alone, with short slots and money for those who pay.
fn genesis(nodes: &Nodes, name: &str) -> anyhow::Result<String> {
    let order = nodes.order(name);
    let data = order.data();
    fs::create_dir_all(&data)?;
    let key = data.join("key");
    fs::write(&key, "55".repeat(32))?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let params = order.folder.join("params");
    let mut command = order.command();
    command.args(["ledger", "genesis"]).arg(&params).args(["--name", "bench", "--slot"]);
    command.arg(format!("{SLOT_MILLIS}ms")).arg("--authority");
    command.arg(SecretKey::from_bytes(&[0x55; 32]).public().to_string());
    for number in 0..SENDERS {
        command.arg("--fund").arg(format!("{}=1000000000", payer(number).public()));
    }
    let made = command.output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(params.display().to_string())
}

/// Transfers, one after the other from each sender, for as long as blocks are made. Gives how many there were.
fn make(node: &Member, network: NetworkId, senders: u8) -> anyhow::Result<u64> {
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let send = |number: u8| {
            let (over, sent) = (&over, &sent);
            move || -> anyhow::Result<()> {
                let key = payer(number);
                for nonce in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let to = SecretKey::from_bytes(&[0x77; 32]).public();
                    let transaction = Transaction {
                        action: Action::Transfer(Transfer { to, amount: Tal(1) }),
                        network,
                        sender: key.public(),
                        nonce: Nonce(nonce),
                        builds_on: None,
                    };
                    let envelope = transaction.seal(&key).encode();
                    let (status, body) =
                        ask(node.address(), "POST", "/transactions", &[], &envelope)?;
                    ensure!(status == 202, "{status} {}", String::from_utf8_lossy(&body));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        };
        let senders: Vec<_> = (0..senders).map(|number| scope.spawn(send(number))).collect();
        thread::sleep(MAKING);
        over.store(true, Ordering::Relaxed);
        senders.into_iter().try_for_each(|sender| match sender.join() {
            Ok(ended) => ended,
            Err(_) => anyhow::bail!("a sender ended badly"),
        })
    })?;
    Ok(sent.into_inner())
}
