//! The audit: does a receipt say what a re-execution of its run gives?
//!
//! Only `mismatch` is evidence against a host. What an auditor cannot decide is `indeterminate`, with the reason.
//!
//! Fields that no re-execution determines are outside the comparison: the host's key and clock, and for a paid run
//! the payer (who signed the run says) and the channel's sum (the channel's other receipts say). The signature
//! binds the host to them.

use core::fmt;

use crate::id::OutputId;
use crate::outcome::Outcome;
use crate::price::bill;
use crate::receipt::Receipt;
use crate::run::Run;
use crate::units::{Fuel, Pages};

/// What a re-execution of a run gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How it ended.
    pub outcome: Outcome,
    /// Fuel used.
    pub fuel: Fuel,
    /// Of it, by host calls.
    pub host_fuel: Fuel,
    /// Most pages in use.
    pub peak_pages: Pages,
    /// The output document.
    pub output: OutputId,
    /// Length of the output's body.
    pub output_len: u64,
    /// Whether floats can have made a difference.
    pub floats: Floats,
}

/// What the engine of a re-execution does with NaN, whose bits WebAssembly leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floats {
    /// The engine makes every NaN canonical, or the module has no floats: results are determined.
    Determined,
    /// Another engine and a module with floats: a difference proves nothing.
    EngineDefined,
}

/// What an audit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The receipt is right.
    Match,
    /// The receipt is wrong: the first difference, causes before their consequences.
    Mismatch(Difference),
    /// Nobody can tell from here.
    Indeterminate(Reason),
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub field: Field,
    /// What the receipt says.
    pub claimed: String,
    /// What the run or its re-execution says.
    pub found: String,
}

/// Why an audit could not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The profile is not known here.
    UnknownProfile,
    /// The function's bytes are missing.
    FunctionMissing,
    /// The input or its body is missing.
    InputMissing,
    /// The re-execution failed for reasons of its host.
    HostFault,
    /// A difference that floats of another engine can explain.
    Floats,
}

impl Reason {
    /// The stable text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnknownProfile => "unknown_profile",
            Self::FunctionMissing => "function_missing",
            Self::InputMissing => "input_missing",
            Self::HostFault => "host_fault",
            Self::Floats => "floats",
        }
    }
}

macro_rules! fields {
    ($( $(#[$meta:meta])* $case:ident $text:literal ),+ $(,)?) => {
        /// A field of a receipt that can be checked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Field { $( $(#[$meta])* $case ),+ }

        impl Field {
            /// The stable text.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$case => $text),+ }
            }
        }
    };
}

fields! {
    /// The network.
    Network "network",
    /// The run's name.
    Run "run",
    /// The function.
    Function "function",
    /// The input.
    Input "input",
    /// Length of the input's body.
    InputLen "input_len",
    /// The profile.
    Profile "profile",
    /// The price.
    Price "price",
    /// Whether it is paid.
    Payment "payment",
    /// The channel.
    Channel "channel",
    /// The number in the channel.
    Sequence "sequence",
    /// The host, when the run names one.
    Host "host",
    /// How it ended.
    Outcome "outcome",
    /// Fuel used.
    Fuel "fuel",
    /// Fuel of host calls.
    HostFuel "host_fuel",
    /// Most pages in use.
    PeakPages "peak_pages",
    /// The output.
    Output "output",
    /// Length of the output's body.
    OutputLen "output_len",
    /// The bill.
    Bill "bill",
    /// The channel's sum, when it is less than this bill.
    Owed "owed",
}

/// Compares a receipt with its run and with what a re-execution of that run gave.
pub fn compare(receipt: &Receipt, run: &Run, facts: &Facts) -> Verdict {
    if let Some(difference) = terms(receipt, run) {
        return Verdict::Mismatch(difference);
    }
    if let Some(difference) = result(receipt, facts) {
        return match facts.floats {
            Floats::Determined => Verdict::Mismatch(difference),
            Floats::EngineDefined => Verdict::Indeterminate(Reason::Floats),
        };
    }
    match money(receipt, run) {
        Some(difference) => Verdict::Mismatch(difference),
        None => Verdict::Match,
    }
}

/// What a receipt says that its run alone can contradict: the terms, and the bill for the work it claims.
pub fn against_run(receipt: &Receipt, run: &Run) -> Option<Difference> {
    terms(receipt, run).or_else(|| money(receipt, run))
}

fn differs<T: PartialEq + fmt::Debug>(field: Field, claimed: &T, found: &T) -> Option<Difference> {
    (claimed != found).then(|| Difference {
        field,
        claimed: format!("{claimed:?}"),
        found: format!("{found:?}"),
    })
}

/// What the receipt repeats from the run.
fn terms(receipt: &Receipt, run: &Run) -> Option<Difference> {
    let (paid, order) = (&receipt.payment, &run.payment);
    differs(Field::Network, &receipt.network, &run.network)
        .or_else(|| differs(Field::Function, &receipt.function, &run.function))
        .or_else(|| differs(Field::Input, &receipt.input, &run.input))
        .or_else(|| differs(Field::InputLen, &receipt.input_len, &run.input_len))
        .or_else(|| differs(Field::Profile, &receipt.profile, &run.profile))
        .or_else(|| differs(Field::Price, &receipt.price, &run.price))
        .or_else(|| differs(Field::Payment, &paid.is_some(), &order.is_some()))
        .or_else(|| {
            let (paid, order) = (paid.as_ref()?, order.as_ref()?);
            differs(Field::Channel, &paid.channel, &order.channel)
                .or_else(|| differs(Field::Sequence, &paid.sequence, &order.sequence))
                .or_else(|| differs(Field::Host, &receipt.host, &order.host?))
        })
        // Last, because it differs whenever anything else of the run does.
        .or_else(|| differs(Field::Run, &receipt.run, &run.id()))
}

/// What the execution determines.
fn result(receipt: &Receipt, facts: &Facts) -> Option<Difference> {
    differs(Field::Outcome, &receipt.outcome, &facts.outcome)
        .or_else(|| differs(Field::Fuel, &receipt.fuel, &facts.fuel))
        .or_else(|| differs(Field::HostFuel, &receipt.host_fuel, &facts.host_fuel))
        .or_else(|| differs(Field::PeakPages, &receipt.peak_pages, &facts.peak_pages))
        .or_else(|| differs(Field::Output, &receipt.output, &facts.output))
        .or_else(|| differs(Field::OutputLen, &receipt.output_len, &facts.output_len))
}

/// What the price makes of the work claimed.
fn money(receipt: &Receipt, run: &Run) -> Option<Difference> {
    let due = bill(&run.price, receipt.fuel, receipt.body_bytes(), run.cap());
    differs(Field::Bill, &receipt.bill, &due).or_else(|| {
        let owed = receipt.payment.as_ref()?.owed;
        (owed < receipt.bill).then(|| Difference {
            field: Field::Owed,
            claimed: format!("{owed:?}"),
            found: format!("at least {:?}", receipt.bill),
        })
    })
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, claimed, found } = self;
        write!(f, "{field}: the receipt says {claimed}, found {found}")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match => f.write_str("match"),
            Self::Mismatch(difference) => write!(f, "mismatch({})", difference.field),
            Self::Indeterminate(reason) => write!(f, "indeterminate({})", reason.text()),
        }
    }
}
