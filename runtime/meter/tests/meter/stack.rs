//! The stack argument under attack: recursive functions whose native frames are far larger or far
//! smaller than they look, at both ends of the optimiser.
//!
//! Every shape is a function that calls itself to a given depth with as much as possible alive across
//! the call. Three things must hold: the exact variant ends the same at both efforts, at the deepest
//! depth it admits and one beyond; the fast variant ends like it or faults; and a native frame, measured
//! by where the stack stands at the bottom, is below what the weight says and above the least frame
//! assumed.

use talea_ledger::profile::{NATIVE_FRAME_BYTES_MIN, Profile};
use talea_meter::Variant;
use wasmtime::{Caller, Linker, Module, Store, Val};

use crate::compiled::{self, Effort};
use crate::host::{Ending, Stop, metered, on_deep_stack, wat};

/// A module whose function `$down` calls itself as often as the host's clock says, around a body in
/// which `{call}` stands for the call with the counted-down parameter, leaving an i32.
fn module(shape: &Shape) -> String {
    let Shape { extra, locals, body, .. } = shape;
    let call = "(if (result i32) (local.get 0)
        (then (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
        (else (call $bottom)))";
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "sched_yield" (func $bottom (result i32)))
          (import "talea" "clock_ns" (func $depth (result i64)))
          (memory 1) (table 8 funcref)
          {extra}
          (func $down (param i32 i32) (result i32) (local i32 i32) {locals} {})
          (func (export "talea_handle") (result i32)
            (call $down (i32.wrap_i64 (call $depth)) (i32.const 3))))"#,
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

fn small_shapes() -> Vec<Shape> {
    vec![
        shape("the call alone", "", "{call}"),
        shape("4,000 unused locals", "(local ".to_owned() + &"i64 ".repeat(4_000) + ")", "{call}"),
    ]
}

/// Each with about `count` values that may stay alive across the call.
fn shapes(count: usize) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mix = |i: usize| {
        format!("(i32.mul (i32.xor (local.get 1) (i32.const {i})) (i32.const {}))", i + 3)
    };
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
    let loads = sum(count, |i| {
        format!("(i32.load offset={} (i32.and (local.get 1) (i32.const {i})))", 4 * i)
    });
    shapes.push(shape(format!("{count} loads around the call"), "", around(&loads)));
    let held = each(count, |i| format!("(i32.load offset={} (local.get 1)) ", 4 * i));
    let adds = "i32.add ".repeat(count);
    shapes.push(shape(format!("{count} operands held"), "", format!("{held} {{call}} {adds}")));
    let vectors =
        each(count, |i| format!("(i32x4.splat (i32.xor (local.get 1) (i32.const {i}))) "));
    let vector_adds = "i32x4.add ".repeat(count);
    shapes.push(shape(
        format!("{count} vectors held"),
        "",
        format!("{vectors} (i32x4.splat {{call}}) {vector_adds} i32x4.extract_lane 1"),
    ));
    let doubles = sum(count, |i| {
        format!(
            "(i32.trunc_sat_f64_s (f64.mul (f64.convert_i32_s (local.get 1)) (f64.const {i}.5)))"
        )
    });
    shapes.push(shape(format!("{count} repeated float expressions"), "", around(&doubles)));
    let tables = sum(count, |i| {
        format!("(ref.is_null (table.get (i32.and (local.get 1) (i32.const {}))))", i % 8)
    });
    shapes.push(shape(format!("{count} table reads around the call"), "", around(&tables)));
    // Locals that are another value after every `if`, each held on the operand stack.
    let merged = each(count, |i| {
        format!(
            "(if (i32.and (local.get 1) (i32.const {})) (then (local.set 2 (i32.add (local.get 2) (i32.const 1))))) (local.get 2) ",
            1 << (i % 31)
        )
    });
    shapes.push(shape(
        format!("{count} merges held"),
        "",
        format!("{merged} {{call}} {}", "i32.add ".repeat(count)),
    ));
    shapes
}

/// Many arguments, results, locals, nested loops and branch targets.
fn wide_shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    let many = |ty: &str, count: usize| format!("{ty} ").repeat(count);
    for (ty, count) in [("i32", 250), ("i64", 250), ("v128", 250), ("f64", 250)] {
        let zero = if ty == "v128" {
            "(v128.const i64x2 1 2) ".into()
        } else {
            format!("({ty}.const 1) ")
        };
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
        shapes.push(Shape {
            name: format!("{count} arguments and results of {ty}"),
            extra,
            locals: String::new(),
            body,
        });
    }
    for (locals, depth) in [(40, 40), (200, 60), (1_000, 12)] {
        let set = each(locals, |i| {
            format!(
                "(local.set {} (i32.add (local.get {}) (local.get {}))) ",
                i + 4,
                i + 4,
                (i * 7 + 1) % locals + 4
            )
        });
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
        each(20, |i| format!(
            ") (local.set {} (i32.add (local.get {}) (i32.const {i}))) ",
            i + 4,
            (i + 1) % 20 + 4
        )),
        sum(20, |i| format!("(local.get {}) ", i + 4)),
    );
    shapes.push(shape(
        "a branch table of 500",
        "(local ".to_owned() + &many("i32", 20) + ")",
        tables,
    ));
    shapes
}

/// One compiled variant of a shape.
struct Compiled {
    module: Module,
    variant: Variant,
    effort: Effort,
}

/// Where the native stack stood in the host call at the bottom.
struct State {
    depth: u64,
    bottom: usize,
}

impl Compiled {
    fn new(wasm: &[u8], variant: Variant, effort: Effort) -> Self {
        let module =
            Module::new(compiled::engine(variant, effort), metered(wasm, variant)).unwrap();
        Self { module, variant, effort }
    }

    /// How a run to this depth ends, what it costs, and its bytes of native stack per turn.
    fn run(&self, depth: u64) -> (Ending, i64, u64) {
        let engine = compiled::engine(self.variant, self.effort);
        let mut linker: Linker<State> = Linker::new(engine);
        let bottom = |mut caller: Caller<'_, State>, counter: i64| {
            let mark = 0u8;
            caller.data_mut().bottom = std::ptr::from_ref(&mark).addr();
            (0i32, counter)
        };
        linker.func_wrap("wasi_snapshot_preview1", "sched_yield", bottom).unwrap();
        let clock = |caller: Caller<'_, State>, counter: i64| (caller.data().depth, counter);
        linker.func_wrap("talea", "clock_ns", clock).unwrap();
        let meter = talea_meter::METER_MODULE;
        linker.func_wrap(meter, talea_meter::METER_SLICE, |counter: i64| counter).unwrap();
        let stop = |_: i32| -> wasmtime::Result<()> { Err(Stop::Stack.into()) };
        linker.func_wrap(meter, talea_meter::METER_STOP, stop).unwrap();
        let mut store = Store::new(engine, State { depth, bottom: 0 });
        let instance = linker.instantiate(&mut store, &self.module).unwrap();
        let entry = instance.get_func(&mut store, "talea_handle").unwrap();
        let top = 0u8;
        let mut results = [Val::I32(0), Val::I64(0)];
        let ending = match entry.call(&mut store, &[Val::I64(GRANTED)], &mut results) {
            Ok(()) => Ending::Returned(vec![i64::from(results[0].unwrap_i32())]),
            Err(error) => compiled::ending(&error),
        };
        let left = match instance.get_global(&mut store, talea_meter::EXPORT_FUEL) {
            Some(fuel) => fuel.get(&mut store).unwrap_i64(),
            None => results[1].unwrap_i64(),
        };
        let used = std::ptr::from_ref(&top).addr().saturating_sub(store.data().bottom);
        (ending, GRANTED - left, used as u64 / (depth + 1))
    }
}

const GRANTED: i64 = 1 << 60;

/// Attacks one shape; tells bytes per frame at both efforts.
fn attack(shape: &Shape) -> String {
    let name = &shape.name;
    let rule = Profile::v1().stack;
    let wasm = wat(&module(shape));
    let facts = talea_meter::inspect(&wasm, &Profile::v1())
        .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    // Weight of one turn: all functions but the entry.
    let (entry, turn) = facts.functions.split_last().unwrap();
    let per_turn: u64 = turn.iter().map(|facts| u64::from(facts.weight.0)).sum();
    let turns = (rule.depth_max - u64::from(entry.weight.0)) / per_turn;
    // To depth n the function is entered n + 1 times.
    let (deepest, beyond) = (turns - 1, turns);
    let [none, speed] = [Effort::None, Effort::Speed].map(|effort| {
        let exact = Compiled::new(&wasm, Variant::Exact, effort);
        let fast = Compiled::new(&wasm, Variant::Fast, effort);
        let mut seen = Vec::new();
        for depth in [10, deepest, beyond] {
            let (ending, fuel, frame) = exact.run(depth);
            let well = matches!(ending, Ending::Returned(_));
            assert!(well || ending == Ending::Stack, "{name} at {depth}, {effort:?}: {ending:?}");
            assert_eq!(well, depth < beyond, "{name} at {depth}, {effort:?}");
            if depth == deepest {
                assert!(frame <= per_turn * rule.unit_bytes, "{name}, {effort:?}: {frame} bytes");
                assert!(frame >= NATIVE_FRAME_BYTES_MIN, "{name}, {effort:?}: {frame} bytes");
            }
            let (quick, quick_fuel, quick_frame) = fast.run(depth);
            let faulted = matches!(quick, Ending::NativeOverflow | Ending::Stack);
            assert!(faulted || (&quick, quick_fuel) == (&ending, fuel), "{name}, {effort:?}");
            assert!(faulted || well, "{name} at {depth}, {effort:?}: fast lives");
            assert!(faulted || depth > 10 || quick_frame >= NATIVE_FRAME_BYTES_MIN, "{name}");
            seen.push((ending, fuel, frame));
        }
        seen
    });
    let outcomes = |seen: &[(Ending, i64, u64)]| -> Vec<(Ending, i64)> {
        seen.iter().map(|(ending, fuel, _)| (ending.clone(), *fuel)).collect()
    };
    assert_eq!(outcomes(&none), outcomes(&speed), "{name}");
    let (none, speed) = (none[1].2, speed[1].2);
    format!("{name}: weight {per_turn}, {none} bytes unoptimised, {speed} optimised\n")
}

fn check(shapes: &[Shape]) {
    let table: String = shapes.iter().map(|shape| on_deep_stack(|| attack(shape))).collect();
    println!("{table}");
}

#[test]
fn small_frames() {
    check(&small_shapes());
}

#[test]
fn tens_of_values() {
    check(&shapes(26));
}

#[test]
fn hundreds_of_values() {
    check(&shapes(300));
}

#[test]
fn thousands_of_invariants() {
    check(&shapes(4_000)[..2]);
}

#[test]
fn wide_signatures_loops_and_tables() {
    check(&wide_shapes());
}
