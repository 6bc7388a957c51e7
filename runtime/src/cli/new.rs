//! `talea new`: a folder with a function that builds.
//!
//! Owns: the templates, embedded from `guest-sdk/templates`, and where the SDK comes from. Invariants: nothing that
//! exists is overwritten; a folder is written whole or, on an error, what was written is named. Absent: any
//! download, and any git repository: those are the user's.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Context;
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::screen::Ink;

/// What `talea new` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea new hello                              a handler in Rust
  talea new wordcount --template rust-command  a plain program: body on stdin, answer on stdout
  talea new fast --template c                  the same in C, built by make with clang
  cd hello && talea dev                        run it, and again after each change")]
pub(super) struct NewArgs {
    /// The function's name, and the folder's: lower-case letters, digits and dashes
    name: String,
    /// What to start from
    #[arg(long, short, value_enum, default_value_t = Template::RustHandler)]
    template: Template,
    /// Where to make it [default: a folder of that name here]
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// A checkout of the guest SDK to depend on [default: the checkout this command runs in, else the repository]
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

/// The templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Template {
    /// A handler with the Rust SDK: request in, response out
    RustHandler,
    /// A WASI program in Rust: stdin in, stdout out
    RustCommand,
    /// A WASI program in C
    C,
}

/// A file of a template: its path and text, in which `{{name}}` and `{{sdk}}` are filled in.
type Embedded = (&'static str, &'static str);

/// Manifests lie in this tree under this name, so that cargo does not take a template for a package.
const UNFILLED: &str = ".tmpl";

macro_rules! template {
    ($folder:literal: $($file:literal),+) => {
        &[$((
            $file,
            include_str!(concat!("../../../guest-sdk/templates/", $folder, "/", $file)),
        )),+]
    };
}

// === impl Template ===

impl Template {
    fn files(self) -> &'static [Embedded] {
        match self {
            Self::RustHandler => {
                template!("rust-handler": "Cargo.toml.tmpl", "build.rs", "src/lib.rs", "README.md", ".gitignore")
            }
            Self::RustCommand => {
                template!("rust-command": "Cargo.toml.tmpl", "src/main.rs", "README.md", ".gitignore")
            }
            Self::C => template!("c": "Makefile", "main.c", "README.md", ".gitignore"),
        }
    }

    /// The files of a new function: names and texts.
    fn filled(self, name: &str, sdk: &str) -> impl Iterator<Item = (&'static str, String)> {
        self.files().iter().map(move |(path, text)| {
            let path = path.strip_suffix(UNFILLED).unwrap_or(path);
            (path, text.replace("{{name}}", name).replace("{{sdk}}", sdk))
        })
    }
}

/// Runs `talea new`.
pub(super) fn run(args: &NewArgs, context: &Context) -> Ran {
    check_name(&args.name)?;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if folder.exists() && !is_empty_folder(&folder) {
        return Err(Failure::said(Exit::Failed, format!("{} is there already", folder.display()))
            .advise("choose another name or another --path; nothing was written"));
    }
    let sdk = sdk_dependency(args.sdk.as_deref())?;
    let mut written = Vec::new();
    for (path, text) in args.template.filled(&args.name, &sdk) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .or_exit(Exit::Failed, || format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&path, text)
            .or_exit(Exit::Failed, || format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    report(&folder, &written, context);
    Ok(Exit::Ok)
}

fn report(folder: &Path, written: &[PathBuf], context: &Context) {
    let screen = &context.screen;
    if screen.is_json() {
        let files: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
        screen.json(&json!({ "folder": folder.display().to_string(), "files": files }));
        return;
    }
    for path in written {
        screen.line(format_args!("  {} {}", screen.ink(Ink::Good, "made"), path.display()));
    }
    screen.note(format_args!("\nnext:\n  cd {}\n  talea dev", folder.display()));
}

/// A name that is at once a folder, a cargo package and the second half of a ledger name.
fn check_name(name: &str) -> Result<(), Failure> {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let fits =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    // Cargo refuses a package named `test`, and 64 is the longest name most registries take.
    if starts && fits && name.len() <= 64 && name != "test" {
        return Ok(());
    }
    Err(Failure::said(Exit::Usage, format!("`{name}` cannot be a function's name")).advise(
        "use lower-case letters, digits and dashes, a letter first, at most 64, and not `test`",
    ))
}

fn is_empty_folder(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// The right side of `talea = ..` in a Cargo.toml.
fn sdk_dependency(given: Option<&Path>) -> Result<String, Failure> {
    let checkout = match given {
        Some(path) if is_sdk(path) => Some(path.to_owned()),
        Some(path) if is_sdk(&path.join("guest-sdk")) => Some(path.join("guest-sdk")),
        Some(path) => {
            return Err(Failure::said(
                Exit::NoInput,
                format!("{} is not the guest SDK", path.display()),
            )
            .advise("name the folder whose Cargo.toml says `name = \"talea\"`"));
        }
        None => nearby_sdk(),
    };
    let Some(checkout) = checkout else {
        return Ok(format!("{{ git = \"{}\" }}", env!("CARGO_PKG_REPOSITORY")));
    };
    let checkout = std::path::absolute(&checkout)
        .or_exit(Exit::Failed, || "cannot find the current folder")?;
    // TOML's literal strings take a Windows path as it is.
    Ok(format!("{{ path = '{}' }}", checkout.display()))
}

/// The SDK of the checkout that this command was built in or is called in.
fn nearby_sdk() -> Option<PathBuf> {
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join("guest-sdk"))
        .find(|sdk| is_sdk(sdk))
}

fn is_sdk(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.contains("name = \"talea\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_is_written() {
        for (name, good) in [
            ("hello", true),
            ("a1-b", true),
            ("", false),
            ("1a", false),
            ("-a", false),
            ("Hello", false),
            ("a/b", false),
            ("..", false),
            ("test", false),
            ("a b", false),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }

    #[test]
    fn every_template_is_filled_in_completely() {
        for template in Template::value_variants() {
            assert!(!template.files().is_empty());
            for (path, text) in template.filled("hello", "{ path = '/sdk' }") {
                assert!(
                    !text.contains("{{"),
                    "{template:?} {path} has a placeholder that nobody fills"
                );
                if path == "Cargo.toml" {
                    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
                    assert_eq!(manifest["package"]["name"].as_str(), Some("hello"));
                }
            }
        }
    }

    #[test]
    fn an_sdk_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(sdk_dependency(Some(folder.path())).unwrap_err().exit(), Exit::NoInput);
        std::fs::create_dir(folder.path().join("guest-sdk")).unwrap();
        std::fs::write(folder.path().join("guest-sdk/Cargo.toml"), "[package]\nname = \"talea\"\n")
            .unwrap();
        let dependency = sdk_dependency(Some(folder.path())).unwrap();
        assert!(dependency.ends_with("guest-sdk' }"), "{dependency}");
    }
}
