//! `cargo xtask release`: the binary to give away, laid out by what a node under load was seen to do.
//!
//! Owns the two builds and what lies between them. Invariant: both are of the same sources and the same features, or
//! what was counted in the first would not fit the second. Absent: stripping, packing and signing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// The component of the toolchain that has `llvm-profdata`.
const COMPONENT: &str = "llvm-tools";

/// What both builds are of: the node, and the load for it. Built without the load, the node's dependencies would have
/// other features, and other names for their functions.
const PACKAGES: [&str; 2] = ["talea-runtime", "talea-benches"];

/// What the node does while it counts, as the load bench names it.
const LESSON: &str = "free,paid";

/// Builds a node that counts, drives it for a minute, and builds the node that has learned from it.
pub(crate) fn run() -> Result<()> {
    let host = said(Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say which machine it is for")?;
    let merge = profdata(host)?;
    let folder = shell::root().join("target/guided");
    let counts = folder.join("counts");
    if counts.exists() {
        std::fs::remove_dir_all(&counts).context("removing what was counted before")?;
    }
    std::fs::create_dir_all(&counts)?;

    shell::heading("a node that counts which way its code goes");
    let learn = Build { folder: &folder, name: "learn", host };
    learn.run(&format!("-Cprofile-generate={}", counts.display()))?;
    shell::heading("free and paid calls for it");
    let figures = folder.join("figures.json");
    let mut load = shell::at_root(&learn.program("talea-load").display().to_string());
    load.args(["run", "--quick", "--only", LESSON, "--talea"]).arg(learn.program("talea"));
    shell::run(load.arg("--folder").arg(folder.join("bench")).arg("--json").arg(&figures))?;
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(&figures)?)?;
    let driven = |name: &str| {
        figures["contenders"].as_array().is_some_and(|all| all.iter().any(|one| one["key"] == name))
    };
    if !LESSON.split(',').all(driven) {
        bail!("the node was not driven, so nothing was learned: see what the load says above");
    }

    shell::heading("the node that has learned from them");
    let learned = folder.join("learned.profdata");
    shell::run(Command::new(merge).arg("merge").arg("-o").arg(&learned).arg(&counts))?;
    let last = Build { folder: &folder, name: "build", host };
    last.run(&format!("-Cprofile-use={}", learned.display()))?;
    let binary = folder.join("talea");
    std::fs::copy(last.program("talea"), &binary).context("copying the binary")?;
    println!("{}", binary.display());
    Ok(())
}

/// One of the builds: a target folder of its own, since other flags make all of it anew.
struct Build<'a> {
    folder: &'a Path,
    name: &'a str,
    host: &'a str,
}

impl Build<'_> {
    fn run(&self, flag: &str) -> Result<()> {
        let mut cargo = shell::cargo();
        // With a target named, build scripts and macros are compiled without the flag.
        cargo.args(["build", "--release", "--bins", "--locked", "--target", self.host]);
        cargo.arg("--target-dir").arg(self.folder.join(self.name));
        // Not `RUSTFLAGS`, which is cut at blanks: the folder's name may have one.
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flag);
        shell::run(cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package])))
    }

    fn program(&self, name: &str) -> PathBuf {
        self.folder.join(self.name).join(self.host).join("release").join(name)
    }
}

/// Where `llvm-profdata` of this toolchain is; fetches it when it is missing.
fn profdata(host: &str) -> Result<PathBuf> {
    let sysroot = said(Command::new("rustc").args(["--print", "sysroot"]))?;
    let tool = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !tool.exists() {
        shell::heading("the toolchain's own reader of counts");
        let fetched = shell::run(Command::new("rustup").args(["component", "add", COMPONENT]));
        if fetched.is_err() || !tool.exists() {
            bail!("there is no {}: `rustup component add {COMPONENT}` brings it", tool.display());
        }
    }
    Ok(tool)
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.current_dir(shell::root()).output().context("cannot run rustc")?;
    if !output.status.success() {
        bail!("rustc failed ({})", output.status);
    }
    String::from_utf8(output.stdout).context("rustc said something that is no text")
}
