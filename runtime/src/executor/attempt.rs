//! One attempt at a run: a fresh instance, its entry points in order, and what the ending means.
//!
//! Invariants: the fast variant never decides about a trap or the stack, it asks for a repeat; the
//! exact variant decides, and if it does not find the trap that fast found, that is our fault. At
//! every ending a total above the limit is out of fuel.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use talea_ledger::id::BodyId;
use talea_ledger::outcome::{LimitKind, Outcome, TrapCode};
use talea_ledger::output::Output;
use talea_ledger::profile::Profile;
use talea_meter::{Kind, Variant};
use wasmtime::{Instance, Store, Trap};

use super::host::meter::Meter;
use super::host::{Guest, Stop, cgi};
use super::modules::Loaded;
use super::outcome::{TrapMeaning, meaning};
use super::slots::Slot;
use super::watch::{HostStop, Watch};
use super::{ExecuteError, Execution, Invocation};

/// What an attempt came to.
pub(super) enum Verdict {
    /// The run has ended, and this is what everybody finds.
    Final(Box<Execution>),
    /// The exact variant has to decide. With the trap that it must find, if there was one.
    Repeat(Option<TrapCode>),
}

/// How the engine came back.
pub(super) enum Ending {
    Returned(Outcome),
    Stopped(Stop),
    Trapped(Trap),
    Failed(wasmtime::Error),
}

/// What an attempt is made of.
pub(super) struct Attempt {
    pub(super) profile: &'static Profile,
    pub(super) loaded: Arc<Loaded>,
    pub(super) invocation: Arc<Invocation>,
    pub(super) watch: Arc<Watch>,
    pub(super) variant: Variant,
    /// Fuel of one slice.
    pub(super) slice: u64,
    /// The trap that the fast variant met.
    pub(super) expected: Option<TrapCode>,
}

impl Attempt {
    /// The answer of a run that its limits end before an instance exists.
    pub(super) fn without_instance(&self) -> Option<Execution> {
        let facts = self.loaded.facts;
        let limits = &self.invocation.limits;
        let fuel = talea_ledger::units::Fuel(facts.static_fuel);
        if fuel > limits.fuel {
            return Some(Execution::empty(Outcome::OutOfFuel, limits.fuel));
        }
        (facts.memory_pages > u64::from(limits.memory.0))
            .then(|| Execution::empty(Outcome::Limit(LimitKind::Memory), fuel))
    }

    /// Runs a fresh instance to its end. Pending at the end of every slice.
    pub(super) async fn run(self, slot: Slot) -> Result<Verdict, ExecuteError> {
        if let Some(execution) = self.without_instance() {
            return Ok(Verdict::Final(Box::new(execution)));
        }
        let mut store = self.store()?;
        let (ending, _) = self.enter(&mut store).await;
        let verdict = self.judge(ending, store);
        // Only now, with the store gone, is there room for another instance.
        drop(slot);
        verdict
    }

    /// The state of this attempt before its first instruction.
    pub(super) fn store(&self) -> Result<Store<Guest>, ExecuteError> {
        let limit = self.invocation.limits.fuel;
        let meter = Meter::new(limit, self.loaded.facts.static_fuel, self.slice)
            // `without_instance` has answered for this before.
            .ok_or_else(|| ExecuteError::engine("the static charge is above the limit"))?;
        let meter = match self.variant {
            Variant::Explained => meter.with_tally(self.profile.host_calls.len()),
            Variant::Fast | Variant::Exact => meter,
        };
        let invocation = Arc::clone(&self.invocation);
        let watch = Arc::clone(&self.watch);
        let guest = Guest::new(invocation, self.profile, self.loaded.kind, meter, watch);
        let mut store = Store::new(self.loaded.pre.module().engine(), guest);
        store.limiter(|guest| &mut guest.limiter);
        Ok(store)
    }

    /// Instantiates and calls what is there to call. In the exact variants the meter is right
    /// afterwards whatever the ending; in the fast one it is right unless the ending is a trap.
    pub(super) async fn enter(&self, store: &mut Store<Guest>) -> (Ending, Option<Instance>) {
        let mut instance = None;
        let ending = match self.call(store, &mut instance).await {
            Ok(outcome) => Ending::Returned(outcome),
            Err(error) => match error.downcast_ref::<Stop>() {
                Some(Stop::Depth) => {
                    self.read_counter(store, instance);
                    Ending::Stopped(Stop::Depth)
                }
                Some(stop) => Ending::Stopped(*stop),
                None => match error.downcast_ref::<Trap>() {
                    Some(trap) => {
                        self.read_counter(store, instance);
                        Ending::Trapped(*trap)
                    }
                    None => Ending::Failed(error),
                },
            },
        };
        (ending, instance)
    }

    async fn call(
        &self,
        store: &mut Store<Guest>,
        created: &mut Option<Instance>,
    ) -> wasmtime::Result<Outcome> {
        let exports = &self.loaded.exports;
        let instance = self.loaded.pre.instantiate_async(&mut *store).await?;
        *created = Some(instance);
        let memory = exports.memory.as_ref();
        let memory = memory.and_then(|m| instance.get_module_export(&mut *store, m));
        store.data_mut().memory = memory.and_then(|export| export.into_memory());
        let mut counter = store.data().meter.counter();
        for step in [&exports.start, &exports.initialize].into_iter().flatten() {
            let step = function(instance, store, step)?.typed::<i64, i64>(&*store)?;
            counter = step.call_async(&mut *store, counter).await?;
        }
        let entry = function(instance, store, &exports.entry)?;
        let (code, counter) = match self.loaded.kind {
            Kind::Command => {
                let entry = entry.typed::<i64, i64>(&*store)?;
                (0, entry.call_async(&mut *store, counter).await?)
            }
            Kind::Handler => {
                let entry = entry.typed::<i64, (i32, i64)>(&*store)?;
                entry.call_async(&mut *store, counter).await?
            }
        };
        store.data_mut().meter.see(counter);
        Ok(Outcome::exit(code.cast_unsigned()))
    }

    /// Reads the counter where the exact variants keep it. In the fast variant it is lost.
    fn read_counter(&self, store: &mut Store<Guest>, instance: Option<Instance>) {
        let Some(instance) = instance else { return };
        if let Some(global) = instance.get_global(&mut *store, talea_meter::EXPORT_FUEL)
            && let Some(counter) = global.get(&mut *store).i64()
        {
            store.data_mut().meter.see(counter);
        }
    }

    /// What the ending means for the run.
    pub(super) fn judge(
        &self,
        ending: Ending,
        store: Store<Guest>,
    ) -> Result<Verdict, ExecuteError> {
        let is_exact = self.variant != Variant::Fast;
        let found = match &ending {
            Ending::Trapped(trap) => Some(meaning(*trap)),
            _ => None,
        };
        // The fast variant looks at its counter later than the exact one, which may have stopped before
        // the trap.
        let stopped_before = matches!(ending, Ending::Stopped(Stop::OutOfFuel));
        if let Some(expected) = self.expected
            && found != Some(TrapMeaning::Guest(expected))
            && !stopped_before
        {
            return Err(ExecuteError::Disagreement { expected });
        }
        let outcome = match (ending, found) {
            (Ending::Stopped(Stop::Depth), _) | (_, Some(TrapMeaning::NativeStack))
                if !is_exact =>
            {
                return Ok(Verdict::Repeat(None));
            }
            (_, Some(TrapMeaning::Guest(code))) if !is_exact => {
                return Ok(Verdict::Repeat(Some(code)));
            }
            (_, Some(TrapMeaning::Guest(code))) => Outcome::Trap(code),
            (_, Some(TrapMeaning::NativeStack)) => return Err(ExecuteError::NativeStack),
            (Ending::Returned(outcome), _) => outcome,
            (Ending::Stopped(Stop::Exit(code)), _) => Outcome::exit(code),
            (Ending::Stopped(Stop::OutOfFuel), _) => Outcome::OutOfFuel,
            (Ending::Stopped(Stop::Limit(kind)), _) => Outcome::Limit(kind),
            (Ending::Stopped(Stop::Depth), _) => Outcome::Limit(LimitKind::Stack),
            (Ending::Stopped(Stop::Host(HostStop::Deadline)), _) => {
                return Err(ExecuteError::Deadline);
            }
            (Ending::Stopped(Stop::Host(HostStop::Cancelled)), _) => {
                return Err(ExecuteError::Cancelled);
            }
            (Ending::Stopped(stop @ Stop::Broken), _) => return Err(ExecuteError::engine(stop)),
            (Ending::Trapped(trap), _) => return Err(ExecuteError::engine(trap)),
            (Ending::Failed(error), _) => return Err(fault(&error)),
        };
        let guest = store.into_data();
        Ok(Verdict::Final(Box::new(self.execution(outcome, guest)?)))
    }

    fn execution(&self, outcome: Outcome, mut guest: Guest) -> Result<Execution, ExecuteError> {
        let outcome = if guest.meter.is_over() { Outcome::OutOfFuel } else { outcome };
        let (fuel, host_fuel) = (guest.meter.billed(), guest.meter.host());
        let peak_pages = guest.limiter.peak();
        let log = Bytes::from(std::mem::take(&mut guest.log));
        let (output, output_body) = if outcome.has_output() {
            let is_cgi = self.invocation.cgi && self.loaded.kind == Kind::Command;
            answer(guest, is_cgi)?
        } else {
            (Output::empty(), Bytes::new())
        };
        Ok(Execution { outcome, fuel, host_fuel, peak_pages, output, output_body, log })
    }
}

fn function(
    instance: Instance,
    store: &mut Store<Guest>,
    export: &wasmtime::ModuleExport,
) -> wasmtime::Result<wasmtime::Func> {
    let found = instance.get_module_export(store, export);
    found.and_then(|export| export.into_func()).ok_or_else(|| Stop::Broken.into())
}

/// The name of an empty body, which many answers have: hashed once.
static NO_BODY: LazyLock<BodyId> = LazyLock::new(|| BodyId::of(&[]));

/// The output of a run that has one.
fn answer(guest: Guest, is_cgi: bool) -> Result<(Output, Bytes), ExecuteError> {
    let Guest { mut headers, output, .. } = guest;
    let mut body = Bytes::from(output);
    if is_cgi && let Some((block, len)) = cgi::split(&body) {
        headers = headers.then(block);
        body = body.slice(len..);
    }
    let output = Output {
        body_len: body.len() as u64,
        body: if body.is_empty() { *NO_BODY } else { BodyId::of(&body) },
        status: headers.status(),
        headers: headers.into_document().map_err(ExecuteError::engine)?,
    };
    Ok((output, body))
}

/// A failure of the engine that is no trap: ours. Its words are for the log.
fn fault(error: &wasmtime::Error) -> ExecuteError {
    if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() {
        return ExecuteError::Saturated;
    }
    ExecuteError::engine(format_args!("{error:#}"))
}
