//! Why a module is not accepted.
//!
//! Owns: the closed list of reasons and their stable code texts (they are part of the HTTP answer).
//! Invariant: the same bytes under the same profile are refused for the same reason at the same
//! offset, since the pass reads a module in one fixed order and stops at the first fault.

use core::fmt;

/// A module is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}{}", reason.code(), Offset(*offset))]
pub struct Refusal {
    /// Why, from a closed list.
    pub reason: RefusalReason,
    /// Byte of the module where the fault was found.
    pub offset: Option<usize>,
    /// For people.
    pub detail: String,
}

/// The closed list of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The bytes do not begin as a wasm module does.
    NotWasm,
    /// A component, which this profile does not run.
    Component,
    /// The module is valid under some proposal that the profile does not allow.
    ForbiddenFeature,
    /// The module is not valid.
    Invalid,
    /// The module exceeds a bound of the profile.
    TooLarge,
    /// A function's native frame could be larger than the profile's stack rule allows.
    FrameTooLarge,
    /// An import that the profile does not know.
    UnknownImport,
    /// A known import with another signature.
    ImportSignature,
    /// A memory, table, global or tag is imported.
    ImportKind,
    /// An export whose name begins with `talea:`.
    ReservedExport,
    /// Neither `_start` nor `talea_handle` is exported.
    NoEntry,
    /// Both `_start` and `talea_handle` are exported.
    TwoEntries,
    /// An entry point is not a function, is imported, or has another signature.
    EntrySignature,
}

// === impl RefusalReason ===

impl RefusalReason {
    /// The stable text of this reason.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotWasm => "not_wasm",
            Self::Component => "component",
            Self::ForbiddenFeature => "forbidden_feature",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::FrameTooLarge => "frame_too_large",
            Self::UnknownImport => "unknown_import",
            Self::ImportSignature => "import_signature",
            Self::ImportKind => "import_kind",
            Self::ReservedExport => "reserved_export",
            Self::NoEntry => "no_entry",
            Self::TwoEntries => "two_entries",
            Self::EntrySignature => "entry_signature",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(
        reason: RefusalReason,
        offset: impl Into<Option<usize>>,
        detail: impl Into<String>,
    ) -> Self {
        Self { reason, offset: offset.into(), detail: detail.into() }
    }
}

impl From<wasmparser::BinaryReaderError> for Refusal {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::new(RefusalReason::Invalid, error.offset(), error.message())
    }
}

struct Offset(Option<usize>);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}
