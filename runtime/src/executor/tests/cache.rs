//! Artefacts: compiled once, believed only when authentic, bounded in memory.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use talea_ledger::id::{FunctionId, ProfileId};
use talea_ledger::outcome::Outcome;
use talea_ledger::profile;
use talea_meter::Variant;

use super::bench::{Bench, Call, config, handler, profile_id};
use crate::clock::Deadline;
use crate::executor::compile::{CompileError, Compiler};
use crate::executor::{ExecuteError, Executor, FunctionSource, LoadError, MacKey, PrepareError};

fn exits_with(code: u32) -> Call {
    handler("", &format!("(i32.const {code})"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let engine = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn an_artefact_outlives_its_node_and_is_not_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let call = exits_with(3);
    for (life, compiled) in [(1, 1), (2, 0)] {
        let bench = Bench::with(|config| config.cache_dir = Some(folder.path().into()));
        bench.library.add(&call.wasm);
        let found = bench.executor.run(call.invocation()).await.unwrap();
        assert_eq!(found.outcome, Outcome::exit(3));
        let gauges = bench.executor.gauges();
        assert_eq!((gauges.compiled, gauges.refused_artefacts), (compiled, 0), "life {life}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let call = exits_with(3);
    let other = exits_with(4);
    {
        let bench = Bench::with(|config| config.cache_dir = Some(folder.path().into()));
        for call in [&call, &other] {
            bench.library.add(&call.wasm);
            bench.executor.run(call.invocation()).await.unwrap();
        }
    }
    let paths = files(folder.path());
    assert_eq!(paths.len(), 2);
    let whole: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let flipped = |at: usize| {
        let mut bytes = whole[0].clone();
        bytes[at] ^= 1;
        bytes
    };
    let last = whole[0].len() - 1;
    let bad = [
        flipped(0),
        flipped(8),
        flipped(40),
        flipped(48),
        flipped(60),
        flipped(last),
        whole[0][..last].to_vec(),
        whole[0][..20].to_vec(),
        Vec::new(),
        // Authentic, of another function.
        whole[1].clone(),
    ];
    for (number, bytes) in bad.into_iter().enumerate() {
        std::fs::write(&paths[0], bytes).unwrap();
        let bench = Bench::with(|config| config.cache_dir = Some(folder.path().into()));
        for (call, code) in [(&call, 3), (&other, 4)] {
            bench.library.add(&call.wasm);
            let found = bench.executor.run(call.invocation()).await.unwrap();
            assert_eq!(found.outcome, Outcome::exit(code), "case {number}");
        }
        let gauges = bench.executor.gauges();
        assert_eq!((gauges.compiled, gauges.refused_artefacts), (1, 1), "case {number}");
        drop(bench);
        assert_eq!(std::fs::read(&paths[0]).unwrap(), whole[0], "made anew, case {number}");
    }
    // Another node's key: nothing of it is believed.
    let bench = Bench::with(|config| {
        config.cache_dir = Some(folder.path().into());
        config.mac_key = MacKey::new([8; 32]);
    });
    bench.library.add(&call.wasm);
    bench.executor.run(call.invocation()).await.unwrap();
    assert_eq!(bench.executor.gauges().refused_artefacts, 1);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_costs_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::with(|config| config.cache_dir = Some(folder.path().into()));
    let engine = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(engine).unwrap();
    let call = exits_with(5);
    bench.library.add(&call.wasm);
    assert_eq!(bench.executor.run(call.invocation()).await.unwrap().outcome, Outcome::exit(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_calls_at_once_compile_once() {
    let bench = Bench::new();
    let call = exits_with(6);
    bench.library.add(&call.wasm);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (executor, invocation) = (Arc::clone(&bench.executor), call.invocation());
            tokio::spawn(async move { executor.run(invocation).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().outcome, Outcome::exit(6));
    }
    assert_eq!(bench.executor.gauges().compiled, 1);
    assert_eq!(bench.library.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn many_functions_in_turn_stay_within_the_shelf() {
    let bench = Bench::with(|config| config.loaded_functions = 4);
    let calls: Vec<Call> = (1..=10).map(exits_with).collect();
    for round in 0..2 {
        for (code, call) in (1..).zip(&calls) {
            bench.library.add(&call.wasm);
            let found = bench.executor.run(call.invocation()).await.unwrap();
            assert_eq!(found.outcome, Outcome::exit(code), "round {round}");
            assert!(bench.executor.gauges().loaded <= 4);
        }
    }
    // What was used last is still there.
    let compiled = bench.executor.gauges().compiled;
    bench.executor.run(calls[9].invocation()).await.unwrap();
    assert_eq!(bench.executor.gauges().compiled, compiled);

    let bench = Bench::with(|config| config.loaded_bytes = 1);
    for call in &calls[..2] {
        bench.library.add(&call.wasm);
        bench.executor.run(call.invocation()).await.unwrap();
        assert_eq!((bench.executor.gauges().loaded, bench.executor.gauges().loaded_bytes), (0, 0));
    }
}

#[tokio::test]
async fn what_is_not_here_or_no_function_is_told_apart() {
    let bench = Bench::new();
    let call = exits_with(1);
    let missing = bench.executor.run(call.invocation()).await;
    assert!(matches!(missing, Err(ExecuteError::FunctionMissing(_))));
    bench.library.add(&call.wasm);
    // Missing was not remembered.
    assert!(bench.executor.run(call.invocation()).await.is_ok());

    let junk = Call::wasm(b"\0asm junk".to_vec());
    bench.library.add(&junk.wasm);
    for _ in 0..3 {
        let refused = bench.executor.run(junk.invocation()).await;
        assert!(matches!(refused, Err(ExecuteError::Refused { .. })), "{refused:?}");
    }
    // The refusal was: missing and found once each, and then the junk once.
    assert_eq!(bench.library.asked.load(Ordering::Relaxed), 3);
}

/// A program that stands in for the compiler.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("compiler");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_compiler_that_hangs_dies_or_lies_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    // Larger than a pipe holds, so that a child that does not read blocks its writer.
    let wasm = vec![0; 1 << 20];
    let (_, profile) = &profile::all()[0];
    let wall = Duration::from_millis(500);
    let cases = [
        ("exec sleep 1000", CompileError::TooSlow(wall)),
        ("exit 0", CompileError::Died),
        ("kill -9 $$", CompileError::Died),
        ("printf '\\000\\377\\000\\000\\000\\000\\000\\000\\000abc'", CompileError::Died),
        (
            "printf '\\001\\003\\000\\000\\000\\000\\000\\000\\000bad'",
            CompileError::Failed("bad".into()),
        ),
    ];
    for (text, expected) in cases {
        let compiler = Compiler::Child(script(folder.path(), text));
        let patience = Deadline::after(Duration::from_secs(10));
        let found = compiler.compile(&wasm, profile, profile_id(), Variant::Fast, wall);
        assert_eq!(found, Err(expected), "{text}");
        assert!(!patience.passed(), "{text}");
    }
    let compiler = Compiler::Child(folder.path().join("nothing"));
    let found = compiler.compile(&wasm, profile, profile_id(), Variant::Fast, wall);
    assert!(matches!(found, Err(CompileError::Start(_))));
}

#[tokio::test]
async fn a_failed_compilation_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let marks = folder.path().join("marks");
    let program = script(folder.path(), &format!("echo x >> {}", marks.display()));
    let bench = Bench::with(|config| config.compiler = Compiler::Child(program));
    let call = exits_with(2);
    bench.library.add(&call.wasm);
    for _ in 0..5 {
        let found = bench.executor.run(call.invocation()).await;
        let Err(ExecuteError::Load { error, .. }) = found else { panic!("{found:?}") };
        assert!(matches!(error, LoadError::Compile(CompileError::Died)));
    }
    assert_eq!(std::fs::read_to_string(&marks).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn prepare_refuses_early_and_makes_the_first_call_ready() {
    let bench = Bench::new();
    let call = exits_with(8);
    let id = bench.library.add(&call.wasm);
    let wrong = bench.executor.prepare(id, profile_id(), vec![1, 2, 3]).await;
    assert!(matches!(wrong, Err(PrepareError::WrongFunction(_))));
    let junk = b"\0asm".to_vec();
    let refused = bench.executor.prepare(FunctionId::of(&junk), profile_id(), junk).await;
    assert!(matches!(refused, Err(PrepareError::Refused(_))));
    let inspection = bench.executor.prepare(id, profile_id(), call.wasm.clone()).await.unwrap();
    assert_eq!((inspection.memory_pages, bench.executor.gauges().compiled), (1, 1));
    assert_eq!(bench.executor.run(call.invocation()).await.unwrap().outcome, Outcome::exit(8));
    assert_eq!(bench.executor.gauges().compiled, 1);
    assert_eq!(bench.library.asked.load(Ordering::Relaxed), 0, "prepare had the bytes");
    let mut other = call.invocation();
    other.profile = ProfileId::of(b"another");
    let unknown = bench.executor.run(other).await;
    assert!(matches!(unknown, Err(ExecuteError::ProfileUnknown(_))));
}

/// A source that gives other bytes, or panics.
struct Broken(Option<Vec<u8>>);

impl FunctionSource for Broken {
    fn wasm(&self, _: FunctionId) -> std::io::Result<Option<Vec<u8>>> {
        assert!(self.0.is_some(), "a broken store");
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_store_that_lies_or_panics_is_our_fault_and_ends_one_call() {
    let call = exits_with(9);
    for (bytes, panics) in [(Some(vec![0]), false), (None, true)] {
        let executor = Executor::new(config(), Arc::new(Broken(bytes))).unwrap();
        for _ in 0..2 {
            let found = executor.run(call.invocation()).await;
            let Err(ExecuteError::Load { error, .. }) = found else { panic!("{found:?}") };
            assert_eq!(matches!(error, LoadError::Panicked), panics);
            assert_eq!(matches!(error, LoadError::Damaged), !panics);
        }
        assert_eq!(executor.gauges().instances, 0);
    }
}
