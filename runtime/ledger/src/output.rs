//! The output document: everything of a response that a guest can say, the body by its name.

use crate::codec::{Document, record};
use crate::id::{BodyId, OutputId};
use crate::message::{Headers, Status};
use crate::sign::Domain;

record! {
    /// What a run has written.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Output {
        /// Length of the body.
        "len" => pub body_len: u64,
        /// The body.
        "body" => pub body: BodyId,
        /// The status, 200 unless the guest set one.
        "status" => pub status: Status,
        /// The headers the guest set.
        "headers" => pub headers: Headers,
    }
}

impl Document for Output {
    const DOMAIN: Domain = Domain::Output;
}

impl Output {
    /// The output of every run that ended otherwise than `ok` or `exit`: status 500, nothing else.
    pub fn empty() -> Self {
        Self {
            body_len: 0,
            body: BodyId::of(&[]),
            status: Status::FAILED,
            headers: Headers::none(),
        }
    }

    /// The name of this document.
    pub fn id(&self) -> OutputId {
        OutputId::of(&self.encode())
    }
}
