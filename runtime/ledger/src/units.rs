//! Quantities: fuel, money, time, slots, heights, numbers, memory pages. None is a bare number.
//!
//! Absent: `+` and `-`. Arithmetic says what overflow does.

use core::fmt;
use core::num::ParseIntError;
use core::str::FromStr;

use crate::codec::{DecodeError, DecodeReason, Decoder, Encoder, Field};

macro_rules! quantity {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);
            /// As much as can be written.
            pub const MAX: Self = Self(<$inner>::MAX);

            /// This many.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The sum, unless it overflows.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The difference, unless it is negative.
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// The sum, at most `MAX`.
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, at least zero.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl Field for $name {
            const LEN_MAX: usize = <$inner as Field>::LEN_MAX;

            fn put(&self, out: &mut Encoder) {
                self.0.put(out);
            }

            fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                <$inner as Field>::take(input).map(Self)
            }
        }
    };
}

quantity!(
    /// Metered work, host calls included.
    Fuel(u64)
);
quantity!(
    /// Money, in its smallest unit.
    Tal(u64)
);
quantity!(
    /// Nanoseconds since 1970 in UTC, leap seconds not counted. Reaches to the year 2554.
    UnixNanos(u64)
);
quantity!(
    /// The number of a paid run within its channel.
    Sequence(u64)
);
quantity!(
    /// Pages of linear memory, 64 KiB each.
    Pages(u32)
);

quantity!(
    /// The number of a block in its chain; the genesis has 0.
    Height(u64)
);
quantity!(
    /// The number of a stretch of time of equal length, counted from the network's start.
    Slot(u64)
);
quantity!(
    /// A length of time in slots.
    Slots(u64)
);
quantity!(
    /// A length of time in nanoseconds.
    Nanos(u64)
);
quantity!(
    /// How many transactions an account has sent: each names the number before it.
    Nonce(u64)
);
quantity!(
    /// The number of a batch in its host's journal.
    BatchNumber(u64)
);

impl Slot {
    /// The slot this many later, at most the last.
    pub const fn after(self, slots: Slots) -> Self {
        Self(self.0.saturating_add(slots.0))
    }
}

impl Pages {
    /// Bytes of one page.
    pub const LEN: u64 = 65_536;

    /// How many bytes these pages have. 2^32 pages of 2^16 bytes fit u64.
    pub const fn bytes(self) -> u64 {
        (self.0 as u64).saturating_mul(Self::LEN)
    }
}

/// A share in millionths, at most one million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ppm(u32);

impl Ppm {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All.
    pub const WHOLE: Self = Self(1_000_000);

    /// This many millionths, unless they are more than the whole.
    pub const fn new(millionths: u32) -> Option<Self> {
        if millionths <= Self::WHOLE.0 { Some(Self(millionths)) } else { None }
    }

    /// Millionths.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Field for Ppm {
    const LEN_MAX: usize = <u32 as Field>::LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        self.0.put(out);
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let millionths = <u32 as Field>::take(input)?;
        Self::new(millionths).ok_or(DecodeError::new(
            offset,
            DecodeReason::Value("a share above one million millionths"),
        ))
    }
}
