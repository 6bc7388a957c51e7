//! `talea-bench`: figures inside one process, of several nodes, and the guard of the hot path.
//!
//! Owns the command line. Absent: everything that is measured; see `talea_benches`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks by printing"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use talea_benches::cores::{self, GENERATOR};
use talea_benches::inside::Site;
use talea_benches::machine::Machine;
use talea_benches::network::{self, Nodes};
use talea_benches::timing::Effort;
use talea_benches::{guard, inside, results};

#[derive(Debug, Parser)]
#[command(about = "Benches inside one process and of several nodes, and the guard of the hot path")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take the figures and print their table
    Core(CoreArgs),
    /// Count the instructions of the hot path and compare them with the recorded ones
    Guard {
        /// The recorded counts
        #[arg(long, default_value = "benches/guard.toml")]
        file: PathBuf,
        /// Write the counts instead of comparing
        #[arg(long)]
        record: bool,
    },
    /// Several nodes: cold calls, sync, memory
    Network(NetworkArgs),
    /// Do turns of one of the guard's scenarios, for a profiler
    Drive {
        /// Which
        scenario: String,
        /// How many turns
        #[arg(long, default_value_t = 10_000)]
        turns: u64,
    },
}

#[derive(Debug, Args)]
struct CoreArgs {
    /// Only the parts whose name contains this
    #[arg(default_value = "")]
    filter: String,
    /// Slices of time per subject
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Length of a slice in milliseconds
    #[arg(long, default_value_t = 50)]
    slice: u64,
    /// Folder for a journal and artefacts, on the disk whose syncs count
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// The page whose section is replaced
    #[arg(long)]
    results: Option<PathBuf>,
    /// A file for the same figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct NetworkArgs {
    /// The release build of `talea`
    #[arg(long, default_value = "target/release/talea")]
    talea: PathBuf,
    /// Folder for the nodes, on the disk whose syncs count
    #[arg(long, default_value = "target/bench/network")]
    folder: PathBuf,
    /// The page whose section is replaced
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Core(args) => core(&args),
        Command::Guard { file, record } => guarded(&file, record),
        Command::Network(args) => network(&args),
        Command::Drive { scenario, turns } => guard::drive(&scenario, turns),
    }
}

fn core(args: &CoreArgs) -> anyhow::Result<()> {
    let machine = Machine::here();
    cores::pin(GENERATOR)?;
    let effort = Effort { rounds: args.rounds, slice: Duration::from_millis(args.slice) };
    fs::create_dir_all(&args.folder)?;
    let site = Site { effort, folder: fs::canonicalize(&args.folder)? };
    let figures = inside::all(&site, &args.filter, |part| eprintln!("{part}"))?;
    let page = inside::markdown(&machine, effort, &figures);
    println!("{page}");
    if let Some(path) = &args.results {
        results::replace(path, "core", &page)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn network(args: &NetworkArgs) -> anyhow::Result<()> {
    if args.folder.exists() {
        fs::remove_dir_all(&args.folder).context("removing the nodes of an earlier run")?;
    }
    fs::create_dir_all(&args.folder)?;
    let talea = fs::canonicalize(&args.talea).with_context(|| {
        format!("no {}: build it with `cargo build --release`", args.talea.display())
    })?;
    let nodes = Nodes { talea, folder: fs::canonicalize(&args.folder)? };
    let page = network::measure(&Machine::here(), &nodes, |part| eprintln!("{part}"))?;
    println!("{page}");
    if let Some(path) = &args.results {
        results::replace(path, "network", &page)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn guarded(file: &Path, record: bool) -> anyhow::Result<()> {
    if !guard::is_possible() {
        println!("not measured: valgrind is not installed");
        return Ok(());
    }
    let grown = guard::guard(file, record, |line| println!("{line}"))?;
    if grown.is_empty() {
        return Ok(());
    }
    bail!("the hot path has grown:\n{}", grown.join("\n"))
}
