//! `talea-load`: one honest table of HTTP servers on this machine.
//!
//! Owns the command line of the load bench. Absent: everything that is measured; see `talea_benches`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks by printing"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use talea_benches::cores::{self, GENERATOR};
use talea_benches::inside::verifying::signature_us;
use talea_benches::load::{Load, drive};
use talea_benches::machine::Machine;
use talea_benches::node::{Node, Order};
use talea_benches::peers::{self, Options};
use talea_benches::report::Report;
use talea_benches::requests::Same;
use talea_benches::rounds::{self, Plan};
use talea_benches::strain::{fair, many, scale};
use talea_benches::timing::Effort;
use talea_benches::{hello, results};

#[derive(Debug, Parser)]
#[command(about = "Load bench: Talea beside a bare server and its peers, in one run")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure all servers that can be had, in rounds, and print the table
    Run(RunArgs),
    /// Drive one server that is already running
    Drive(DriveArgs),
    /// Strain one node: endless guests beside short calls, thousands of functions, a store that fills
    Strain(StrainArgs),
    /// Be the bare hyper server
    Hello {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The release build of `talea`
    #[arg(long, default_value = "target/release/talea")]
    talea: PathBuf,
    /// Folder for data, peers and logs, on the disk whose syncs count
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Sources of the bench guests
    #[arg(long, default_value = "benches/guests")]
    guests: PathBuf,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    connections: Vec<usize>,
    /// Windows per server and number of connections
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a window in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Two rounds of half a second: to see that all of it works
    #[arg(long)]
    quick: bool,
    /// Only these: hyper, free, paid, serve, workerd
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Build peers that take minutes to build
    #[arg(long)]
    install: bool,
    /// A wasmtime 48 to use
    #[arg(long, env = "WASMTIME")]
    wasmtime: Option<PathBuf>,
    /// A workerd to use
    #[arg(long, env = "WORKERD")]
    workerd: Option<PathBuf>,
    /// The page whose section is replaced
    #[arg(long)]
    results: Option<PathBuf>,
    /// A file for the same figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DriveArgs {
    /// The server
    address: SocketAddr,
    /// The path to ask for
    #[arg(long, default_value = "/")]
    path: String,
    /// Number of connections
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Length of the window in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

#[derive(Debug, Args)]
struct StrainArgs {
    /// The release build of `talea`
    #[arg(long, default_value = "target/release/talea")]
    talea: PathBuf,
    /// Folder for data and logs, on the disk whose syncs count
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Only these: fair, many, scale
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Functions that are called in turn
    #[arg(long, default_value_t = 10_000)]
    functions: u32,
    /// Memory for artefacts while they are
    #[arg(long, default_value = "16 MiB")]
    cache: String,
    /// Receipts in the store at the end
    #[arg(long, default_value_t = 1_000_000)]
    receipts: u64,
    /// Length of a window in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The page whose sections are replaced
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Drive(args) => drive_one(&args),
        Command::Strain(args) => strain_one(&args),
        Command::Hello { listen } => Ok(hello::serve(listen)?),
    }
}

fn run(args: &RunArgs) -> anyhow::Result<()> {
    let machine = Machine::here();
    fs::create_dir_all(&args.folder)?;
    let options = Options {
        talea: args.talea.clone(),
        folder: fs::canonicalize(&args.folder)?,
        guests: args.guests.clone(),
        wasmtime: args.wasmtime.clone(),
        workerd: args.workerd.clone(),
        install: args.install,
        only: args.only.clone(),
    };
    let plan = Plan {
        connections: args.connections.clone(),
        rounds: if args.quick { 2 } else { args.rounds },
        window: Duration::from_secs_f64(if args.quick { 0.5 } else { args.seconds }),
        warmup: Duration::from_millis(if args.quick { 100 } else { 500 }),
    };
    let (mut contenders, absent) = peers::gather(&options, |line| eprintln!("{line}"))?;
    cores::pin(GENERATOR)?;
    let measured =
        rounds::measure(&mut contenders, &plan, &options.folder, |line| eprintln!("{line}"))?;
    let effort = Effort { rounds: 9, slice: Duration::from_millis(20) };
    let verify_us = Some(signature_us(effort));
    let report = Report::new(machine, plan, &contenders, absent, &measured, verify_us);
    let page = report.markdown();
    println!("{page}");
    if let Some(path) = &args.results {
        results::replace(path, "load", &page)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Fuel of an endless guest that nobody pays for: seconds of it.
const ENDLESS_FUEL: &str = "limits.fuel=10000000000";

fn strain_one(args: &StrainArgs) -> anyhow::Result<()> {
    let machine = Machine::here();
    fs::create_dir_all(&args.folder)?;
    let folder = fs::canonicalize(&args.folder)?.join("strain");
    cores::pin(GENERATOR)?;
    let window = Duration::from_secs_f64(args.seconds);
    let wants = |key: &str| args.only.is_empty() || args.only.iter().any(|only| only == key);
    let write = |name: &str, page: String| -> anyhow::Result<()> {
        let page = format!("{page}\n{}\n", machine.line());
        println!("{page}");
        match &args.results {
            Some(path) => results::replace(path, name, &page)
                .with_context(|| format!("writing {}", path.display())),
            None => Ok(()),
        }
    };
    let fresh = |settings: &[&str]| Node::start(Order::fresh(&args.talea, &folder, settings)?);
    if wants("fair") {
        let node = fresh(&[ENDLESS_FUEL])?;
        let plan = fair::Plan { connections: 32, endless: 2, window, rounds: 3 };
        write("fair", fair::measure(&node, plan)?)?;
    }
    if wants("many") {
        let cache = format!("compute.cache={}", args.cache);
        let node = fresh(&[&cache])?;
        let plan = many::Plan { functions: args.functions, connections: 32, window };
        write("many", many::measure(&node, plan, &args.cache)?)?;
    }
    if wants("scale") {
        let node = fresh(&[])?;
        let plan = scale::Plan { connections: 256, receipts: args.receipts, window };
        write("scale", scale::measure(node, plan, |line| eprintln!("{line}"))?)?;
    }
    // A gigabyte of receipts is nothing to leave behind.
    fs::remove_dir_all(&folder).or_else(|fault| match fault.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(fault),
    })?;
    Ok(())
}

fn drive_one(args: &DriveArgs) -> anyhow::Result<()> {
    cores::pin(GENERATOR)?;
    let load = Load {
        address: args.address,
        connections: args.connections,
        warmup: Duration::from_millis(300),
        window: Duration::from_secs_f64(args.seconds),
        proof: None,
    };
    let (seen, (), ()) = drive(load, &mut Same::get(args.address, &args.path), || ())?;
    let micros = |share: f64| seen.latencies.quantile(share) as f64 / 1e3;
    println!(
        "{:.0} answers/s, p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, {} failures",
        seen.rate(),
        micros(0.5),
        micros(0.99),
        micros(0.999),
        seen.failures
    );
    Ok(())
}
