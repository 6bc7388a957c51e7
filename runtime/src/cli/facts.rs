//! A receipt in words and in JSON.
//!
//! Invariant: both views are made from the decoded document, never from what a node says about it. 64-bit numbers
//! are decimal strings in JSON.

use serde_json::{Value, json};
use talea_ledger::{Receipt, ReceiptId};

use super::amount::show_size;
use super::moment::rfc3339;
use super::screen::{Ink, Screen, grouped};

/// The receipt as `name value` lines.
pub(super) fn print(id: ReceiptId, receipt: &Receipt, screen: &Screen) {
    for (name, value) in lines(id, receipt) {
        screen.line(format_args!("{} {value}", screen.ink(Ink::Faint, format_args!("{name:<10}"))));
    }
}

/// The same on standard error, beside a function's own answer.
pub(super) fn note(id: ReceiptId, receipt: &Receipt, screen: &Screen) {
    for (name, value) in lines(id, receipt) {
        screen.note(format_args!(
            "{} {value}",
            screen.note_ink(Ink::Faint, format_args!("{name:<10}"))
        ));
    }
}

fn lines(id: ReceiptId, receipt: &Receipt) -> Vec<(&'static str, String)> {
    let price = &receipt.price;
    let mut lines = vec![
        ("receipt", id.to_string()),
        ("function", receipt.function.to_string()),
        ("outcome", receipt.outcome.to_string()),
        (
            "fuel",
            format!("{} (host calls {})", grouped(receipt.fuel.0), grouped(receipt.host_fuel.0)),
        ),
        ("bill", format!("{} tal", grouped(receipt.bill.0))),
        (
            "price",
            format!(
                "{} a call, {} per million fuel, {} per KiB",
                price.per_call, price.rate, price.per_kib
            ),
        ),
        ("input", format!("{} ({})", receipt.input, show_size(receipt.input_len))),
        ("output", format!("{} ({})", receipt.output, show_size(receipt.output_len))),
        ("memory", format!("{} at most", show_size(receipt.peak_pages.bytes()))),
    ];
    match &receipt.payment {
        Some(payment) => lines.extend([
            ("payer", payment.payer.to_string()),
            ("channel", format!("{}, run {}", payment.channel, payment.sequence)),
            ("owed", format!("{} tal with this run", grouped(payment.owed.0))),
        ]),
        None => lines.push(("payer", "nobody: a free call".to_owned())),
    }
    if let Some(forwarded) = &receipt.forwarded {
        lines.push(("via", format!("{}, drawn as {}", forwarded.receipt, forwarded.draw)));
    }
    lines.extend([
        ("host", receipt.host.to_string()),
        ("at", rfc3339(receipt.at.0)),
        ("run", receipt.run.to_string()),
        ("profile", receipt.profile.to_string()),
        ("network", receipt.network.to_string()),
    ]);
    lines
}

/// The receipt as JSON, in the words of the node's own view.
pub(super) fn json(id: ReceiptId, receipt: &Receipt) -> Value {
    let mut view = json!({
        "id": id.to_string(),
        "at": receipt.at.to_string(),
        "network": receipt.network.to_string(),
        "host": receipt.host.to_string(),
        "run": receipt.run.to_string(),
        "function": receipt.function.to_string(),
        "input": receipt.input.to_string(),
        "input_len": receipt.input_len.to_string(),
        "output": receipt.output.to_string(),
        "output_len": receipt.output_len.to_string(),
        "profile": receipt.profile.to_string(),
        "outcome": receipt.outcome.to_string(),
        "fuel": receipt.fuel.to_string(),
        "host_fuel": receipt.host_fuel.to_string(),
        "peak_pages": receipt.peak_pages.0,
        "price": {
            "per_call": receipt.price.per_call.to_string(),
            "rate": receipt.price.rate.to_string(),
            "per_kib": receipt.price.per_kib.to_string(),
        },
        "bill": receipt.bill.to_string(),
    });
    if let Some(payment) = &receipt.payment {
        view["payment"] = json!({
            "payer": payment.payer.to_string(),
            "channel": payment.channel.to_string(),
            "sequence": payment.sequence.to_string(),
            "owed": payment.owed.to_string(),
        });
    }
    if let Some(forwarded) = &receipt.forwarded {
        view["via"] = json!({
            "draw": forwarded.draw.to_string(),
            "receipt": forwarded.receipt.to_string(),
        });
    }
    view
}
