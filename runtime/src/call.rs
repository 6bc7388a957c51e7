//! `Call`: one well-formed request head for a function, and the only way to make one.
//!
//! Invariants: a `Call` names a function in a form that can exist, its target and credentials are within
//! `limits`, its credentials are bytes (not yet believed), and no credential came twice.
//! Absent: hyper (only the `http` vocabulary), bodies, names' meaning, trust. Nothing here is looked up.

mod wishes;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method, Uri};
use talea_ledger::message::FunctionName;
use talea_ledger::{FunctionId, UnixNanos};

pub use self::wishes::{SaltWish, credential};
use crate::limits;

/// Header with the payer's sealed run.
pub const RUN: HeaderName = HeaderName::from_static("talea-run");
/// Header with the payer's sealed grant to the session key that signed the run or voucher beside it.
pub const SESSION: HeaderName = HeaderName::from_static("talea-session");
/// Header with the sealed registration of a deployed module.
pub const REGISTRATION: HeaderName = HeaderName::from_static("talea-registration");
/// Header with a sealed request, for what only some may read.
pub const REQUEST: HeaderName = HeaderName::from_static("talea-request");
/// Header with the salt of the input document: 32 hex digits, or `random` on a free call.
pub const SALT: HeaderName = HeaderName::from_static("talea-salt");
/// Header with the arguments of a command: percent-encoded, one space between them.
pub const ARGS: HeaderName = HeaderName::from_static("talea-args");

/// Header of a call that another node has passed on: the name of its draw. It is not passed on again.
pub const FORWARDED: HeaderName = HeaderName::from_static("talea-forwarded");

/// Where calls live.
pub const PREFIX: &str = "/f/";

/// What `Call::new` is given: a head as it was read.
#[derive(Debug)]
pub struct Head {
    /// The method as sent.
    pub method: Method,
    /// The request target as sent.
    pub uri: Uri,
    /// All headers as sent.
    pub headers: HeaderMap,
    /// Who is on the other end of the connection.
    pub peer: IpAddr,
    /// When the head was complete.
    pub at: UnixNanos,
}

/// One well-formed request head.
#[derive(Debug)]
pub struct Call {
    /// A call is handed on from door to door; its head stays where it is.
    head: Box<Head>,
    target: Target,
    /// Where the guest's path begins in the request target's path.
    path_start: usize,
    run: Option<Vec<u8>>,
    session: Option<Vec<u8>>,
    salt: SaltWish,
    args: Vec<String>,
    wants_receipt: bool,
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By the hash of its bytes.
    Function(FunctionId),
    /// By a name that some registration gave.
    Name(FunctionName),
}

/// A head that is no call.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request target is too long.
    #[error("the request target has {len} bytes; {} are taken", limits::TARGET_LEN_MAX)]
    TargetTooLong {
        /// Its length.
        len: usize,
    },
    /// Neither a function's id nor a name.
    #[error(
        "`{text}` is neither a function id (CIDv1 or sha256:<hex>) nor the start of namespace/name"
    )]
    TargetUnreadable {
        /// What stands there, shortened.
        text: String,
    },
    /// CONNECT and TRACE are no calls.
    #[error("the method {method} cannot call a function")]
    MethodRefused {
        /// The method.
        method: Method,
    },
    /// A header of ours that cannot be read.
    #[error("the header {header} {fault}")]
    Header {
        /// The header.
        header: HeaderName,
        /// What is wrong with it.
        fault: HeaderFault,
    },
}

/// What is wrong with a header of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// More than one line.
    #[error("is given more than once")]
    Repeated,
    /// Above its bound.
    #[error("is too long")]
    TooLong,
    /// Not base64url.
    #[error("is not base64url without padding")]
    NotBase64,
    /// Not a salt.
    #[error("must be 32 hex digits, or `random` on a free call")]
    NotSalt,
    /// Not arguments.
    #[error("must be percent-encoded UTF-8 words without NUL, one space between them")]
    NotArguments,
}

impl Call {
    /// Makes a call of a head, or says why it is none.
    pub fn new(head: Head) -> Result<Self, CallError> {
        let head = Box::new(head);
        let len = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if len > limits::TARGET_LEN_MAX {
            return Err(CallError::TargetTooLong { len });
        }
        if head.method == Method::CONNECT || head.method == Method::TRACE {
            return Err(CallError::MethodRefused { method: head.method });
        }
        let (target, path_start) = Target::read(head.uri.path())?;
        let run = wishes::credential(&head.headers, &RUN)?;
        let session = wishes::credential(&head.headers, &SESSION)?;
        let salt = wishes::salt(&head.headers)?;
        let args = wishes::args(&head.headers)?;
        let wants_receipt = wishes::wants_receipt(&head.headers);
        Ok(Self { head, target, path_start, run, session, salt, args, wants_receipt })
    }

    /// What is to be run.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The method as sent.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The path below the function, as sent (still percent-encoded): empty, or from its slash on.
    pub fn path(&self) -> &str {
        &self.head.uri.path()[self.path_start..]
    }

    /// The query as sent, empty if there is none.
    pub fn query(&self) -> &str {
        self.head.uri.query().unwrap_or("")
    }

    /// The request target as sent, for an answer that must name it.
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// All headers as sent. Only those that a registration names reach a guest.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Who is on the other end of the connection.
    pub fn peer(&self) -> IpAddr {
        self.head.peer
    }

    /// When the head was complete.
    pub fn at(&self) -> UnixNanos {
        self.head.at
    }

    /// The bytes of `talea-run`, not yet believed.
    pub fn run(&self) -> Option<&[u8]> {
        self.run.as_deref()
    }

    /// The bytes of `talea-session`, not yet believed.
    pub fn session(&self) -> Option<&[u8]> {
        self.session.as_deref()
    }

    /// The salt that the caller wants in the input document.
    pub fn salt(&self) -> SaltWish {
        self.salt
    }

    /// Arguments for a command.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Whether another node has passed it on. What the header says is that node's own business.
    pub fn is_forwarded(&self) -> bool {
        self.head.headers.contains_key(&FORWARDED)
    }

    /// Whether the answer should carry the receipt's payload and proof.
    pub fn wants_receipt(&self) -> bool {
        self.wants_receipt
    }
}

// === impl Target ===

impl Target {
    /// Reads `/f/{id}/...` or `/f/{namespace}/{name}/...`; also says where the rest begins.
    fn read(path: &str) -> Result<(Self, usize), CallError> {
        let rest = path.strip_prefix(PREFIX).unwrap_or("");
        let unreadable = || CallError::TargetUnreadable {
            text: rest.chars().take(80).filter(|c| !c.is_control()).collect(),
        };
        let first = segment(rest);
        if let Ok(id) = first.parse::<FunctionId>() {
            return Ok((Self::Function(id), PREFIX.len() + first.len()));
        }
        let second = rest.get(first.len() + 1..).map(segment).ok_or_else(unreadable)?;
        let len = first.len() + 1 + second.len();
        let name = FunctionName::try_from(&rest[..len]).map_err(|_| unreadable())?;
        Ok((Self::Name(name), PREFIX.len() + len))
    }

    /// Reads `{id}` or `{namespace}/{name}` as it stands in a control route.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('/') {
            FunctionName::try_from(text).ok().map(Self::Name)
        } else {
            text.parse().ok().map(Self::Function)
        }
    }
}

/// Up to the next slash.
fn segment(path: &str) -> &str {
    path.split('/').next().unwrap_or("")
}

#[cfg(test)]
mod tests;
