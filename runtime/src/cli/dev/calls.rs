//! The node's own events about calls, as lines for the developer.
//!
//! The node tells of each call in one `tracing` event of the target `talea::call`; this is a layer that listens.
//! Invariant: listening never holds a call back; what finds the queue full is counted and the count is printed with
//! the next. Absent: bodies.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use talea_ledger::price::bill;
use talea_ledger::{Fuel, Price, Tal};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::cli::screen::grouped;

/// Listens for calls.
#[derive(Debug)]
pub(super) struct Calls {
    tell: mpsc::Sender<Call>,
    missed: AtomicU64,
}

/// One call, as the node tells of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    outcome: String,
    status: Option<u64>,
    method: Option<String>,
    path: Option<String>,
    receipt: String,
    fuel: u64,
    bill: u64,
    bytes: u64,
    micros: u64,
    /// Calls before this one that were not told.
    missed: u64,
}

// === impl Calls ===

impl Calls {
    /// Listens and tells.
    pub(super) fn new(tell: mpsc::Sender<Call>) -> Self {
        Self { tell, missed: AtomicU64::new(0) }
    }
}

impl<S: Subscriber> Layer<S> for Calls {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "talea::call" {
            return;
        }
        let mut call = Call::default();
        event.record(&mut call);
        // Relaxed: a number for the eye, nothing depends on it.
        call.missed = self.missed.swap(0, Ordering::Relaxed);
        if let Err(mpsc::error::TrySendError::Full(call)) = self.tell.try_send(call) {
            self.missed.fetch_add(call.missed.saturating_add(1), Ordering::Relaxed);
        }
    }
}

impl Visit for Call {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "fuel" => self.fuel = value,
            "bill" => self.bill = value,
            "bytes" => self.bytes = value,
            "micros" => self.micros = value,
            "status" => self.status = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "outcome" => value.clone_into(&mut self.outcome),
            "receipt" => value.clone_into(&mut self.receipt),
            "method" => self.method = Some(value.to_owned()),
            "path" => self.path = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

// === impl Call ===

impl Call {
    /// Whether the guest ended well.
    pub(super) fn is_ok(&self) -> bool {
        self.outcome == "ok"
    }

    /// How it ended, wide enough for the usual ones.
    pub(super) fn outcome(&self) -> String {
        format!("{:<11}", self.outcome)
    }

    /// What it cost; for a free call, what it would have cost at this price.
    fn cost(&self, price: &Price) -> u64 {
        self.bill.max(bill(price, Fuel(self.fuel), self.bytes, Tal::MAX).0)
    }

    /// Everything but the outcome.
    pub(super) fn line(&self, price: &Price) -> String {
        let mut line = String::new();
        if let Some(status) = self.status {
            line.push_str(&format!("{status}  "));
        }
        let (fuel, cost) = (grouped(self.fuel), grouped(self.cost(price)));
        let time = format!("{}.{:02} ms", self.micros / 1000, self.micros % 1000 / 10);
        line.push_str(&format!("fuel {fuel:>13}  bill {cost:>7} tal  {time:>10}"));
        if let Some(path) = &self.path {
            let method = self.method.as_deref().unwrap_or("");
            line.push_str(&format!("  {method} {}", if path.is_empty() { "/" } else { path }));
        }
        if self.missed > 0 {
            line.push_str(&format!("  (and {} before it, too many to show)", self.missed));
        }
        line
    }

    /// The same for programs.
    pub(super) fn json(&self, price: &Price) -> Value {
        json!({
            "event": "call",
            "outcome": self.outcome,
            "status": self.status,
            "method": self.method,
            "path": self.path,
            "fuel": self.fuel.to_string(),
            "bill": self.cost(price).to_string(),
            "micros": self.micros.to_string(),
            "receipt": self.receipt,
            "missed": self.missed,
        })
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn calls_are_told_and_a_full_queue_counts_them() {
        let (tell, mut told) = mpsc::channel(1);
        let subscriber = tracing_subscriber::registry().with(Calls::new(tell));
        tracing::subscriber::with_default(subscriber, || {
            for fuel in [1_000_000_u64, 2, 3] {
                tracing::info!(target: "talea::call", outcome = %"ok", fuel, bill = 0_u64, micros = 1234_u64);
            }
            tracing::info!(target: "other", fuel = 9_u64);
            let first = told.try_recv().unwrap();
            assert_eq!((first.fuel, first.missed, first.is_ok()), (1_000_000, 0, true));
            let price = Price { per_call: Tal(10), rate: 5, per_kib: Tal(0) };
            assert_eq!(first.line(&price), "fuel     1,000,000  bill      15 tal     1.23 ms");
            tracing::info!(target: "talea::call", outcome = "trap:unreachable", fuel = 4_u64, path = "/x", method = "GET");
            let next = told.try_recv().unwrap();
            assert_eq!((next.fuel, next.missed, next.is_ok()), (4, 2, false));
            assert!(next.line(&price).ends_with("GET /x  (and 2 before it, too many to show)"));
        });
    }
}
