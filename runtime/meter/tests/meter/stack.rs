//! The stack argument under attack: recursive functions whose native frames are far larger or far
//! smaller than they look, at both ends of the optimiser.
//!
//! Every shape is a function that calls itself to a given depth with as much as possible alive across
//! the call. Three things must hold: the exact variant ends the same at both efforts, at the deepest
//! depth it admits and one beyond; the fast variant ends like it or faults; and a native frame, measured
//! by where the stack stands at the bottom, is below what the weight says and above the least frame
//! assumed.

use std::sync::atomic::{AtomicUsize, Ordering};

use talea_ledger::profile::{NATIVE_FRAME_BYTES_MIN, Profile};
use talea_meter::Variant;
use wasmtime::{Linker, Module, Store, Val};

use crate::compiled::{self, Effort};
use crate::host::{Ending, metered, on_deep_stack, wat};

const LIMIT: u64 = 1 << 50;

/// A module whose function `$down` (index 1) calls itself `depth` times around `body`, in which
/// `{call}` stands for the call with the counted-down parameter, leaving an i32.
fn module(extra: &str, locals: &str, body: &str, depth: u64) -> String {
    let call = "(if (result i32) (local.get 0)
        (then (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
        (else (call $bottom)))";
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "sched_yield" (func $bottom (result i32)))
          (memory 1) (table 8 funcref)
          {extra}
          (func $down (param i32 i32) (result i32) (local i32 i32) {locals} {})
          (func (export "talea_handle") (result i32)
            (call $down (i32.const {depth}) (i32.const 3))))"#,
        body.replace("{call}", call)
    )
}

/// A name, what stands beside the function, its locals, its body.
struct Shape {
    name: String,
    extra: String,
    locals: String,
    body: String,
}

fn shape(name: impl Into<String>, locals: impl Into<String>, body: impl Into<String>) -> Shape {
    let (name, locals, body) = (name.into(), locals.into(), body.into());
    Shape { name, extra: String::new(), locals, body }
}

/// `count` pieces of text.
fn each(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect()
}

/// Sums `count` expressions.
fn sum(count: usize, expression: impl Fn(usize) -> String) -> String {
    let adds = "i32.add ".repeat(count);
    format!("(i32.const 0) {} {adds}", each(count, expression))
}

/// The same terms before and after the call.
fn around(terms: &str) -> String {
    format!(
        "(local.set 2 (block (result i32) {terms})) (local.set 3 {{call}})
         {terms} local.get 2 i32.add local.get 3 i32.add"
    )
}

fn shapes() -> Vec<Shape> {
    let mut shapes = vec![
        shape("the call alone", "", "{call}"),
        shape("4,000 unused locals", "(local ".to_owned() + &"i64 ".repeat(4_000) + ")", "{call}"),
    ];
    for count in [10, 26, 100, 1_000, 4_000] {
        let mix = |i: usize| format!("(i32.mul (i32.xor (local.get 1) (i32.const {i})) (i32.const {}))", i + 3);
        let terms = sum(count, mix);
        // Computed before the call and again after it: an optimiser may keep all of them.
        shapes.push(shape(format!("{count} repeated expressions"), "", around(&terms)));
        shapes.push(shape(
            format!("{count} invariants of a loop that calls"),
            "",
            format!(
                "(local.set 2 (i32.const 1))
                 (loop (local.set 3 (i32.add (local.get 3) {{call}}))
                   (local.set 3 (block (result i32) {terms} (local.get 3) i32.add))
                   (local.set 2 (i32.sub (local.get 2) (i32.const 1)))
                   (br_if 0 (i32.gt_s (local.get 2) (i32.const 0))))
                 local.get 3"
            ),
        ));
        let loads = sum(count, |i| format!("(i32.load offset={} (i32.and (local.get 1) (i32.const {i})))", 4 * i));
        shapes.push(shape(
            format!("{count} loads around the call"),
            "",
            around(&loads),
        ));
        let held = each(count, |i| format!("(i32.load offset={} (local.get 1)) ", 4 * i));
        let adds = "i32.add ".repeat(count);
        shapes.push(shape(format!("{count} operands held"), "", format!("{held} {{call}} {adds}")));
        let vectors = each(count.min(2_000), |i| {
            format!("(i32x4.splat (i32.xor (local.get 1) (i32.const {i}))) ")
        });
        let vector_adds = "i32x4.add ".repeat(count.min(2_000));
        shapes.push(shape(
            format!("{} vectors held", count.min(2_000)),
            "",
            format!("{vectors} (i32x4.splat {{call}}) {vector_adds} i32x4.extract_lane 1"),
        ));
        let doubles = sum(count, |i| {
            format!("(i32.trunc_sat_f64_s (f64.mul (f64.convert_i32_s (local.get 1)) (f64.const {i}.5)))")
        });
        shapes.push(shape(
            format!("{count} repeated float expressions"),
            "",
            around(&doubles),
        ));
        let tables = sum(count.min(1_000), |i| {
            format!("(ref.is_null (table.get (i32.and (local.get 1) (i32.const {}))))", i % 8)
        });
        shapes.push(shape(
            format!("{} table reads around the call", count.min(1_000)),
            "",
            around(&tables),
        ));
        // Locals that are another value after every `if`, each held on the operand stack.
        let merged = each(count.min(1_000), |i| {
            format!("(if (i32.and (local.get 1) (i32.const {})) (then (local.set 2 (i32.add (local.get 2) (i32.const 1))))) (local.get 2) ", 1 << (i % 31))
        });
        shapes.push(shape(
            format!("{} merges held", count.min(1_000)),
            "",
            format!("{merged} {{call}} {}", "i32.add ".repeat(count.min(1_000))),
        ));
    }
    shapes.extend(wide_shapes());
    shapes
}

/// Many arguments, results, locals, nested loops and branch targets.
fn wide_shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    let many = |ty: &str, count: usize| format!("{ty} ").repeat(count);
    for (ty, count) in [("i32", 250), ("i64", 250), ("v128", 250), ("f64", 250)] {
        let zero = if ty == "v128" { "(v128.const i64x2 1 2) ".into() } else { format!("({ty}.const 1) ") };
        let extra = format!(
            "(func $wide (param i32 i32 {p}) (result {p} i32)
               {}(if (result i32) (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1))) (else (call $bottom))))",
            each(count, |i| format!("local.get {} ", i + 2)),
            p = many(ty, count)
        );
        let body = format!(
            "(local.get 0) (local.get 1) {} call $wide local.set 2 {} local.get 2",
            zero.repeat(count),
            "drop ".repeat(count),
        );
        shapes.push(Shape { name: format!("{count} arguments and results of {ty}"), extra, locals: String::new(), body });
    }
    for (locals, depth) in [(40, 40), (200, 60), (1_000, 12)] {
        let set = each(locals, |i| format!("(local.set {} (i32.add (local.get {}) (local.get {}))) ", i + 4, i + 4, (i * 7 + 1) % locals + 4));
        let nest = format!(
            "{} {set} (local.set 3 {{call}}) {} {}",
            "(loop ".repeat(depth),
            "(br_if 0 (i32.eq (local.get 2) (i32.const 77)))) ".repeat(depth),
            sum(locals, |i| format!("(local.get {}) ", i + 4)),
        );
        shapes.push(shape(
            format!("{locals} locals through {depth} loops"),
            format!("(local {})", many("i32", locals)),
            nest,
        ));
    }
    let targets = each(500, |i| format!("{} ", i % 20));
    let tables = format!(
        "{} (br_table {targets} 0 (i32.and (local.get 1) (i32.const 511))) {} (local.set 3 {{call}}) {}",
        "(block ".repeat(20),
        each(20, |i| format!(") (local.set {} (i32.add (local.get {}) (i32.const {i}))) ", i + 4, (i + 1) % 20 + 4)),
        sum(20, |i| format!("(local.get {}) ", i + 4)),
    );
    shapes.push(shape("a branch table of 500", "(local ".to_owned() + &many("i32", 20) + ")", tables));
    shapes
}

/// Attacks one shape; tells bytes per frame at both efforts.
fn attack(shape: &Shape) -> [u64; 2] {
    let rule = Profile::v1().stack;
    let text = |depth| module(&shape.extra, &shape.locals, &shape.body, depth);
    let facts = talea_meter::inspect(&wat(&text(0)), &Profile::v1())
        .unwrap_or_else(|refusal| panic!("{}: {refusal}", shape.name));
    // Weight of one turn: all functions but the entry.
    let (entry, turn) = facts.functions.split_last().unwrap();
    let per_turn: u64 = turn.iter().map(|facts| u64::from(facts.weight.0)).sum();
    let turns = (rule.depth_max - u64::from(entry.weight.0)) / per_turn;
    // With depth n the function is entered n + 1 times.
    let (deepest, beyond) = (turns - 1, turns);
    let frames = [Effort::None, Effort::Speed].map(|effort| {
        let wasm = wat(&text(deepest));
        let frame = frame_bytes(&metered(&wasm, Variant::Exact), effort, deepest, &shape.name);
        assert!(
            frame <= per_turn * rule.unit_bytes,
            "{}: {frame} bytes for weight {per_turn} at {effort:?}",
            shape.name
        );
        assert!(frame >= NATIVE_FRAME_BYTES_MIN, "{}: {frame}", shape.name);
        frame
    });
    for depth in [10, deepest, beyond] {
        let wasm = wat(&text(depth));
        let (exact, fast) = (metered(&wasm, Variant::Exact), metered(&wasm, Variant::Fast));
        let run = |wasm, variant, effort| compiled::run(wasm, variant, effort, LIMIT, LIMIT);
        let report = run(&exact, Variant::Exact, Effort::None);
        match &report.ending {
            Ending::Returned(_) => assert!(depth < beyond, "{}", shape.name),
            Ending::Stack => assert!(depth == beyond, "{}", shape.name),
            other => panic!("{}: {other:?}", shape.name),
        }
        assert_eq!(run(&exact, Variant::Exact, Effort::Speed), report, "{}", shape.name);
        for effort in [Effort::None, Effort::Speed] {
            let quick = run(&fast, Variant::Fast, effort);
            let faulted = matches!(quick.ending, Ending::NativeOverflow | Ending::Stack);
            assert!(faulted || quick == report, "{}: {quick:?}, {report:?}", shape.name);
            assert!(faulted || depth < beyond, "{}", shape.name);
            // Shallow runs must not need a repeat.
            assert!(!faulted || depth > 10 || frames[0] * 12 > rule.native_fast_bytes / 2
                || per_turn * 12 > rule.heavy_max, "{}", shape.name);
        }
    }
    frames
}

/// Bytes of native stack per turn: where the stack stands in the host call at the bottom, against the
/// same at no depth.
fn frame_bytes(exact: &[u8], effort: Effort, depth: u64, name: &str) -> u64 {
    static BOTTOM: AtomicUsize = AtomicUsize::new(0);
    let engine = compiled::engine(Variant::Exact, effort);
    let module = Module::new(engine, exact).unwrap();
    let mut linker: Linker<()> = Linker::new(engine);
    let here = |counter: i64| {
        let mark = 0u8;
        BOTTOM.store(std::ptr::from_ref(&mark).addr(), Ordering::Relaxed);
        (0i32, counter)
    };
    linker.func_wrap("wasi_snapshot_preview1", "sched_yield", here).unwrap();
    linker.func_wrap(talea_meter::METER_MODULE, talea_meter::METER_SLICE, |c: i64| c).unwrap();
    let stop = |_: i32| -> wasmtime::Result<()> { wasmtime::bail!("stopped") };
    linker.func_wrap(talea_meter::METER_MODULE, talea_meter::METER_STOP, stop).unwrap();
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let entry = instance.get_func(&mut store, "talea_handle").unwrap();
    let top = 0u8;
    let mut results = [Val::I32(0), Val::I64(0)];
    entry
        .call(&mut store, &[Val::I64(1 << 60)], &mut results)
        .unwrap_or_else(|error| panic!("{name} at {depth}: {error:?}"));
    let used = std::ptr::from_ref(&top).addr() - BOTTOM.load(Ordering::Relaxed);
    used as u64 / (depth + 1)
}

#[test]
fn frames_stay_below_their_weight_and_outcomes_agree() {
    let shapes = shapes();
    let table: Vec<String> = shapes
        .iter()
        .map(|shape| {
            let [none, speed] = on_deep_stack(|| attack(shape));
            format!("{}: {none} and {speed} bytes\n", shape.name)
        })
        .collect();
    println!("{}", table.concat());
}
