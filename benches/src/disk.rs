//! What one synced write costs on this disk.
//!
//! Owns the probe that a durable answer is measured against: 4 KiB written and synced in a file that
//! was filled with zeros before, as a journal's segment is. Absent: throughput; a group commit is
//! bound by the sync, not by the bytes.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::histogram::Histogram;
use crate::stopwatch::Stopwatch;

/// Bytes of one write: a disk block, what a small commit occupies.
const WRITE_LEN: usize = 4096;
/// Bytes of the prepared file: 4,096 writes before the offset starts over.
const FILE_LEN: usize = 16 * 1024 * 1024;

/// Latencies of `count` synced writes in `folder`.
pub fn probe(folder: &Path, count: usize) -> io::Result<Histogram> {
    let path = folder.join("disk-probe");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0; FILE_LEN], 0)?;
    file.sync_all()?;
    let block = [0x5a; WRITE_LEN];
    let mut latencies = Histogram::default();
    for index in 0..count {
        let offset = (index * WRITE_LEN) % FILE_LEN;
        let watch = Stopwatch::start();
        file.write_all_at(&block, offset as u64)?;
        file.sync_data()?;
        latencies.record(watch.nanos());
    }
    fs::remove_file(&path)?;
    Ok(latencies)
}
