//! The audit of a receipt against the run it repeats.
//!
//! Owns the comparison that an auditing node makes: the same invocation from a cached artefact, then
//! every field of the receipt. Absent: hashing of bodies, and compiling; both are counted apart.

use std::hint::black_box;

use anyhow::{Context, ensure};
use talea_ledger::audit::{Facts, Floats, Verdict, compare as compare_receipt};
use talea_ledger::{FunctionId, Receipt, Run, Tal};
use talea_runtime::executor::{Execution, Executor, Invocation};

use super::documents::{host, receipt, run};
use super::guests::{COMPUTE, binary, executor, invocation, runtime};
use super::{Figure, Site};
use crate::timing::{Subject, compare};

/// The most that an audit may take of the run.
const RATIO_MAX: f64 = 1.1;

pub(super) fn figures(site: &Site) -> anyhow::Result<Vec<Figure>> {
    let effort = site.effort;
    let wasm = binary(COMPUTE)?;
    let runtime = runtime()?;
    let executor = executor(&[&wasm], None)?;
    let invocation = invocation(FunctionId::of(&wasm));
    let run = run(invocation.function, invocation.profile);
    let execution = runtime.block_on(executor.run(invocation.clone()))?;
    let receipt = receipt_of(&run, &execution);
    let audit = |executor: &Executor, invocation: Invocation| -> anyhow::Result<Verdict> {
        let again = runtime.block_on(executor.run(invocation))?;
        Ok(compare_receipt(&receipt, &run, &facts(&again)))
    };
    let verdict = audit(&executor, invocation.clone())?;
    ensure!(verdict == Verdict::Match, "an honest receipt matches, not {verdict:?}");
    let timed = compare(
        effort,
        vec![
            Subject::new("a run of about a millisecond", || {
                black_box(runtime.block_on(executor.run(invocation.clone())).is_ok());
            }),
            Subject::new("its audit", || {
                black_box(audit(&executor, invocation.clone()).is_ok());
            }),
        ],
    );
    let (ran, audited) = timed.first().zip(timed.get(1)).context("two subjects, two times")?;
    let reached = audited.ratio_to(ran) <= RATIO_MAX;
    Ok(vec![
        Figure::nanos("audit", ran, 1),
        Figure::nanos("audit", audited, 1).against(audited, ran).with_aim("at most 1.1", reached),
    ])
}

fn facts(execution: &Execution) -> Facts {
    Facts {
        outcome: execution.outcome,
        fuel: execution.fuel,
        host_fuel: execution.host_fuel,
        peak_pages: execution.peak_pages,
        output: execution.output.id(),
        output_len: execution.output.body_len,
        floats: Floats::Determined,
    }
}

fn receipt_of(run: &Run, execution: &Execution) -> Receipt {
    Receipt {
        function: run.function,
        input: run.input,
        input_len: run.input_len,
        peak_pages: execution.peak_pages,
        output: execution.output.id(),
        run: run.id(),
        forwarded: None,
        bill: Tal::ZERO,
        fuel: execution.fuel,
        output_len: execution.output.body_len,
        profile: run.profile,
        host_fuel: execution.host_fuel,
        price: run.price,
        outcome: execution.outcome,
        ..receipt(&host(), 1)
    }
}
