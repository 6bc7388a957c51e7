//! The first call of a function after a restart, its artefact in the cache.
//!
//! Owns the time from the call to its execution in an executor that has been made for it and has answered one call
//! of another function, so that its threads run. Absent: the start of the process and of the executor itself, which
//! are not the caller's.

use std::fs;

use anyhow::ensure;
use talea_ledger::FunctionId;

use super::guests::{HELLO, binary, executor, invocation, large, runtime};
use super::{Figure, Site};
use crate::stopwatch::Stopwatch;
use crate::timing::Timed;

/// The largest module the aim speaks of.
const MODULE_LEN: usize = 512 * 1024;
/// Nanoseconds that the first call may take.
const NANOS_MAX: f64 = 1e6;

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let effort = site.effort;
    let cache = site.folder.join("first-call");
    fs::create_dir_all(&cache)?;
    let runtime = runtime()?;
    let mut figures = Vec::new();
    let other = binary(HELLO)?;
    for len in [16 * 1024, 128 * 1024, MODULE_LEN] {
        // The text's estimate is a little off; what counts is named in the figure.
        let wasm = binary(&large(len - len / 16))?;
        ensure!(wasm.len() <= len, "the module has {} bytes", wasm.len());
        let function = FunctionId::of(&wasm);
        let name = format!("first call, module of {} KiB", wasm.len() / 1024);
        let mut timed = Timed { name, nanos: Vec::new() };
        for round in 0..=effort.rounds {
            let executor = executor(&[&other, &wasm], Some(cache.clone()))?;
            runtime.block_on(executor.run(invocation(FunctionId::of(&other))))?;
            let compiled = executor.gauges().compiled;
            let first = invocation(function);
            let watch = Stopwatch::start();
            let execution = runtime.block_on(executor.run(first))?;
            let nanos = watch.nanos() as f64;
            ensure!(execution.output_body == "01234", "the large guest answers");
            // The first round compiles and fills the cache.
            if round > 0 {
                timed.nanos.push(nanos);
                ensure!(
                    executor.gauges().compiled == compiled,
                    "the artefact comes from the cache"
                );
            }
        }
        let reached = timed.median() < NANOS_MAX;
        figures.push(Figure::nanos("first call", &timed, 1).with_aim("below 1 ms", reached));
    }
    fs::remove_dir_all(&cache)?;
    Ok(figures)
}
