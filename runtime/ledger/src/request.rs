//! The request: a signed question to one node's control plane (logs, bodies, lists).
//!
//! It binds method, path, query and body, so a signature for one question answers no other; the node bounds
//! how far `at` may lie from its own clock.

use crate::codec::{Document, record};
use crate::id::{BodyId, NetworkId};
use crate::message::{Method, PathAndQuery};
use crate::sign::Domain;
use crate::units::UnixNanos;

record! {
    /// One question.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Request {
        /// When it was signed.
        "at" => pub at: UnixNanos,
        /// The network.
        "net" => pub network: NetworkId,
        /// The body that goes with it, empty as a rule.
        "body" => pub body: BodyId,
        /// Path and query, as sent.
        "path" => pub path_and_query: PathAndQuery,
        /// The method.
        "method" => pub method: Method,
    }
}

impl Document for Request {
    const DOMAIN: Domain = Domain::Request;

    fn network(&self) -> Option<NetworkId> {
        Some(self.network)
    }
}
