//! The input document: everything of a request that a guest can see, the body by its name.

use crate::codec::{Document, record};
use crate::id::{BodyId, InputId};
use crate::message::{Arguments, Headers, Method, Path, Query};
use crate::sign::Domain;

record! {
    /// What a run reads.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Input {
        /// Length of the body.
        "len" => pub body_len: u64,
        /// Command line arguments, without the program's name.
        "args" => pub args: Arguments,
        /// The body.
        "body" => pub body: BodyId,
        /// The path below the function.
        "path" => pub path: Path,
        /// Random bytes that keep an input with little content from being guessed by its name.
        "salt" => pub salt: Option<[u8; 16]>,
        /// The query.
        "query" => pub query: Query,
        /// The request method.
        "method" => pub method: Method,
        /// Those headers that the function's registration names.
        "headers" => pub headers: Headers,
    }
}

impl Document for Input {
    const DOMAIN: Domain = Domain::Input;
}

impl Input {
    /// The name of this document.
    pub fn id(&self) -> InputId {
        InputId::of(&self.encode())
    }
}
