//! Talea itself: the release binary as a process, its data on the real disk.
//!
//! Owns starting a node, deploying the bench guest and asking for it. Every answer carries a receipt
//! that is signed and durable before the answer leaves. Absent: any setting that an operator would
//! not have; the node runs as `talea node` does.

mod paid;

use std::fs;
use std::process::Command;
use std::rc::Rc;

use anyhow::bail;

use super::{Options, build_guest, output_of};
use crate::node::{Node, Order};
use crate::requests::{Requests, Same};
use crate::rounds::{Contender, Marks};

/// The header that every answer of a function carries.
pub const RECEIPT_HEADER: &str = "talea-receipt";

pub(super) fn start(options: &Options) -> anyhow::Result<Vec<Contender>> {
    if !options.talea.exists() {
        bail!("no {}: build it with `cargo build --release`", options.talea.display());
    }
    let version = output_of(Command::new(&options.talea).arg("--version"))?;
    let module = build_guest(options, "hello", "wasm32-wasip1")?;
    let credit = format!("credit.cap={}", paid::CREDIT);
    let mut order = Order::fresh(&options.talea, &options.folder.join("talea"), &[&credit])?;
    order.flags.extend(["--payers".to_owned(), paid::payer().public().to_string()]);
    let node = Node::start(order)?;
    let function = node.deploy(&fs::read(&module)?)?;
    let path = format!("/f/{function}");
    let server = Rc::new(node.into_server());
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
