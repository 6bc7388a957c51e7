//! `talea peers`: the nodes that a node is connected with, where they stand, and whom it refused.
//!
//! Absent: changes. Whom a node joins is said in its settings.

use clap::Args;
use serde_json::Value;

use super::exit::{Exit, Ran};
use super::screen::{Align, Ink, Table, grouped};
use super::{Context, NodeArgs};

/// What `talea peers` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea peers
  talea peers --node 192.0.2.1:7600 --output json | jq -r '.addresses[]'    where others join it")]
pub(super) struct PeersArgs {
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea peers`.
pub(super) async fn run(args: &PeersArgs, context: &Context) -> Ran {
    let screen = &context.screen;
    let found = args.node.client().get_json("/peers").await?;
    if screen.is_json() {
        screen.json(&found);
        return Ok(Exit::Ok);
    }
    let list = |name: &str| found[name].as_array().cloned().unwrap_or_default();
    let peers = list("peers");
    if peers.is_empty() {
        screen.line("no peers");
    } else {
        for line in table(&peers).lines() {
            screen.line(line);
        }
    }
    for refused in list("refused") {
        let reason = refused["reason"].as_str().unwrap_or("no reason");
        let ago = refused["seconds_ago"].as_u64().unwrap_or_default();
        let who = text(&refused["host"]);
        let label = screen.ink(Ink::Bad, "refused");
        screen.line(format_args!("{label} {who} {ago} s ago: {reason}"));
    }
    for address in list("addresses") {
        screen.note(format_args!("other nodes join with --join {}", text(&address)));
    }
    if found["in_step"] == Value::Bool(false) {
        screen.note("its ledger is not yet as far as its peers'");
    }
    Ok(Exit::Ok)
}

fn table(peers: &[Value]) -> Table {
    let mut table = Table::new(&[
        ("HOST", Align::Left),
        ("ADDRESS", Align::Left),
        ("SOFTWARE", Align::Left),
        ("HEIGHT", Align::Right),
        ("FINAL", Align::Right),
        ("AWAY", Align::Right),
        ("RECEIVED", Align::Right),
        ("SENT", Align::Right),
        ("SCORE", Align::Right),
        ("SINCE", Align::Right),
    ]);
    for peer in peers {
        let count = |value: &Value| {
            value.as_str().and_then(|text| text.parse().ok()).map(grouped).unwrap_or_default()
        };
        let away = peer["rtt_micros"].as_str().and_then(|text| text.parse::<f64>().ok());
        table.row([
            text(&peer["host"]),
            text(&peer["addresses"][0]),
            text(&peer["agent"]),
            count(&peer["ledger"]["height"]),
            count(&peer["ledger"]["final_height"]),
            away.map(|micros| format!("{:.1} ms", micros / 1000.0)).unwrap_or_default(),
            count(&peer["received"]["bytes"]),
            count(&peer["sent"]["bytes"]),
            peer["score"].as_f64().map(|score| format!("{score:.1}")).unwrap_or_default(),
            format!("{} s", peer["connected_seconds"]),
        ]);
    }
    table
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
