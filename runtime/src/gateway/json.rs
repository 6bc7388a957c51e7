//! Views: what the domain's types look like in JSON. Numbers of 64 bits are decimal text.
//!
//! Absent: the way in. Nothing of the domain is ever made from these; documents come as signed bytes.

pub(super) mod ledger;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use talea_ledger::{Price, Receipt, ReceiptId};

use crate::executor::RunLimits;
use crate::registry::Function;

/// Bytes as base64url text without padding.
pub(super) fn bytes(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A price.
#[derive(Debug, Serialize)]
pub(super) struct PriceView {
    per_call: String,
    rate: String,
    per_kib: String,
}

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        Self {
            per_call: price.per_call.to_string(),
            rate: price.rate.to_string(),
            per_kib: price.per_kib.to_string(),
        }
    }
}

/// A receipt.
#[derive(Debug, Serialize)]
pub(super) struct ReceiptView {
    id: String,
    at: String,
    network: String,
    host: String,
    run: String,
    function: String,
    input: String,
    input_len: String,
    output: String,
    output_len: String,
    profile: String,
    outcome: String,
    fuel: String,
    host_fuel: String,
    peak_pages: u32,
    price: PriceView,
    bill: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<PaymentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<ViaView>,
}

/// How another host came to run it, and its receipt.
#[derive(Debug, Serialize)]
struct ViaView {
    draw: String,
    receipt: String,
}

/// The payer's side of a receipt.
#[derive(Debug, Serialize)]
struct PaymentView {
    payer: String,
    channel: String,
    sequence: String,
    owed: String,
}

impl ReceiptView {
    pub(super) fn new(id: ReceiptId, receipt: &Receipt) -> Self {
        let payment = receipt.payment.as_ref().map(|payment| PaymentView {
            payer: payment.payer.to_string(),
            channel: payment.channel.to_string(),
            sequence: payment.sequence.to_string(),
            owed: payment.owed.to_string(),
        });
        Self {
            id: id.to_string(),
            at: receipt.at.to_string(),
            network: receipt.network.to_string(),
            host: receipt.host.to_string(),
            run: receipt.run.to_string(),
            function: receipt.function.to_string(),
            input: receipt.input.to_string(),
            input_len: receipt.input_len.to_string(),
            output: receipt.output.to_string(),
            output_len: receipt.output_len.to_string(),
            profile: receipt.profile.to_string(),
            outcome: receipt.outcome.code_text(),
            fuel: receipt.fuel.to_string(),
            host_fuel: receipt.host_fuel.to_string(),
            peak_pages: receipt.peak_pages.0,
            price: PriceView::from(&receipt.price),
            bill: receipt.bill.to_string(),
            payment,
            via: receipt.forwarded.as_ref().map(|forwarded| ViaView {
                draw: forwarded.draw.to_string(),
                receipt: forwarded.receipt.to_string(),
            }),
        }
    }
}

/// A registered function.
#[derive(Debug, Serialize)]
pub(super) struct FunctionView {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    kind: &'static str,
    owner: String,
    registered_at: String,
    size: String,
    limits: LimitsView,
    headers: Vec<String>,
    cgi: bool,
}

/// Bounds of a run.
#[derive(Debug, Serialize)]
pub(super) struct LimitsView {
    fuel: String,
    memory_pages: u32,
    output_bytes: String,
    log_bytes: String,
}

impl From<&RunLimits> for LimitsView {
    fn from(limits: &RunLimits) -> Self {
        Self {
            fuel: limits.fuel.to_string(),
            memory_pages: limits.memory.0,
            output_bytes: limits.output.to_string(),
            log_bytes: limits.log.to_string(),
        }
    }
}

impl FunctionView {
    /// `limits` are those that a run may have on this node.
    pub(super) fn new(function: &Function, limits: &RunLimits) -> Self {
        let registration = &function.registration;
        Self {
            id: registration.function.to_string(),
            name: registration.name.as_ref().map(ToString::to_string),
            kind: registration.kind.text(),
            owner: registration.owner.to_string(),
            registered_at: registration.at.to_string(),
            size: function.len.to_string(),
            limits: LimitsView::from(limits),
            headers: registration.headers.iter().map(ToString::to_string).collect(),
            cgi: registration.cgi,
        }
    }
}
