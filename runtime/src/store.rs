//! Bytes at rest. The only user of files.

pub mod artefacts;
