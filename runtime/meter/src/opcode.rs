//! From an encoded instruction to its line in the profile's cost table.
//!
//! Owns: reading the one or two numbers that name an instruction. The tables themselves are the
//! profile's. Invariant: only instructions that validation let pass come here, so every prefix and
//! number seen has a line.

use talea_ledger::profile::OpcodeCosts;

/// Prefix of saturating conversions, bulk memory and tables.
const PREFIX_FC: u8 = 0xFC;
/// Prefix of 128-bit vectors.
const PREFIX_FD: u8 = 0xFD;

/// What an instruction is, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Plain(u8),
    Fc(u32),
    Fd(u32),
}

// === impl Opcode ===

impl Opcode {
    /// Reads the opcode at the head of an encoded instruction.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (first, rest) = bytes.split_first().expect("an instruction has at least one byte");
        match *first {
            PREFIX_FC => Self::Fc(number(rest)),
            PREFIX_FD => Self::Fd(number(rest)),
            plain => Self::Plain(plain),
        }
    }

    /// What the table charges for it.
    pub(crate) fn cost(self, costs: &OpcodeCosts) -> u64 {
        let cost = match self {
            Self::Plain(code) => costs.plain[usize::from(code)],
            Self::Fc(code) => costs.prefix_fc[code as usize],
            Self::Fd(code) => costs.prefix_fd[code as usize],
        };
        u64::from(cost)
    }

    /// Whether it computes with vectors.
    pub(crate) fn is_vector(self) -> bool {
        matches!(self, Self::Fd(_))
    }

    /// Whether it reads, makes or computes with floats; vectors count, since most of them do.
    pub(crate) fn is_float(self) -> bool {
        match self {
            Self::Plain(code) => matches!(code,
                0x2A | 0x2B | 0x38 | 0x39 | 0x43 | 0x44 | 0x5B..=0x66 | 0x8B..=0xA6
                | 0xA8..=0xAB | 0xAE..=0xBF),
            Self::Fc(code) => code <= 7,
            Self::Fd(_) => true,
        }
    }
}

/// An unsigned LEB128 number; longer encodings than needed are valid here.
fn number(bytes: &[u8]) -> u32 {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
