//! What metering costs, and how fairly the table charges: Rust kernels under five engines in one run.
//!
//! `cargo bench --profile dev -p talea-meter --bench kernels -- FOLDER [KERNEL..]`, where FOLDER holds
//! the kernels' modules (`benches/kernels`, built for wasm32-wasip1). The build profile does not matter:
//! what is measured is the machine code that the engine makes. Per kernel and engine the least of
//! several interleaved rounds is taken; all figures are ratios to the unmetered module in the same run.

#![allow(clippy::print_stdout, reason = "its figures are its output")]

use std::path::Path;
use std::time::Duration;

use talea_ledger::profile::Profile;
use talea_meter::Variant;
use wasmtime::{AsContextMut, Caller, Config, Engine, Extern, Linker, Module, Store, Val};

/// Rounds per kernel; the least time of each engine counts.
const ROUNDS: usize = 31;
/// A kernel is given more work until it takes this long unmetered.
const LEAST: Duration = Duration::from_millis(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Unmetered,
    Fast,
    Exact,
    Native,
    Epochs,
}

const WAYS: [Way; 5] = [Way::Unmetered, Way::Fast, Way::Exact, Way::Native, Way::Epochs];

struct State {
    input: Vec<u8>,
    output: Vec<u8>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let folder = arguments.next().ok_or("the folder of the kernels' modules")?;
    let chosen: Vec<String> = arguments.collect();
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    println!("| kernel | fast | exact | native fuel | epochs | fuel | ns per 1,000 fuel |");
    println!("|---|---|---|---|---|---|---|");
    let mut ratios: Vec<[f64; 4]> = Vec::new();
    let mut prices: Vec<f64> = Vec::new();
    for file in files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).ok_or("a file name")?.to_owned();
        if !chosen.is_empty() && !chosen.contains(&name) {
            continue;
        }
        let measured = measure(&std::fs::read(&file)?)?;
        let [fast, exact, native, epochs] = measured.ratios;
        let price = measured.seconds * 1e12 / measured.fuel as f64;
        println!(
            "| {name} | {fast:.3} | {exact:.3} | {native:.3} | {epochs:.3} | {} | {price:.0} |",
            measured.fuel
        );
        ratios.push(measured.ratios);
        prices.push(price);
    }
    let mean = |index: usize| {
        (ratios.iter().map(|row| row[index].ln()).sum::<f64>() / ratios.len() as f64).exp()
    };
    println!(
        "| geometric mean | {:.3} | {:.3} | {:.3} | {:.3} | | |",
        mean(0),
        mean(1),
        mean(2),
        mean(3)
    );
    let (least, most) = prices
        .iter()
        .fold((f64::MAX, 0f64), |(least, most), price| (least.min(*price), most.max(*price)));
    println!("dearest over cheapest time per fuel: {:.2}", most / least);
    Ok(())
}

struct Measured {
    ratios: [f64; 4],
    fuel: u64,
    seconds: f64,
}

fn measure(wasm: &[u8]) -> Result<Measured, Box<dyn std::error::Error>> {
    let runs: Vec<Prepared> =
        WAYS.iter().map(|way| Prepared::new(wasm, *way)).collect::<Result<_, _>>()?;
    let mut n = 1u64;
    while runs[0].run(n)?.0 < LEAST {
        n *= 2;
    }
    let mut best = [Duration::MAX; 5];
    let mut fuel = 0;
    let mut outputs = Vec::new();
    for round in 0..ROUNDS {
        // Another order each round, so that no engine always comes after the same one.
        for step in 0..WAYS.len() {
            let index = (step + round) % WAYS.len();
            let (time, used, output) = runs[index].run(n)?;
            best[index] = best[index].min(time);
            outputs.push(output);
            if matches!(WAYS[index], Way::Fast | Way::Exact) {
                assert!(fuel == 0 || fuel == used, "fast {used} and exact {fuel} differ");
                fuel = used;
            }
        }
    }
    assert!(outputs.iter().all(|output| *output == outputs[0]), "one result, however metered");
    let base = best[0].as_secs_f64();
    Ok(Measured {
        ratios: [1, 2, 3, 4].map(|index: usize| best[index].as_secs_f64() / base),
        fuel,
        seconds: base,
    })
}

struct Prepared {
    way: Way,
    engine: Engine,
    module: Module,
    linker: Linker<State>,
}

/// Far more than any run here needs.
const GRANTED: i64 = 1 << 60;

impl Prepared {
    fn new(wasm: &[u8], way: Way) -> Result<Self, Box<dyn std::error::Error>> {
        let mut config = Config::new();
        config.cranelift_nan_canonicalization(true).max_wasm_stack(1 << 20);
        config.wasm_branch_hinting(true);
        config.consume_fuel(way == Way::Native).epoch_interruption(way == Way::Epochs);
        let engine = Engine::new(&config)?;
        let metered = |variant| {
            talea_meter::instrument(wasm, &Profile::v1(), variant).map(|metered| metered.wasm)
        };
        let bytes = match way {
            Way::Fast => metered(Variant::Fast)?,
            Way::Exact => metered(Variant::Exact)?,
            _ => wasm.to_vec(),
        };
        let module = Module::new(&engine, bytes)?;
        let linker = linker(&engine, &module, matches!(way, Way::Fast | Way::Exact))?;
        Ok(Self { way, engine, module, linker })
    }

    fn run(&self, n: u64) -> Result<(Duration, u64, Vec<u8>), Box<dyn std::error::Error>> {
        let state = State { input: n.to_string().into_bytes(), output: Vec::new() };
        let mut store = Store::new(&self.engine, state);
        if self.way == Way::Native {
            store.set_fuel(u64::MAX >> 1)?;
        }
        store.set_epoch_deadline(1);
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        let entry = instance.get_func(&mut store, "_start").ok_or("no _start")?;
        let metered = matches!(self.way, Way::Fast | Way::Exact);
        let mut left = [Val::I64(0)];
        let (arguments, results) = if metered {
            (&[Val::I64(GRANTED)][..], &mut left[..])
        } else {
            (&[][..], &mut [][..])
        };
        let start = on_cpu()?;
        entry.call(&mut store, arguments, results)?;
        let time = on_cpu()? - start;
        let used = GRANTED - left[0].unwrap_i64();
        Ok((time, used.unsigned_abs(), std::mem::take(&mut store.data_mut().output)))
    }
}

/// How long this thread has been on a core: on a busy machine, unlike a wall clock, it does not count
/// the time of others.
fn on_cpu() -> Result<Duration, Box<dyn std::error::Error>> {
    // Yielding makes the kernel bring its account of the running thread up to date.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = account.split_whitespace().next().ok_or("an empty account")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// As little of WASI as the kernels touch: a number on stdin, a line on stdout, and no environment.
fn linker(
    engine: &Engine,
    module: &Module,
    metered: bool,
) -> Result<Linker<State>, Box<dyn std::error::Error>> {
    let mut linker = Linker::new(engine);
    if metered {
        let meter = talea_meter::METER_MODULE;
        linker.func_wrap(meter, talea_meter::METER_SLICE, |counter: i64| counter)?;
        linker.func_wrap(meter, talea_meter::METER_STOP, |_: i32| {})?;
    }
    for import in module.imports().filter(|import| import.module() != talea_meter::METER_MODULE) {
        let name = import.name().to_owned();
        let ty = import.ty().unwrap_func().clone();
        let call = move |mut caller: Caller<'_, State>, params: &[Val], results: &mut [Val]| {
            let values: Vec<u32> =
                params.iter().filter_map(|value| value.i32().map(i32::cast_unsigned)).collect();
            let errno = answer(&mut caller, &name, &values);
            if let (true, Some(counter)) = (metered, params.last()) {
                let last = results.len() - 1;
                results[last] = *counter;
            }
            if results.len() > usize::from(metered) {
                results[0] = Val::I32(errno);
            }
            Ok(())
        };
        linker.func_new(import.module(), import.name(), ty, call)?;
    }
    Ok(linker)
}

fn answer(caller: &mut Caller<'_, State>, name: &str, values: &[u32]) -> i32 {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return 8 };
    let (bytes, state) = memory.data_and_store_mut(caller.as_context_mut());
    let word = |bytes: &[u8], at: u32| {
        let at = at as usize;
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    };
    let set = |bytes: &mut [u8], at: u32, value: u32| {
        bytes[at as usize..at as usize + 4].copy_from_slice(&value.to_le_bytes());
    };
    match (name, values) {
        ("fd_read", [_, iov, _, done]) => {
            let (at, len) = (word(bytes, *iov) as usize, word(bytes, *iov + 4) as usize);
            let count = len.min(state.input.len());
            bytes[at..at + count].copy_from_slice(&state.input[..count]);
            state.input.drain(..count);
            set(bytes, *done, u32::try_from(count).expect("short"));
            0
        }
        ("fd_write", [_, iov, count, done]) => {
            let mut total = 0;
            for index in 0..*count {
                let (at, len) = (word(bytes, iov + 8 * index), word(bytes, iov + 8 * index + 4));
                state.output.extend_from_slice(&bytes[at as usize..(at + len) as usize]);
                total += len;
            }
            set(bytes, *done, total);
            0
        }
        ("environ_sizes_get" | "args_sizes_get", [count, size]) => {
            set(bytes, *count, 0);
            set(bytes, *size, 0);
            0
        }
        ("random_get", [at, len]) => {
            bytes[*at as usize..(*at + *len) as usize].fill(7);
            0
        }
        ("environ_get" | "args_get", _) => 0,
        // EBADF: no such file.
        _ => 8,
    }
}
