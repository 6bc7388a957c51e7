//! The least host: grants slices, prices host calls flat, stops runs, and remembers what it saw.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use talea_ledger::profile::Profile;

/// Memory and table bounds of every test run; small, so that bombs end at once.
pub(crate) const PAGES_MAX: u64 = 64;
pub(crate) const ENTRIES_MAX: u64 = 20_000;

/// The code of a trap while instantiating: an active segment does not fit.
pub(crate) const UNFIT: &str = "segment_out_of_bounds";

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the results of the entry.
    Returned(Vec<i64>),
    Trapped(&'static str),
    OutOfFuel,
    Stack,
    Exited(i32),
    /// The machine's own stack was not enough.
    NativeOverflow,
}

/// What a run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) ending: Ending,
    pub(crate) fuel: u64,
    /// Hash of all host calls, in order, with their arguments.
    pub(crate) calls: u64,
    /// Hash of the memory; of runs that ended well only.
    pub(crate) memory: u64,
}

/// Ends a run from within a host call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    OutOfFuel,
    Stack,
    Exit(i32),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
impl std::error::Error for Stop {}
impl wasmi::errors::HostError for Stop {}

/// The account of one run.
#[derive(Debug)]
pub(crate) struct Tally {
    limit: i64,
    slice: i64,
    granted: i64,
    /// The counter as the host last saw it.
    pub(crate) seen: i64,
    pub(crate) host_fuel: u64,
    ordinal: u64,
    calls: DefaultHasher,
}

impl Tally {
    pub(crate) fn new(limit: u64, slice: u64) -> Self {
        let limit = i64::try_from(limit).unwrap();
        let slice = i64::try_from(slice).unwrap();
        let granted = limit.min(slice);
        let calls = DefaultHasher::new();
        Self { limit, slice, granted, seen: granted, host_fuel: 0, ordinal: 0, calls }
    }

    pub(crate) fn granted(&self) -> i64 {
        self.granted
    }

    /// The cold path of every check.
    pub(crate) fn slice(&mut self, counter: i64) -> Result<i64, Stop> {
        assert!(counter < 0, "asked for a slice with {counter} left");
        let used = self.granted - counter;
        if used > self.limit {
            return Err(Stop::OutOfFuel);
        }
        let granted = self.limit.min(used + self.slice);
        let counter = counter + (granted - self.granted);
        self.granted = granted;
        Ok(counter)
    }

    /// Any import of the module: charges flat, and answers with numbers made of what it was asked.
    pub(crate) fn call(
        &mut self,
        module: &str,
        name: &str,
        arguments: &[i64],
        counter: i64,
    ) -> Result<(i64, i64), Stop> {
        let price = Profile::v1().host_call(module, name).unwrap().flat;
        self.host_fuel += price;
        self.ordinal += 1;
        let mut counter = counter - i64::try_from(price).unwrap();
        self.seen = counter;
        if counter < 0 {
            counter = self.slice(counter)?;
            self.seen = counter;
        }
        (module, name, arguments).hash(&mut self.calls);
        if name == "proc_exit" {
            return Err(Stop::Exit(i32::try_from(arguments[0]).unwrap()));
        }
        let mut answer = DefaultHasher::new();
        (self.ordinal, name, arguments).hash(&mut answer);
        Ok(((answer.finish() >> 40).cast_signed(), counter))
    }

    /// The rule at the end: a total above the limit is out of fuel, and costs the limit.
    pub(crate) fn report(&self, ending: Ending, counter: i64, memory: &[u8]) -> Report {
        let used = self.granted - counter;
        let mut digest = DefaultHasher::new();
        memory.hash(&mut digest);
        let (ending, fuel) = if used > self.limit || ending == Ending::OutOfFuel {
            (Ending::OutOfFuel, self.limit)
        } else {
            (ending, used)
        };
        let well = matches!(ending, Ending::Returned(_) | Ending::Exited(_));
        Report {
            ending,
            fuel: fuel.cast_unsigned(),
            calls: self.calls.finish(),
            memory: if well { digest.finish() } else { 0 },
        }
    }
}

/// Runs something that may need a deep native stack.
pub(crate) fn on_deep_stack<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    // The exact variant's own, and as much again of what the tests themselves may use.
    let bytes = usize::try_from(Profile::v1().stack.native_exact_bytes).unwrap() + (16 << 20);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(bytes).spawn_scoped(scope, body);
        match thread.unwrap().join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Parses text and gives it to a variant of the pass.
pub(crate) fn metered(wasm: &[u8], variant: talea_meter::Variant) -> Vec<u8> {
    talea_meter::instrument(wasm, &Profile::v1(), variant).unwrap().wasm
}

/// A module's bytes from its text.
pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}
