//! Real nodes over loopback, in one process: what they tell each other, and what liars, floods and strangers cost.
//!
//! Every wait is for an event, with a generous bound; ports are chosen by the operating system.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

mod bad;
mod far;
mod fetching;
mod flood;
mod gossiping;
mod joining;
mod line;
mod node;
mod raw;
mod relaying;
