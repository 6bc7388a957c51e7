//! The registration: what the owner of a function says about it. Its owner signs it.

use crate::codec::{DecodeError, DecodeReason, Decoder, Document, Encoder, Field, List, record};
use crate::id::{FunctionId, NetworkId, PublicKey, RegistrationId};
use crate::message::{FunctionName, HeaderName};
use crate::sign::Domain;
use crate::units::{Fuel, Pages, UnixNanos};

/// Most header names a guest can ask for: as many as one message may have of them.
pub const HEADER_NAMES_MAX: usize = crate::message::HEADERS_MAX;

/// Header names a guest sees unless its registration says otherwise.
pub const DEFAULT_HEADERS: [&str; 2] = ["content-type", "accept"];

record! {
    /// How a function is to be called.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Registration {
        /// When it was signed, by the owner's clock. Of two, the later holds.
        "at" => pub at: UnixNanos,
        /// The function.
        "fn" => pub function: FunctionId,
        /// Whether a header block at the start of a command's standard output is honoured.
        "cgi" => pub cgi: bool,
        /// The most a caller may ask for.
        "max" => pub limits: Limits,
        /// The network.
        "net" => pub network: NetworkId,
        /// How it is entered.
        "kind" => pub kind: Kind,
        /// The name that leads to it.
        "name" => pub name: Option<FunctionName>,
        /// The owner, who signs.
        "owner" => pub owner: PublicKey,
        /// The request headers the guest sees.
        "headers" => pub headers: List<HeaderName, HEADER_NAMES_MAX>,
    }
}

record! {
    /// Bounds of a run.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Limits {
        /// Bytes of log.
        "log" => pub log: u64,
        /// Pages of memory.
        "mem" => pub memory: Pages,
        /// Bytes of output body.
        "out" => pub output: u64,
        /// Fuel.
        "fuel" => pub fuel: Fuel,
    }
}

/// How a function is entered, told from its exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A program: `_start`, body on standard input, output on standard output.
    Command,
    /// A handler: `talea_handle`.
    Handler,
}

impl Kind {
    /// The stable text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Handler => "handler",
        }
    }
}

impl Field for Kind {
    const LEN_MAX: usize = 1 + 7;

    fn put(&self, out: &mut Encoder) {
        out.text(self.text());
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        match input.text(7)? {
            "command" => Ok(Self::Command),
            "handler" => Ok(Self::Handler),
            _ => Err(DecodeError::new(offset, DecodeReason::Value("`command` or `handler`"))),
        }
    }
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.text())
    }
}

impl Document for Registration {
    const DOMAIN: Domain = Domain::Registration;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }

    fn named_signer(&self) -> Option<PublicKey> {
        Some(self.owner)
    }
}

impl Registration {
    /// The name of this document.
    pub fn id(&self) -> RegistrationId {
        RegistrationId::of(&self.encode())
    }
}
