//! (being written)
#![allow(missing_docs, reason = "the documents are being written")]

pub mod profile;
