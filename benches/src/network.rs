//! Several nodes on this machine, as real processes: what a call costs whose function is elsewhere, how fast a newcomer
//! catches up, what fifty peers take of a node's memory.
//!
//! Owns the nodes and the table. Invariants: every figure stands beside what it is measured against, taken in the same
//! run; no part runs longer than some tens of seconds. Absent: what single messages cost, which the bench of the network's
//! own crate measures without nodes, and delays of lines, which are there as well.

mod cold;
mod crowd;
mod node;
mod sync;

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::machine::Machine;

/// Where and with what to measure.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// The release build of `talea`.
    pub talea: PathBuf,
    /// A folder on the disk whose syncs count.
    pub folder: PathBuf,
}

/// One row of the table.
#[derive(Clone, Debug)]
struct Row {
    what: String,
    found: String,
    against: String,
}

impl Row {
    fn new(what: impl Into<String>, found: String, against: impl Into<String>) -> Self {
        Self { what: what.into(), found, against: against.into() }
    }
}

/// Takes all figures and makes their section of the page.
pub fn measure(
    machine: &Machine,
    nodes: &Nodes,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<String> {
    let parts: [(&str, Part); 3] =
        [("cold calls", cold::rows), ("sync", sync::rows), ("fifty peers", crowd::rows)];
    let mut page = format!(
        "## Several nodes\n\n{}\n\n`cargo xtask bench network`: release builds as processes on one machine, over loopback.\n\n\
         | what | found | beside |\n|---|---:|---|\n",
        machine.line()
    );
    for (name, part) in parts {
        progress(name);
        for Row { what, found, against } in part(nodes)? {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "| {what} | {found} | {against} |");
        }
    }
    Ok(page)
}

type Part = fn(&Nodes) -> anyhow::Result<Vec<Row>>;
