//! `cargo xtask test`: everything that is checked by running it.

use std::time::Duration;

use anyhow::Result;

use crate::{clients, guests, shell};

/// Builds the guests, runs every test, then the examples in the documentation and the clients in other languages.
pub(crate) fn run() -> Result<()> {
    let started = now();
    shell::heading("guests");
    guests::run()?;
    shell::heading("tests");
    let mut tests = shell::cargo();
    if shell::is_there(shell::cargo().args(["nextest", "--version"])) {
        tests.args(["nextest", "run", "--workspace"]);
        // The profile for machines: failures are repeated at the end.
        if std::env::var_os("CI").is_some() {
            tests.args(["--profile", "ci"]);
        }
    } else {
        println!("   cargo-nextest is not here; `cargo test` does the same, slower");
        tests.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
    }
    shell::run(&mut tests)?;
    shell::heading("examples in the documentation");
    shell::run(shell::cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    let untested = clients::run()?;
    println!("\n{} in {}", shell::good("every test passed"), shown(started.elapsed()));
    for what in untested {
        println!("{} {what}", shell::bad("not tested:"));
    }
    Ok(())
}

/// The time, to say how long a chore took.
#[allow(clippy::disallowed_methods, reason = "a chore tells its user how long it took")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// `83 s` as `1 min 23 s`.
pub(crate) fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}
