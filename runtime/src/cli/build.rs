//! `talea build`: build a function and say what a node will make of it, before any node sees it.
//!
//! Invariant: the same front door (`talea_meter::inspect`) judges here and on the node, under the same profile, so
//! what passes here is not refused there for its code. Absent: compiling to machine code; a node does that.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use talea_ledger::FunctionId;
use talea_ledger::profile::Profile;
use talea_meter::{Inspection, Kind, Refusal};

use super::Context;
use super::amount::show_size;
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::guest::{Module, Source};
use super::screen::{Ink, grouped};

/// Imports worth a line each; more than this nobody reads.
const IMPORTS_SHOWN: usize = 12;

/// What `talea build` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea build                        the crate, or the folder with a Makefile, that you are in
  talea build hello --out hello.wasm
  talea build prebuilt.wasm          only look at a module that is there
  talea build --output json          id, kind, size, static fuel and imports as one JSON document

A module that a node would refuse is refused here (exit code 65), with the reason and the byte.")]
pub(super) struct BuildArgs {
    /// A function's folder or a .wasm file
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The binary to build, when the crate has several
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// Copy the module here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A module that passed the front door.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) module: Module,
    pub(super) id: FunctionId,
    pub(super) inspection: Inspection,
}

/// Runs `talea build`.
pub(super) fn run(args: &BuildArgs, context: &Context) -> Ran {
    let accepted = accept(Source::find(&args.path)?.build(args.bin.as_deref())?)?;
    if let Some(out) = &args.out {
        std::fs::write(out, &accepted.module.wasm)
            .or_exit(Exit::Failed, || format!("cannot write {}", out.display()))?;
    }
    report(&accepted, args.out.as_ref().unwrap_or(&accepted.module.path), context);
    Ok(Exit::Ok)
}

/// Puts a module through the front door a node has.
pub(super) fn accept(module: Module) -> Result<Accepted, Failure> {
    let inspection = talea_meter::inspect(&module.wasm, &Profile::v1())
        .map_err(|refusal| refused(&module, refusal))?;
    Ok(Accepted { id: FunctionId::of(&module.wasm), module, inspection })
}

fn refused(module: &Module, refusal: Refusal) -> Failure {
    let code = refusal.reason.code();
    let advice = match code {
        "not_wasm" => Some("name a .wasm file, or the folder it is built in"),
        "component" => Some("build a core module for wasm32-wasip1, not a component (wasip2)"),
        "unknown_import" => {
            Some("a function reaches WASI preview 1 and `talea` only; build for wasm32-wasip1")
        }
        "no_entry" => {
            Some("export `_start` (a program) or `talea_handle` (#[talea::handler] in a cdylib)")
        }
        "two_entries" => Some("a module is a program or a handler: do not export both"),
        "forbidden_feature" => {
            Some("turn the feature off in your compiler (for Rust: -C target-feature=-..)")
        }
        _ => None,
    };
    let cause =
        anyhow::Error::new(refusal).context(format!("{} is refused", module.path.display()));
    let failure = Failure::new(Exit::Data, cause).coded(code);
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// `command` or `handler`.
pub(super) fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Command => "command",
        Kind::Handler => "handler",
    }
}

fn report(accepted: &Accepted, path: &std::path::Path, context: &Context) {
    let screen = &context.screen;
    let Accepted { module, id, inspection } = accepted;
    if screen.is_json() {
        let imports: Vec<_> =
            inspection.imports.iter().map(|(from, name)| format!("{from}.{name}")).collect();
        screen.json(&json!({
            "id": id.to_string(),
            "path": path.display().to_string(),
            "kind": kind_text(inspection.kind),
            "size": module.wasm.len().to_string(),
            "static_fuel": inspection.static_fuel.to_string(),
            "memory_pages": inspection.memory_pages.to_string(),
            "functions": inspection.functions.len().to_string(),
            "floats": inspection.has_floats,
            "imports": imports,
        }));
        return;
    }
    let fact = |name: &str, value: String| screen.line(format_args!("{name:<12} {value}"));
    fact("function", screen.ink(Ink::Strong, id));
    fact("file", path.display().to_string());
    fact("kind", kind_text(inspection.kind).to_owned());
    let size = u64::try_from(module.wasm.len()).unwrap_or(u64::MAX);
    fact("size", format!("{} in {} functions", show_size(size), inspection.functions.len()));
    fact(
        "static fuel",
        format!("{} per run, before its first instruction", grouped(inspection.static_fuel)),
    );
    fact(
        "memory",
        format!("{} at start", show_size(inspection.memory_pages.saturating_mul(65_536))),
    );
    for (index, (from, name)) in inspection.imports.iter().enumerate().take(IMPORTS_SHOWN) {
        fact(if index == 0 { "imports" } else { "" }, format!("{from}.{name}"));
    }
    if let Some(more) = inspection.imports.len().checked_sub(IMPORTS_SHOWN).filter(|more| *more > 0)
    {
        fact("", format!("and {more} more"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<Accepted, Failure> {
        accept(Module { path: "f.wasm".into(), wasm: wat::parse_str(text).unwrap() })
    }

    #[test]
    fn what_passes_is_named_by_its_bytes() {
        let accepted = judged(r#"(module (memory 1) (func (export "_start")))"#).unwrap();
        assert_eq!(accepted.id, FunctionId::of(&accepted.module.wasm));
        assert_eq!(kind_text(accepted.inspection.kind), "command");
    }

    #[test]
    fn what_a_node_would_refuse_is_refused_here_with_its_code() {
        for (text, code) in [
            ("(module)", "no_entry"),
            (
                r#"(module (func (export "_start")) (func (export "talea_handle") (result i32) i32.const 0))"#,
                "two_entries",
            ),
            (r#"(module (import "env" "f" (func)) (func (export "_start")))"#, "unknown_import"),
        ] {
            let refused = judged(text).unwrap_err();
            assert_eq!((refused.code(), refused.exit()), (Some(code), Exit::Data), "{text}");
            assert!(refused.advice().is_some(), "{text}");
        }
        let garbage =
            accept(Module { path: "f.wasm".into(), wasm: b"hello".to_vec() }).unwrap_err();
        assert_eq!(garbage.code(), Some("not_wasm"));
        assert!(garbage.sentence().contains("f.wasm is refused"), "{}", garbage.sentence());
    }
}
