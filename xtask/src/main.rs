//! `cargo xtask demo | test | guests | bench`.
fn main() {}
