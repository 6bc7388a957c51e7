//! Running a handler in `cargo test`, on the host and without a node.
//!
//! Owns: a call against the double of the host calls. Invariants: clock and seed are fixed unless
//! given; what the double refuses, a node refuses. Absent: fuel and bounds (`talea dev` shows
//! them); a panic of the handler is a panic of the test.

use crate::host::native::{self, CLOCK_START, World};
use crate::{Answer, Request, entry};

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// 0 for `ok`, else the exit code: 1 for an `Err`, 2 for a response the host refuses.
    pub exit: i32,
    /// Status of the output.
    pub status: u16,
    /// Headers of the output, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body of the output.
    pub body: Vec<u8>,
    /// The log: one `<level> <message>` a line.
    pub log: String,
}

impl Answered {
    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8: in a test that is a failure.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The first header with this name, given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Calls a handler at 2026-01-01T00:00:00Z with seed 0.
pub fn call<A: Answer>(handler: fn(Request) -> A, request: Request) -> Answered {
    call_at(handler, request, CLOCK_START, 0)
}

/// Calls a handler with this clock, in nanoseconds since 1970, and this seed.
pub fn call_at<A: Answer>(
    handler: fn(Request) -> A,
    request: Request,
    clock_ns: u64,
    seed: u64,
) -> Answered {
    native::replace(World::new(clock_ns, seed));
    let exit = entry::finish(handler(request));
    let world = native::replace(World::new(CLOCK_START, 0));
    Answered {
        exit,
        status: world.status,
        headers: world.headers,
        body: world.body,
        log: String::from_utf8_lossy(&world.log).into_owned(),
    }
}
