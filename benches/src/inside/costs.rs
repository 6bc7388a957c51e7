//! How fair the profile's prices are: time per fuel of what a hostile author would write, and of loads
//! by working set, against the mean of the kernels.
//!
//! Owns the sequences. Every one runs through the executor as a function would, so that host calls,
//! page faults and growth cost what they cost a host. Absent: the kernels themselves (`benches/kernels`)
//! and what metering adds to them (`benches/meter/kernels.rs`).

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use bytes::Bytes;
use talea_ledger::{Fuel, FunctionId, Outcome};

use super::guests::{binary, executor, invocation, runtime};
use super::{Figure, Ratio, Site};
use crate::report::median;
use crate::stopwatch::Stopwatch;

/// The most that a hostile sequence's time per fuel may be of the kernels' mean.
const HOSTILE_MAX: f64 = 10.0;
/// Between the kernels with the dearest and the cheapest time per fuel.
const KERNELS_MAX: f64 = 4.0;
/// Its time is the memory's: it stands among the working sets.
const CACHE_MISSING: &str = "chase";
/// A sequence stands this often in its loop, so that the loop itself hardly counts.
const UNROLLED: usize = 16;
/// The share of the fuel that a run gets; it ends well below.
const FUEL: Fuel = Fuel(20_000_000_000);

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let folder = Path::new("benches/kernels");
    let kernels = kernels(folder)?;
    let mut prices = Vec::new();
    for (name, wasm, n) in &kernels {
        let price = price(site, wasm, Bytes::from(n.to_string()))
            .with_context(|| format!("kernel {name}"))?;
        prices.push((name.as_str(), price));
    }
    let fair: Vec<f64> =
        prices.iter().filter(|(name, _)| *name != CACHE_MISSING).map(|(_, price)| *price).collect();
    ensure!(!fair.is_empty(), "no kernel was found");
    let mean = (fair.iter().map(|price| price.ln()).sum::<f64>() / fair.len() as f64).exp();
    let dearest = fair.iter().copied().fold(0.0, f64::max);
    let cheapest = fair.iter().copied().fold(f64::INFINITY, f64::min);
    figures.push(
        figure(format!("mean of {} kernels", fair.len()), mean, mean)
            .with_aim("dearest over cheapest at most 4", dearest / cheapest <= KERNELS_MAX),
    );
    figures.push(figure("dearest kernel".to_owned(), dearest, mean));
    figures.push(figure("cheapest kernel".to_owned(), cheapest, mean));
    for (name, text) in hostile() {
        let wasm = binary(&text).with_context(|| name.to_owned())?;
        let price = price(site, &wasm, Bytes::new()).with_context(|| name.to_owned())?;
        figures.push(
            figure(name.to_owned(), price, mean)
                .with_aim("at most 10", price / mean <= HOSTILE_MAX),
        );
    }
    // Powers of two, so that the ring meets every line.
    for kib in [16, 128, 1024, 4096, 16_384, 32_768] {
        let wasm = binary(&chase(kib))?;
        let name = format!("loads, each from where the last one said, {kib} KiB");
        figures.push(figure(name, price(site, &wasm, Bytes::new())?, mean));
    }
    Ok(figures)
}

/// Nanoseconds per 1,000 fuel, beside the kernels' mean.
fn figure(name: String, price: f64, mean: f64) -> Figure {
    Figure {
        part: "costs",
        name,
        value: price,
        unit: "ns per 1,000 fuel",
        best: price,
        ratio: Some(Ratio { against: "the kernels' mean".to_owned(), value: price / mean }),
        aim: None,
    }
}

/// The kernels, each with an amount of work.
fn kernels(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>, u64)>> {
    let list: toml::Table = std::fs::read_to_string(folder.join("kernels.toml"))?.parse()?;
    list.iter()
        .map(|(name, kernel)| {
            let n = kernel.get("n").and_then(toml::Value::as_integer).context("a kernel's n")?;
            let path = folder.join("target/wasm32-wasip1/release").join(format!("{name}.wasm"));
            let wasm =
                std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            // A fifth of what the list says: it is made for longer runs.
            Ok((name.clone(), wasm, n.unsigned_abs().div_ceil(5)))
        })
        .collect()
}

/// Nanoseconds of a call per 1,000 fuel of its bill: the median of the rounds.
fn price(site: &Site, wasm: &[u8], body: Bytes) -> anyhow::Result<f64> {
    let runtime = runtime()?;
    let _guard = runtime.enter();
    let executor = executor(&[wasm], None)?;
    let mut invocation = invocation(FunctionId::of(wasm));
    invocation.body = body;
    invocation.limits.fuel = FUEL;
    invocation.limits.output = 16 << 20;
    let mut prices = Vec::new();
    for round in 0..=site.effort.rounds {
        let watch = Stopwatch::start();
        let execution = runtime.block_on(executor.run(invocation.clone()))?;
        let nanos = watch.nanos() as f64;
        ensure!(execution.outcome == Outcome::Ok, "it ended with {:?}", execution.outcome);
        // The first round compiles.
        if round > 0 {
            prices.push(nanos * 1_000.0 / execution.fuel.0 as f64);
        }
    }
    Ok(median(prices.into_iter()))
}

/// A handler that repeats a sequence. Locals: `$i` counts down, `$a` and `$x` are 64 bits, `$b` 32,
/// `$f` and `$g` floats, `$v` and `$w` vectors.
fn repeated(items: &str, turns: u32, sequence: &str) -> String {
    let body = sequence.repeat(UNROLLED);
    format!(
        r#"(module
  (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (import "talea" "random" (func $random (param i32 i32) (result i32)))
  (import "talea" "clock_ns" (func $clock (result i64)))
  (import "talea" "input_len" (func $input_len (param i32) (result i32)))
  (memory (export "memory") 2)
  {items}
  (func (export "talea_handle") (result i32)
    (local $i i32) (local $b i32) (local $a i64) (local $x i64)
    (local $f f64) (local $g f64) (local $v v128) (local $w v128)
    (local.set $i (i32.const {turns}))
    (local.set $a (i64.const 0x7edcba9876543210)) (local.set $x (i64.const 88172645463325252))
    (local.set $b (i32.const 0x7eadbeef)) (local.set $f (f64.const 1.5)) (local.set $g (f64.const 1.25))
    (local.set $v (v128.const f64x2 1.5 2.5)) (local.set $w (v128.const f64x2 1.25 0.75))
    (loop $again
      {body}
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (br_if $again (local.get $i)))
    (i64.store (i32.const 0) (i64.add (local.get $a) (local.get $x)))
    (i32.store (i32.const 8) (local.get $b))
    (f64.store (i32.const 16) (local.get $f))
    (v128.store (i32.const 32) (local.get $v))
    (i32.const 0)))"#
    )
}

/// A step of a generator that no branch predictor follows.
const STEP: &str = "(local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
  (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
  (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))";

/// What a hostile author would write: each as slow for its price as could be thought of.
fn hostile() -> Vec<(&'static str, String)> {
    let mut all = arithmetic();
    all.extend(control());
    all.extend(memory());
    all.extend(host());
    all
}

fn arithmetic() -> Vec<(&'static str, String)> {
    let chain = |turns, sequence: &str| repeated("", turns, sequence);
    vec![
        (
            "64-bit divisions, each needs the last",
            chain(
                20_000,
                "(local.set $a (i64.or (i64.div_u (i64.const -1) (local.get $a)) (i64.const 3)))",
            ),
        ),
        (
            "64-bit signed remainders",
            chain(
                20_000,
                "(local.set $a (i64.or (i64.rem_s (i64.const -1234567890123) (local.get $a)) (i64.const 3)))",
            ),
        ),
        (
            "32-bit divisions",
            chain(
                20_000,
                "(local.set $b (i32.or (i32.div_u (i32.const -1) (local.get $b)) (i32.const 3)))",
            ),
        ),
        (
            "64-bit products",
            chain(
                100_000,
                "(local.set $a (i64.mul (local.get $a) (i64.const 6364136223846793005)))",
            ),
        ),
        (
            "float divisions",
            chain(20_000, "(local.set $f (f64.div (local.get $g) (local.get $f)))"),
        ),
        (
            "square roots",
            chain(20_000, "(local.set $f (f64.sqrt (f64.add (local.get $f) (local.get $g))))"),
        ),
        (
            "float sums, each needs the last",
            chain(100_000, "(local.set $f (f64.add (local.get $f) (local.get $g)))"),
        ),
        ("float minima", chain(100_000, "(local.set $f (f64.min (local.get $f) (local.get $g)))")),
        (
            "products of subnormal numbers",
            chain(
                20_000,
                "(local.set $f (f64.mul (f64.const 0x1p-1000) (f64.add (local.get $f) (f64.const 0x1p-60))))",
            ),
        ),
        (
            "conversions of floats to integers",
            chain(
                50_000,
                "(local.set $a (i64.trunc_sat_f64_s (f64.convert_i64_u (local.get $a))))",
            ),
        ),
        (
            "vector divisions",
            chain(20_000, "(local.set $v (f64x2.div (local.get $w) (local.get $v)))"),
        ),
        ("vector square roots", chain(20_000, "(local.set $v (f32x4.sqrt (local.get $v)))")),
        (
            "vector byte shifts by a variable",
            chain(50_000, "(local.set $v (i8x16.shr_s (local.get $v) (local.get $i)))"),
        ),
        ("vector bit counts", chain(50_000, "(local.set $v (i8x16.popcnt (local.get $v)))")),
        (
            "vector 64-bit products",
            chain(50_000, "(local.set $v (i64x2.mul (local.get $v) (local.get $w)))"),
        ),
        (
            "vector swizzles",
            chain(100_000, "(local.set $v (i8x16.swizzle (local.get $v) (local.get $w)))"),
        ),
        (
            "vector truncations",
            chain(50_000, "(local.set $v (i32x4.trunc_sat_f32x4_u (local.get $v)))"),
        ),
    ]
}

fn control() -> Vec<(&'static str, String)> {
    let many = 64;
    let mut functions = format!(
        "(type $t (func (param i64) (result i64))) (table {many} funcref)\n(elem (i32.const 0)"
    );
    for number in 0..many {
        let _ = write!(functions, " $f{number}");
    }
    functions.push_str(")\n");
    let mut labels = String::new();
    for number in 0..many {
        // Writing to a String cannot fail.
        let _ = writeln!(
            functions,
            "(func $f{number} (type $t) (i64.add (local.get 0) (i64.const {number})))"
        );
        let _ = write!(labels, "{number} ");
    }
    let pick = "(i32.and (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 11))) (i32.const 63))";
    let table = format!(
        "{STEP} {} (br_table {labels} 63 {pick}) {}",
        "(block ".repeat(many),
        ")".repeat(many)
    );
    let indirect = format!("{STEP} (local.set $a (call_indirect (type $t) (local.get $a) {pick}))");
    let guess = format!(
        "{STEP} (if (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 1)) (then (local.set $b (i32.mul (local.get $b) (i32.const 3)))) \
         (else (local.set $b (i32.xor (local.get $b) (i32.const 77)))))"
    );
    vec![
        ("calls through a table, none foreseeable", repeated(&functions, 20_000, &indirect)),
        (
            "calls through a table, always the same",
            repeated(
                &functions,
                50_000,
                "(local.set $a (call_indirect (type $t) (local.get $a) (i32.const 5)))",
            ),
        ),
        ("calls", repeated(&functions, 50_000, "(local.set $a (call $f1 (local.get $a)))")),
        ("jumps through a table, none foreseeable", repeated("", 20_000, &table)),
        ("branches, none foreseeable", repeated("", 20_000, &guess)),
    ]
}

fn memory() -> Vec<(&'static str, String)> {
    let few = |sequence: &str| repeated("(data $d \"0123456789abcdef\")", 5_000, sequence);
    let pages = |text: &str| repeated("", 1, text);
    // Sixteen times 60 wasm pages; one byte in each of the machine's pages.
    let touch = "(local.set $b (i32.mul (memory.grow (i32.const 60)) (i32.const 65536)))
      (loop $touch
        (i32.store8 (local.get $b) (i32.const 1))
        (local.set $b (i32.add (local.get $b) (i32.const 4096)))
        (br_if $touch (i32.lt_u (local.get $b) (i32.mul (memory.size) (i32.const 65536)))))";
    let initial = r#"(module (memory (export "memory") 1000)
      (func (export "talea_handle") (result i32) (local $b i32)
        (loop $touch
          (i32.store8 (local.get $b) (i32.const 1))
          (local.set $b (i32.add (local.get $b) (i32.const 4096)))
          (br_if $touch (i32.lt_u (local.get $b) (i32.const 65536000))))
        (i32.const 0)))"#;
    vec![
        ("fills of no byte", few("(memory.fill (i32.const 1024) (i32.const 7) (i32.const 0))")),
        ("fills of 64 KiB", few("(memory.fill (i32.const 1024) (i32.const 7) (i32.const 65536))")),
        ("copies of one byte", few("(memory.copy (i32.const 1024) (i32.const 9) (i32.const 1))")),
        (
            "copies of 64 KiB over themselves",
            few("(memory.copy (i32.const 1025) (i32.const 1024) (i32.const 65536))"),
        ),
        (
            "pieces of a segment",
            few("(memory.init $d (i32.const 1024) (i32.const 0) (i32.const 16))"),
        ),
        ("growth by nothing", few("(drop (memory.grow (i32.const 0)))")),
        (
            "growth that is refused",
            // Charged as asked, so that a few turns are many units of fuel.
            repeated("", 10, "(drop (memory.grow (i32.const 2000)))"),
        ),
        ("sizes of the memory", few("(local.set $b (memory.size))")),
        ("growth, every page touched", pages(touch)),
        ("an initial memory of 1,000 pages, every page touched", initial.to_owned()),
    ]
}

fn host() -> Vec<(&'static str, String)> {
    let calls = |turns, sequence: &str| repeated("", turns, sequence);
    vec![
        ("reading the clock", calls(10_000, "(local.set $a (call $clock))")),
        ("asking a length", calls(10_000, "(drop (call $input_len (i32.const 0)))")),
        ("one random byte", calls(5_000, "(drop (call $random (i32.const 64) (i32.const 1)))")),
        (
            "random, 64 KiB each",
            calls(20, "(drop (call $random (i32.const 64) (i32.const 65536)))"),
        ),
        ("output, a byte each", calls(5_000, "(drop (call $write (i32.const 64) (i32.const 1)))")),
        ("output, 64 KiB each", calls(10, "(drop (call $write (i32.const 64) (i32.const 65536)))")),
        (
            "asking a length of a field that is not there",
            repeated("", 5_000, "(drop (call $input_len (i32.const -1)))"),
        ),
    ]
}

/// Follows a ring through memory: every step's address is what the last step loaded.
fn chase(kib: u32) -> String {
    // A generator of full period over the lines (Hull and Dobell, 1962), which no prefetcher follows.
    let lines = kib * 16;
    let pages = kib / 64 + 2;
    let bytes = kib * 1024;
    let load = "(local.set $p (i32.load (local.get $p)))".repeat(UNROLLED);
    format!(
        r#"(module (memory (export "memory") {pages})
  (func (export "talea_handle") (result i32) (local $p i32) (local $q i32) (local $i i32)
    (local.set $i (i32.const {lines}))
    (loop $make
      (local.set $q (i32.and
        (i32.add (i32.mul (local.get $p) (i32.const 1664525)) (i32.const {increment}))
        (i32.const {mask})))
      (i32.store (local.get $p) (local.get $q))
      (local.set $p (local.get $q))
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (br_if $make (local.get $i)))
    (local.set $i (i32.const 200000))
    (loop $again {load}
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (br_if $again (local.get $i)))
    (i32.store (i32.const 0) (local.get $p))
    (i32.const 0)))"#,
        increment = 64 * 1_013_904_223_u64 % u64::from(bytes),
        mask = bytes - 1,
    )
}
