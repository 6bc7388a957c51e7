//! The small function of the load bench: what a user writes to say hello.
//!
//! Owns one answer. Absent: input, logs; the bench measures the node, not the guest.

use talea::{Request, Response};

#[talea::handler]
fn hello(_request: Request) -> Response {
    Response::text("hello")
}
