//! A fresh instance and one call through the executor, against the engine alone.
//!
//! Owns the floor: the same module, not metered, in the same engine version with a pool, a prepared
//! instance and the host call it makes. Absent: documents, receipts.

use std::hint::black_box;

use anyhow::{Context, ensure};
use talea_ledger::FunctionId;
use wasmtime::{
    Caller, Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store,
};

use super::guests::{HELLO, at_once, binary, executor, invocation, runtime};
use super::{Figure, Site};
use crate::timing::{Subject, compare};

/// The most that a call through the executor may take of the engine's own.
const RATIO_MAX: f64 = 1.2;
/// Linear memory that stays mapped in a slot, as in the executor: the floor must not be slower by
/// a setting.
const KEEP_RESIDENT: usize = 64 << 10;

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let effort = site.effort;
    let wasm = binary(HELLO)?;
    let pre = raw(&wasm)?;
    ensure!(raw_call(&pre)? == b"hello", "the raw call says hello");
    let runtime = runtime()?;
    let _guard = runtime.enter();
    let executor = executor(&[&wasm], None)?;
    let invocation = invocation(FunctionId::of(&wasm));
    let first = runtime.block_on(executor.run(invocation.clone()))?;
    ensure!(first.output_body == "hello", "the metered call says hello");
    ensure!(at_once(executor.run(invocation.clone()))?.is_ok(), "a short call ends at once");
    let timed = compare(
        effort,
        vec![
            Subject::new("wasmtime alone: instantiate and call", || {
                black_box(raw_call(&pre).is_ok());
            }),
            Subject::new("executor: fresh instance and call", || {
                black_box(at_once(executor.run(invocation.clone())).is_ok());
            }),
        ],
    );
    let [floor, ours] = &timed[..] else { unreachable!("two subjects, two times") };
    let ratio = ours.ratio_to(floor);
    Ok(vec![
        Figure::nanos("instance", floor, 1),
        Figure::nanos("instance", ours, 1)
            .against(ours, floor)
            .with_aim("at most 1.2", ratio <= RATIO_MAX),
    ])
}

fn raw(wasm: &[u8]) -> anyhow::Result<InstancePre<Vec<u8>>> {
    let mut pool = PoolingAllocationConfig::default();
    pool.linear_memory_keep_resident(KEEP_RESIDENT).total_memories(16).total_core_instances(16);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).map_err(engine_fault)?;
    let module = Module::new(&engine, wasm).map_err(engine_fault)?;
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap(
            "talea",
            "output_write",
            |mut caller: Caller<'_, Vec<u8>>, from: i32, len: i32| -> i32 {
                let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory);
                let Some(memory) = memory else { return -1 };
                let (bytes, output) = memory.data_and_store_mut(&mut caller);
                let from = from.cast_unsigned() as usize;
                let Some(bytes) = bytes.get(from..from + len.cast_unsigned() as usize) else {
                    return -1;
                };
                output.extend_from_slice(bytes);
                0
            },
        )
        .map_err(engine_fault)?;
    linker.instantiate_pre(&module).map_err(engine_fault)
}

/// Wasmtime's error is no standard error without its `anyhow` feature; its words are.
#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over by value")]
fn engine_fault(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn raw_call(pre: &InstancePre<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let mut store = Store::new(pre.module().engine(), Vec::new());
    let instance = pre.instantiate(&mut store).map_err(engine_fault)?;
    let entry = instance
        .get_typed_func::<(), i32>(&mut store, "talea_handle")
        .map_err(engine_fault)
        .context("the entry")?;
    entry.call(&mut store, ()).map_err(engine_fault)?;
    Ok(store.into_data())
}
