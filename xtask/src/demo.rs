//! `cargo xtask demo`: the whole path once, on this machine, from a compiler to a lie that is found.
//!
//! It builds node and examples, starts a node on a free port over a temporary folder, deploys and calls every
//! example as its caller would (through the `talea` command), each call paid from a channel, has the host take its
//! money, drains the node, and then, with no node running, verifies the host's balance and one receipt from files,
//! re-runs it, and lets its host lie twice. Invariants: nothing outside the
//! temporary folder is touched; every answer is held against what it should be; any deviation ends the
//! demonstration with an error. Absent: shortcuts; what is shown is what the commands say.

mod forge;
mod host;
mod money;
mod nodes;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use self::host::{Host, Scratch};
use crate::guests::{Built, Call};
use crate::{guests, shell, suite};

/// What the demonstration's host asks: 100 a call, 50 per million fuel, 2 per KiB.
const PRICES: [&str; 6] = ["--price-per-call", "100", "--price-rate", "50", "--price-per-kib", "2"];
/// It does not redeem by itself, so that the redeem can be watched.
const PATIENCE: [&str; 2] = ["--set", "channels.redeem=1000000000"];
/// Characters of an answer that are shown.
const SNIPPET_LEN: usize = 38;

/// One row of the table.
struct Row {
    name: String,
    answer: String,
    fuel: String,
    bill: String,
    receipt: String,
}

/// The command under demonstration, with a home of its own.
struct Talea {
    program: PathBuf,
    home: PathBuf,
    node: Option<String>,
}

/// Runs the demonstration: with one node, or `--nodes N`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => one_node(),
        [flag, count] if flag == "--nodes" => match count.parse() {
            Ok(1) => one_node(),
            Ok(count) if nodes::NODES.contains(&count) => nodes::run(count),
            _ => bail!("--nodes takes a number from 1 to {}", nodes::NODES.end()),
        },
        _ => bail!("the demonstration takes nothing but `--nodes N`"),
    }
}

fn one_node() -> Result<()> {
    let started = suite::now();
    shell::heading("1 of 7: the compiler's target for functions");
    shell::ensure_guest_target()?;
    println!("   {} is there", shell::GUEST_TARGET);

    shell::heading(
        "2 of 7: building the node (the first time takes minutes: it brings its own compiler)",
    );
    let program = shell::build_binary("talea-runtime", "talea")?;
    println!("   {}", program.display());

    shell::heading("3 of 7: building the example functions");
    let built = guests::build()?;
    guests::show(&built);

    let scratch = Scratch::new()?;
    let kept = scratch.path().join("kept.talea");
    let mut talea = Talea { program, home: scratch.path().join("wallet"), node: None };
    let data = scratch.path().join("data");
    let proof = scratch.path().join("balance.json");
    let paid = call_everything(&mut talea, &data, &built, &kept, &proof)?;

    shell::heading("7 of 7: money and one bill, checked from files with no node running");
    money::verify(&talea, &proof, &paid)?;
    check_offline(&talea, scratch.path(), &data, &kept)?;
    println!(
        "\n{} in {}",
        shell::good("all of it is as it should be"),
        suite::shown(started.elapsed())
    );
    Ok(())
}

/// Starts a node, deploys and calls every example, and drains the node again.
fn call_everything(
    talea: &mut Talea,
    data: &Path,
    built: &[Built],
    kept: &Path,
    proof: &Path,
) -> Result<money::Paid> {
    shell::heading("4 of 7: a node on a free port, with a temporary folder");
    let payer = talea.json(&["wallet", "show"])?;
    let payer = payer["key"].as_str().context("the wallet shows a key")?.to_owned();
    let flags = [&PRICES[..], &PATIENCE[..]].concat();
    let host = Host::start(&talea.program, data, &talea.home, &flags)?;
    println!("   listening on {}", host.url());
    println!("   payer {payer}");
    talea.node = Some(host.url().to_owned());

    shell::heading(
        "5 of 7: every example is deployed and called on real input, each call paid by a signed run and a voucher",
    );
    let mut rows = Vec::new();
    for example in built {
        let name = format!("demo/{}", example.guest.name);
        let wasm = example.wasm.display().to_string();
        talea
            .json(&["deploy", &wasm, "--name", &name])
            .with_context(|| format!("{name} could not be deployed"))?;
        for call in &example.guest.call {
            // The first of all is the one whose bill is checked later.
            let keep = rows.is_empty().then_some(kept);
            rows.push(
                talea
                    .call(example, &name, call, keep)
                    .with_context(|| format!("calling {name}"))?,
            );
        }
    }
    ensure!(!rows.is_empty(), "there was nothing to call");
    show(&rows);
    shell::heading("6 of 7: the host takes its money");
    let bills = rows.iter().map(|row| row.bill.parse::<u64>());
    let billed = bills.sum::<Result<u64, _>>().context("a bill is a number")?;
    let paid = money::redeem(talea, data, billed, proof)?;
    talea.node = None;
    host.drain()?;
    println!("   the node has answered everything and ended");
    Ok(paid)
}

/// A receipt as it was given, then the same with a lie that its host signs.
fn check_offline(talea: &Talea, scratch: &Path, data: &Path, kept: &Path) -> Result<()> {
    println!(
        "   {} holds receipt, proof, run, input, output and the function's bytes",
        name_of(kept)
    );
    expect(
        talea,
        kept,
        "as it was given",
        Expected { consistent: true, verdict: "match", exit: 0 },
    )?;

    println!(
        "\n   Now the host lies. It changes its own receipt, makes the bill fit, and signs again with its real"
    );
    println!(
        "   key: a host can do that. Signature, links and price then hold; only running it again tells."
    );
    let key = forge::host_key(&data.join("key"))?;
    let honest = forge::read(kept)?;
    for (lie, forged, verdict) in [
        ("one more unit of fuel", forge::one_more_fuel(&honest, &key)?, "mismatch(fuel)"),
        ("another first byte of output", forge::another_output(&honest, &key)?, "mismatch(output)"),
    ] {
        let path = scratch.join(format!("{}.talea", lie.replace(' ', "-")));
        forge::write(&path, &forged)?;
        expect(talea, &path, lie, Expected { consistent: true, verdict, exit: 3 })?;
    }
    Ok(())
}

struct Expected {
    consistent: bool,
    verdict: &'static str,
    exit: i32,
}

/// Verifies a file with a re-run and holds what comes of it against what should.
fn expect(talea: &Talea, file: &Path, what: &str, expected: Expected) -> Result<()> {
    let path = file.display().to_string();
    let (said, exit) = talea.ask(&["receipt", "verify", &path, "--rerun"])?;
    let verdict = said["verdict"].as_str().unwrap_or("none").to_owned();
    let consistent = said["consistent"].as_bool().unwrap_or(false);
    let painted = if expected.exit == 0 { shell::good(&verdict) } else { shell::bad(&verdict) };
    let signature =
        if consistent { "signature and links hold" } else { "signature or links do not hold" };
    println!("   {what:<30} {signature:<26} re-run: {painted}");
    if let Some(detail) = said["detail"].as_str() {
        println!("      {detail}");
    }
    let right =
        verdict == expected.verdict && consistent == expected.consistent && exit == expected.exit;
    ensure!(
        right,
        "expected {} and exit code {}, got {verdict} and {exit}",
        expected.verdict,
        expected.exit
    );
    Ok(())
}

fn show(rows: &[Row]) {
    let width = |cell: fn(&Row) -> &str, heading: &str| {
        rows.iter().map(|row| cell(row).chars().count()).fold(heading.len(), usize::max)
    };
    let (name, answer) = (width(|row| &row.name, "function"), width(|row| &row.answer, "answer"));
    let (fuel, bill) = (width(|row| &row.fuel, "fuel"), width(|row| &row.bill, "bill"));
    println!(
        "\n   {:<name$}  {:<answer$}  {:>fuel$}  {:>bill$}  receipt",
        "function", "answer", "fuel", "bill"
    );
    for row in rows {
        let Row { name: a, answer: b, fuel: c, bill: d, receipt } = row;
        println!("   {a:<name$}  {b:<answer$}  {c:>fuel$}  {d:>bill$}  {receipt}");
    }
    println!();
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

// === impl Talea ===

impl Talea {
    /// Runs a command that must succeed and gives its JSON.
    fn json(&self, words: &[&str]) -> Result<Value> {
        let (said, exit) = self.ask(words)?;
        ensure!(exit == 0, "`talea {}` ended with {exit}", words.join(" "));
        Ok(said)
    }

    /// Runs a command and gives its JSON and its exit code; what it says beside goes to the user.
    fn ask(&self, words: &[&str]) -> Result<(Value, i32)> {
        let mut command = Command::new(&self.program);
        command.args(words).args(["--output", "json", "--quiet"]).env("TALEA_HOME", &self.home);
        // Nobody listens on port 1: without a node a command that asked one would fail, not find another.
        command.env("TALEA_NODE", self.node.as_deref().unwrap_or("http://127.0.0.1:1"));
        let done =
            command.stderr(std::process::Stdio::inherit()).output().context("cannot run talea")?;
        let exit = done.status.code().unwrap_or(-1);
        let text = String::from_utf8_lossy(&done.stdout);
        let said = serde_json::from_str(&text).unwrap_or_default();
        Ok((said, exit))
    }

    /// Calls an example and checks its answer.
    fn call(&self, example: &Built, name: &str, call: &Call, keep: Option<&Path>) -> Result<Row> {
        let mut path = call.path.clone();
        if !call.query.is_empty() {
            path = format!("{path}?{}", call.query);
        }
        let mut words: Vec<String> =
            ["invoke", name, &path, "--method", &call.method].map(str::to_owned).to_vec();
        words.extend(["--pay", "--max-fuel", "5G"].map(str::to_owned));
        for header in &call.headers {
            words.extend(["--header".to_owned(), header.clone()]);
        }
        for argument in &call.args {
            words.extend(["--arg".to_owned(), argument.clone()]);
        }
        if let Some(data) = &call.data {
            words.extend([
                "--data".to_owned(),
                format!("@{}", guests::folder().join(data).display()),
            ]);
        }
        if let Some(keep) = keep {
            words.extend(["--save".to_owned(), keep.display().to_string()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = self.json(&words)?;
        let text = |field: &str| said[field].as_str().unwrap_or("?").to_owned();
        Ok(Row {
            name: example.guest.title.clone(),
            answer: answer(&said, call)?,
            fuel: text("fuel"),
            bill: text("bill"),
            receipt: text("receipt"),
        })
    }
}

/// Holds an answer against what it should be and gives a piece to show.
fn answer(said: &Value, call: &Call) -> Result<String> {
    if let Some(text) = said["body"].as_str() {
        if let Some(part) = &call.expect
            && !text.contains(part.as_str())
        {
            bail!("the answer should contain {part:?}, it is {:?}", snippet(text, 200));
        }
        let shown = call.expect.as_deref().unwrap_or(text);
        return Ok(snippet(shown, SNIPPET_LEN));
    }
    let encoded = said["body_base64"].as_str().context("the answer has no body")?;
    if let Some(hex) = &call.expect_hex {
        let head = forge::head_of_base64(encoded);
        ensure!(
            head.starts_with(hex.as_str()),
            "the answer should begin with {hex}, it begins with {head}"
        );
    }
    let kind = said["headers"]["content-type"].as_str().unwrap_or("bytes");
    Ok(format!("{} bytes of {kind}", said["body_len"].as_str().unwrap_or("?")))
}

fn snippet(text: &str, len: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= len {
        return words;
    }
    let head: String = words.chars().take(len.saturating_sub(2)).collect();
    format!("{head}..")
}
