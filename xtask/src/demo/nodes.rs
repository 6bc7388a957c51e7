//! `cargo xtask demo --nodes N`: several nodes, one ledger. What is deployed at one runs at each, each is paid, every
//! bill is run again from the caller's papers, and all nodes tell the same balances.
//!
//! Invariants and bounds are those of the demonstration with one node. Absent: partitions and crashes, which the
//! end-to-end tests have.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::host::{Host, Scratch};
use super::{PATIENCE, PRICES, Row, Talea, money};
use crate::guests::{self, Built};
use crate::{shell, suite};

/// Fewer make no network; more only fill a small machine.
pub(crate) const NODES: std::ops::RangeInclusive<usize> = 2..=7;
/// Small functions whose answer fits a line: every node compiles each of them.
const SHOWN: [&str; 2] = ["wordcount", "markdown"];
/// Nodes of one machine are in step within a few slots of a quarter of a second.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How often a node is asked whether it is.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// One node of the demonstration.
struct Member {
    host: Host,
    data: PathBuf,
    /// The command, which talks to this node.
    talea: Talea,
    rows: Vec<Row>,
    /// Receipt, run, input, output and function of each row.
    papers: Vec<PathBuf>,
}

/// Runs the demonstration with `count` nodes.
pub(crate) fn run(count: usize) -> Result<()> {
    let started = suite::now();
    shell::heading("1 of 6: node, guests' target and example functions are built");
    shell::ensure_guest_target()?;
    let program = shell::build_binary("talea-runtime", "talea")?;
    let built: Vec<Built> = guests::build()?
        .into_iter()
        .filter(|each| SHOWN.contains(&each.guest.name.as_str()))
        .collect();
    ensure!(built.len() == SHOWN.len(), "the examples {SHOWN:?} are not among the guests");
    guests::show(&built);

    let scratch = Scratch::new()?;
    shell::heading(format!("2 of 6: one node begins a network, {} join it", count - 1));
    let mut members = start(&program, scratch.path(), count)?;

    shell::heading("3 of 6: deployed at node 1, called and paid at each of the nodes");
    deploy(&members, &built)?;
    call_at_each(&mut members, &built)?;
    show(&members);

    shell::heading("4 of 6: every bill is run again from the caller's papers, with no node asked");
    run_again(&members)?;

    shell::heading("5 of 6: each host takes its money");
    let keys = parties(&members)?;
    for (at, member) in members.iter().enumerate() {
        println!("   node {}", at + 1);
        let bills = member.rows.iter().map(|row| row.bill.parse::<u64>());
        let billed = bills.sum::<Result<u64, _>>().context("a bill is a number")?;
        money::redeem(&member.talea, &member.data, billed, &scratch.path().join("proof.json"))?;
    }

    shell::heading("6 of 6: every node tells the same balances");
    compare(&members, &keys)?;
    for member in members {
        member.host.drain()?;
    }
    println!(
        "\n{} in {}",
        shell::good("all of it is as it should be"),
        suite::shown(started.elapsed())
    );
    Ok(())
}

/// Starts the nodes and waits until each says that it is in step.
fn start(program: &Path, scratch: &Path, count: usize) -> Result<Vec<Member>> {
    let home = scratch.join("wallet");
    let mut members: Vec<Member> = Vec::new();
    let mut first = None;
    for at in 1..=count {
        let data = scratch.join(format!("node-{at}"));
        let mut flags = [&PRICES[..], &PATIENCE[..]].concat();
        flags.extend(["--peer-listen", "/ip4/127.0.0.1/tcp/0"]);
        if let Some(address) = &first {
            flags.extend(["--join", String::as_str(address)]);
        }
        let host = Host::start(program, &data, &home, &flags)?;
        let talea = Talea {
            program: program.to_path_buf(),
            home: home.clone(),
            node: Some(host.url().to_owned()),
        };
        wait_until("the node is in step", || ready(host.url()))?;
        let peers = talea.json(&["peers"])?;
        let address = peers["addresses"][0].as_str().context("a node tells where it listens")?;
        let known = peers["peers"].as_array().map_or(0, Vec::len);
        println!("   node {at}  {}  {known} peers  {address}", host.url());
        first.get_or_insert_with(|| address.to_owned());
        members.push(Member { host, data, talea, rows: Vec::new(), papers: Vec::new() });
    }
    Ok(members)
}

fn deploy(members: &[Member], built: &[Built]) -> Result<()> {
    let first = members.first().context("there is a node")?;
    for example in built {
        let wasm = example.wasm.display().to_string();
        let name = name_of(example);
        first.talea.json(&["deploy", &wasm, "--name", &name])?;
    }
    Ok(())
}

fn call_at_each(members: &mut [Member], built: &[Built]) -> Result<()> {
    for (at, member) in members.iter_mut().enumerate() {
        for example in built {
            let call = example.guest.call.first().context("an example has a call")?;
            let name = name_of(example);
            let papers = member.data.with_extension(format!("{}.talea", example.guest.name));
            let row = member
                .talea
                .call(example, &name, call, Some(&papers))
                .with_context(|| format!("calling {name} at node {}", at + 1))?;
            member.rows.push(row);
            member.papers.push(papers);
        }
    }
    Ok(())
}

fn show(members: &[Member]) {
    println!("\n   node  {:<26}  {:>9}  {:>6}  receipt", "function", "fuel", "bill");
    for (at, member) in members.iter().enumerate() {
        for Row { name, fuel, bill, receipt, .. } in &member.rows {
            println!("   {:<4}  {name:<26}  {fuel:>9}  {bill:>6}  {receipt}", at + 1);
        }
    }
    println!(
        "   (each run has a seed of its own, so a program with random hashing takes another fuel each time)"
    );
}

/// Every bill once more, from the papers that the caller kept.
fn run_again(members: &[Member]) -> Result<()> {
    for (at, member) in members.iter().enumerate() {
        for (row, papers) in member.rows.iter().zip(&member.papers) {
            let papers = papers.display().to_string();
            let (said, exit) = member.talea.ask(&["receipt", "verify", &papers, "--rerun"])?;
            let verdict = said["verdict"].as_str().unwrap_or("none");
            println!("   node {}  {:<26}  {}", at + 1, row.name, shell::good(verdict));
            ensure!(exit == 0 && verdict == "match", "expected a match, got {verdict} and {exit}");
        }
    }
    Ok(())
}

/// The payer and each host, as the channels name them while they are open.
fn parties(members: &[Member]) -> Result<Vec<(String, String)>> {
    let mut keys = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let channel = member.talea.json(&["channel", "show"])?;
        let key = |field: &str| channel[field].as_str().map(str::to_owned);
        if at == 0 {
            keys.push(("payer".to_owned(), key("payer").context("a channel has a payer")?));
        }
        keys.push((format!("host {}", at + 1), key("host").context("a channel has a host")?));
    }
    Ok(keys)
}

/// Asks every node what the payer and each host have, until all say the same.
fn compare(members: &[Member], keys: &[(String, String)]) -> Result<()> {
    let told = || -> Result<Vec<Vec<u64>>> {
        let of = |member: &Member| {
            keys.iter().map(|(_, key)| money::balance(&member.talea, key)).collect()
        };
        members.iter().map(of).collect()
    };
    let mut last = Vec::new();
    wait_until("all nodes tell the same balances", || {
        last = told()?;
        Ok(last.windows(2).all(|pair| pair.first() == pair.last()))
    })?;
    for (at, (who, _)) in keys.iter().enumerate() {
        let amounts: Vec<String> =
            last.iter().filter_map(|told| told.get(at)).map(u64::to_string).collect();
        println!("   {who:<8} {}", amounts.join("  "));
    }
    Ok(())
}

fn name_of(example: &Built) -> String {
    format!("demo/{}", example.guest.name)
}

/// Asks again and again, but not for ever.
fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = suite::now();
    while started.elapsed() < STEP_MAX {
        if holds()? {
            return Ok(());
        }
        std::thread::sleep(ASK_EVERY);
    }
    bail!("{what}: not within {} s", STEP_MAX.as_secs())
}

/// Whether a node says that it is in step with its network.
fn ready(url: &str) -> Result<bool> {
    let authority = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(authority).context("the node cannot be reached")?;
    stream.set_read_timeout(Some(STEP_MAX))?;
    write!(stream, "GET /ready HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).context("the node does not answer")?;
    Ok(head.ends_with(b" 200"))
}
