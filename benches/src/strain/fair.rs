//! Short calls beside guests that burn fuel without end.
//!
//! Owns the callers of endless guests. Invariant: as many of them as asked for are under way in the whole window.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{Window, drive_window, endless, short};
use crate::asking::ask;
use crate::node::Node;
use crate::requests::Same;

/// Aim of the budget: the time within which 99 of 100 short calls are answered, in microseconds.
const P99_US: f64 = 5_000.0;
/// Aim of the budget: the share of the throughput that short calls keep.
const KEPT: f64 = 0.5;

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections of short calls.
    pub connections: usize,
    /// Endless guests at a time.
    pub endless: usize,
    /// Length of a window.
    pub window: Duration,
    /// Windows of each kind, in turns.
    pub rounds: usize,
}

/// One round: alone, beside endless guests, and how many calls of those ended meanwhile.
struct Round {
    alone: Window,
    beside: Window,
    ended: u64,
}

/// Measures and gives the section for the page.
pub fn measure(node: &Node, plan: Plan) -> anyhow::Result<String> {
    let path = |wasm: &[u8]| node.deploy(wasm).map(|function| format!("/f/{function}"));
    let (quick, slow) = (path(&short(0)?)?, path(&endless()?)?);
    let address = node.address();
    let window =
        || drive_window(node, &mut Same::get(address, &quick), plan.connections, plan.window);
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let alone = window()?;
        let (beside, ended) = with_endless(address, &slow, plan.endless, window)?;
        rounds.push(Round { alone, beside, ended });
    }
    Ok(page(plan, &rounds))
}

/// Runs `work` while endless guests are called; gives how many of their calls ended as well.
fn with_endless<T>(
    address: SocketAddr,
    path: &str,
    count: usize,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, u64)> {
    let (over, ended) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Its fuel ends, or the node refuses it: both are answers.
                    if ask(address, "GET", path, &[], &[]).is_ok() {
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let done = work();
        let seen = ended.load(Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        Ok((done?, seen))
    })
}

fn page(plan: Plan, rounds: &[Round]) -> String {
    let Plan { connections, endless, .. } = plan;
    let mut page = format!(
        "## Fairness\n\n{connections} connections of short calls, alone and beside {endless} guests that burn fuel \
         without end. Node on one core, generator on the other; {} rounds of {:.1} s each.\n\n| round | short calls | \
         answers/s | p50 us | p99 us | p99.9 us | endless calls ended |\n|---|---|---:|---:|---:|---:|---:|\n",
        plan.rounds,
        plan.window.as_secs_f64()
    );
    for (index, round) in rounds.iter().enumerate() {
        let ended = round.ended.to_string();
        for (title, window, ended) in
            [("alone", &round.alone, ""), ("beside", &round.beside, ended.as_str())]
        {
            page.push_str(&format!(
                "| {} | {title} | {:.0} | {:.0} | {:.0} | {:.0} | {ended} |\n",
                index + 1,
                window.seen.rate(),
                window.us(0.5),
                window.us(0.99),
                window.us(0.999),
            ));
        }
    }
    let p99 = median(rounds, |round| round.beside.us(0.99));
    let kept = median(rounds, |round| round.beside.seen.rate() / round.alone.seen.rate());
    let word = |is_so| if is_so { "reached" } else { "missed" };
    page.push_str(&format!(
        "\np99 beside them: {p99:.0} us (aim {P99_US:.0}: {}). Throughput kept: {kept:.2} (aim {KEPT}: {}).\n",
        word(p99 <= P99_US),
        word(kept >= KEPT)
    ));
    page
}

fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    let mut all: Vec<f64> = rounds.iter().map(figure).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}
