//! A node under strain: endless guests beside short calls, thousands of functions, millions of receipts.
//!
//! Owns the node that is strained, and the modules it is given. Invariants: the node has one core and the
//! generator the other, as in the load bench; every figure stands beside the same node's own without the
//! strain. Absent: other servers; what is asked here is what a node does to itself.

pub mod fair;
pub mod many;
pub mod scale;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use talea_ledger::codec::List;
use talea_ledger::registration::{Kind, Limits, Registration};
use talea_ledger::{Fuel, FunctionId, NetworkId, Pages, SecretKey, UnixNanos, sign};

use crate::asking::{ask, get};
use crate::load::{Load, Seen, drive};
use crate::peers::talea::RECEIPT_HEADER;
use crate::requests::Requests;
use crate::server::{self, Server, Usage};
use crate::stopwatch::unix_nanos;

/// A node of the release build, and where it is.
#[derive(Debug)]
pub struct Node {
    server: Option<Server>,
    talea: PathBuf,
    folder: PathBuf,
    settings: Vec<String>,
}

/// One window of short calls.
#[derive(Clone, Debug)]
pub struct Window {
    /// What was seen.
    pub seen: Seen,
    /// Processor time of the node per answer, in microseconds.
    pub cpu_us: f64,
    /// The most memory it had resident so far, in MiB.
    pub peak_mib: f64,
}

impl Window {
    /// Microseconds at or below which a share of the answers came.
    #[must_use]
    pub fn us(&self, share: f64) -> f64 {
        self.seen.latencies.quantile(share) as f64 / 1e3
    }
}

impl Node {
    /// Starts a node in a fresh folder.
    pub fn start(talea: &Path, folder: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).context("removing the data of an earlier run")?;
        }
        fs::create_dir_all(folder.join("home"))?;
        let settings = settings.iter().map(|each| (*each).to_owned()).collect();
        let mut node =
            Self { server: None, talea: talea.to_owned(), folder: folder.to_owned(), settings };
        node.restart()?;
        Ok(node)
    }

    /// Kills the node, if it runs, and starts it in the same folder.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        drop(self.server.take());
        let mut command = server::program(&self.talea);
        command.args(["node", "--listen", "127.0.0.1:0", "--data"]).arg(self.data());
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.env("TALEA_HOME", self.folder.join("home"));
        let log = self.folder.join("node.log");
        self.server = Some(Server::start_announced(&mut command, &log)?);
        Ok(())
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The process.
    pub fn server(&self) -> anyhow::Result<&Server> {
        self.server.as_ref().context("the node did not start")
    }

    /// Deploys a handler that may use all the fuel a node allows; gives the path to call it by.
    pub fn deploy(&self, wasm: &[u8]) -> anyhow::Result<String> {
        let address = self.server()?.address();
        let info: Value = serde_json::from_slice(&get(address, "/.well-known/talea/info")?)?;
        let network: NetworkId =
            info["network"].as_str().context("the node names no network")?.parse()?;
        let key = SecretKey::from_bytes(&[12; 32]);
        let function = FunctionId::of(wasm);
        let registration = Registration {
            at: UnixNanos(unix_nanos()),
            function,
            cgi: false,
            limits: Limits {
                log: u64::MAX >> 1,
                memory: Pages(u32::MAX),
                output: u64::MAX >> 1,
                fuel: Fuel(u64::MAX >> 1),
            },
            network,
            kind: Kind::Handler,
            name: None,
            owner: key.public(),
            headers: List::default(),
        };
        let sealed = sign::seal_document(&key, &registration).encode();
        let sealed = URL_SAFE_NO_PAD.encode(sealed);
        let headers = [("content-type", "application/wasm"), ("talea-registration", &sealed)];
        match ask(address, "POST", "/functions", &headers, wasm)? {
            (200 | 201, _) => Ok(format!("/f/{function}")),
            (status, body) => {
                bail!("deploying is answered with {status}: {}", String::from_utf8_lossy(&body))
            }
        }
    }

    /// One window of calls.
    pub fn window(
        &self,
        requests: &mut dyn Requests,
        connections: usize,
        window: Duration,
    ) -> anyhow::Result<Window> {
        let server = self.server()?;
        let load = Load {
            address: server.address(),
            connections,
            warmup: window / 4,
            window,
            proof: Some(RECEIPT_HEADER),
        };
        let (seen, opened, closed) = drive(load, requests, || server.usage())?;
        let (opened, closed): (Usage, Usage) = (opened?, closed?);
        let cpu_us = closed.cpu_since(&opened) * 1e6 / seen.answers.max(1) as f64;
        Ok(Window { seen, cpu_us, peak_mib: closed.peak_kib as f64 / 1024.0 })
    }
}

/// A handler that answers nothing at once. `mark` makes it a function of its own.
fn short(mark: u32) -> anyhow::Result<Vec<u8>> {
    handler("(i32.const 0)", mark)
}

/// A handler that never ends by itself.
fn endless() -> anyhow::Result<Vec<u8>> {
    handler("(loop $on (br $on)) (unreachable)", 0)
}

fn handler(body: &str, mark: u32) -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (global i32 (i32.const {mark}))
             (func (export "talea_handle") (result i32) {body}))"#
    ))?)
}

/// Bytes that the files below a folder take on the disk.
fn disk_bytes(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        // 512-byte blocks, whatever the file system's own are.
        sum += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(sum)
}
