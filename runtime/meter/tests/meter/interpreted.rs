//! Metered modules, and the oracle's, under wasmi: a second engine that shares no code with the first.

use std::sync::OnceLock;

use wasmi::{
    Caller, Config, Engine, Error, Linker, Module, Store, StoreLimits, StoreLimitsBuilder,
    TrapCode, Val, ValType,
};

use crate::host::{ENTRIES_MAX, Ending, PAGES_MAX, Report, Stop, Tally, UNFIT};
use crate::oracle;

struct State {
    tally: Tally,
    limits: StoreLimits,
}

impl State {
    fn new(limit: u64, slice: u64) -> Self {
        let limits = StoreLimitsBuilder::new()
            .memory_size(usize::try_from(PAGES_MAX * 65_536).unwrap())
            .table_elements(usize::try_from(ENTRIES_MAX).unwrap())
            .build();
        Self { tally: Tally::new(limit, slice), limits }
    }
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::default();
        config.set_max_recursion_depth(1 << 20).set_max_stack_height(512 << 20);
        Engine::new(&config)
    })
}

/// Runs a module of the exact variant.
pub(crate) fn run_exact(metered: &[u8], limit: u64, slice: u64) -> Report {
    run(metered, limit, slice, true)
}

/// Runs the oracle's module, which has no limits at all: for runs known to end.
pub(crate) fn run_oracle(wasm: &[u8]) -> Report {
    let unlimited = 1 << 60;
    run(&oracle::instrument(wasm), unlimited, unlimited, false)
}

fn run(wasm: &[u8], limit: u64, slice: u64, metered: bool) -> Report {
    let module = Module::new(engine(), wasm).unwrap_or_else(|error| panic!("{error}"));
    let linker = linker(&module, metered);
    let mut store = Store::new(engine(), State::new(limit, slice));
    store.limiter(|state| &mut state.limits);
    let granted = store.data().tally.granted();
    let instance = match linker.instantiate_and_start(&mut store, &module) {
        Ok(instance) => instance,
        Err(error) => {
            // Nothing of a metered module runs here; the oracle's still has its start function.
            let ending = if metered { Ending::Trapped(UNFIT) } else { ending(&error) };
            return store.data().tally.report(ending, granted, &[]);
        }
    };
    // The oracle's counter counts up and leaves host calls to the host.
    let counter = |store: &Store<State>| {
        let name = if metered { talea_meter::EXPORT_FUEL } else { oracle::EXPORT };
        let Some(Val::I64(value)) = instance.get_global(store, name).map(|g| g.get(store)) else {
            panic!("no counter")
        };
        let host_fuel = store.data().tally.host_fuel.cast_signed();
        if metered { value } else { granted - value - host_fuel }
    };
    let mut left = granted;
    let mut results = Vec::new();
    for door in [talea_meter::EXPORT_START, "_initialize", "_start", "talea_handle"] {
        let Some(function) = instance.get_func(&store, door) else { continue };
        let count = function.ty(&store).results().len();
        let mut values = vec![Val::I64(0); count];
        let argument = [Val::I64(left)];
        let arguments = if metered { &argument[..] } else { &[] };
        if let Err(error) = function.call(&mut store, arguments, &mut values) {
            let ending = ending(&error);
            let left = match ending {
                Ending::Exited(_) if metered => store.data().tally.seen,
                _ => counter(&store),
            };
            return store.data().tally.report(ending, left, memory(&instance, &store));
        }
        if metered {
            let Some(Val::I64(handed)) = values.pop() else { panic!("no counter from {door}") };
            assert_eq!(handed, counter(&store), "what is handed back is what the global holds");
        }
        left = counter(&store);
        results = values.iter().map(number).collect();
    }
    store.data().tally.report(Ending::Returned(results), left, memory(&instance, &store))
}

fn memory<'a>(instance: &wasmi::Instance, store: &'a Store<State>) -> &'a [u8] {
    match instance.get_memory(store, talea_meter::EXPORT_MEMORY) {
        Some(memory) => memory.data(store),
        None => &[],
    }
}

fn linker(module: &Module, metered: bool) -> Linker<State> {
    let mut linker = Linker::new(engine());
    let meter = talea_meter::METER_MODULE;
    if metered {
        let slice = |mut caller: Caller<'_, State>, counter: i64| -> Result<i64, Error> {
            caller.data_mut().tally.slice(counter).map_err(Error::host)
        };
        linker.func_wrap(meter, talea_meter::METER_SLICE, slice).unwrap();
        let stop = |_: i32| -> Result<(), Error> { Err(Error::host(Stop::Stack)) };
        linker.func_wrap(meter, talea_meter::METER_STOP, stop).unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    for import in module.imports().filter(|import| import.module() != meter) {
        let (from, name) = (import.module().to_owned(), import.name().to_owned());
        if !seen.insert((from.clone(), name.clone())) {
            continue;
        }
        let ty = import.ty().func().expect("only functions are imported").clone();
        let extra = usize::from(metered);
        let result = ty.results().len().checked_sub(1 + extra).map(|index| ty.results()[index]);
        let answer = move |mut caller: Caller<'_, State>, params: &[Val], out: &mut [Val]| {
            let mut arguments: Vec<i64> = params.iter().map(number).collect();
            let tally = &mut caller.data_mut().tally;
            let counter = if metered { arguments.pop().unwrap() } else { tally.granted() };
            let (value, counter) =
                tally.call(&from, &name, &arguments, counter).map_err(Error::host)?;
            match result {
                Some(ValType::I64) => out[0] = Val::I64(value),
                Some(_) => out[0] = Val::I32(value as i32),
                None => {}
            }
            if metered {
                *out.last_mut().unwrap() = Val::I64(counter);
            }
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

fn ending(error: &Error) -> Ending {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::OutOfFuel => Ending::OutOfFuel,
            Stop::Stack => Ending::Stack,
            Stop::Exit(code) => Ending::Exited(*code),
        };
    }
    match error.as_trap_code() {
        Some(TrapCode::StackOverflow) => Ending::NativeOverflow,
        Some(TrapCode::UnreachableCodeReached) => Ending::Trapped("unreachable"),
        Some(TrapCode::MemoryOutOfBounds) => Ending::Trapped("memory_out_of_bounds"),
        Some(TrapCode::TableOutOfBounds) => Ending::Trapped("table_out_of_bounds"),
        Some(TrapCode::IndirectCallToNull) => Ending::Trapped("indirect_call_to_null"),
        Some(TrapCode::BadSignature) => Ending::Trapped("bad_signature"),
        Some(TrapCode::IntegerOverflow) => Ending::Trapped("integer_overflow"),
        Some(TrapCode::IntegerDivisionByZero) => Ending::Trapped("integer_divide_by_zero"),
        Some(TrapCode::BadConversionToInteger) => Ending::Trapped("bad_conversion_to_integer"),
        _ => panic!("neither a trap nor a stop: {error}"),
    }
}
