//! The meter under two engines and against an oracle.
//!
//! One binary: `host` is the least host that the output of the pass can run under, `compiled` and
//! `interpreted` put two engines behind it, `oracle` charges every instruction singly; the others are
//! the tests.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test target: its shared parts may fail loudly and print their figures"
)]

#[path = "meter/cases.rs"]
mod cases;
#[path = "meter/compiled.rs"]
mod compiled;
#[path = "meter/fitting.rs"]
mod fitting;
#[path = "meter/generated.rs"]
mod generated;
#[path = "meter/guest_view.rs"]
mod guest_view;
#[path = "meter/host.rs"]
mod host;
#[path = "meter/interpreted.rs"]
mod interpreted;
#[path = "meter/oracle.rs"]
mod oracle;
#[path = "meter/refusals.rs"]
mod refusals;
#[path = "meter/stack.rs"]
mod stack;
#[path = "meter/traps.rs"]
mod traps;
#[path = "meter/vectors.rs"]
mod vectors;
#[path = "meter/woven.rs"]
mod woven;
