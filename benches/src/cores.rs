//! Which core runs what, and who else was on it.
//!
//! Owns pinning and the kernel's account of a core's time. The server has the first core and the
//! generator the second; everything else on the machine is disturbance, measured and reported next
//! to each figure, because a shared machine is rarely quiet. Absent: isolating cores, which needs a
//! kernel command line.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::process::{self, Command};

/// A core by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(pub usize);

/// Where every server runs.
pub const SERVER: Core = Core(0);
/// Where the generator runs.
pub const GENERATOR: Core = Core(1);

/// A command that runs `program` on `core` only: `taskset` pins itself and then becomes the program,
/// so the process id stays and the program's threads inherit the core.
#[must_use]
pub fn command_on(core: Core, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.0.to_string()).arg(program);
    command
}

/// Lets this process, all its threads, run on `core` only.
pub fn pin(core: Core) -> io::Result<()> {
    let output = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.0.to_string(), &process::id().to_string()])
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
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
