//! Other programs: where they run, what they print, and what it means when they fail.
//!
//! Invariant: a program's standard error goes to the user as it comes, so cargo shows its own progress. Absent:
//! shells; arguments are passed as they are.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What guests are compiled for.
pub(crate) const GUEST_TARGET: &str = "wasm32-wasip1";

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // Cargo tells a program it runs where its package lies; a binary started by hand knows where it was built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map(Path::to_owned).unwrap_or(package)
}

/// A program that runs at the root of the checkout.
pub(crate) fn at_root(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Of the package that is us, not of those we build.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME").current_dir(root());
    command
}

/// Runs a program to its end; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Whether a program is there and runs.
pub(crate) fn is_there(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Builds one binary of the workspace and says where it is.
pub(crate) fn build_binary(package: &str, binary: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", package, "--bin", binary]);
    executable(command, binary)
}

/// The binary that the end-to-end tests use, as they have built it: a package that is built alone gets other
/// features of its dependencies, and all of them would be compiled once more.
pub(crate) fn tested_binary(binary: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--test", "e2e", "--no-run"]);
    executable(command, binary)
}

/// Runs a build and finds where it put a binary.
fn executable(mut command: Command, binary: &str) -> Result<PathBuf> {
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", shown(&command)))?;
    let mut found = None;
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            let line = line.context("cannot read what cargo says")?;
            let message: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if message["target"]["name"] == binary && message["executable"].is_string() {
                found = message["executable"].as_str().map(PathBuf::from);
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{binary} could not be built; the compiler's words are above");
    }
    found.with_context(|| format!("cargo built {binary} and did not say where"))
}

/// Makes sure that guests can be compiled.
pub(crate) fn ensure_guest_target() -> Result<()> {
    if has_guest_target() {
        return Ok(());
    }
    println!("   the compiler lacks {GUEST_TARGET}; rustup adds it");
    let mut rustup = at_root("rustup");
    let added = run(rustup.args(["target", "add", GUEST_TARGET]));
    if added.is_ok() && has_guest_target() {
        return Ok(());
    }
    bail!(
        "functions in Rust cannot be built here: the standard library for {GUEST_TARGET} is missing and rustup could \
         not add it. With rustup: `rustup target add {GUEST_TARGET}`. With a distribution's Rust: install its \
         package for that target (Debian: libstd-rust-dev-wasm32, Fedora: rust-std-static-{GUEST_TARGET})"
    )
}

fn has_guest_target() -> bool {
    let mut rustc = at_root("rustc");
    rustc.args(["--print", "target-libdir", "--target", GUEST_TARGET]).stderr(Stdio::null());
    rustc.output().is_ok_and(|said| {
        let folder = String::from_utf8_lossy(&said.stdout);
        said.status.success() && Path::new(folder.trim()).is_dir()
    })
}

/// A line that says what comes now.
pub(crate) fn heading(text: impl Display) {
    println!("\n{}", strong(format_args!("== {text}")));
}

/// Text that stands out, on a terminal.
pub(crate) fn strong(text: impl Display) -> String {
    painted("1", text)
}

/// Text for what is as it should be.
pub(crate) fn good(text: impl Display) -> String {
    painted("32", text)
}

/// Text for what was found false.
pub(crate) fn bad(text: impl Display) -> String {
    painted("31", text)
}

fn painted(code: &str, text: impl Display) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !plain {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}

/// A command as one would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_is_not_there_is_named() {
        let failed = run(Command::new("false").arg("x")).unwrap_err().to_string();
        assert!(failed.starts_with("false x failed"), "{failed}");
        let absent = run(&mut Command::new("no-such-program-of-ours")).unwrap_err().to_string();
        assert_eq!(absent, "cannot run no-such-program-of-ours");
        assert!(!is_there(&mut Command::new("no-such-program-of-ours")));
        assert!(is_there(&mut Command::new("true")));
    }

    #[test]
    fn the_root_is_where_the_workspace_is() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
