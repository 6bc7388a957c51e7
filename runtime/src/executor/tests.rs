//! The executor from its door: guests in wat, in process.

mod bench;
mod cache;
mod facts;
mod fairness;
mod outcomes;
mod world;
