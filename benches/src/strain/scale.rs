//! Cost per call, disk and restart as receipts grow.
//!
//! Owns the filling of the store by real calls. Invariant: the number of receipts is what the generator saw
//! answered, so it is a little below what the node holds.

use std::time::Duration;

use super::{Window, disk_bytes, drive_window, short};
use crate::asking::get;
use crate::node::Node;
use crate::requests::Same;
use crate::stopwatch::Stopwatch;

/// Aim of the budget: the longest a node with ten million receipts takes to start, in seconds.
const RESTART_S: f64 = 2.0;
/// Receipts at the first row.
const FIRST: u64 = 10_000;
/// How long the store is filled between two looks at how full it is.
const FILL: Duration = Duration::from_secs(2);

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections.
    pub connections: usize,
    /// Receipts at the end; a row is made at each power of ten from 10,000 on.
    pub receipts: u64,
    /// Length of a measured window.
    pub window: Duration,
}

struct Row {
    receipts: u64,
    window: Window,
    bytes_each: f64,
    restart_s: f64,
}

/// Measures and gives the section for the page.
pub fn measure(
    mut node: Node,
    plan: Plan,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<String> {
    let path = format!("/f/{}", node.deploy(&short(0)?)?);
    let data = node.order().data();
    let empty = disk_bytes(&data)?;
    let (mut receipts, mut rows) = (0, Vec::new());
    let marks = std::iter::successors(Some(FIRST), |mark| mark.checked_mul(10));
    for mark in marks.take_while(|mark| *mark <= plan.receipts) {
        while receipts < mark {
            receipts += call(&node, &path, plan, FILL)?.seen.answers;
            progress(&format!("{receipts} of {} receipts", plan.receipts));
        }
        let window = call(&node, &path, plan, plan.window)?;
        receipts += window.seen.answers;
        let bytes = disk_bytes(&data)?.saturating_sub(empty);
        let watch = Stopwatch::start();
        node = node.restart()?;
        get(node.address(), &path)?;
        let restart_s = watch.elapsed().as_secs_f64();
        rows.push(Row { receipts, window, bytes_each: bytes as f64 / receipts as f64, restart_s });
    }
    Ok(page(plan, &rows))
}

fn call(node: &Node, path: &str, plan: Plan, window: Duration) -> anyhow::Result<Window> {
    let mut requests = Same::get(node.address(), path);
    drive_window(node, &mut requests, plan.connections, window)
}

fn page(plan: Plan, rows: &[Row]) -> String {
    let mut page = format!(
        "## Scale\n\nFree calls over {} connections fill the store; at each power of ten one window of {:.1} s is \
         measured, then the node is killed and started again, until it has answered a call.\n\n| receipts | answers/s | CPU us per \
         answer | p99 us | peak MiB | bytes on disk per receipt | start to first answer, s |\n|---:|---:|---:|---:|---:|---:|---:|\n",
        plan.connections,
        plan.window.as_secs_f64()
    );
    for row in rows {
        page.push_str(&format!(
            "| {} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} | {:.2} |\n",
            row.receipts,
            row.window.seen.rate(),
            row.window.cpu_us,
            row.window.us(0.99),
            row.window.peak_mib,
            row.bytes_each,
            row.restart_s
        ));
    }
    if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
        page.push_str(&format!(
            "\nProcessor time per call at {} receipts over that at {}: {:.2}. Start with {} receipts: {:.2} s (aim with \
             ten million: {RESTART_S}).\n",
            last.receipts,
            first.receipts,
            last.window.cpu_us / first.window.cpu_us,
            last.receipts,
            last.restart_s
        ));
    }
    page
}
