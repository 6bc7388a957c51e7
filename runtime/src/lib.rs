//! The Talea node: one pipeline, `call < auth < registry < executor < notary < chain < ledger < till <
//! market < purse < supply < gateway`.
//!
//! Each module imports the type of the step before it and no more; `tests/tidy.rs` holds the table.

pub mod clock;
pub mod limits;

pub mod config;

pub mod store;

pub mod call;

pub mod auth;

pub mod registry;

pub mod executor;

pub mod notary;

pub mod chain;

pub mod ledger;

pub mod till;

pub mod market;

pub mod purse;

pub mod supply;

pub mod gateway;

pub mod node;
