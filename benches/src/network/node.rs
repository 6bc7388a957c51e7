//! One node among several: where others join it, and what is asked of it.

use std::path::Path;
use std::thread;
use std::time::Duration;
use std::{fs, ops};

use anyhow::{Context, bail};

use super::Nodes;
use crate::asking::{ask, get};
use crate::node::{Cores, Node, Order};
use crate::stopwatch::Stopwatch;

/// No answer within this time is the end of the bench.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// A running node that others can join.
#[derive(Debug)]
pub(super) struct Member {
    node: Node,
    /// Where others join it.
    pub(super) join: String,
}

impl ops::Deref for Member {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Member {
    /// Starts a node over a folder of its own below the bench's, which is made if it is not there, and waits until it
    /// is ready.
    pub(super) fn start(nodes: &Nodes, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let mut order = nodes.order(name);
        fs::create_dir_all(&order.folder)?;
        let addresses = order.folder.join("addresses");
        let fixed = ["--peer-listen", "/ip4/127.0.0.1/tcp/0", "--peer-addr-file"];
        order.flags = fixed.into_iter().map(str::to_owned).collect();
        order.flags.push(addresses.display().to_string());
        order.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let node = Node::start(order)?;
        let join = fs::read_to_string(&addresses)?;
        let join = join.lines().next().context("no address for other nodes")?.to_owned();
        until(
            "the node is ready",
            || Ok(ask(node.address(), "GET", "/ready", &[], &[])?.0 == 200),
        )?;
        Ok(Self { node, join })
    }

    /// One value of `/metrics`, summed over its labels.
    pub(super) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = String::from_utf8(get(self.address(), "/metrics")?)?;
        let is_it =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(text.lines().filter(is_it).filter_map(value).sum())
    }

    /// Memory that is resident now, in KiB.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server().pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.context("/proc has an unknown form")?.trim().trim_end_matches("kB").trim();
        Ok(kib.parse()?)
    }
}

impl Nodes {
    /// A node of this name, on all cores.
    pub(super) fn order(&self, name: &str) -> Order {
        let (talea, folder) = (self.talea.clone(), self.folder.join(Path::new(name)));
        Order { talea, folder, cores: Cores::All, flags: Vec::new() }
    }
}

/// Looks again every few milliseconds until something is so.
pub(super) fn until(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let watch = Stopwatch::start();
    while !look()? {
        if watch.elapsed() > ANSWER_TIME_MAX {
            bail!("not within {ANSWER_TIME_MAX:?}: {what}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
