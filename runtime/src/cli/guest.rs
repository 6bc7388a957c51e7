//! From what the user names (a folder or a `.wasm` file) to the bytes of one function.
//!
//! Owns: finding out how a folder is built, running that build, and saying what is missing on this machine.
//! A folder with `Cargo.toml` is built by cargo for [`TARGET`] in release; one with a `Makefile` by `make`.
//! Invariants: the compiler's own output goes to standard error untouched; exactly one module comes out, or an
//! error says which there were. Absent: judging the module (see `build`), and any download.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use super::exit::{Exit, Failure, OrExit as _};

/// What guests are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip1";

/// What a path turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A module that is built already.
    Module(PathBuf),
    /// A folder that cargo builds.
    Crate(PathBuf),
    /// A folder that `make` builds.
    Make(PathBuf),
}

/// The bytes of one function.
#[derive(Clone, Debug)]
pub(super) struct Module {
    /// The file they were read from.
    pub(super) path: PathBuf,
    pub(super) wasm: Vec<u8>,
}

// === impl Source ===

impl Source {
    /// Looks at what is there.
    pub(super) fn find(path: &Path) -> Result<Self, Failure> {
        let facts = std::fs::metadata(path)
            .or_exit(Exit::NoInput, || format!("cannot read {}", path.display()))?;
        if facts.is_file() {
            return match path.file_name().and_then(|name| name.to_str()) {
                Some("Cargo.toml") => Ok(Self::Crate(parent(path))),
                Some("Makefile") => Ok(Self::Make(parent(path))),
                _ => Ok(Self::Module(path.to_owned())),
            };
        }
        if path.join("Cargo.toml").is_file() {
            Ok(Self::Crate(path.to_owned()))
        } else if path.join("Makefile").is_file() {
            Ok(Self::Make(path.to_owned()))
        } else {
            let sentence = format!("{} has neither a Cargo.toml nor a Makefile", path.display());
            Err(Failure::said(Exit::NoInput, sentence)
                .advise("name a function's folder or a .wasm file, or start with `talea new`"))
        }
    }

    /// The folder whose changes matter, when there is a build.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Module(_) => None,
            Self::Crate(folder) | Self::Make(folder) => Some(folder),
        }
    }

    /// Builds it where there is something to build, and reads the module.
    pub(super) fn build(&self, binary: Option<&str>) -> Result<Module, Failure> {
        let path = match self {
            Self::Module(path) => path.clone(),
            Self::Crate(folder) => cargo_build(folder, binary)?,
            Self::Make(folder) => make(folder)?,
        };
        let wasm = std::fs::read(&path)
            .or_exit(Exit::NoInput, || format!("cannot read {}", path.display()))?;
        Ok(Module { path, wasm })
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether this machine's Rust can compile for [`TARGET`]; `None` when there is no rustc to ask.
pub(super) fn target_is_installed(folder: &Path) -> Option<bool> {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        // A folder may pin its own toolchain.
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let libraries = String::from_utf8(asked.stdout).ok()?;
    Some(asked.status.success() && Path::new(libraries.trim()).is_dir())
}

fn cargo_build(folder: &Path, binary: Option<&str>) -> Result<PathBuf, Failure> {
    match target_is_installed(folder) {
        Some(true) => {}
        Some(false) => {
            return Err(Failure::said(
                Exit::Failed,
                format!("this Rust toolchain cannot compile for {TARGET}"),
            )
            .advise(format!("rustup target add {TARGET}")));
        }
        None => {
            return Err(Failure::said(
                Exit::Failed,
                "there is no Rust compiler here (rustc cannot be run)",
            )
            .advise("install Rust from https://rustup.rs, or name a .wasm file"));
        }
    }
    let mut command = Command::new("cargo");
    command
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(folder)
        // A surrounding `cargo run` sets these for its own build; they are not meant for the guest's.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if let Some(binary) = binary {
        command.args(["--bin", binary]);
    }
    let mut child = command.spawn().or_exit(Exit::Failed, || "cannot run cargo")?;
    let mut modules = Vec::new();
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            let line = line.or_exit(Exit::Failed, || "cannot read what cargo says")?;
            modules.extend(module_of(&line));
        }
    }
    let status = child.wait().or_exit(Exit::Failed, || "cannot wait for cargo")?;
    if !status.success() {
        return Err(Failure::said(
            Exit::Failed,
            "the build failed; the compiler's words are above",
        ));
    }
    only(
        modules,
        folder,
        "add `[lib] crate-type = [\"cdylib\"]` for a handler, or a `src/main.rs` for a command",
    )
}

/// The module a line of cargo's JSON messages tells of, if it does.
fn module_of(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let is_wasm = |path: &&str| path.ends_with(".wasm");
    let executable = message.get("executable").and_then(|path| path.as_str()).filter(is_wasm);
    let mut files = message
        .get("filenames")?
        .as_array()?
        .iter()
        .filter_map(|path| path.as_str())
        .filter(is_wasm);
    executable.or_else(|| files.next()).map(PathBuf::from)
}

fn make(folder: &Path) -> Result<PathBuf, Failure> {
    let status = Command::new("make")
        .current_dir(folder)
        .stdin(Stdio::null())
        // make echoes its commands on standard output, which is kept for results.
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| {
            Failure::new(Exit::Failed, anyhow::Error::new(error).context("cannot run make"))
        })
        .map_err(|failure| {
            failure.advise("install make, or build the module yourself and name the .wasm file")
        })?;
    if !status.success() {
        return Err(Failure::said(Exit::Failed, "make failed; its words are above"));
    }
    // The newest module in the folder, when there are several: the one this build made.
    let newest = wasm_files(folder)?.into_iter().max_by_key(|(changed, _)| *changed);
    only(
        newest.into_iter().map(|(_, path)| path).collect(),
        folder,
        "the Makefile's first goal must make one",
    )
}

fn wasm_files(folder: &Path) -> Result<Vec<(SystemTime, PathBuf)>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)
        .or_exit(Exit::NoInput, || format!("cannot list {}", folder.display()))?
    {
        let path =
            entry.or_exit(Exit::NoInput, || format!("cannot list {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let changed = path
                .metadata()
                .and_then(|facts| facts.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((changed, path));
        }
    }
    Ok(found)
}

fn only(mut modules: Vec<PathBuf>, folder: &Path, advice: &str) -> Result<PathBuf, Failure> {
    modules.sort();
    modules.dedup();
    match (modules.pop(), modules.is_empty()) {
        (Some(module), true) => Ok(module),
        (None, _) => {
            let sentence = format!("building {} made no .wasm module", folder.display());
            Err(Failure::said(Exit::Failed, sentence).advise(advice.to_owned()))
        }
        (Some(last), false) => {
            modules.push(last);
            let names: Vec<_> =
                modules.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
            let sentence = format!(
                "building {} made {} modules: {}",
                folder.display(),
                names.len(),
                names.join(", ")
            );
            Err(Failure::said(Exit::Usage, sentence)
                .advise("choose one with --bin NAME, or name its .wasm file"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_module_a_crate_a_makefile_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["rust", "c", "empty"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for name in ["rust/Cargo.toml", "c/Makefile", "f.wasm"] {
            std::fs::write(at(name), "").unwrap();
        }
        assert_eq!(Source::find(&at("rust")).unwrap(), Source::Crate(at("rust")));
        assert_eq!(Source::find(&at("rust/Cargo.toml")).unwrap(), Source::Crate(at("rust")));
        assert_eq!(Source::find(&at("c")).unwrap(), Source::Make(at("c")));
        assert_eq!(Source::find(&at("f.wasm")).unwrap(), Source::Module(at("f.wasm")));
        assert_eq!(Source::find(&at("empty")).unwrap_err().exit(), Exit::NoInput);
        assert_eq!(Source::find(&at("absent")).unwrap_err().exit(), Exit::NoInput);
    }

    #[test]
    fn modules_are_found_in_cargos_messages() {
        let cases = [
            (
                r#"{"reason":"compiler-artifact","filenames":["/t/a.wasm"],"executable":null}"#,
                Some("/t/a.wasm"),
            ),
            (
                r#"{"reason":"compiler-artifact","filenames":["/t/b.wasm"],"executable":"/t/b.wasm"}"#,
                Some("/t/b.wasm"),
            ),
            (
                r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib"],"executable":null}"#,
                None,
            ),
            (r#"{"reason":"build-finished","success":true}"#, None),
            ("warning: not JSON", None),
        ];
        for (line, module) in cases {
            assert_eq!(module_of(line), module.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn several_modules_are_named() {
        let names = |modules: &[&str]| {
            only(modules.iter().map(PathBuf::from).collect(), Path::new("f"), "advice")
        };
        assert_eq!(names(&["/t/a.wasm", "/t/a.wasm"]).unwrap(), PathBuf::from("/t/a.wasm"));
        assert_eq!(
            names(&["/t/a.wasm", "/t/b.wasm"]).unwrap_err().sentence(),
            "building f made 2 modules: a, b"
        );
        assert_eq!(names(&[]).unwrap_err().advice(), Some("advice"));
    }
}
