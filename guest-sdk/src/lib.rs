//! Write functions for Talea in Rust.
//!
//! ```
//! use talea::{Request, Response};
//!
//! #[talea::handler]
//! fn greet(request: Request) -> Result<Response, std::str::Utf8Error> {
//!     let name = request.text()?;
//!     talea::info!("{} bytes of name", name.len());
//!     Ok(Response::text(format!("Hello, {name}!\n")))
//! }
//!
//! let answer = talea::testing::call(greet, Request::post("/").with_body("Ada"));
//! assert_eq!(answer.body, b"Hello, Ada!\n");
//! assert_eq!(answer.log, "info 3 bytes of name\n");
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip1`; the same crate compiles on the host, where
//! [`testing::call`] runs the handler against a double of the host calls.
//!
//! How a handler ends:
//!
//! | handler | outcome | the caller sees |
//! |---|---|---|
//! | returns a [`Response`] | `ok` | status, headers and body |
//! | returns `Err(e)` | `exit(1)`, `e` in the log | 500 without the text of `e`: that is for the owner |
//! | response the node refuses (a reserved header) | `exit(2)`, the reason in the log | 500 |
//! | panics | `trap(unreachable)`, message and place in the log | 500 |
//!
//! Owns: safe wrappers over the imports of `talea-host-api`, the attribute, the panic hook.
//! Invariants: nothing is fetched from the host that the handler does not ask for, since every
//! host call is on the bill; time and randomness come from the run, never from the machine.
//! Absent: JSON, routing, async; a function is one request and one response.

pub mod clock;
mod entry;
mod host;
pub mod log;
pub mod query;
pub mod random;
mod request;
mod response;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use entry::Answer;
pub use log::Level;
pub use request::{BodyReader, Request};
pub use response::Response;
/// Makes a function the entry point of the module.
///
/// The function takes a [`Request`] and returns a [`Response`] or a `Result<Response, E>` with
/// `E: Display`. A module has one handler. The function itself stays callable, for tests.
pub use talea_macros::handler;

/// What the expansion of [`macro@handler`] and the log macros call. Not part of the interface.
#[doc(hidden)]
pub mod private {
    pub use crate::entry::run;
    pub use crate::log::write;
}
