//! What a caller who did not pay enough is told: an x402 version 2 document (scheme `upto`).
//!
//! The header `payment-required` carries the document as x402 has it; the body carries the same members
//! beside our own `error`. A client signs a run with these terms and sends it in `talea-run`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::auth::Offer;

/// Where x402 version 2 looks for the document.
pub(super) const HEADER: HeaderName = HeaderName::from_static("payment-required");

/// Longest time between offer and payment that a client should plan with: the signed run's expiry is the
/// payer's choice, its clock may lie five minutes off.
const TIMEOUT_SECONDS: u64 = 300;

/// The document. `needed` is what this very call may cost, if that is known by now; otherwise it is what
/// the costliest run costs here.
pub(super) fn payment_required(
    terms: &Offer,
    resource: &str,
    code: &str,
    needed: Option<u64>,
) -> Value {
    let most = terms.bill_max(&terms.price, terms.fuel_max, 0, terms.output_len_max).0;
    json!({
        "x402Version": 2,
        "error": code,
        "resource": { "url": resource, "description": "one run of a function" },
        "accepts": [{
            "scheme": "upto",
            "network": network(terms),
            "asset": "tal",
            "amount": needed.unwrap_or(most).to_string(),
            "payTo": terms.host.to_string(),
            "maxTimeoutSeconds": TIMEOUT_SECONDS,
            "extra": {
                "header": "talea-run",
                "network": terms.network.to_string(),
                "profile": terms.profile.to_string(),
                "price": {
                    "per_call": terms.price.per_call.0.to_string(),
                    "rate": terms.price.rate.to_string(),
                    "per_kib": terms.price.per_kib.0.to_string(),
                },
                "fuel_max": terms.fuel_max.0.to_string(),
                "memory_pages_max": terms.memory_max.0.to_string(),
                "output_bytes_max": terms.output_len_max.to_string(),
                "log_bytes_max": terms.log_len_max.to_string(),
                "vouchers": "/vouchers",
                "watermark": terms.watermark.to_string(),
            },
        }],
    })
}

/// A network as CAIP-2 has it: its reference takes 32 characters, so the first half of the id.
fn network(terms: &Offer) -> String {
    let id = terms.network.to_string();
    format!("talea:{}", &id[..id.len().min(32)])
}

/// The document for the header.
pub(super) fn as_header(required: &Value) -> Option<HeaderValue> {
    HeaderValue::try_from(BASE64_STANDARD.encode(required.to_string())).ok()
}

/// Puts the document's members beside our `error`.
pub(super) fn merge(body: &mut Value, required: Value) {
    let (Value::Object(body), Value::Object(required)) = (body, required) else { return };
    for (key, value) in required {
        if key != "error" {
            body.insert(key, value);
        }
    }
}
