//! Benchmarks of Talea: every figure is a ratio of two things measured in one run.
//!
//! Owns the load generator, the peers it is pointed at, and the page the figures end on
//! (`RESULTS.md`). Invariants: the server and the generator never share a core; contenders take
//! turns in rounds, so that a noisy neighbour hits all of them; a figure that was not measured says
//! so and why. Absent on purpose: timed tests. A machine's speed is no test's business.

pub mod asking;
pub mod cores;
pub mod disk;
pub mod guard;
pub mod hello;
pub mod histogram;
pub mod inside;
pub mod load;
pub mod machine;
pub mod network;
pub mod node;
pub mod peers;
pub mod report;
pub mod requests;
pub mod response;
pub mod results;
pub mod rounds;
pub mod server;
pub mod stopwatch;
pub mod strain;
pub mod timing;
