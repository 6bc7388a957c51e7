//! A bill by function: where the fuel of one run went.
//!
//! Invariant: static charge, functions and host calls sum to what was charged, and that minus
//! `unbilled` is the fuel on the receipt. A sum that does not come out is an error, not a footnote.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use talea_ledger::input::Input;
use talea_ledger::run::Run;
use talea_ledger::units::Fuel;
use talea_meter::{FunctionFacts, Variant};
use wasmtime::{Instance, Store};

use super::host::Guest;
use super::rerun::{Bench, RerunError};
use super::{ExecuteError, Execution, Verdict};

/// Where the fuel of a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What every run of the function is charged before it starts.
    pub fixed: Fuel,
    /// Functions by name, the most expensive first; those that charged nothing are left out.
    pub lines: Vec<(String, Fuel)>,
    /// Host calls by `module.name`, likewise.
    pub host_calls: Vec<(String, Fuel)>,
    /// Charged above the limit by the last step of a run that is out of fuel: not on the bill.
    pub unbilled: Fuel,
    /// The fuel on the receipt: the sum of the above, without what is unbilled.
    pub total: Fuel,
    /// What the run did.
    pub execution: Execution,
}

/// Runs once more what a run ordered, and tells where its fuel went.
pub fn explain(
    wasm: &[u8],
    run: &Run,
    input: &Input,
    body: Bytes,
) -> Result<Explanation, RerunError> {
    let bench = Bench::set_up(wasm, run, input, body, Variant::Explained)?;
    if let Some(execution) = bench.attempt.without_instance() {
        let fixed = Fuel(bench.attempt.loaded.facts.static_fuel);
        let unbilled = fixed.saturating_sub(execution.fuel);
        return sum(fixed, Vec::new(), Vec::new(), unbilled, execution);
    }
    let inspection = talea_meter::inspect(wasm, bench.profile).map_err(RerunError::Refused)?;
    let mut store = bench.attempt.store()?;
    let entered = block_on(bench.attempt.enter(&mut store));
    let (ending, instance) = entered;
    let lines = match instance {
        Some(instance) => by_function(&mut store, instance, &inspection.functions),
        None => Vec::new(),
    };
    let meter = &store.data().meter;
    let host_calls = bench
        .profile
        .host_calls
        .iter()
        .zip(meter.tally())
        .map(|(call, fuel)| (format!("{}.{}", call.module, call.name), Fuel(*fuel)));
    let host_calls = ranked(host_calls);
    let unbilled = Fuel(meter.used()).saturating_sub(meter.billed());
    let fixed = Fuel(bench.attempt.loaded.facts.static_fuel);
    match bench.attempt.judge(ending, store)? {
        Verdict::Final(execution) => sum(fixed, lines, host_calls, unbilled, *execution),
        Verdict::Repeat(_) => {
            Err(ExecuteError::engine("the exact variant asked for a repeat").into())
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        // Pending is the end of a slice, and the next one begins at once.
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// What each function charged, where the explained variant exports it.
fn by_function(
    store: &mut Store<Guest>,
    instance: Instance,
    functions: &[FunctionFacts],
) -> Vec<(String, Fuel)> {
    let mut lines = Vec::new();
    for facts in functions {
        let export = format!("{}:{}", talea_meter::EXPORT_FUEL, facts.index);
        let global = instance.get_global(&mut *store, &export);
        let fuel = global.and_then(|global| global.get(&mut *store).i64()).unwrap_or(0);
        let name = facts.name.clone().unwrap_or_else(|| format!("function {}", facts.index));
        lines.push((name, Fuel(fuel.cast_unsigned())));
    }
    ranked(lines.into_iter())
}

fn ranked(lines: impl Iterator<Item = (String, Fuel)>) -> Vec<(String, Fuel)> {
    let mut lines: Vec<_> = lines.filter(|(_, fuel)| *fuel != Fuel::ZERO).collect();
    // Stable: equal ones stay in the module's order.
    lines.sort_by_key(|(_, fuel)| std::cmp::Reverse(*fuel));
    lines
}

fn sum(
    fixed: Fuel,
    lines: Vec<(String, Fuel)>,
    host_calls: Vec<(String, Fuel)>,
    unbilled: Fuel,
    execution: Execution,
) -> Result<Explanation, RerunError> {
    let all = lines.iter().chain(&host_calls).map(|(_, fuel)| u128::from(fuel.0));
    let charged = u128::from(fixed.0).saturating_add(all.sum());
    let total = execution.fuel;
    if charged != u128::from(total.0) + u128::from(unbilled.0) {
        let detail = format!("the lines sum to {charged}, {total} and {unbilled} were charged");
        return Err(ExecuteError::engine(detail).into());
    }
    Ok(Explanation { fixed, lines, host_calls, unbilled, total, execution })
}
