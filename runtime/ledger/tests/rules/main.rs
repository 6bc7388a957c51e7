//! The rules from outside: every action, every refusal, money over random histories, blocks.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its own case should stop there")]

mod actions;
mod bytes;
mod cover;
mod history;
mod proof;
mod refusals;
mod world;
