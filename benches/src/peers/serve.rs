//! `wasmtime serve` 48, the nearest relative: a fresh instance per request of a component.
//!
//! Owns finding or building it and its component. Absent: its metered and deadlined forms; the
//! default form is its fastest.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, bail};

use super::{Options, build_guest, output_of};
use crate::requests::Same;
use crate::rounds::{Contender, Marks};
use crate::server::{self, Server, free_address};

/// The release on the same engine line as Talea's own.
const VERSION: &str = "48.0.8";

pub(super) fn start(options: &Options) -> anyhow::Result<Vec<Contender>> {
    let program = program(options)?;
    let version = output_of(Command::new(&program).arg("--version"))?;
    if !version.starts_with("wasmtime 48.") {
        bail!("{version} is not wasmtime 48");
    }
    let component = build_guest(options, "hello-http", "wasm32-wasip2")?;
    let address = free_address()?;
    let mut command = server::program(&program);
    // A component made by Rust imports `wasi:cli`, which the proxy world alone does not give.
    command.args(["serve", "-S", "cli", "--addr"]).arg(address.to_string()).arg(component);
    let server = Server::start_at(&mut command, address, &options.folder.join("serve.log"))?;
    let requests = Same::get(server.address(), "/");
    Ok(vec![Contender {
        key: "serve",
        title: "wasmtime serve".to_owned(),
        version,
        marks: Marks {
            isolation: "fresh instance",
            metering: "no",
            receipt: "no",
            durability: "no",
        },
        server: Rc::new(server),
        requests: Box::new(requests),
        proof: None,
    }])
}

fn program(options: &Options) -> anyhow::Result<PathBuf> {
    if let Some(path) = &options.wasmtime {
        return Ok(path.clone());
    }
    let root = options.folder.join("wasmtime");
    let binary = root.join("bin/wasmtime");
    if binary.exists() {
        return Ok(binary);
    }
    if !options.install {
        bail!(
            "no wasmtime {VERSION}: set WASMTIME to one, or give --install (minutes of building)"
        );
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", "--quiet", "--locked", "wasmtime-cli", "--version", VERSION, "--root"])
        .arg(&root);
    output_of(&mut cargo).context("building wasmtime")?;
    Ok(binary)
}
