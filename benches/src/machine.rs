//! What the figures were measured on.
//!
//! Owns the facts that date a figure: day, processor, cores, kernel. Absent: a host name.

use std::fs;
use std::thread;

use serde::Serialize;

use crate::stopwatch;

/// The machine and the day.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The day in UTC.
    pub date: String,
    /// The processor as it calls itself.
    pub processor: String,
    /// Cores this process could use when it started.
    pub cores: usize,
    /// Name and release of the kernel.
    pub kernel: String,
}

impl Machine {
    /// Asks the machine. Call it before anything is pinned: pinning changes the count of cores.
    #[must_use]
    pub fn here() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .and_then(|rest| rest.split_once(':'))
            .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned());
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        // Local build suffixes name a hosting company's image, not a kernel.
        let release = release.trim().split('-').next().unwrap_or_default().to_owned();
        Self {
            date: stopwatch::today(),
            processor,
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: format!("Linux {release}"),
        }
    }

    /// One line for a page.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { date, processor, cores, kernel } = self;
        format!("{date}, {processor}, {cores} cores, {kernel}.")
    }
}
