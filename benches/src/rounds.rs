//! Contenders take turns.
//!
//! Owns the order of measuring and what one turn is: settle, warm up, one window. Invariants: every
//! contender has one window per round and number of connections, so a slow minute of the machine
//! slows all of them; who goes first rotates. Absent: choosing the best window. The median counts.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::cores::{self, GENERATOR, SERVER, TICKS_PER_SECOND};
use crate::disk;
use crate::load::{Load, Seen, drive};
use crate::requests::Requests;
use crate::server::{Server, Usage};

/// Synced writes per round: about 60 ms of them on an ordinary virtual disk.
const DISK_WRITES: usize = 200;
/// Requests made ahead when nothing is known of a contender's rate yet.
const FIRST_PREPARED: usize = 20_000;

/// What an answer of a contender is worth: the columns without which a table of rates is not fair.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Marks {
    /// What separates one request from the next.
    pub isolation: &'static str,
    /// Whether the work is metered, and how.
    pub metering: &'static str,
    /// Whether the answer carries a receipt.
    pub receipt: &'static str,
    /// Whether the answer is durable before it leaves.
    pub durability: &'static str,
}

/// One way of answering, at one server.
pub struct Contender {
    /// Its short name on the command line.
    pub key: &'static str,
    /// Its name in the table.
    pub title: String,
    /// Its version.
    pub version: String,
    /// What its answers are worth.
    pub marks: Marks,
    /// The server; two contenders may share one.
    pub server: Rc<Server>,
    /// What is sent.
    pub requests: Box<dyn Requests>,
    /// A header that proves the answer.
    pub proof: Option<&'static str>,
}

impl std::fmt::Debug for Contender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contender").field("key", &self.key).field("server", &self.server).finish()
    }
}

/// How long and how often.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Numbers of connections.
    pub connections: Vec<usize>,
    /// Windows per contender and number of connections.
    pub rounds: usize,
    /// Length of a window.
    pub window: Duration,
    /// Time before each window.
    pub warmup: Duration,
}

/// One window of one contender.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Answers per second.
    pub rate: f64,
    /// Microseconds at or below which half of the answers came.
    pub p50_us: f64,
    /// The same for 99 of 100.
    pub p99_us: f64,
    /// The same for 999 of 1,000.
    pub p999_us: f64,
    /// Processor time of the server per answer, in microseconds.
    pub cpu_us: f64,
    /// The most memory the server had resident so far, in MiB.
    pub peak_mib: f64,
    /// Share of the server's core that others took.
    pub disturbed: f64,
    /// Share of its own core that the generator, or another there, used: near 1 the generator is
    /// what was measured.
    pub generator_busy: f64,
    /// Answers that were none.
    pub failures: u64,
}

/// All windows of one number of connections: per contender, one sample per round.
#[derive(Clone, Debug)]
pub struct Level {
    /// The number of connections.
    pub connections: usize,
    /// In the order of the contenders.
    pub samples: Vec<Vec<Sample>>,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Per number of connections.
    pub levels: Vec<Level>,
    /// Median of a synced 4 KiB write per round, in microseconds.
    pub disk_us: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    usage: Usage,
    server_core: u64,
    generator_core: u64,
}

/// Measures all contenders by the plan. `folder` lies on the disk whose syncs count.
pub fn measure(
    contenders: &mut [Contender],
    plan: &Plan,
    folder: &Path,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<Measured> {
    let mut measured = Measured { levels: Vec::new(), disk_us: Vec::new() };
    for &connections in &plan.connections {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
        for round in 0..plan.rounds {
            let writes = disk::probe(folder, DISK_WRITES).context("probing the disk")?;
            measured.disk_us.push(writes.quantile(0.5) as f64 / 1e3);
            for turn in 0..contenders.len() {
                let index = (turn + round) % contenders.len();
                let contender = &mut contenders[index];
                let expected = samples[index].last().map_or(FIRST_PREPARED, |last| {
                    let seconds = (plan.warmup + plan.window).as_secs_f64();
                    (last.rate * seconds * 1.3) as usize
                });
                contender.requests.prepare(expected);
                let sample = window(contender, connections, plan)
                    .with_context(|| format!("{} at {connections}", contender.title))?;
                progress(&format!(
                    "{connections:>4} connections, round {}: {:<22} {:>8.0}/s  p50 {:>8.1} us  cpu {:>6.2} us",
                    round + 1,
                    contender.key,
                    sample.rate,
                    sample.p50_us,
                    sample.cpu_us
                ));
                samples[index].push(sample);
            }
        }
        measured.levels.push(Level { connections, samples });
    }
    Ok(measured)
}

fn window(contender: &mut Contender, connections: usize, plan: &Plan) -> anyhow::Result<Sample> {
    let server = Rc::clone(&contender.server);
    server.settle()?;
    let load = Load {
        address: server.address(),
        connections,
        warmup: plan.warmup,
        window: plan.window,
        proof: contender.proof,
    };
    let edge = || -> io::Result<Edge> {
        Ok(Edge {
            usage: server.usage()?,
            server_core: cores::busy_ticks(SERVER)?,
            generator_core: cores::busy_ticks(GENERATOR)?,
        })
    };
    let (seen, opened, closed) = drive(load, contender.requests.as_mut(), edge)?;
    Ok(sample(&seen, &opened?, &closed?))
}

fn sample(seen: &Seen, opened: &Edge, closed: &Edge) -> Sample {
    let micros = |share: f64| seen.latencies.quantile(share) as f64 / 1e3;
    let seconds = seen.elapsed.as_secs_f64();
    let ticks = |from: u64, to: u64| to.saturating_sub(from) as f64 / TICKS_PER_SECOND as f64;
    let cpu = closed.usage.cpu_since(&opened.usage);
    let core = ticks(opened.server_core, closed.server_core);
    Sample {
        rate: seen.rate(),
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        p999_us: micros(0.999),
        cpu_us: cpu * 1e6 / seen.answers.max(1) as f64,
        peak_mib: closed.usage.peak_kib as f64 / 1024.0,
        disturbed: ((core - cpu) / seconds).max(0.0),
        generator_busy: ticks(opened.generator_core, closed.generator_core) / seconds,
        failures: seen.failures,
    }
}
