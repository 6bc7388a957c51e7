//! Few cases, real processes, real sockets: what a person, a dApp and an attacker meet.
//!
//! Everything else is tested beside the code. Each test owns its node and its folder; no port and no
//! file is shared.
#![allow(missing_docs, unreachable_pub, reason = "a test target has no readers but its own files")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly and print figures"
)]

#[path = "e2e/busy.rs"]
mod busy;
#[path = "e2e/falsehood.rs"]
mod falsehood;
#[path = "e2e/flow.rs"]
mod flow;
#[path = "e2e/forward.rs"]
mod forward;
#[path = "e2e/fraud.rs"]
mod fraud;
#[path = "e2e/hostile.rs"]
mod hostile;
#[path = "e2e/http.rs"]
mod http;
#[path = "e2e/keeping.rs"]
mod keeping;
#[path = "e2e/kill.rs"]
mod kill;
#[path = "e2e/ledger.rs"]
mod ledger;
#[path = "e2e/liar.rs"]
mod liar;
#[path = "e2e/lines.rs"]
mod lines;
#[path = "e2e/money.rs"]
mod money;
#[path = "e2e/namespaces.rs"]
mod namespaces;
#[path = "e2e/node.rs"]
mod node;
#[path = "e2e/paid.rs"]
mod paid;
#[path = "e2e/peers.rs"]
mod peers;
#[path = "e2e/rolling.rs"]
mod rolling;

/// The one place of these tests that reads a clock: to bound what must be bounded.
#[allow(clippy::disallowed_methods, reason = "a test of a bound on real time")]
fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// Asks again until something is so, and fails when that takes longer than `patience`.
fn within<T>(patience: std::time::Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = monotonic() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(monotonic() < deadline, "not within {patience:?}: {what}");
        std::thread::yield_now();
    }
}
