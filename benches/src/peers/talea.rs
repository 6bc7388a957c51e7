//! Talea itself: the release binary as a process, its data on the real disk.
//!
//! Owns starting a node, deploying the bench guest and asking for it. Every answer carries a receipt
//! that is signed and durable before the answer leaves. Absent: any setting that an operator would
//! not have; the node runs as `talea node` does.

mod paid;

use std::fs;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, bail};

use talea_ledger::FunctionId;

use super::{Options, build_guest, output_of};
use crate::requests::{Requests, Same};
use crate::rounds::{Contender, Marks};
use crate::server::{self, Server};

/// The header that every answer of a function carries.
pub const RECEIPT_HEADER: &str = "talea-receipt";

pub(super) fn start(options: &Options) -> anyhow::Result<Vec<Contender>> {
    if !options.talea.exists() {
        bail!("no {}: build it with `cargo build --release`", options.talea.display());
    }
    let version = output_of(Command::new(&options.talea).arg("--version"))?;
    let module = build_guest(options, "hello", "wasm32-wasip1")?;
    let folder = options.folder.join("talea");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("removing the data of an earlier run")?;
    }
    let home = folder.join("home");
    fs::create_dir_all(&home)?;
    let mut node = server::program(&options.talea);
    node.args(["node", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .args(["--payers", &paid::payer().public().to_string()])
        .args(["--set", &format!("credit.cap={}", paid::CREDIT)])
        .env("TALEA_HOME", &home);
    let server = Server::start_announced(&mut node, &options.folder.join("talea.log"))?;
    let mut deploy = Command::new(&options.talea);
    deploy
        .args(["deploy", "--output", "json", "--node"])
        .arg(format!("http://{}", server.address()))
        .arg(&module)
        .env("TALEA_HOME", &home);
    let deployed: serde_json::Value = serde_json::from_str(&output_of(&mut deploy)?)?;
    let id = deployed["id"].as_str().context("`talea deploy` named no id")?;
    let function: FunctionId = id.parse().context("the id of the deployed function")?;
    let path = format!("/f/{function}");
    let server = Rc::new(server);
    let contender = |key, title: &str, requests: Box<dyn Requests>| Contender {
        key,
        title: title.to_owned(),
        version: version.clone(),
        marks: Marks {
            isolation: "fresh instance",
            metering: "every instruction",
            receipt: "signed",
            durability: "synced before the answer",
        },
        server: Rc::clone(&server),
        requests,
        proof: Some(RECEIPT_HEADER),
    };
    let free = Box::new(Same::get(server.address(), &path));
    let paid = Box::new(paid::requests(server.address(), &path, function)?);
    Ok(vec![
        contender("free", "Talea, free call", free),
        contender("paid", "Talea, paid call", paid),
    ])
}
