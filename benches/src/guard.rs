//! The guard of the hot path: instructions per turn, counted by callgrind.
//!
//! Owns the scenarios, the counting and the comparison with what was recorded. A count is the same
//! on a busy machine as on a quiet one, which a time is not. Invariant: what a process does before
//! its first turn is not counted, since only the difference between two numbers of turns is. Absent:
//! caches, the kernel, and the guest's own code, whose instructions valgrind counts but a metering
//! bench times.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use talea_ledger::batch::{BatchHead, seal_batch, verify_receipts};
use talea_ledger::{Document, FunctionId, NetworkId, UnixNanos};

use crate::inside::documents::{host, input, output, profile_id, receipt, run};
use crate::inside::guests::{HELLO, at_once, binary, invocation, runtime, small_executor};

/// Turns of the shorter run; the longer one has twice as many. 200 make what varies from run to run
/// (hash seeds, addresses) less than half a per cent.
const TURNS: u64 = 200;
/// Growth that is shown: below it a compiler's mood decides.
const GROWTH_MAX: f64 = 0.05;
/// Receipts of a batch in the scenarios.
const BATCH: usize = 64;

/// What is counted, by name.
pub const SCENARIOS: [&str; 4] = ["documents", "seal-64", "verify-64", "execute"];

/// The recorded counts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// Instructions per turn.
    instructions: BTreeMap<String, u64>,
}

/// Does `turns` turns of a scenario: what runs under callgrind.
pub fn drive(scenario: &str, turns: u64) -> anyhow::Result<()> {
    let key = host();
    let payloads: Vec<Vec<u8>> =
        (0..BATCH as u64).map(|number| receipt(&key, number).encode()).collect();
    let head = BatchHead { network: NetworkId::DEVELOPMENT, number: 1, at: UnixNanos(1) };
    match scenario {
        "documents" => {
            let (input, output, receipt) = (input(), output(), receipt(&key, 1));
            let run = run(FunctionId::of(b"function"), profile_id());
            for _ in 0..turns {
                black_box((input.id(), run.id(), output.id(), receipt.id()));
            }
        }
        "seal-64" => {
            for _ in 0..turns {
                black_box(seal_batch(&key, head, &payloads)?);
            }
        }
        "verify-64" => {
            let batch = seal_batch(&key, head, &payloads)?;
            for _ in 0..turns {
                black_box(verify_receipts(&payloads, batch.sealed())?);
            }
        }
        "execute" => {
            let wasm = binary(HELLO)?;
            let runtime = runtime()?;
            let _guard = runtime.enter();
            let executor = small_executor(&[&wasm])?;
            let invocation = invocation(FunctionId::of(&wasm));
            runtime.block_on(executor.run(invocation.clone()))?;
            for _ in 0..turns {
                black_box(at_once(executor.run(invocation.clone()))??);
            }
        }
        other => bail!("there is no scenario {other}; there are {}", SCENARIOS.join(", ")),
    }
    Ok(())
}

/// Counts every scenario and compares with `file`, or writes it. Gives what has grown too much.
pub fn guard(
    file: &Path,
    record: bool,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<Vec<String>> {
    let recorded: Recorded = match fs::read_to_string(file) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("reading {}", file.display()))?,
        Err(_) if record => Recorded::default(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
    };
    let mut found = Recorded::default();
    let mut grown = Vec::new();
    for scenario in SCENARIOS {
        let count = per_turn(scenario)?;
        let before = recorded.instructions.get(scenario).copied();
        let change = before.map(|before| count as f64 / before as f64 - 1.0);
        let words = change.map_or_else(
            || "not recorded before".to_owned(),
            |change| format!("{:+.1} % of what is recorded", change * 100.0),
        );
        progress(&format!("{scenario}: {count} instructions per turn, {words}"));
        if change.is_none_or(|change| change > GROWTH_MAX) {
            grown.push(format!("{scenario}: {words}"));
        }
        found.instructions.insert(scenario.to_owned(), count);
    }
    if record {
        let head = "# Instructions per turn of the hot path, counted by callgrind in a release build.\n\
                    # `cargo xtask bench guard --record` writes this file.\n\n";
        fs::write(file, format!("{head}{}", toml::to_string(&found)?))?;
        return Ok(Vec::new());
    }
    Ok(grown)
}

/// Whether valgrind can be called.
#[must_use]
pub fn is_possible() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn per_turn(scenario: &str) -> anyhow::Result<u64> {
    let (short, long) = (counted(scenario, TURNS)?, counted(scenario, 2 * TURNS)?);
    ensure!(long > short, "{scenario}: twice the turns took no more instructions");
    Ok((long - short) / TURNS)
}

fn counted(scenario: &str, turns: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["drive", scenario, "--turns", &turns.to_string()])
        .output()
        .context("starting valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    match collected.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if output.status.success() => Ok(count),
        _ => bail!("callgrind of {scenario} ended with {}: {said}", output.status),
    }
}
