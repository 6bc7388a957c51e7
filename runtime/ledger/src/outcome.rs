//! What the guest did. Every outcome is billable and has a receipt; what went wrong with the host is not one.
//!
//! Format: an array of two numbers, the class and its code; classes without a code carry 0.
//! Numbers and texts are stable: they are part of every receipt.

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use crate::codec::{DecodeError, DecodeReason, Decoder, Encoder, Field};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Returned, or left with code 0.
    Ok,
    /// Left with another code. Has an output.
    Exit(ExitCode),
    /// The engine stopped an illegal operation.
    Trap(TrapCode),
    /// The fuel limit was reached: the bill is that of the limit.
    OutOfFuel,
    /// Another bound of the run was reached.
    Limit(LimitKind),
}

/// An exit code that is not 0.
pub type ExitCode = NonZeroU32;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $( $(#[$case_meta:meta])* $case:ident = $code:literal $text:literal ),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$case_meta])* $case = $code ),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$case),+];

            /// The stable number.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The stable text.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$case => $text),+ }
            }

            /// The case with this number.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Self::$case),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.text())
            }
        }
    };
}

codes! {
    /// An illegal operation of the guest.
    TrapCode {
        /// The `unreachable` instruction.
        Unreachable = 1 "unreachable",
        /// An access outside the linear memory.
        MemoryOutOfBounds = 2 "memory_out_of_bounds",
        /// An access outside a table.
        TableOutOfBounds = 3 "table_out_of_bounds",
        /// An indirect call of an empty table entry.
        IndirectCallToNull = 4 "indirect_call_to_null",
        /// An indirect call of a function of another type.
        IndirectCallTypeMismatch = 5 "indirect_call_type_mismatch",
        /// An integer division or remainder by zero.
        IntegerDivideByZero = 6 "integer_divide_by_zero",
        /// The least integer divided by minus one.
        IntegerOverflow = 7 "integer_overflow",
        /// A float that has no integer was converted to one.
        InvalidConversionToInteger = 8 "invalid_conversion_to_integer",
    }
}

codes! {
    /// A bound of the run that is not fuel.
    LimitKind {
        /// Call depth, weighted as the profile says.
        Stack = 1 "stack",
        /// The initial memory or table is above the limit.
        Memory = 2 "memory",
        /// The output would have grown above its limit.
        Output = 3 "output",
        /// The log would have grown above its limit.
        Log = 4 "log",
    }
}

const OK: u64 = 0;
const EXIT: u64 = 1;
const TRAP: u64 = 2;
const OUT_OF_FUEL: u64 = 3;
const LIMIT: u64 = 4;

impl Outcome {
    /// The outcome of leaving with `code`.
    pub const fn exit(code: u32) -> Self {
        match NonZeroU32::new(code) {
            Some(code) => Self::Exit(code),
            None => Self::Ok,
        }
    }

    /// The stable text, for example `trap:integer_divide_by_zero` or `exit:3`.
    pub fn code_text(&self) -> String {
        self.to_string()
    }

    /// Whether the run has an output of its own; all others end with an empty one.
    pub const fn has_output(&self) -> bool {
        matches!(self, Self::Ok | Self::Exit(_))
    }

    /// Class and code, as they stand in a receipt.
    pub const fn numbers(&self) -> (u64, u64) {
        match self {
            Self::Ok => (OK, 0),
            Self::Exit(code) => (EXIT, code.get() as u64),
            Self::Trap(code) => (TRAP, code.code() as u64),
            Self::OutOfFuel => (OUT_OF_FUEL, 0),
            Self::Limit(kind) => (LIMIT, kind.code() as u64),
        }
    }

    /// The outcome of class and code.
    pub fn from_numbers(class: u64, code: u64) -> Option<Self> {
        match (class, code) {
            (OK, 0) => Some(Self::Ok),
            (EXIT, code) => u32::try_from(code).ok().and_then(NonZeroU32::new).map(Self::Exit),
            (TRAP, code) => TrapCode::from_code(code).map(Self::Trap),
            (OUT_OF_FUEL, 0) => Some(Self::OutOfFuel),
            (LIMIT, code) => LimitKind::from_code(code).map(Self::Limit),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Exit(code) => write!(f, "exit:{code}"),
            Self::Trap(code) => write!(f, "trap:{code}"),
            Self::OutOfFuel => f.write_str("out_of_fuel"),
            Self::Limit(kind) => write!(f, "limit:{kind}"),
        }
    }
}

/// A text that is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an outcome")]
pub struct OutcomeError;

impl FromStr for Outcome {
    type Err = OutcomeError;

    fn from_str(text: &str) -> Result<Self, OutcomeError> {
        let (class, code) = text.split_once(':').unwrap_or((text, ""));
        let outcome = match class {
            "ok" => Some(Self::Ok),
            "out_of_fuel" => Some(Self::OutOfFuel),
            "exit" => code.parse().ok().map(Self::Exit),
            "trap" => {
                TrapCode::ALL.iter().find(|trap| trap.text() == code).map(|trap| Self::Trap(*trap))
            }
            "limit" => LimitKind::ALL
                .iter()
                .find(|kind| kind.text() == code)
                .map(|kind| Self::Limit(*kind)),
            _ => None,
        };
        // One text per outcome: `ok:` or `exit:03` are refused.
        outcome.filter(|outcome| outcome.to_string() == text).ok_or(OutcomeError)
    }
}

impl Field for Outcome {
    // Array head, class, code of at most 32 bits.
    const LEN_MAX: usize = 1 + 1 + 5;

    fn put(&self, out: &mut Encoder) {
        let (class, code) = self.numbers();
        out.array(2);
        out.uint(class);
        out.uint(code);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        input.array_exact(2)?;
        let (class, code) = (input.uint()?, input.uint()?);
        Self::from_numbers(class, code)
            .ok_or(DecodeError::new(offset, DecodeReason::Value("not an outcome")))
    }
}
