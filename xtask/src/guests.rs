//! The example functions: built where their compiler is, otherwise the committed bytes, checked against their hash.
//!
//! Owns: `examples/guests.toml` as this program reads it. Invariants: every guest named there exists as bytes when
//! [`build`] returns; bytes that are committed are never replaced by others: a build that gives another hash is an
//! error and the committed file is put back. Absent: downloads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use talea_ledger::FunctionId;

use crate::shell;

#[derive(Debug, Deserialize)]
struct Manifest {
    guest: Vec<Guest>,
}

/// One example function.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) title: String,
    language: String,
    folder: PathBuf,
    wasm: PathBuf,
    /// Of committed bytes.
    sha256: Option<String>,
    compiler: Option<String>,
    /// The first line of `compiler --version` that gives these very bytes.
    compiler_version: Option<String>,
    #[serde(default)]
    build: Vec<String>,
    #[serde(default)]
    pub(crate) call: Vec<Call>,
}

/// A call that shows a guest at work.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    pub(crate) data: Option<PathBuf>,
    /// A part of the answer.
    pub(crate) expect: Option<String>,
    /// The beginning of an answer that is no text.
    pub(crate) expect_hex: Option<String>,
}

/// A guest whose bytes are there.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) guest: Guest,
    pub(crate) wasm: PathBuf,
    id: FunctionId,
    len: usize,
    how: &'static str,
}

/// `cargo xtask guests`.
pub(crate) fn run() -> Result<()> {
    shell::ensure_guest_target()?;
    let built = build()?;
    show(&built);
    Ok(())
}

/// Where the examples are.
pub(crate) fn folder() -> PathBuf {
    shell::root().join("examples")
}

/// Builds or checks every guest.
pub(crate) fn build() -> Result<Vec<Built>> {
    let path = folder().join("guests.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest =
        toml::from_str(&text).with_context(|| format!("{} is not understood", path.display()))?;
    if manifest.guest.iter().any(|guest| guest.language == "rust") {
        let mut cargo = shell::cargo();
        // The manifest names the built files, so they go where it says whatever the surroundings wish.
        cargo.current_dir(folder()).args(["build", "--release", "--locked"]);
        cargo.args(["--target", shell::GUEST_TARGET, "--target-dir", "target"]);
        shell::run(&mut cargo).context("the guests in Rust could not be built")?;
    }
    manifest.guest.into_iter().map(|guest| guest.obtain(&folder())).collect()
}

/// Prints what there is.
pub(crate) fn show(built: &[Built]) {
    let width = built.iter().map(|built| built.guest.name.len()).max().unwrap_or(0);
    for Built { guest, id, len, how, .. } in built {
        println!("   {:<width$}  {:>6} KiB  {how:<16}  {id}", guest.name, len.div_ceil(1024));
    }
}

// === impl Guest ===

impl Guest {
    fn obtain(self, examples: &Path) -> Result<Built> {
        let wasm = examples.join(&self.wasm);
        let how = if self.language == "rust" {
            "built by cargo"
        } else if self.has_compiler(examples) {
            self.build_again(examples, &wasm)?;
            "built, same hash"
        } else {
            "committed bytes"
        };
        let bytes =
            std::fs::read(&wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
        let id = FunctionId::of(&bytes);
        if let Some(expected) = &self.sha256
            && *expected != id.digest().to_string()
        {
            bail!(
                "{} has the hash {}, guests.toml says {expected}: get the committed file back (`git checkout`)",
                wasm.display(),
                id.digest()
            );
        }
        Ok(Built { guest: self, wasm, id, len: bytes.len(), how })
    }

    /// Whether the compiler whose output the committed bytes are is here.
    fn has_compiler(&self, examples: &Path) -> bool {
        let (Some(compiler), Some(wanted)) = (&self.compiler, &self.compiler_version) else {
            return false;
        };
        let program =
            if compiler.contains('/') { examples.join(compiler) } else { compiler.into() };
        let Ok(said) = Command::new(program).arg("--version").output() else { return false };
        String::from_utf8_lossy(&said.stdout)
            .lines()
            .next()
            .is_some_and(|line| line.trim() == wanted)
    }

    fn build_again(&self, examples: &Path, wasm: &Path) -> Result<()> {
        let Some((program, arguments)) = self.build.split_first() else { return Ok(()) };
        let committed =
            std::fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
        let mode = std::fs::metadata(wasm)?.permissions();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(examples.join(&self.folder));
        let built = shell::run(&mut command);
        let same = std::fs::read(wasm).is_ok_and(|bytes| bytes == committed);
        if !same {
            std::fs::write(wasm, committed)
                .with_context(|| format!("cannot put {} back", wasm.display()))?;
        }
        // A linker makes its output executable, which would show as a change of a committed file.
        std::fs::set_permissions(wasm, mode)
            .with_context(|| format!("cannot set the mode of {}", wasm.display()))?;
        match built {
            // A compiler without its libraries (clang without wasi-libc) is as good as none.
            Err(fault) => {
                println!("   {}: {fault}; the committed bytes are used", self.name);
                Ok(())
            }
            Ok(()) if same => Ok(()),
            Ok(()) => {
                bail!("{} builds to other bytes than are committed; they were put back", self.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(sha256: &str, compiler: &str, build: &[&str]) -> Guest {
        Guest {
            name: "g".into(),
            title: "G".into(),
            language: "c".into(),
            folder: ".".into(),
            wasm: "g.wasm".into(),
            sha256: Some(sha256.into()),
            compiler: Some(compiler.into()),
            compiler_version: Some("one".into()),
            build: build.iter().map(|word| (*word).to_owned()).collect(),
            call: Vec::new(),
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("xtask-guests-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("g.wasm"), b"bytes").unwrap();
        std::fs::write(folder.join("compiler"), "#!/bin/sh\necho one\n").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(
                folder.join("compiler"),
                std::fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        folder
    }

    #[test]
    fn committed_bytes_are_held_against_their_hash() {
        let at = folder("hash");
        let hash = FunctionId::of(b"bytes").digest().to_string();
        assert_eq!(
            guest(&hash, "absent-compiler", &[]).obtain(&at).unwrap().how,
            "committed bytes"
        );
        let wrong = guest(&"0".repeat(64), "absent-compiler", &[]).obtain(&at).unwrap_err();
        assert!(wrong.to_string().contains("guests.toml says"), "{wrong}");
        std::fs::remove_dir_all(at).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_build_that_gives_other_bytes_is_an_error_and_leaves_the_committed_ones() {
        let at = folder("rebuild");
        let hash = FunctionId::of(b"bytes").digest().to_string();
        let same = guest(&hash, "./compiler", &["true"]).obtain(&at).unwrap();
        assert_eq!(same.how, "built, same hash");
        let other = guest(&hash, "./compiler", &["sh", "-c", "echo other > g.wasm"]).obtain(&at);
        assert!(other.unwrap_err().to_string().contains("other bytes"));
        assert_eq!(std::fs::read(at.join("g.wasm")).unwrap(), b"bytes");
        let broken =
            guest(&hash, "./compiler", &["sh", "-c", "echo half > g.wasm; false"]).obtain(&at);
        assert_eq!(broken.unwrap().id, FunctionId::of(b"bytes"));
        std::fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn the_manifest_in_the_tree_is_understood() {
        let text = std::fs::read_to_string(super::folder().join("guests.toml")).unwrap();
        let manifest: Manifest = toml::from_str(&text).unwrap();
        assert!(manifest.guest.len() >= 5);
        for guest in &manifest.guest {
            assert!(
                guest.language == "rust" || guest.sha256.is_some(),
                "{}: committed bytes need a hash",
                guest.name
            );
            assert!(
                !guest.call.is_empty(),
                "{}: the demonstration has nothing to call",
                guest.name
            );
        }
    }
}
