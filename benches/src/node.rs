//! A node of the release build as a process, the folder it lies in, and what is asked of it.
//!
//! Owns starting, restarting and giving it functions; all benches of whole nodes go through here. Invariant: a node
//! begins over what its folder holds, so a bench that wants a fresh one says so. Absent: loads, which are `load`'s.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use talea_ledger::codec::List;
use talea_ledger::registration::{Kind, Limits, Registration};
use talea_ledger::{Fuel, FunctionId, NetworkId, Pages, SecretKey, UnixNanos, sign};

use crate::asking::{ask, get};
use crate::server::{self, Server};
use crate::stopwatch::unix_nanos;

/// Which cores a node may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// The server's own, beside a generator on the other.
    Server,
    /// All of them: several nodes share the machine.
    All,
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Order {
    /// The release build of `talea`.
    pub talea: PathBuf,
    /// A folder of its own, with data, log and the home of its wallet.
    pub folder: PathBuf,
    /// Where it runs.
    pub cores: Cores,
    /// Further words of its command line.
    pub flags: Vec<String>,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    server: Server,
    order: Order,
}

// === impl Order ===

impl Order {
    /// A node on the server's core with these settings, over nothing: what an earlier run left is removed.
    pub fn fresh(talea: &Path, folder: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).context("removing the data of an earlier run")?;
        }
        let flags = settings.iter().flat_map(|each| ["--set".to_owned(), (*each).to_owned()]);
        let (talea, folder) = (talea.to_owned(), folder.to_owned());
        Ok(Self { talea, folder, cores: Cores::Server, flags: flags.collect() })
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The `talea` of this node's wallet, for another command.
    #[must_use]
    pub fn command(&self) -> Command {
        self.at_home(Command::new(&self.talea))
    }

    fn at_home(&self, mut command: Command) -> Command {
        command.env("TALEA_HOME", self.folder.join("home"));
        command
    }
}

// === impl Node ===

impl Node {
    /// Starts it, and waits until it listens.
    pub fn start(order: Order) -> anyhow::Result<Self> {
        fs::create_dir_all(order.folder.join("home"))?;
        let mut command = match order.cores {
            Cores::Server => order.at_home(server::program(&order.talea)),
            Cores::All => order.command(),
        };
        command.args(["node", "--listen", "127.0.0.1:0", "--data"]).arg(order.data());
        command.args(&order.flags);
        let server = Server::start_announced(&mut command, &order.folder.join("node.log"))?;
        Ok(Self { server, order })
    }

    /// Kills it and starts it over the same folder.
    pub fn restart(self) -> anyhow::Result<Self> {
        let Self { server, order } = self;
        server.kill();
        Self::start(order)
    }

    /// How it was started.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The process.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The process alone; its folder stays.
    #[must_use]
    pub fn into_server(self) -> Server {
        self.server
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A document of JSON that it answers with 200.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&get(self.address(), path)?)?)
    }

    /// Deploys a handler that may use all that the node allows.
    pub fn deploy(&self, wasm: &[u8]) -> anyhow::Result<FunctionId> {
        let info = self.json("/.well-known/talea/info")?;
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
        match ask(self.address(), "POST", "/functions", &headers, wasm)? {
            (200 | 201, _) => Ok(function),
            (status, body) => {
                bail!("deploying is answered with {status}: {}", String::from_utf8_lossy(&body))
            }
        }
    }
}
