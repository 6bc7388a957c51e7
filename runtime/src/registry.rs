//! `Authorized` -> `Plan` -> `Order`: which function, within which limits, on which input.
//!
//! Invariants: a plan's function exists; its limits are the least of what node, registration and caller
//! allow; a paid run's limits are exactly those that its payer signed, or it is refused, since a re-run
//! takes them from there. An input document holds what the registration names and nothing else of HTTP.
//! Absent: HTTP bodies (the gateway reads them), compiled code (the executor finds it by id).

mod functions;
mod order;
mod seeds;

use std::sync::Arc;

use talea_ledger::message::FunctionName;
use talea_ledger::{Fuel, FunctionId, Ppm, PublicKey, Registration, RunId};

pub use self::functions::{Function, Functions, FunctionsError};
pub use self::order::{Order, OrderError, OrderParts};
pub use self::seeds::Seeds;
use crate::auth::{Authorized, Caller, Offer, PaidRun};
use crate::call::{Call, Target};
use crate::executor::RunLimits;

/// The door. Shared by all connections.
#[derive(Debug)]
pub struct Registry {
    functions: functions::Known,
    offer: Offer,
    fuel_free: Fuel,
    seeds: Seeds,
}

/// A call with its function and limits. Immutable from here. Only `Registry::resolve` makes one.
#[derive(Debug)]
pub struct Plan {
    call: Call,
    function: Arc<Function>,
    limits: RunLimits,
    account: Account,
}

/// A function that is not here and may be elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    /// It.
    pub function: FunctionId,
    /// Who owns the name it was called by, on the ledger.
    pub owner: Option<PublicKey>,
}

/// Whose run it will be.
#[derive(Debug)]
enum Account {
    /// The node's, for a free call.
    Node { seed: [u8; 32], salt: [u8; 16] },
    /// The payer's.
    Payer(Box<PaidRun>),
}

/// Why a call has no plan.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody has deployed it here.
    #[error("no function {0} on this node")]
    FunctionUnknown(FunctionId),
    /// Nobody has given the name here.
    #[error("no function is named {0} on this node")]
    NameUnknown(FunctionName),
    /// The name's owner has not let this caller in.
    #[error("{0} is private: its owner lets keys in one by one, and a call is signed by its run")]
    NotGranted(FunctionName),
    /// The name's author asks for a greater share.
    #[error("the run gives the author {given} millionths; the name asks for {needed}")]
    RoyaltyLow {
        /// In the run.
        given: Ppm,
        /// By the name.
        needed: Ppm,
    },
    /// The payer signed for another function.
    #[error("the run {run} is for function {given}; {asked} was called")]
    FunctionForeign {
        /// The run.
        run: RunId,
        /// In the run.
        given: FunctionId,
        /// In the request.
        asked: FunctionId,
    },
    /// The run says otherwise than the registration how standard output is read.
    #[error("the run has cgi = {given}; the function's registration has {ours}")]
    CgiDiffers {
        /// In the run.
        given: bool,
        /// In the registration.
        ours: bool,
    },
    /// More than the function's owner allows.
    #[error("the run asks for {given} of `{part}`; the function's registration allows {ours}")]
    LimitHigh {
        /// Which limit.
        part: &'static str,
        /// In the run.
        given: u64,
        /// In the registration.
        ours: u64,
    },
    /// What is registered could not be read.
    #[error("the function's record cannot be read")]
    Functions(#[from] FunctionsError),
}

impl Registry {
    /// The door over what is registered.
    pub fn new(functions: Arc<dyn Functions>, offer: Offer, fuel_free: Fuel, seeds: Seeds) -> Self {
        Self { functions: functions::Known::new(functions), offer, fuel_free, seeds }
    }

    /// Finds a function by id or name.
    pub fn find(&self, target: &Target) -> Result<Arc<Function>, ResolveError> {
        match target {
            Target::Function(id) => {
                self.functions.by_id(*id)?.ok_or(ResolveError::FunctionUnknown(*id))
            }
            Target::Name(name) => {
                let id = self.functions.named(name)?;
                let unknown = || ResolveError::NameUnknown(name.clone());
                self.functions.by_id(id.ok_or_else(unknown)?)?.ok_or_else(unknown)
            }
        }
    }

    /// The function that a call names and that is not here, if the call may have it.
    pub fn lacking(&self, authorized: &Authorized) -> Result<Option<Lacking>, ResolveError> {
        self.check(authorized)?;
        self.absent(authorized.call().target())
    }

    /// The function that a target names, and who owns the name on the ledger.
    pub fn named(
        &self,
        target: &Target,
    ) -> Result<Option<(FunctionId, Option<PublicKey>)>, ResolveError> {
        Ok(match target {
            Target::Function(id) => Some((*id, None)),
            Target::Name(name) => {
                self.functions.named(name)?.map(|id| (id, self.functions.owner(name)))
            }
        })
    }

    /// The function that is meant and that is not here.
    pub fn absent(&self, target: &Target) -> Result<Option<Lacking>, ResolveError> {
        let Some((function, owner)) = self.named(target)? else { return Ok(None) };
        let found = self.functions.by_id(function)?;
        Ok(found.is_none().then_some(Lacking { function, owner }))
    }

    /// Forgets what is remembered of a function, after it was registered anew.
    pub fn forget(&self, id: FunctionId) {
        self.functions.forget(id);
    }

    /// What a paid run of this function may use here at most: the least of what its owner and this node
    /// allow.
    pub fn limits(&self, function: &Function) -> RunLimits {
        let (asked, offer) = (&function.registration.limits, &self.offer);
        RunLimits {
            fuel: asked.fuel.min(offer.fuel_max),
            memory: asked.memory.min(offer.memory_max),
            output: asked.output.min(offer.output_len_max),
            log: asked.log.min(offer.log_len_max),
        }
    }

    /// Decides what will run.
    pub fn resolve(&self, authorized: Authorized) -> Result<Plan, ResolveError> {
        self.check(&authorized)?;
        let function = self.find(authorized.call().target())?;
        self.plan(authorized, function)
    }

    /// The same for a function that is known by its registration alone: another host will run it.
    pub fn resolve_elsewhere(
        &self,
        authorized: Authorized,
        registration: Registration,
    ) -> Result<Plan, ResolveError> {
        self.check(&authorized)?;
        // Its length is not known here, and nothing of a plan is made of it.
        self.plan(authorized, Arc::new(Function { registration, len: 0 }))
    }

    fn check(&self, authorized: &Authorized) -> Result<(), ResolveError> {
        match authorized.call().target() {
            Target::Name(name) => self.check_name(name, authorized.call(), authorized.caller()),
            Target::Function(_) => Ok(()),
        }
    }

    fn plan(&self, authorized: Authorized, function: Arc<Function>) -> Result<Plan, ResolveError> {
        let (call, caller) = authorized.into_parts();
        match caller {
            Caller::Free => {
                let mut limits = self.limits(&function);
                limits.fuel = limits.fuel.min(self.fuel_free);
                let (seed, salt) = self.seeds.draw();
                Ok(Plan { call, function, limits, account: Account::Node { seed, salt } })
            }
            Caller::Paid(paid) => {
                let limits = signed_limits(&function, &paid)?;
                Ok(Plan { call, function, limits, account: Account::Payer(paid) })
            }
        }
    }
}

impl Registry {
    /// Whether a caller may call by this name, and gives its author his share.
    fn check_name(
        &self,
        name: &FunctionName,
        call: &Call,
        caller: &Caller,
    ) -> Result<(), ResolveError> {
        let payer = match caller {
            Caller::Free => None,
            Caller::Paid(paid) => Some(paid.account()),
        };
        if !self.functions.admits(name, payer.as_ref(), call.method().as_str()) {
            return Err(ResolveError::NotGranted(name.clone()));
        }
        if let Caller::Paid(paid) = caller {
            let needed = self.functions.royalty(name);
            let given = paid.royalty();
            if given < needed {
                return Err(ResolveError::RoyaltyLow { given, needed });
            }
        }
        Ok(())
    }
}

/// A run's own limits, if the function's owner allows as much.
fn signed_limits(function: &Function, paid: &PaidRun) -> Result<RunLimits, ResolveError> {
    let (run, registration) = (paid.run(), &function.registration);
    if run.function != registration.function {
        let run_id = RunId::of(&paid.carried().0);
        let (given, asked) = (run.function, registration.function);
        return Err(ResolveError::FunctionForeign { run: run_id, given, asked });
    }
    if run.cgi != registration.cgi {
        return Err(ResolveError::CgiDiffers { given: run.cgi, ours: registration.cgi });
    }
    let allowed = &registration.limits;
    let parts = [
        ("fuel", run.fuel_limit.0, allowed.fuel.0),
        ("memory", u64::from(run.memory_limit.0), u64::from(allowed.memory.0)),
        ("output", run.output_limit, allowed.output),
        ("log", run.log_limit, allowed.log),
    ];
    if let Some((part, given, ours)) = parts.into_iter().find(|(_, given, ours)| given > ours) {
        return Err(ResolveError::LimitHigh { part, given, ours });
    }
    Ok(RunLimits {
        fuel: run.fuel_limit,
        memory: run.memory_limit,
        output: run.output_limit,
        log: run.log_limit,
    })
}

// === impl Plan ===

impl Plan {
    /// The call.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Whether a payer pays.
    pub fn is_paid(&self) -> bool {
        matches!(self.account, Account::Payer(_))
    }
}

#[cfg(test)]
mod tests;
