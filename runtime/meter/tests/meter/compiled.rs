//! The output of the pass under wasmtime.

use std::sync::OnceLock;

use talea_ledger::profile::Profile;
use talea_meter::Variant;
use wasmtime::{
    Caller, Config, Engine, Linker, Module, OptLevel, ResourceLimiter, Store, Trap, Val, ValType,
};

use crate::host::{ENTRIES_MAX, Ending, PAGES_MAX, Report, Stop, Tally, UNFIT};

/// How hard the compiler tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    None,
    Speed,
}

struct State {
    tally: Tally,
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= PAGES_MAX * 65_536)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= ENTRIES_MAX)
    }
}

/// One engine per effort and native stack; made once.
pub(crate) fn engine(variant: Variant, effort: Effort) -> &'static Engine {
    static ENGINES: OnceLock<Vec<Engine>> = OnceLock::new();
    let stack = Profile::v1().stack;
    let engines = ENGINES.get_or_init(|| {
        let mut engines = Vec::new();
        for opt in [OptLevel::None, OptLevel::Speed] {
            for bytes in [stack.native_fast_bytes, stack.native_exact_bytes] {
                let bytes = usize::try_from(bytes).unwrap();
                let mut config = Config::new();
                config
                    .cranelift_opt_level(opt)
                    .cranelift_nan_canonicalization(true)
                    // The pass marks the cold side of its checks.
                    .wasm_branch_hinting(true)
                    .async_stack_size(bytes + (1 << 20))
                    .max_wasm_stack(bytes)
                    .wasm_backtrace_max_frames(None)
                    .memory_reservation(8 << 20)
                    .memory_guard_size(1 << 16);
                engines.push(Engine::new(&config).unwrap());
            }
        }
        engines
    });
    let exact = usize::from(variant != Variant::Fast);
    &engines[2 * usize::from(effort == Effort::Speed) + exact]
}

/// Runs a metered module: its start, its `_initialize`, its entry.
pub(crate) fn run(
    metered: &[u8],
    variant: Variant,
    effort: Effort,
    limit: u64,
    slice: u64,
) -> Report {
    run_module(&compile(metered, variant, effort), variant, limit, slice)
}

pub(crate) fn compile(metered: &[u8], variant: Variant, effort: Effort) -> Module {
    Module::new(engine(variant, effort), metered).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The same with what was compiled before.
pub(crate) fn run_module(module: &Module, variant: Variant, limit: u64, slice: u64) -> Report {
    let engine = module.engine();
    let linker = linker(engine, module);
    let mut store = Store::new(engine, State { tally: Tally::new(limit, slice) });
    store.limiter(|state| state);
    let mut counter = store.data().tally.granted();
    let instance = match linker.instantiate(&mut store, module) {
        Ok(instance) => instance,
        Err(error) => {
            // Nothing of a metered module runs here: a segment does not fit.
            assert!(error.is::<Trap>(), "{error:#}");
            return store.data().tally.report(Ending::Trapped(UNFIT), counter, &[]);
        }
    };
    let mut results = Vec::new();
    for door in [talea_meter::EXPORT_START, "_initialize", "_start", "talea_handle"] {
        let Some(function) = instance.get_func(&mut store, door) else { continue };
        let count = function.ty(&store).results().len();
        let mut values = vec![Val::I64(0); count];
        if let Err(error) = function.call(&mut store, &[Val::I64(counter)], &mut values) {
            let ending = ending(&error);
            let fuel = instance.get_global(&mut store, talea_meter::EXPORT_FUEL);
            let seen = store.data().tally.seen;
            let counter = match (&ending, fuel) {
                (Ending::Trapped(_) | Ending::NativeOverflow | Ending::Stack, Some(fuel)) => {
                    fuel.get(&mut store).unwrap_i64()
                }
                _ => seen,
            };
            return report(&instance, &mut store, ending, counter);
        }
        let Some(Val::I64(left)) = values.pop() else { panic!("{door} hands the counter back") };
        counter = left;
        results = values.iter().map(number).collect();
    }
    let ending = Ending::Returned(results);
    let lines = lines(&instance, &mut store, module);
    let report = report(&instance, &mut store, ending, counter);
    if variant == Variant::Explained && report.ending != Ending::OutOfFuel {
        assert_eq!(lines + store.data().tally.host_fuel, report.fuel, "lines sum to the fuel");
    }
    report
}

/// The sum of what functions charged (explained variant).
fn lines(instance: &wasmtime::Instance, store: &mut Store<State>, module: &Module) -> u64 {
    let mut sum = 0;
    for export in module.exports().filter(|export| export.name().starts_with("talea:fuel:")) {
        let global = instance.get_global(&mut *store, export.name()).unwrap();
        sum += global.get(&mut *store).unwrap_i64().cast_unsigned();
    }
    sum
}

fn report(
    instance: &wasmtime::Instance,
    store: &mut Store<State>,
    ending: Ending,
    counter: i64,
) -> Report {
    let memory = instance.get_memory(&mut *store, talea_meter::EXPORT_MEMORY);
    let bytes = memory.map_or(&[][..], |memory| memory.data(&*store));
    store.data().tally.report(ending, counter, bytes)
}

fn linker(engine: &Engine, module: &Module) -> Linker<State> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    let meter = talea_meter::METER_MODULE;
    let slice = |mut caller: Caller<'_, State>, counter: i64| -> wasmtime::Result<i64> {
        Ok(caller.data_mut().tally.slice(counter)?)
    };
    linker.func_wrap(meter, talea_meter::METER_SLICE, slice).unwrap();
    let stop = |_: i32| -> wasmtime::Result<()> { Err(Stop::Stack.into()) };
    linker.func_wrap(meter, talea_meter::METER_STOP, stop).unwrap();
    for import in module.imports().filter(|import| import.module() != meter) {
        let (from, name) = (import.module().to_owned(), import.name().to_owned());
        let ty = import.ty().unwrap_func().clone();
        let result = ty.results().len().checked_sub(2).and_then(|index| ty.result(index));
        let answer = move |mut caller: Caller<'_, State>, params: &[Val], out: &mut [Val]| {
            let mut arguments: Vec<i64> = params.iter().map(number).collect();
            let counter = arguments.pop().expect("the counter comes last");
            let tally = &mut caller.data_mut().tally;
            let (value, counter) = tally.call(&from, &name, &arguments, counter)?;
            match result {
                Some(ValType::I64) => out[0] = Val::I64(value),
                Some(_) => out[0] = Val::I32(value as i32),
                None => {}
            }
            *out.last_mut().expect("the counter comes last") = Val::I64(counter);
            Ok(())
        };
        linker.func_new(import.module(), import.name(), ty, answer).unwrap();
    }
    linker
}

fn number(value: &Val) -> i64 {
    match value {
        Val::I32(value) => i64::from(*value),
        Val::I64(value) => *value,
        other => panic!("not an integer: {other:?}"),
    }
}

/// The names of a metered module's exports.
pub(crate) fn exports(metered: &[u8]) -> Vec<String> {
    let module = Module::new(engine(Variant::Fast, Effort::None), metered).unwrap();
    module.exports().map(|export| export.name().to_owned()).collect()
}

pub(crate) fn ending(error: &wasmtime::Error) -> Ending {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::OutOfFuel => Ending::OutOfFuel,
            Stop::Stack => Ending::Stack,
            Stop::Exit(code) => Ending::Exited(*code),
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Ending::NativeOverflow,
        Some(Trap::UnreachableCodeReached) => Ending::Trapped("unreachable"),
        Some(Trap::MemoryOutOfBounds) => Ending::Trapped("memory_out_of_bounds"),
        Some(Trap::TableOutOfBounds) => Ending::Trapped("table_out_of_bounds"),
        Some(Trap::IndirectCallToNull) => Ending::Trapped("indirect_call_to_null"),
        Some(Trap::BadSignature) => Ending::Trapped("bad_signature"),
        Some(Trap::IntegerOverflow) => Ending::Trapped("integer_overflow"),
        Some(Trap::IntegerDivisionByZero) => Ending::Trapped("integer_divide_by_zero"),
        Some(Trap::BadConversionToInteger) => Ending::Trapped("bad_conversion_to_integer"),
        _ => panic!("neither a trap nor a stop: {error:#}"),
    }
}
