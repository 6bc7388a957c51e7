//! Thousands of functions, called in turn, with a cache that holds a part of them.
//!
//! Owns their deployment. Absent: large modules; each is its own artefact, and it is their number that is asked about.

use std::time::Duration;

use super::{Window, drive_window, short};
use crate::node::Node;
use crate::requests::{InTurn, Same};
use crate::stopwatch::Stopwatch;

/// Aim of the budget: the time within which 99 of 100 calls are answered, in microseconds, when none waits for another.
const P99_US: f64 = 2_000.0;

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Functions.
    pub functions: u32,
    /// Connections.
    pub connections: usize,
    /// Length of a window.
    pub window: Duration,
}

/// Measures and gives the section for the page. `cache` is what the node was told of its memory for artefacts.
pub fn measure(node: &Node, plan: Plan, cache: &str) -> anyhow::Result<String> {
    let address = node.address();
    let watch = Stopwatch::start();
    let mut paths = Vec::new();
    for mark in 0..plan.functions.max(1) {
        paths.push(format!("/f/{}", node.deploy(&short(mark)?)?));
    }
    let each_ms = watch.elapsed().as_secs_f64() * 1e3 / paths.len() as f64;
    let mut rows = String::new();
    let mut p99 = 0.0;
    for connections in [plan.connections, 1] {
        let one = drive_window(node, &mut Same::get(address, &paths[0]), connections, plan.window)?;
        let all = drive_window(node, &mut InTurn::get(address, &paths), connections, plan.window)?;
        rows.push_str(&row("one of them", connections, &one));
        rows.push_str(&row("all in turn", connections, &all));
        p99 = all.us(0.99);
    }
    Ok(format!(
        "## Many functions\n\n{} small functions of one node whose cache of artefacts in memory is {cache}, windows of \
         {:.1} s. Deploying took {each_ms:.1} ms each.\n\n| called | connections | answers/s | p50 us | p99 us | CPU us per \
         answer | peak MiB |\n|---|---:|---:|---:|---:|---:|---:|\n{rows}\np99 in turn at 1 connection: {p99:.0} us (aim \
         {P99_US:.0}: {}).\n",
        paths.len(),
        plan.window.as_secs_f64(),
        if p99 <= P99_US { "reached" } else { "missed" }
    ))
}

fn row(title: &str, connections: usize, window: &Window) -> String {
    format!(
        "| {title} | {connections} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} |\n",
        window.seen.rate(),
        window.us(0.5),
        window.us(0.99),
        window.cpu_us,
        window.peak_mib
    )
}
