//! Group commit through the real journal, on the real disk.
//!
//! Owns receipts per second, latency and processor time by how many callers wait at once, beside the
//! cost of one synced write. Absent: HTTP and guests; every caller records the same finished run.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use talea_ledger::{Document as _, Fuel, FunctionId, NetworkId, Outcome, Pages};
use talea_runtime::chain::{Chain, ChainOptions, Finished, Mailbox};
use talea_runtime::clock::SystemClock;
use talea_runtime::executor::Execution;
use talea_runtime::notary::Notary;
use talea_runtime::store::{NodeFolder, Retention, SEGMENT_LEN};
use tokio::task::LocalSet;

use super::documents::{host, input, output, profile_id, run};
use super::guests::runtime;
use super::{Figure, Site};
use crate::cores::TICKS_PER_SECOND;
use crate::disk;
use crate::histogram::Histogram;
use crate::stopwatch::Stopwatch;

/// Callers at once: as many as the load bench has connections.
const CALLERS: [usize; 3] = [1, 32, 256];
/// Synced writes beside each figure.
const WRITES: usize = 500;

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let effort = site.effort;
    let folder = site.folder.join("commit");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let runtime = runtime()?;
    let mut figures = Vec::new();
    {
        let chain = open(&folder.join("data"))?;
        let window = effort.slice * u32::try_from(effort.rounds).context("rounds")?;
        for callers in CALLERS {
            let floor = disk::probe(&folder, WRITES)?;
            let local = LocalSet::new();
            let load = local.run_until(load(chain.mailbox(), callers, window));
            let seen = runtime.block_on(load)?;
            figures.extend(seen.figures(callers, &floor));
        }
        runtime.block_on(chain.close())?;
    }
    fs::remove_dir_all(&folder)?;
    Ok(figures)
}

fn open(path: &Path) -> anyhow::Result<Chain> {
    let folder = NodeFolder::open(path)?;
    let options = ChainOptions {
        disk: folder.disk(),
        segment_len: SEGMENT_LEN,
        retention: Retention {
            bytes: 1 << 30,
            age: None,
            dispute_window: std::time::Duration::ZERO,
            unpaid: std::time::Duration::ZERO,
        },
        notary: Notary::new(host(), NetworkId::DEVELOPMENT),
        clock: Arc::new(SystemClock::default()),
    };
    Ok(Chain::open(options)?)
}

struct Seen {
    receipts: u64,
    seconds: f64,
    cpu_seconds: f64,
    latencies: Histogram,
}

impl Seen {
    fn figures(&self, callers: usize, floor: &Histogram) -> Vec<Figure> {
        let receipts = self.receipts.max(1) as f64;
        let sync = floor.quantile(0.5) as f64;
        let figure = |name: String, value: f64, unit| Figure {
            part: "commit",
            name,
            value,
            unit,
            best: value,
            ratio: None,
            aim: None,
        };
        let p50 = self.latencies.quantile(0.5) as f64;
        let mut waited = figure(format!("{callers} callers, p50"), p50, "ns");
        waited.ratio = Some(super::Ratio {
            against: format!("a synced write ({:.0} us)", sync / 1e3),
            value: p50 / sync,
        });
        vec![
            figure(
                format!("{callers} callers, receipts per second"),
                receipts / self.seconds,
                "/s",
            ),
            figure(
                format!("{callers} callers, processor time per receipt"),
                self.cpu_seconds * 1e9 / receipts,
                "ns",
            ),
            waited,
        ]
    }
}

/// Lets `callers` record one run after the other for the length of the window.
async fn load(
    mailbox: Mailbox,
    callers: usize,
    window: std::time::Duration,
) -> anyhow::Result<Seen> {
    let finished = finished();
    let latencies = Rc::new(RefCell::new(Histogram::default()));
    let before = cpu_seconds()?;
    let watch = Stopwatch::start();
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let (mailbox, finished) = (mailbox.clone(), finished.clone());
        let latencies = Rc::clone(&latencies);
        tasks.push(tokio::task::spawn_local(async move {
            while watch.elapsed() < window {
                let asked = watch.nanos();
                mailbox.record(finished.clone()).await?;
                latencies.borrow_mut().record(watch.nanos() - asked);
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let seconds = watch.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds()? - before;
    let latencies = latencies.take();
    Ok(Seen { receipts: latencies.total(), seconds, cpu_seconds, latencies })
}

fn finished() -> Finished {
    let run = run(FunctionId::of(b"function"), profile_id());
    Finished {
        run_payload: Bytes::from(run.encode()),
        run,
        run_sealed: None,
        input: input(),
        input_payload: Bytes::from(input().encode()),
        input_body: Bytes::new(),
        execution: Execution {
            outcome: Outcome::Ok,
            fuel: Fuel(12_345),
            host_fuel: Fuel(678),
            peak_pages: Pages(17),
            output: output(),
            output_body: Bytes::from_static(b"hello"),
            log: Bytes::new(),
        },
        payer: None,
        via: None,
    }
}

/// Processor time of this process, all threads.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(')').context("the form of /proc")?.1;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |index: usize| -> anyhow::Result<u64> {
        Ok(fields.get(index).context("the form of /proc")?.parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) as f64 / TICKS_PER_SECOND as f64)
}
