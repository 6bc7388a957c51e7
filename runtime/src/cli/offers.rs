//! `talea offers`: what hosts offer to run paid calls for, as a node has heard.
//!
//! Absent: choosing. A caller picks a host by its endpoint; a gateway that forwards draws one by itself.

use clap::Args;
use serde_json::Value;

use super::exit::{Exit, Ran};
use super::screen::{Align, Table, grouped};
use super::{Context, NodeArgs, now};

/// What `talea offers` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea offers
  talea offers --node 192.0.2.1:7600 --output json | jq -r '.offers[].endpoints[0]'    where they are called")]
pub(super) struct OffersArgs {
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea offers`.
pub(super) async fn run(args: &OffersArgs, context: &Context) -> Ran {
    let screen = &context.screen;
    let found = args.node.client().get_json("/offers").await?;
    if screen.is_json() {
        screen.json(&found);
        return Ok(Exit::Ok);
    }
    let offers = found["offers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if offers.is_empty() {
        screen.line("no offers");
        return Ok(Exit::Ok);
    }
    for line in table(offers).lines() {
        screen.line(line);
    }
    Ok(Exit::Ok)
}

fn table(offers: &[Value]) -> Table {
    let mut table = Table::new(&[
        ("HOST", Align::Left),
        ("ENDPOINT", Align::Left),
        ("PER CALL", Align::Right),
        ("PER MFUEL", Align::Right),
        ("PER KIB", Align::Right),
        ("MAX FUEL", Align::Right),
        ("STANDS FOR", Align::Right),
    ]);
    let now = now().0;
    for offer in offers {
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        let count = |value: &Value| number(value).map(grouped).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let left = number(&offer["expires"]).unwrap_or_default().saturating_sub(now);
        table.row([
            text(&offer["host"]),
            text(&offer["endpoints"][0]),
            count(&offer["price"]["per_call"]),
            count(&offer["price"]["rate"]),
            count(&offer["price"]["per_kib"]),
            count(&offer["limits"]["fuel"]),
            format!("{} s", left / 1_000_000_000),
        ]);
    }
    table
}
