//! The documents from outside: golden bytes, round trips, what is refused, what is detected.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its own case should stop there")]

mod audit;
mod bad;
mod chain;
mod forward;
mod golden;
mod ids;
mod mutation;
mod price;
mod proof;
mod roundtrip;
mod samples;
mod signature;
mod strict;
mod tree;
mod votes;
