//! From `talea_handle` to the handler and back.
//!
//! Owns: what a handler may return, the panic hook, exit codes. Invariant: an error's text goes to
//! the log, never to the caller. Absent: the export itself, which the attribute writes into the
//! author's crate.

use std::fmt::Display;

use crate::host::{self, Refused};
use crate::{Level, Request, Response};

/// `Err` of a handler.
const EXIT_ERROR: i32 = 1;
/// A response that the host refused.
const EXIT_REFUSED: i32 = 2;

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Response {}
    impl<E: std::fmt::Display> Sealed for Result<crate::Response, E> {}
}

/// What a handler may return: a [`Response`], or a `Result<Response, E>` with `E: Display`.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not an answer",
    note = "return `talea::Response`, or `Result<talea::Response, E>` with `E: std::fmt::Display`"
)]
pub trait Answer: sealed::Sealed {
    /// The response, or the text for the log.
    #[doc(hidden)]
    fn into_response(self) -> Result<Response, String>;
}

impl Answer for Response {
    fn into_response(self) -> Result<Response, String> {
        Ok(self)
    }
}

impl<E: Display> Answer for Result<Response, E> {
    fn into_response(self) -> Result<Response, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Runs the handler on the host's input. The result is the exit code.
pub fn run<A: Answer>(handler: fn(Request) -> A) -> i32 {
    log_panics();
    finish(handler(Request::from_host()))
}

/// Hands a handler's answer to the host.
pub(crate) fn finish(answer: impl Answer) -> i32 {
    let response = match answer.into_response() {
        Ok(response) => response,
        Err(text) => {
            host::log(Level::Error.to_api(), text.as_bytes());
            return EXIT_ERROR;
        }
    };
    match send(&response) {
        Ok(()) => 0,
        Err(text) => {
            host::log(Level::Error.to_api(), text.as_bytes());
            EXIT_REFUSED
        }
    }
}

fn send(response: &Response) -> Result<(), String> {
    let status = response.status();
    host::output_status(status)
        .map_err(|refused: Refused| format!("response: status {status}: {refused}"))?;
    for (name, value) in response.headers() {
        host::output_header(name, value)
            .map_err(|refused| format!("response: header {name:?}: {refused}"))?;
    }
    if !response.body().is_empty() {
        host::output_write(response.body())
            .map_err(|refused| format!("response: body: {refused}"))?;
    }
    Ok(())
}

/// In wasm a panic aborts: all that is left of it is this line and the trap.
fn log_panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| {
        host::log(Level::Error.to_api(), panic.to_string().as_bytes());
    }));
}
