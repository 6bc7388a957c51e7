//! The `talea` command.
fn main() {}
