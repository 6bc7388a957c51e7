//! workerd, the open runtime of a large vendor of workers, from its npm package.
//!
//! Owns its installation and configuration. Absent: its wasm path; a script is what its users write,
//! and it is its faster one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::Context;

use super::{Options, output_of};
use crate::requests::Same;
use crate::rounds::{Contender, Marks};
use crate::server::{self, Server, free_address};

/// The package that figures are compared over; a newer one is a new figure.
const VERSION: &str = "1.20261117.1";

const SCRIPT: &str = r#"export default {
  async fetch(request) {
    return new Response("hello", { headers: { "content-type": "text/plain" } });
  }
};
"#;

pub(super) fn start(options: &Options) -> anyhow::Result<Vec<Contender>> {
    let folder = options.folder.join("workerd");
    fs::create_dir_all(&folder)?;
    let program = match &options.workerd {
        Some(path) => path.clone(),
        None => installed(&folder)?,
    };
    let version = output_of(Command::new(&program).arg("--version"))?;
    let address = free_address()?;
    fs::write(folder.join("hello.js"), SCRIPT)?;
    let config = folder.join("hello.capnp");
    fs::write(&config, configuration(&address.to_string()))?;
    let mut command = server::program(&program);
    command.arg("serve").arg(&config);
    let server = Server::start_at(&mut command, address, &folder.join("workerd.log"))?;
    let requests = Same::get(server.address(), "/");
    Ok(vec![Contender {
        key: "workerd",
        title: "workerd".to_owned(),
        version,
        marks: Marks {
            isolation: "none: one isolate for all requests",
            metering: "no",
            receipt: "no",
            durability: "no",
        },
        server: Rc::new(server),
        requests: Box::new(requests),
        proof: None,
    }])
}

fn installed(folder: &Path) -> anyhow::Result<PathBuf> {
    let binary = folder.join("node_modules/@cloudflare/workerd-linux-64/bin/workerd");
    if !binary.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .arg(format!("workerd@{VERSION}"));
        output_of(&mut npm).context("installing workerd")?;
    }
    Ok(binary)
}

fn configuration(address: &str) -> String {
    format!(
        r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .hello)],
  sockets = [(name = "http", address = "{address}", http = (), service = "main")]
);
const hello :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "hello.js")],
  compatibilityDate = "2025-09-01"
);
"#
    )
}
