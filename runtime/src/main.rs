//! The `talea` command: the one binary for authors, hosts and callers.
//!
//! Owns nothing but the entry point. All words the user sees are made in [`cli`]; all work is done by the
//! library. Absent on purpose: `unwrap`, panics on bad input, and any exit that does not go through
//! [`cli::main`], so that every exit code of this process is in one table.

mod allocator;
mod cli;

/// A call takes its memory in many small pieces and gives some of them back on the chain's thread.
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> std::process::ExitCode {
    cli::main()
}
