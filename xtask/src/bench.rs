//! `cargo xtask bench`: measurements, as ratios in one run. The programs that measure are in `benches/`.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// Where results are written for people.
const RESULTS: &str = "benches/RESULTS.md";

/// Runs one bench with the arguments after its name, or the two that make the table of results.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let Some((name, rest)) = words.split_first() else {
        build()?;
        core(&[])?;
        return load(&[]);
    };
    match name.as_str() {
        "core" => build().and_then(|()| core(rest)),
        "load" => build().and_then(|()| load(rest)),
        "network" => build().and_then(|()| network(rest)),
        "guard" => build().and_then(|()| guard(rest)),
        "strain" => build().and_then(|()| strain(rest)),
        other => bail!("there is no bench `{other}`: core, load, strain, network or guard"),
    }
}

fn build() -> Result<()> {
    shell::heading("building what is measured, optimised");
    let packages = ["--package", "talea-runtime", "--package", "talea-benches"];
    shell::run(shell::cargo().args(["build", "--release"]).args(packages))
}

/// Sealing, verifying, group commit, instances, first call, audit: in one process.
fn core(rest: &[String]) -> Result<()> {
    shell::heading("the kernels");
    let kernels = ["build", "--release", "--locked", "--target", "wasm32-wasip1"];
    shell::run(shell::cargo().args(kernels).current_dir(shell::root().join("benches/kernels")))?;
    shell::heading("core");
    shell::run(released("talea-bench").args(["core", "--results", RESULTS]).args(rest))
}

/// A node under load beside its peers.
fn load(rest: &[String]) -> Result<()> {
    shell::heading("load");
    std::fs::create_dir_all(shell::root().join("target/bench"))?;
    let mut command = released("talea-load");
    command.args(["run", "--results", RESULTS, "--json", "target/bench/load.json"]);
    shell::run(with_node(&mut command, rest))
}

/// A node beside itself: endless guests, many functions, many receipts.
fn strain(rest: &[String]) -> Result<()> {
    shell::heading("strain");
    let mut command = released("talea-load");
    command.args(["strain", "--results", RESULTS]);
    shell::run(with_node(&mut command, rest))
}

/// What single messages cost, and then several nodes.
fn network(rest: &[String]) -> Result<()> {
    shell::heading("network: messages");
    shell::run(shell::cargo().args(["bench", "--package", "talea-gossip", "--bench", "network"]))?;
    shell::heading("network: nodes");
    let mut command = released("talea-bench");
    command.args(["network", "--results", RESULTS]);
    shell::run(with_node(&mut command, rest))
}

/// Adds the words of the user, and the node of the release build unless they name another one, such as the one that
/// `cargo xtask release` makes.
fn with_node<'a>(command: &'a mut Command, rest: &[String]) -> &'a mut Command {
    if !rest.iter().any(|word| word == "--talea" || word.starts_with("--talea=")) {
        command.arg("--talea").arg(release_folder().join("talea"));
    }
    command.args(rest)
}

/// Instruction counts against those that are committed.
fn guard(rest: &[String]) -> Result<()> {
    shell::heading("guard");
    shell::run(released("talea-bench").args(["guard", "--file", "benches/guard.toml"]).args(rest))
}

fn release_folder() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
    target.unwrap_or_else(|| shell::root().join("target")).join("release")
}

fn released(program: &str) -> Command {
    let path = release_folder().join(program);
    let mut command = Command::new(path);
    command.current_dir(shell::root());
    command
}
