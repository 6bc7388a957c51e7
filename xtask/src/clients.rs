//! The clients in other languages: what they find in the golden documents, and in what a node answers.
//!
//! Invariant: what could not be tested here is said where it is noticed and again at the end. Absent: their tests,
//! which lie in `tests/clients` in their own languages.

use anyhow::{Result, bail};

use crate::shell;

/// The exit code by which the browser's driver says that there is no browser.
const SKIPPED: i32 = 77;

/// Runs both; gives what was not tested, in words for the end of the suite.
pub(crate) fn run() -> Result<Vec<&'static str>> {
    shell::heading("clients in other languages");
    if !shell::is_there(shell::at_root("python3").arg("--version")) {
        println!(
            "   !! NOT TESTED: there is no python3 here. It runs the independent verifier and drives the browser."
        );
        return Ok(vec!["the verifier in Python and the browser's client (no python3)"]);
    }
    println!("   the verifier in Python, over the golden documents");
    shell::run(shell::at_root("python3").arg("tests/clients/python/vectors.py"))?;
    println!("   the browser's client and the dApp's page, in Chromium");
    let talea = shell::tested_binary("talea")?;
    let mut browser = shell::at_root("python3");
    let status = browser.arg("tests/clients/browser/run.py").arg("--talea").arg(talea).status()?;
    match status.code() {
        Some(0) => Ok(Vec::new()),
        Some(SKIPPED) => Ok(vec!["the browser's client and the dApp's page (no Chromium)"]),
        _ => bail!("the browser's client failed ({status})"),
    }
}
