//! Who is measured: Talea, the floor, and what a user would pick instead.
//!
//! Owns starting each of them with an equivalent program that answers `hello`. Invariant: a peer
//! that cannot be had is named in the report with the reason, never left out silently. Absent:
//! tuning of peers beyond what their own pages recommend.

pub mod serve;
pub mod talea;
pub mod workerd;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, bail};

use crate::requests::Same;
use crate::rounds::{Contender, Marks};
use crate::server::{self, Server};

/// Where things are and what may be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The release build of `talea`.
    pub talea: PathBuf,
    /// A folder for data, installed peers and logs, on the disk whose syncs count.
    pub folder: PathBuf,
    /// The sources of the bench guests.
    pub guests: PathBuf,
    /// A `wasmtime` to use instead of the installed one.
    pub wasmtime: Option<PathBuf>,
    /// A `workerd` to use instead of the one npm gives.
    pub workerd: Option<PathBuf>,
    /// Whether a peer that takes minutes to build may be built.
    pub install: bool,
    /// Short names of the contenders that are wanted; all when empty.
    pub only: Vec<String>,
}

impl Options {
    fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == key)
    }
}

/// A contender that could not be had.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Absent {
    /// Its name.
    pub title: String,
    /// Why it was not measured.
    pub why: String,
}

/// Starts every contender that is wanted and can be had. The first is bare hyper.
pub fn gather(
    options: &Options,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<(Vec<Contender>, Vec<Absent>)> {
    let mut present = vec![bare_hyper(&options.folder)?];
    let mut absent = Vec::new();
    let wanted: [(&[&str], &str, Start); 3] = [
        (&["free", "paid"], "Talea", talea::start),
        (&["serve"], "wasmtime serve", serve::start),
        (&["workerd"], "workerd", workerd::start),
    ];
    for (keys, title, start) in wanted {
        if !keys.iter().any(|key| options.wants(key)) {
            continue;
        }
        progress(&format!("starting {title}"));
        match start(options) {
            Ok(contenders) => {
                present.extend(contenders.into_iter().filter(|it| options.wants(it.key)));
            }
            Err(error) => {
                progress(&format!("{title} is not measured: {error:#}"));
                absent.push(Absent { title: title.to_owned(), why: format!("{error:#}") });
            }
        }
    }
    Ok((present, absent))
}

type Start = fn(&Options) -> anyhow::Result<Vec<Contender>>;

fn bare_hyper(folder: &Path) -> anyhow::Result<Contender> {
    let mut command = server::program(env::current_exe()?);
    command.args(["hello", "--listen", "127.0.0.1:0"]);
    let server = Server::start_announced(&mut command, &folder.join("hello.log"))?;
    let requests = Same::get(server.address(), "/");
    Ok(Contender {
        key: "hyper",
        title: "bare hyper".to_owned(),
        version: "hyper 1, in this binary".to_owned(),
        marks: Marks { isolation: "none", metering: "no", receipt: "no", durability: "no" },
        server: Rc::new(server),
        requests: Box::new(requests),
        proof: None,
    })
}

/// Runs a command to its end and gives what it printed; its error output is in the error.
fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().take(8).collect::<Vec<_>>();
        let last = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
        bail!("{program} ended with {}: {last}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Builds a guest of the benches and gives the path of its module or component.
fn build_guest(options: &Options, name: &str, target: &str) -> anyhow::Result<PathBuf> {
    let out = options.folder.join("guests");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--release", "--target", target, "--manifest-path"])
        .arg(options.guests.join(name).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&out);
    output_of(&mut cargo).with_context(|| format!("building the guest for {target}"))?;
    let file = format!("{}.wasm", name.replace('-', "_"));
    Ok(out.join(target).join("release").join(file))
}
