//! Verifying another node's receipts, whole batches at a time.
//!
//! Owns receipts per second on one core against the plain hash of the same bytes, and the cost of a
//! single strict signature verification, which paid calls add. Absent: fetching them.

use std::hint::black_box;

use anyhow::ensure;
use sha2::{Digest as _, Sha256};
use talea_ledger::batch::{BatchHead, seal_batch, verify_receipts};
use talea_ledger::{Document, FunctionId, NetworkId, Run, UnixNanos, sign};

use super::documents::{host, profile_id, receipt, run};
use super::sealing::SIZES;
use super::{Figure, Site};
use crate::timing::{Effort, Subject, compare};

/// Receipts per second that another node must verify on one core, in batches of at least 64.
const RATE_MIN: f64 = 200_000.0;

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let effort = site.effort;
    let key = host();
    let head = BatchHead { network: NetworkId::DEVELOPMENT, number: 1, at: UnixNanos(1) };
    let mut figures = vec![signature(effort)];
    for size in SIZES {
        let payloads: Vec<Vec<u8>> =
            (0..size as u64).map(|number| receipt(&key, number).encode()).collect();
        let batch = seal_batch(&key, head, &payloads)?;
        ensure!(verify_receipts(&payloads, batch.sealed())?.len() == size, "all are verified");
        let timed = compare(
            effort,
            vec![
                Subject::new(format!("sha256 of {size} receipts, each"), || {
                    for payload in &payloads {
                        black_box(Sha256::digest(black_box(payload)));
                    }
                }),
                Subject::new(format!("verify a batch of {size}, each receipt"), || {
                    black_box(verify_receipts(black_box(&payloads), batch.sealed()).is_ok());
                }),
            ],
        );
        let [floor, verifying] = &timed[..] else { unreachable!("two subjects, two times") };
        let mut figure = Figure::nanos("verifying", verifying, size).against(verifying, floor);
        if size >= 64 {
            let rate = 1e9 / figure.value;
            let words = format!("{:.0}k/s, at least 200k/s", rate / 1e3);
            figure = figure.with_aim(&words, rate >= RATE_MIN);
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// One strict verification of a run's signature, decoding included.
fn signature(effort: Effort) -> Figure {
    let run = run(FunctionId::of(b"function"), profile_id());
    let sealed = sign::seal_document(&host(), &run);
    let subject = Subject::new("a run's signature, strict", || {
        black_box(black_box(&sealed).verify::<Run>().is_ok());
    });
    Figure::nanos("verifying", &compare(effort, vec![subject])[0], 1)
}

/// Microseconds of one strict verification, for the report of paid calls.
#[must_use]
pub fn signature_us(effort: Effort) -> f64 {
    signature(effort).value / 1e3
}
