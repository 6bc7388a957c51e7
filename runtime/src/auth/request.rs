//! Signed requests of the control plane: who reads what only some may read, and who deploys.
//!
//! Both are verified over the bytes that were carried. Repeating a signed read within its few minutes
//! gives the same answer and repeating a registration changes nothing, so neither needs a nonce.

use http::HeaderMap;
use talea_ledger::registration::Kind;
use talea_ledger::{
    BodyId, DecodeError, FunctionId, NetworkId, PublicKey, Registration, Request, Sealed,
    UnixNanos, Verified, VerifyError,
};

use super::Auth;
use crate::call::{CallError, REGISTRATION, REQUEST, credential};
use crate::config::Deploy;
use crate::limits::CLOCK_SKEW_NANOS;

/// A request of the control plane, as far as a signature covers it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// Path and query as sent.
    pub path_and_query: &'a str,
    /// The body; that of nothing if there is none.
    pub body: BodyId,
    /// When it came.
    pub at: UnixNanos,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Nobody in particular.
    Anyone,
    /// The holder of a key.
    Key(PublicKey),
}

/// Why a signed request is not believed or not permitted.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] CallError),
    /// The header is needed and not there.
    #[error("this needs a signature in the header {header}")]
    Missing {
        /// The header.
        header: &'static str,
    },
    /// Not a sealed document.
    #[error("the signed document cannot be read: {0}")]
    Unreadable(#[source] DecodeError),
    /// Badly signed, of another type, or malformed inside.
    #[error("the signature does not hold: {0}")]
    Unverified(#[source] VerifyError),
    /// Signed for another network.
    #[error("signed for network {given}; this is {ours}")]
    NetworkForeign {
        /// In the document.
        given: NetworkId,
        /// This node's.
        ours: NetworkId,
    },
    /// Signed for something else than was asked.
    #[error("the signed {part} is not the one that was sent")]
    Differs {
        /// Which part.
        part: &'static str,
    },
    /// Too long ago, or from the future.
    #[error("signed at {at}, more than {} s from this host's time", CLOCK_SKEW_NANOS / 1_000_000_000)]
    Stale {
        /// When it says that it was signed.
        at: UnixNanos,
    },
    /// The key may not do this here.
    #[error("{key} may not {what} here")]
    NotPermitted {
        /// Who asked.
        key: PublicKey,
        /// What for.
        what: &'static str,
    },
    /// A registration that cannot be honoured.
    #[error("the registration cannot be honoured: {0}")]
    Registration(RegistrationFault),
}

/// What is wrong inside a registration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationFault {
    /// Not a header that a guest may see.
    #[error("`{0}` is no header that a function may read")]
    Header(String),
    /// It says command and the module is a handler, or the other way round.
    #[error("it says that the module is a {given}; by its exports it is a {found}")]
    Kind {
        /// In the registration.
        given: Kind,
        /// By its exports.
        found: Kind,
    },
}

impl Auth {
    /// Who reads, if the request says so. A signature that does not hold is an error, not `Anyone`.
    pub fn reader(&self, headers: &HeaderMap, asked: &Asked<'_>) -> Result<Reader, RequestError> {
        let Some(bytes) = credential(headers, &REQUEST)? else { return Ok(Reader::Anyone) };
        let verified: Verified<Request> = open(&bytes)?;
        let request = verified.document();
        let parts = [
            ("method", request.method.as_str() == asked.method),
            ("path", request.path_and_query.as_str() == asked.path_and_query),
            ("body", request.body == asked.body),
        ];
        if let Some((part, _)) = parts.iter().find(|(_, is_same)| !is_same) {
            return Err(RequestError::Differs { part });
        }
        self.for_this_network(request.network)?;
        if request.at.0.abs_diff(asked.at.0) > CLOCK_SKEW_NANOS {
            return Err(RequestError::Stale { at: request.at });
        }
        Ok(Reader::Key(*verified.signer()))
    }

    /// The registration of a module that is being deployed, and the envelope it came in. Whether the module is
    /// the function that it names is the caller's to compare, once it has read it.
    pub fn registration(
        &self,
        headers: &HeaderMap,
        now: UnixNanos,
    ) -> Result<(Verified<Registration>, Sealed), RequestError> {
        let bytes = credential(headers, &REGISTRATION)?
            .ok_or(RequestError::Missing { header: "talea-registration" })?;
        let (verified, sealed) = self.opened(&bytes, now)?;
        let key = *verified.signer();
        if let Deploy::Keys(keys) = &self.deploy
            && !keys.contains(&key)
        {
            return Err(RequestError::NotPermitted { key, what: "deploy" });
        }
        Ok((verified, sealed))
    }

    /// A function's registration by its bytes, wherever they come from: its owner's signature holds, and it is one that
    /// this node can honour.
    pub fn registered(
        &self,
        bytes: &[u8],
        function: FunctionId,
        now: UnixNanos,
    ) -> Result<(Verified<Registration>, Sealed), RequestError> {
        let (verified, sealed) = self.opened(bytes, now)?;
        if verified.document().function != function {
            return Err(RequestError::Differs { part: "function" });
        }
        Ok((verified, sealed))
    }

    /// A registration of some function: everything about it but which one.
    fn opened(
        &self,
        bytes: &[u8],
        now: UnixNanos,
    ) -> Result<(Verified<Registration>, Sealed), RequestError> {
        let sealed = Sealed::decode(bytes).map_err(RequestError::Unreadable)?;
        let verified: Verified<Registration> = sealed.verify().map_err(RequestError::Unverified)?;
        let registration = verified.document();
        self.for_this_network(registration.network)?;
        // An old registration is as good as a new one (it can be taken to another host); one from the
        // future would beat every later one.
        if registration.at.0 > now.0.saturating_add(CLOCK_SKEW_NANOS) {
            return Err(RequestError::Stale { at: registration.at });
        }
        honourable(registration).map_err(RequestError::Registration)?;
        Ok((verified, sealed))
    }

    fn for_this_network(&self, given: NetworkId) -> Result<(), RequestError> {
        let ours = self.offer.network;
        if given == ours { Ok(()) } else { Err(RequestError::NetworkForeign { given, ours }) }
    }
}

fn open<T: talea_ledger::Document>(bytes: &[u8]) -> Result<Verified<T>, RequestError> {
    let sealed = Sealed::decode(bytes).map_err(RequestError::Unreadable)?;
    sealed.verify().map_err(RequestError::Unverified)
}

/// Credentials of ours and cookies are never shown to a guest: all functions of a host share one origin.
fn honourable(registration: &Registration) -> Result<(), RegistrationFault> {
    let is_shown = |name: &str| {
        !name.starts_with("talea-") && !matches!(name, "cookie" | "content-length" | "connection")
    };
    match registration.headers.iter().find(|name| !is_shown(name)) {
        Some(name) => Err(RegistrationFault::Header(name.to_string())),
        None => Ok(()),
    }
}
