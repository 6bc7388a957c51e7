//! The demonstration's own node: a temporary folder, a process, and its orderly end.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// A node says where it listens as soon as its folder is open; longer means that it hangs.
const START_MAX: Duration = Duration::from_secs(60);
/// A node with nothing to do ends at once; its own grace period is below this.
const END_MAX: Duration = Duration::from_secs(30);

/// A folder that is gone when this is dropped.
pub(super) struct Scratch(PathBuf);

/// A running node; killed when dropped without [`Host::drain`].
pub(super) struct Host {
    child: Child,
    url: String,
}

// === impl Scratch ===

impl Scratch {
    /// Makes a folder that nobody else can enter.
    pub(super) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("talea-demo-{}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary folder; that is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

// === impl Host ===

impl Host {
    /// Starts a node over `data` and waits until it listens.
    pub(super) fn start(program: &Path, data: &Path, home: &Path, flags: &[&str]) -> Result<Self> {
        let log = data.with_extension("log");
        let mut command = Command::new(program);
        command.args(["node", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(flags);
        command.env("TALEA_HOME", home).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&log).context("cannot make the node's log")?);
        let mut child = command.spawn().context("cannot start the node")?;
        let lines = child.stdout.take().context("the node's output is a pipe")?;
        let (tell, told) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                // Only the first address matters; the rest is read so that the node never waits for us.
                if let Some(at) = line.find("http://") {
                    let url: String = line[at..]
                        .chars()
                        .take_while(|c| !c.is_whitespace() && *c != '"')
                        .collect();
                    let _ = tell.try_send(url);
                }
            }
        });
        let mut host = Self { child, url: String::new() };
        match told.recv_timeout(START_MAX) {
            Ok(url) => {
                host.url = url;
                Ok(host)
            }
            Err(_) => {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the node did not start; it said:\n{said}")
            }
        }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks it to end and waits until it has.
    pub(super) fn drain(mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        ensure!(asked.is_ok_and(|status| status.success()), "the node could not be asked to end");
        let steps = END_MAX.as_millis() / STEP.as_millis();
        for _ in 0..steps {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the node ended with {status}");
                return Ok(());
            }
            std::thread::sleep(STEP);
        }
        bail!("the node did not end within {} s", END_MAX.as_secs())
    }
}

/// How often a process that was asked to end is looked at.
const STEP: Duration = Duration::from_millis(20);

impl Drop for Host {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
