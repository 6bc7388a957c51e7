//! `cargo xtask`: the house's own chores, each one command.
//!
//! Owns: the demonstration, building guests, running all tests and the benches. Invariants: every chore ends by
//! itself, says what it does while it does it, and fails with a sentence that tells what to do. Absent: anything a
//! user of Talea needs (that is the `talea` command), and any knowledge of the node but its command line and its
//! documents.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores are run by people and talk to them"
)]

mod bench;
mod clients;
mod demo;
mod guests;
mod release;
mod shell;
mod suite;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
The house's chores. Usage: cargo xtask COMMAND

  demo             build node and examples, call every example, verify and re-run a bill, show two lies found;
                   with --nodes N: N nodes with one ledger, each serves and bills what one was given
  test             build the guests, then every test, then the examples in the documentation
  guests           build the example functions; those whose compiler is not here are checked by hash
  bench [NAME]     measure: core | load | strain | network | guard, each with arguments of its own after it; without NAME core and load
  release          the binary to give away, target/guided/talea: built twice, the second time laid out by what the first was
                   seen to do under load (half an hour on two cores)
  ci               what must be true before a change lands (.ci/run)
  help             this text

Exit code: 0 when all went well, 1 when something did not, 2 for a wrong command.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    let done = match command.as_str() {
        "demo" => demo::run(rest),
        "test" => alone(rest).and_then(|()| suite::run()),
        "guests" => alone(rest).and_then(|()| guests::run()),
        "bench" => bench::run(rest),
        "release" => alone(rest).and_then(|()| release::run()),
        "ci" => alone(rest).and_then(|()| shell::run(shell::at_root("bash").arg(".ci/run"))),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("error: there is no chore `{other}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("\nerror: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn alone(rest: &[String]) -> Result<()> {
    match rest.first() {
        None => Ok(()),
        Some(word) => bail!("`{word}` is one word too many: see `cargo xtask help`"),
    }
}
