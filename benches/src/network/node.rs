//! One node as a process, and requests to it: each on a connection of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::Nodes;
use crate::server::Server;
use crate::stopwatch::Stopwatch;

/// No answer within this time is the end of the bench.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) server: Server,
    /// Where others join it.
    pub(super) join: String,
    folder: PathBuf,
    talea: PathBuf,
}

impl Node {
    /// Starts a node over a folder of its own below the bench's, which is made if it is not there.
    pub(super) fn start(nodes: &Nodes, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let folder = nodes.folder.join(name);
        fs::create_dir_all(&folder)?;
        let addresses = folder.join("addresses");
        let mut command = Command::new(&nodes.talea);
        command
            .args(["node", "--listen", "127.0.0.1:0", "--peer-listen", "/ip4/127.0.0.1/tcp/0"])
            .arg("--peer-addr-file")
            .arg(&addresses)
            .arg("--data")
            .arg(folder.join("data"))
            .args(flags)
            .env("TALEA_HOME", folder.join("home"));
        let server = Server::start_announced(&mut command, &folder.join("log"))?;
        let join = fs::read_to_string(&addresses)?;
        let join = join.lines().next().context("no address for other nodes")?.to_owned();
        let this = Self { server, join, folder, talea: nodes.talea.clone() };
        until("the node is ready", || Ok(this.get("/ready")?.0 == 200))?;
        Ok(this)
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        request(self, "GET", path, &[])
    }

    pub(super) fn json(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.get(path)?;
        ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    pub(super) fn post(&self, path: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        request(self, "POST", path, body)
    }

    /// One value of `/metrics`, summed over its labels.
    pub(super) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = String::from_utf8(self.get("/metrics")?.1)?;
        let is_it =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(text.lines().filter(is_it).filter_map(value).sum())
    }

    /// Memory that is resident now, in KiB.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.context("/proc has an unknown form")?.trim().trim_end_matches("kB").trim();
        Ok(kib.parse()?)
    }

    /// Puts a module on the node.
    pub(super) fn deploy(&self, module: &Path) -> anyhow::Result<String> {
        let said = Command::new(&self.talea)
            .args(["deploy", "--output", "json", "--node"])
            .arg(format!("http://{}", self.server.address()))
            .arg(module)
            .env("TALEA_HOME", self.folder.join("home"))
            .output()?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let view: Value = serde_json::from_slice(&said.stdout)?;
        Ok(view["id"].as_str().context("`talea deploy` named no id")?.to_owned())
    }
}

fn request(node: &Node, method: &str, path: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(node.server.address())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    let len = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").context("no whole answer")?;
    let status = std::str::from_utf8(&answer[..end])?.split(' ').nth(1);
    let status = status.and_then(|text| text.parse().ok()).context("no status")?;
    Ok((status, answer.split_off(end + 4)))
}

/// Looks again every few milliseconds until something is so.
pub(super) fn until(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let watch = Stopwatch::start();
    while !look()? {
        if watch.elapsed() > ANSWER_TIME_MAX {
            bail!("not within {ANSWER_TIME_MAX:?}: {what}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
