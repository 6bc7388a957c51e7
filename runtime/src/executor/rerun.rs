//! One run again, without a node: what an audit compares a receipt with.
//!
//! Always the exact variant, compiled here and now for whoever asked; no cache, no pool of others, no
//! wall clock: an auditor decides for itself how long it waits.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use talea_ledger::id::{BodyId, FunctionId, InputId, ProfileId};
use talea_ledger::input::Input;
use talea_ledger::profile::{self, Profile};
use talea_ledger::run::Run;
use talea_meter::{Refusal, Variant};

use super::artefact::Key;
use super::attempt::{Attempt, Verdict};
use super::code::Code;
use super::compile::{CompileError, Compiler};
use super::house::{House, Room};
use super::long::{Work, turn};
use super::modules::{self, LoadError, Loaded};
use super::watch::Watch;
use super::{ExecuteError, Execution, Invocation, RunLimits, bounds};

/// Why a run could not be repeated. None of these says anything about the receipt.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// The module is not the run's function.
    #[error("the module is {found}, the run names {expected}")]
    OtherFunction {
        /// What the run names.
        expected: FunctionId,
        /// What was given.
        found: FunctionId,
    },
    /// The input document is not the run's.
    #[error("the input is {found}, the run names {expected}")]
    OtherInput {
        /// What the run names.
        expected: InputId,
        /// What was given.
        found: InputId,
    },
    /// The body is not the input's.
    #[error("the body is {found}, the input names {expected}")]
    OtherBody {
        /// What the input names.
        expected: BodyId,
        /// What was given.
        found: BodyId,
    },
    /// No engine for this profile is known here.
    #[error("profile {0} is not known")]
    ProfileUnknown(ProfileId),
    /// The module is no function under the profile.
    #[error(transparent)]
    Refused(Refusal),
    /// It could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The run did not come to an end of its own.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// Runs once more what a run ordered.
pub fn rerun(wasm: &[u8], run: &Run, input: &Input, body: Bytes) -> Result<Execution, RerunError> {
    let bench = Bench::set_up(wasm, run, input, body, Variant::Exact)?;
    let slot = bench.house.machine(Variant::Exact).slots.take();
    let slot = slot.ok_or(ExecuteError::Saturated)?;
    let mut work: Work = Box::pin(bench.attempt.run(slot));
    loop {
        match turn(&mut work) {
            Poll::Pending => {}
            Poll::Ready(Ok(Verdict::Final(execution))) => return Ok(*execution),
            Poll::Ready(Ok(Verdict::Repeat(_))) => {
                return Err(ExecuteError::engine("the exact variant asked for a repeat").into());
            }
            Poll::Ready(Err(error)) => return Err(error.into()),
        }
    }
}

/// What one run in an exact variant needs, with everything checked that the run names.
pub(super) struct Bench {
    pub(super) house: House,
    pub(super) attempt: Attempt,
    pub(super) profile: &'static Profile,
}

impl Bench {
    pub(super) fn set_up(
        wasm: &[u8],
        run: &Run,
        input: &Input,
        body: Bytes,
        variant: Variant,
    ) -> Result<Self, RerunError> {
        check(wasm, run, input, &body)?;
        let profile = profile::by_id(run.profile).ok_or(RerunError::ProfileUnknown(run.profile))?;
        talea_meter::inspect(wasm, profile).map_err(RerunError::Refused)?;
        // One instance, and nobody to share it with.
        let room = Room { fast: 1, exact: 1 };
        let house = House::build(profile, run.profile, room).map_err(ExecuteError::engine)?;
        let loaded = Arc::new(load(&house, wasm, run, variant)?);
        let attempt = Attempt {
            profile,
            loaded,
            invocation: Arc::new(invocation(run, input, body)),
            watch: Arc::new(Watch::new(Duration::MAX)),
            variant,
            slice: bounds::SLICE_FUEL,
            expected: None,
        };
        Ok(Self { house, attempt, profile })
    }
}

fn load(house: &House, wasm: &[u8], run: &Run, variant: Variant) -> Result<Loaded, RerunError> {
    let wall = Duration::MAX;
    let artefact = Compiler::InProcess.compile(wasm, house.profile, run.profile, variant, wall)?;
    let key = Key { function: run.function, profile: run.profile, variant };
    Ok(modules::load(house, key, artefact.facts, Code::Bytes(artefact.code))?)
}

fn check(wasm: &[u8], run: &Run, input: &Input, body: &[u8]) -> Result<(), RerunError> {
    let function = FunctionId::of(wasm);
    if function != run.function {
        return Err(RerunError::OtherFunction { expected: run.function, found: function });
    }
    let id = input.id();
    if id != run.input {
        return Err(RerunError::OtherInput { expected: run.input, found: id });
    }
    let found = BodyId::of(body);
    if found != input.body {
        return Err(RerunError::OtherBody { expected: input.body, found });
    }
    Ok(())
}

fn invocation(run: &Run, input: &Input, body: Bytes) -> Invocation {
    Invocation {
        function: run.function,
        profile: run.profile,
        input: input.clone(),
        body,
        clock: run.clock,
        seed: run.seed,
        limits: RunLimits {
            fuel: run.fuel_limit,
            memory: run.memory_limit,
            output: run.output_limit,
            log: run.log_limit,
        },
        cgi: run.cgi,
        free: run.payment.is_none(),
    }
}
