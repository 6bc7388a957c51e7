//! A server under measurement: a process of its own, on the server's core.
//!
//! Owns the child, its log and the kernel's account of it. Invariants: the child has its core
//! before it starts its first thread; it is ended when the value is dropped, asked first. Absent: restarting one
//! that died; a server that dies ends the bench.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cores::{self, SERVER, TICKS_PER_SECOND};
use crate::stopwatch::Stopwatch;

/// How long a server may take to listen. Compiling a component takes a second or two.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to end when it is asked. A node gives calls under way ten seconds.
const END_MAX: Duration = Duration::from_secs(12);
/// Time between two looks at a server that is starting or ending.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    _stdin: Option<ChildStdin>,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, user and system, of all its threads.
    pub cpu_ticks: u64,
    /// The most memory it had resident.
    pub peak_kib: u64,
}

impl Usage {
    /// Seconds of processor time between two accounts.
    #[must_use]
    pub fn cpu_since(&self, earlier: &Self) -> f64 {
        self.cpu_ticks.saturating_sub(earlier.cpu_ticks) as f64 / TICKS_PER_SECOND as f64
    }
}

impl Server {
    /// Starts a server that prints `listening on http://ADDRESS` as its first line.
    pub fn start_announced(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()), log)?;
        let stdin = child.stdin.take();
        let lines = lines_of(child.stdout.take().context("standard output was asked for")?);
        let mut server =
            Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), _stdin: stdin };
        let line = lines
            .recv_timeout(START_MAX)
            .with_context(|| format!("it did not say where it listens; see {}", log.display()))?;
        let address = line.rsplit_once("http://").map(|(_, address)| address.trim());
        let Some(Ok(address)) = address.map(str::parse) else {
            bail!("its first line was {line:?}, not where it listens");
        };
        server.address = address;
        Ok(server)
    }

    /// Starts a server that was told to listen on `address` and waits until it does.
    pub fn start_at(
        command: &mut Command,
        address: SocketAddr,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()), log)?;
        let mut server = Self { child, address, _stdin: None };
        let watch = Stopwatch::start();
        while watch.elapsed() < START_MAX {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("it ended with {status}; see {}", log.display());
            }
            thread::sleep(LOOK_EVERY);
        }
        bail!("it did not listen on {address} in {START_MAX:?}; see {}", log.display())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id, for a profiler.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    pub fn usage(&self) -> io::Result<Usage> {
        let pid = self.child.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold spaces; the fields after it do not. utime and stime are
        // fields 14 and 15 of the line, 11 and 12 counted from the state.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_ascii_whitespace().collect())
            .unwrap_or_default();
        let field = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let cpu_ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
        match (cpu_ticks, peak_kib) {
            (Some(cpu_ticks), Some(peak_kib)) => Ok(Usage { cpu_ticks, peak_kib }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc has an unknown form")),
        }
    }

    /// Waits until it has used no processor time for a tenth of a second, at most two seconds: what
    /// one contender left to do must not fall into the next one's window.
    pub fn settle(&self) -> io::Result<()> {
        let mut last = self.usage()?.cpu_ticks;
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(100));
            let now = self.usage()?.cpu_ticks;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(())
    }
}

impl Server {
    /// Ends it at once, and whatever it was about to write is lost.
    pub fn kill(mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    /// Asks first: a build that counts which way its code goes writes that down as it ends.
    fn drop(&mut self) {
        if self.is_gone() {
            return;
        }
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let watch = Stopwatch::start();
        while asked.is_ok() && watch.elapsed() < END_MAX && !self.is_gone() {
            thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command for a program that will be a server: it runs on the server's core.
#[must_use]
pub fn program(path: impl AsRef<OsStr>) -> Command {
    cores::command_on(SERVER, path)
}

/// A port that was free a moment ago.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stderr(File::create(log).with_context(|| format!("creating {}", log.display()))?);
    command.spawn().with_context(|| format!("starting {program}"))
}

/// The lines of a pipe, read to its end by a thread so that the writer never blocks on it.
fn lines_of(pipe: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            // Only the first line has a reader; later ones are read and dropped.
            let _ = sender.try_send(line);
        }
    });
    receiver
}
