//! A node under strain: endless guests beside short calls, thousands of functions, millions of receipts.
//!
//! Owns the modules it is given and the windows of calls. Invariants: the node has one core and the
//! generator the other, as in the load bench; every figure stands beside the same node's own without the
//! strain. Absent: other servers; what is asked here is what a node does to itself.

pub mod fair;
pub mod many;
pub mod scale;

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::load::{Load, Seen, drive};
use crate::node::Node;
use crate::peers::talea::RECEIPT_HEADER;
use crate::requests::Requests;
use crate::server::Usage;

/// One window of short calls.
#[derive(Clone, Debug)]
pub struct Window {
    /// What was seen.
    pub seen: Seen,
    /// Processor time of the node per answer, in microseconds.
    pub cpu_us: f64,
    /// The most memory it had resident so far, in MiB.
    pub peak_mib: f64,
}

impl Window {
    /// Microseconds at or below which a share of the answers came.
    #[must_use]
    pub fn us(&self, share: f64) -> f64 {
        self.seen.latencies.quantile(share) as f64 / 1e3
    }
}

/// One window of calls.
fn drive_window(
    node: &Node,
    requests: &mut dyn Requests,
    connections: usize,
    window: Duration,
) -> anyhow::Result<Window> {
    let server = node.server();
    let load = Load {
        address: server.address(),
        connections,
        warmup: window / 4,
        window,
        proof: Some(RECEIPT_HEADER),
    };
    let (seen, opened, closed) = drive(load, requests, || server.usage())?;
    let (opened, closed): (Usage, Usage) = (opened?, closed?);
    let cpu_us = closed.cpu_since(&opened) * 1e6 / seen.answers.max(1) as f64;
    Ok(Window { seen, cpu_us, peak_mib: closed.peak_kib as f64 / 1024.0 })
}

/// A handler that answers nothing at once. `mark` makes it a function of its own.
fn short(mark: u32) -> anyhow::Result<Vec<u8>> {
    handler("(i32.const 0)", mark)
}

/// A handler that never ends by itself.
fn endless() -> anyhow::Result<Vec<u8>> {
    handler("(loop $on (br $on)) (unreachable)", 0)
}

fn handler(body: &str, mark: u32) -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (global i32 (i32.const {mark}))
             (func (export "talea_handle") (result i32) {body}))"#
    ))?)
}

/// Bytes that the files below a folder take on the disk.
fn disk_bytes(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        // 512-byte blocks, whatever the file system's own are.
        sum += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(sum)
}
