//! Sealing receipts into a batch: one tree, one signature.
//!
//! Owns the cost per receipt by size of the batch. Absent: the journal.

use std::hint::black_box;

use sha2::{Digest as _, Sha256};
use talea_ledger::batch::{BatchHead, seal_batch};
use talea_ledger::{Document, NetworkId, UnixNanos};

use super::documents::{host, receipt};
use super::{Figure, Site};
use crate::timing::{Subject, compare};

/// Sizes of batches: an idle node's, and what 8, 64 and 512 connections fill.
pub(super) const SIZES: [usize; 4] = [1, 8, 64, 512];

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let effort = site.effort;
    let key = host();
    let head = BatchHead { network: NetworkId::DEVELOPMENT, number: 1, at: UnixNanos(1) };
    let mut figures = Vec::new();
    for size in SIZES {
        let payloads: Vec<Vec<u8>> =
            (0..size as u64).map(|number| receipt(&key, number).encode()).collect();
        let timed = compare(
            effort,
            vec![
                Subject::new(format!("sha256 of {size} receipts, each"), || {
                    for payload in &payloads {
                        black_box(Sha256::digest(black_box(payload)));
                    }
                }),
                Subject::new(format!("batch of {size}, each receipt"), || {
                    black_box(seal_batch(&key, head, black_box(&payloads)).is_ok());
                }),
            ],
        );
        let [floor, sealing] = &timed[..] else { unreachable!("two subjects, two times") };
        figures.push(Figure::nanos("sealing", sealing, size).against(sealing, floor));
    }
    Ok(figures)
}
