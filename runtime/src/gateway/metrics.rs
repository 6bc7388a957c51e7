//! Counts for operators, in the text format that Prometheus scrapes.
//!
//! Invariant: every label has a closed set of values; nothing that a caller can choose becomes one. The one exception are
//! peers, by their keys: those that are connected now, whose number is bounded.
//! Absent: per-function series. Who wants those has receipts.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use talea_gossip::{Counters, PeerView, Topic, TopicCounters};
use talea_ledger::{Fuel, Outcome, Tal};

/// Kinds of routes, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteClass {
    /// `/f/`.
    Call,
    /// `/functions`.
    Functions,
    /// `/receipts`.
    Receipts,
    /// Transactions, blocks and records.
    Ledger,
    /// Everything else.
    Operations,
}

const CLASSES: [(RouteClass, &str); 5] = [
    (RouteClass::Call, "call"),
    (RouteClass::Functions, "functions"),
    (RouteClass::Receipts, "receipts"),
    (RouteClass::Ledger, "ledger"),
    (RouteClass::Operations, "operations"),
];

/// Where the ledger and the market are asked.
const LEDGER_PATHS: [&str; 10] = [
    "/transactions",
    "/blocks",
    "/accounts",
    "/channels",
    "/names",
    "/network",
    "/vouchers",
    "/fraud",
    "/offers",
    "/forwards",
];

impl RouteClass {
    /// The kind of a path.
    pub(super) fn of(path: &str) -> Self {
        let is = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is("/f") {
            Self::Call
        } else if is("/functions") {
            Self::Functions
        } else if is("/receipts") {
            Self::Receipts
        } else if LEDGER_PATHS.iter().any(|path| is(path)) {
            Self::Ledger
        } else {
            Self::Operations
        }
    }
}

/// Status classes, as a label.
const STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Outcomes, as a label.
const OUTCOMES: [&str; 8] = [
    "ok",
    "exit",
    "trap",
    "out_of_fuel",
    "limit_stack",
    "limit_memory",
    "limit_output",
    "limit_log",
];

/// Upper edges of the duration buckets in microseconds: 1-2-5 from 50 us (a small call takes a few
/// hundred, most of it the sync) to 10 s, the longest run by default.
const DURATIONS: [u64; 17] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// Counts of the gateway. All relaxed: each is its own message.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; CLASSES.len()],
    outcomes: [AtomicU64; OUTCOMES.len()],
    durations: [AtomicU64; DURATIONS.len() + 1],
    duration_micros: AtomicU64,
    fuel: AtomicU64,
    host_fuel: AtomicU64,
    bill: AtomicU64,
    paid_calls: AtomicU64,
    repeated_runs: AtomicU64,
    connections: AtomicUsize,
    connections_ended: AtomicU64,
    connections_refused: AtomicU64,
    in_flight: AtomicUsize,
    overloaded: AtomicU64,
    panics: AtomicU64,
}

/// What other parts of the node count, gathered at the moment of a scrape.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Name without the `talea_` prefix.
    pub(crate) name: &'static str,
    /// One line for people.
    pub(crate) help: &'static str,
    /// `counter` or `gauge`.
    pub(crate) kind: &'static str,
    /// The value now.
    pub(crate) value: f64,
}

impl Metrics {
    pub(super) fn connections_now(&self, count: usize) {
        self.connections.store(count, Relaxed);
    }

    pub(super) fn connection_ended(&self) {
        // The accept loop corrects the gauge at its next accept; this keeps it right while none comes.
        let _ = self.connections.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
        self.connections_ended.fetch_add(1, Relaxed);
    }

    pub(super) fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    pub(super) fn overloaded(&self) {
        self.overloaded.fetch_add(1, Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(super) fn repeated_run(&self) {
        self.repeated_runs.fetch_add(1, Relaxed);
    }

    pub(super) fn request_began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn request_ended(&self, class: RouteClass, status: u16) {
        self.in_flight.fetch_sub(1, Relaxed);
        let status = usize::from(status / 100).clamp(2, 5) - 2;
        self.requests[class as usize][status].fetch_add(1, Relaxed);
    }

    /// One run was recorded.
    pub(super) fn ran(
        &self,
        outcome: &Outcome,
        fuel: Fuel,
        host_fuel: Fuel,
        bill: Tal,
        nanos: u64,
    ) {
        self.outcomes[place(outcome)].fetch_add(1, Relaxed);
        self.fuel.fetch_add(fuel.0, Relaxed);
        self.host_fuel.fetch_add(host_fuel.0, Relaxed);
        if bill.0 > 0 {
            self.bill.fetch_add(bill.0, Relaxed);
            self.paid_calls.fetch_add(1, Relaxed);
        }
        let micros = nanos / 1000;
        let bucket = DURATIONS.partition_point(|edge| *edge < micros);
        self.durations[bucket].fetch_add(1, Relaxed);
        self.duration_micros.fetch_add(micros, Relaxed);
    }

    /// Sums since the start, for the node's description.
    pub(super) fn totals(&self) -> serde_json::Value {
        let runs: u64 = self.outcomes.iter().map(|count| count.load(Relaxed)).sum();
        serde_json::json!({
            "runs": runs.to_string(),
            "paid_runs": self.paid_calls.load(Relaxed).to_string(),
            "fuel": self.fuel.load(Relaxed).to_string(),
            "billed": self.bill.load(Relaxed).to_string(),
        })
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// The text of a scrape.
    pub(super) fn render(&self, others: &[Gauge]) -> String {
        let mut text = Text(String::with_capacity(8 * 1024));
        text.head("requests_total", "Requests answered, by kind of route and status.", "counter");
        for (class, name) in CLASSES {
            for (status, count) in STATUSES.iter().zip(&self.requests[class as usize]) {
                let labels = format!("{{route=\"{name}\",status=\"{status}\"}}");
                text.line("requests_total", &labels, count.load(Relaxed));
            }
        }
        text.head("runs_total", "Runs recorded, by outcome.", "counter");
        for (outcome, count) in OUTCOMES.iter().zip(&self.outcomes) {
            text.line("runs_total", &format!("{{outcome=\"{outcome}\"}}"), count.load(Relaxed));
        }
        self.render_durations(&mut text);
        let counters = [
            ("fuel_total", "Fuel of all recorded runs.", &self.fuel),
            ("host_fuel_total", "Of it, fuel of host calls.", &self.host_fuel),
            ("billed_tal_total", "Sum of all bills.", &self.bill),
            ("paid_runs_total", "Runs with a bill.", &self.paid_calls),
            (
                "repeated_runs_total",
                "Runs sent again and answered from their receipt.",
                &self.repeated_runs,
            ),
            ("connections_ended_total", "Connections that have ended.", &self.connections_ended),
            (
                "connections_refused_total",
                "Connections above the bound.",
                &self.connections_refused,
            ),
            ("overloaded_total", "Requests above the in-flight bound.", &self.overloaded),
            ("panics_total", "Requests that ended in a panic of ours.", &self.panics),
        ];
        for (name, help, count) in counters {
            text.head(name, help, "counter");
            text.line(name, "", count.load(Relaxed));
        }
        let gauges = [
            ("connections", "Connections open now.", &self.connections),
            ("requests_in_flight", "Requests under way now.", &self.in_flight),
        ];
        for (name, help, count) in gauges {
            text.head(name, help, "gauge");
            text.line(name, "", count.load(Relaxed) as u64);
        }
        for other in others {
            text.head(other.name, other.help, other.kind);
            text.put(format_args!("talea_{} {}\n", other.name, other.value));
        }
        text.0
    }

    fn render_durations(&self, text: &mut Text) {
        let name = "run_duration_seconds";
        text.head(name, "From the request's head to its durable receipt.", "histogram");
        let mut sum = 0;
        for (edge, count) in DURATIONS.iter().zip(&self.durations) {
            sum += count.load(Relaxed);
            let labels = format!("_bucket{{le=\"{}\"}}", *edge as f64 / 1e6);
            text.line(name, &labels, sum);
        }
        sum += self.durations[DURATIONS.len()].load(Relaxed);
        text.line(name, "_bucket{le=\"+Inf\"}", sum);
        let seconds = self.duration_micros.load(Relaxed) as f64 / 1e6;
        text.put(format_args!("talea_{name}_sum {seconds}\n"));
        text.line(name, "_count", sum);
    }
}

fn place(outcome: &Outcome) -> usize {
    use talea_ledger::LimitKind;
    match outcome {
        Outcome::Ok => 0,
        Outcome::Exit(_) => 1,
        Outcome::Trap(_) => 2,
        Outcome::OutOfFuel => 3,
        Outcome::Limit(LimitKind::Stack) => 4,
        Outcome::Limit(LimitKind::Memory) => 5,
        Outcome::Limit(LimitKind::Output) => 6,
        Outcome::Limit(LimitKind::Log) => 7,
    }
}

/// What the network counts, by topic and by connected peer.
pub(super) fn peers_text(counters: &Counters, peers: &[PeerView]) -> String {
    type Of = fn(&TopicCounters) -> u64;
    let topics: [(&str, &str, Of); 7] = [
        ("published_total", "Messages that this node made.", |of| of.published.messages),
        ("received_total", "Messages that came, each once.", |of| of.received.messages),
        ("received_bytes_total", "Their bytes.", |of| of.received.bytes),
        ("accepted_total", "Of those, passed on.", |of| of.accepted),
        ("ignored_total", "Of those, not passed on.", |of| of.ignored),
        ("rejected_total", "Of those, held against who sent them.", |of| of.rejected),
        ("overrun_total", "Of those, left aside for their number.", |of| of.overrun),
    ];
    let mut text = Text(String::new());
    for (name, help, of) in topics {
        let name = format!("gossip_{name}");
        text.head(&name, help, "counter");
        for topic in Topic::ALL {
            let labels = format!("{{topic=\"{}\"}}", topic.word());
            text.line(&name, &labels, of(counters.topic(topic)));
        }
    }
    let sums = [
        ("chain_sent_total", "Chain messages to peers.", counters.sent.messages),
        ("chain_sent_bytes_total", "Their bytes.", counters.sent.bytes),
        ("chain_received_total", "Chain messages from peers.", counters.received.messages),
        ("chain_received_bytes_total", "Their bytes.", counters.received.bytes),
        ("chain_dropped_total", "Chain messages that a peer did not take.", counters.dropped),
        ("served_bytes_total", "Bytes of functions and documents served.", counters.served.bytes),
        (
            "fetched_bytes_total",
            "Bytes of functions and documents fetched.",
            counters.fetched.bytes,
        ),
        ("peers_refused_total", "Peers refused: of another network, or silent.", counters.refused),
        ("peers_banned_total", "Peers cut off for what they did.", counters.banned),
        ("peers_crowded_total", "Connections refused by their number.", counters.crowded),
        (
            "network_overloaded_total",
            "Words that the network had no room for.",
            counters.overloaded,
        ),
    ];
    for (name, help, sum) in sums {
        text.head(name, help, "counter");
        text.line(name, "", sum);
    }
    let joined: Vec<&PeerView> = peers.iter().filter(|peer| peer.joined).collect();
    text.head("peers", "Peers of this network, connected now.", "gauge");
    text.line("peers", "", joined.len() as u64);
    type OfPeer = fn(&PeerView) -> f64;
    let each: [(&str, &str, &str, OfPeer); 5] = [
        ("peer_received_bytes_total", "Bytes from a peer.", "counter", |of| {
            of.received.bytes as f64
        }),
        ("peer_sent_bytes_total", "Bytes to a peer.", "counter", |of| of.sent.bytes as f64),
        ("peer_dropped_total", "Messages it did not take.", "counter", |of| of.dropped as f64),
        ("peer_score", "What it is worth; negative is bad.", "gauge", |of| of.score),
        ("peer_rtt_seconds", "From a ping to its answer.", "gauge", |of| {
            of.rtt.map_or(f64::NAN, |rtt| rtt.as_secs_f64())
        }),
    ];
    for (name, help, kind, of) in each {
        text.head(name, help, kind);
        for peer in &joined {
            text.put(format_args!("talea_{name}{{peer=\"{}\"}} {}\n", peer.key, of(peer)));
        }
    }
    text.0
}

struct Text(String);

impl Text {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(text);
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.put(format_args!("# HELP talea_{name} {help}\n# TYPE talea_{name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        self.put(format_args!("talea_{name}{labels} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_counts_what_happened() {
        let metrics = Metrics::default();
        metrics.request_began();
        metrics.request_ended(RouteClass::Call, 200);
        metrics.ran(&Outcome::Ok, Fuel(10), Fuel(2), Tal(3), 70_000);
        metrics.ran(&Outcome::OutOfFuel, Fuel(5), Fuel(0), Tal(0), 60_000_000_000);
        let other = Gauge { name: "executor_instances", help: "Alive.", kind: "gauge", value: 4.0 };
        let text = metrics.render(&[other]);
        for line in [
            "talea_requests_total{route=\"call\",status=\"2xx\"} 1",
            "talea_runs_total{outcome=\"out_of_fuel\"} 1",
            "talea_fuel_total 15",
            "talea_billed_tal_total 3",
            "talea_requests_in_flight 0",
            "talea_run_duration_seconds_bucket{le=\"0.0001\"} 1",
            "talea_run_duration_seconds_bucket{le=\"10\"} 1",
            "talea_run_duration_seconds_bucket{le=\"+Inf\"} 2",
            "talea_run_duration_seconds_count 2",
            "talea_executor_instances 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_series_is_described_once() {
        let text = Metrics::default().render(&[]) + &peers_text(&Counters::default(), &[]);
        for topic in ["transaction", "block", "vote", "offer", "fraud"] {
            assert!(text.contains(&format!("talea_gossip_accepted_total{{topic=\"{topic}\"}} 0")));
        }
        let mut described: Vec<&str> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let count = described.len();
        described.sort_unstable();
        described.dedup();
        assert_eq!(described.len(), count);
    }
}
