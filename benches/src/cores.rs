//! Which core runs what, and who else was on it.
//!
//! Owns pinning and the kernel's account of a core's time. The server has the first core and the
//! generator the second; everything else on the machine is disturbance, measured and reported next
//! to each figure, because a shared machine is rarely quiet. Absent: isolating cores, which needs a
//! kernel command line.

use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// A core by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(pub usize);

/// Where every server runs.
pub const SERVER: Core = Core(0);
/// Where the generator runs.
pub const GENERATOR: Core = Core(1);

/// Lets the calling thread, and what it starts from now on, run on `core` only.
pub fn pin(core: Core) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core.0);
    sched_setaffinity(None, &set).map_err(io::Error::from)
}

/// The kernel's clock ticks per second as seen in `/proc`: fixed at 100 for every Linux ABI.
pub const TICKS_PER_SECOND: u64 = 100;

/// Busy ticks of a core since boot: everything but idle and waiting for disk.
pub fn busy_ticks(core: Core) -> io::Result<u64> {
    let name = format!("cpu{}", core.0);
    let stat = fs::read_to_string("/proc/stat")?;
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some(name.as_str()) {
            let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            // user nice system idle iowait irq softirq steal; guest time is inside user already.
            let busy = [0, 1, 2, 5, 6, 7];
            return Ok(busy.iter().filter_map(|index| ticks.get(*index)).sum());
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no {name} in /proc/stat")))
}
