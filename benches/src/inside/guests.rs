//! Modules that the figures run, and an executor that holds them.
//!
//! Owns a small handler, one that computes, and one as large as a usual release build. All are made
//! from text, so that the figures need no second tool chain. Absent: what a guest of the SDK adds;
//! `talea-load` measures one of those.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::Context as _;
use bytes::Bytes;
use talea_ledger::{Fuel, FunctionId, Pages, UnixNanos};
use talea_runtime::executor::{
    Compiler, Executor, ExecutorConfig, FunctionSource, Invocation, MacKey, RunLimits,
};

use super::documents::{input, profile_id};

/// Writes `hello` and ends.
pub const HELLO: &str = r#"(module
  (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello")
  (func (export "talea_handle") (result i32)
    (drop (call $write (i32.const 16) (i32.const 5)))
    (i32.const 0)))"#;

/// A million rounds of xorshift, about a millisecond, and writes the state.
pub const COMPUTE: &str = r#"(module
  (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "talea_handle") (result i32)
    (local $n i32) (local $x i64)
    (local.set $n (i32.const 1000000))
    (local.set $x (i64.const 88172645463325252))
    (loop $again
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (local.get $n)))
    (i64.store (i32.const 0) (local.get $x))
    (drop (call $write (i32.const 0) (i32.const 8)))
    (i32.const 0)))"#;

/// A handler of about `len` bytes: many functions, of which the entry calls one, and half of the
/// bytes as data, as in a release build with its tables of text.
#[must_use]
pub fn large(len: usize) -> String {
    // One of the functions below takes about 90 bytes in the binary form.
    let functions = len / 2 / 90;
    let mut text = String::from(
        r#"(module (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 17)
"#,
    );
    for number in 0..functions {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "(func $f{number} (param i32 i64) (result i64) (local i64)
  (local.set 2 (i64.mul (local.get 1) (i64.const {})))
  (if (i32.gt_u (local.get 0) (i32.const {number})) (then
    (local.set 2 (i64.add (local.get 2) (i64.load (i32.and (local.get 0) (i32.const 65528)))))
    (i64.store (i32.const {}) (local.get 2))))
  (i64.xor (local.get 2) (i64.rotl (local.get 1) (i64.const {}))))",
            6_364_136_223_846_793_005_u64 / (number as u64 + 1),
            number % 8192 * 8,
            number % 63
        );
    }
    let data = "0123456789abcdef".repeat(len / 2 / 16);
    let _ = write!(
        text,
        r#"(data (i32.const 65536) "{data}")
  (func (export "talea_handle") (result i32)
    (i64.store (i32.const 0) (call $f0 (i32.const 7) (i64.const 9)))
    (drop (call $write (i32.const 65536) (i32.const 5)))
    (i32.const 0)))"#
    );
    text
}

/// The binary form.
pub fn binary(text: &str) -> anyhow::Result<Vec<u8>> {
    wat::parse_str(text).context("the text of a bench guest")
}

#[derive(Debug)]
struct Held(HashMap<FunctionId, Vec<u8>>);

impl FunctionSource for Held {
    fn wasm(&self, function: FunctionId) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(&function).cloned())
    }
}

/// An executor that holds these modules and keeps artefacts in `cache`.
pub fn executor(modules: &[&[u8]], cache: Option<PathBuf>) -> anyhow::Result<Executor> {
    holding(modules, ExecutorConfig::new(cache, Compiler::InProcess, MacKey::new([5; 32])))
}

/// An executor that fits into the address space that valgrind gives a program, which is a small part of what
/// the usual number of slots reserves.
pub fn small_executor(modules: &[&[u8]]) -> anyhow::Result<Executor> {
    let mut config = ExecutorConfig::new(None, Compiler::InProcess, MacKey::new([5; 32]));
    (config.fast_slots, config.exact_slots) = (2, 1);
    holding(modules, config)
}

fn holding(modules: &[&[u8]], config: ExecutorConfig) -> anyhow::Result<Executor> {
    let held = modules.iter().map(|wasm| (FunctionId::of(wasm), wasm.to_vec())).collect();
    Ok(Executor::new(config, Arc::new(Held(held)))?)
}

/// The invocation of a function on a plain `GET`.
#[must_use]
pub fn invocation(function: FunctionId) -> Invocation {
    Invocation {
        function,
        profile: profile_id(),
        input: input(),
        body: Bytes::new(),
        clock: UnixNanos(1_795_000_000_000_000_000),
        seed: [9; 32],
        limits: RunLimits {
            fuel: Fuel(1_000_000_000),
            memory: Pages(1024),
            output: 1 << 20,
            log: 65_536,
        },
        cgi: false,
        free: true,
    }
}

/// The value of a future that is ready when it is first asked: a short call of a loaded function.
pub fn at_once<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => anyhow::bail!("a short call was not over at once"),
    }
}

/// A runtime for calls that wait for a load or for a later slice.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
