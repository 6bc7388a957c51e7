//! A run's answer: body, outcome, fuel, bill, and the receipt that proves them.

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use talea_ledger::batch::{Proof, verify_receipt};
use talea_ledger::bundle::ReceiptPayload;
use talea_ledger::{
    ChannelId, Document as _, FunctionId, Outcome, Receipt, ReceiptId, Sequence, Tal,
};

use super::order::from_base64url;
use crate::cli::client::Answer;
use crate::cli::exit::{Exit, Failure, OrExit as _};
use crate::cli::facts;
use crate::cli::screen::grouped;

/// An answer that has a receipt.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) sent: Bytes,
    pub(super) body: Bytes,
    pub(super) receipt: ReceiptId,
    pub(super) function: FunctionId,
    pub(super) outcome: Outcome,
    fuel: u64,
    bill: u64,
    /// The receipt itself, its proof verified, when the node put both into the answer.
    pub(super) proven: Option<Receipt>,
    /// Its bytes and its proof.
    pub(super) papers: Option<Papers>,
    /// How it was paid, if it was.
    pub(super) paid: Option<Paid>,
}

/// A receipt's bytes and what proves them.
pub(super) type Papers = (ReceiptPayload, Proof);

/// Where a bill went.
#[derive(Clone, Debug)]
pub(super) struct Paid {
    pub(super) channel: ChannelId,
    pub(super) sequence: Sequence,
    /// What the host has a voucher for by now.
    pub(super) vouched: Tal,
    /// Why that is less than what is owed.
    pub(super) short: Option<String>,
}

impl Paid {
    /// For people.
    pub(super) fn line(&self) -> String {
        let Self { channel, sequence, vouched, short } = self;
        let short = short.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        format!("run {sequence} of channel {channel}, vouched {} tal{short}", grouped(vouched.0))
    }
}

/// Reads an answer; one without a receipt is the node's refusal.
pub(super) fn read(answer: Answer, sent: Bytes) -> Result<Answered, Failure> {
    if answer.header("talea-receipt").is_none() {
        return Err(if answer.status.is_success() {
            Failure::said(Exit::Failed, "the answer has no receipt: is this address a Talea node?")
        } else {
            answer.refusal().into()
        });
    }
    let receipt = header(&answer, "talea-receipt")?;
    let (proven, papers) = proven(&answer, receipt)?.unzip();
    Ok(Answered {
        receipt,
        function: header(&answer, "talea-function")?,
        outcome: header(&answer, "talea-outcome")?,
        fuel: header(&answer, "talea-fuel")?,
        bill: header(&answer, "talea-bill")?,
        proven,
        papers,
        paid: None,
        status: answer.status,
        sent,
        body: answer.body,
        headers: answer.headers,
    })
}

fn header<T: std::str::FromStr>(answer: &Answer, name: &str) -> Result<T, Failure> {
    answer.header(name).and_then(|text| text.parse().ok()).ok_or_else(|| {
        Failure::said(
            Exit::Failed,
            format!("the answer's header {name} is missing or cannot be read"),
        )
    })
}

/// Verifies the receipt that came with the answer, if it did.
fn proven(answer: &Answer, id: ReceiptId) -> Result<Option<(Receipt, Papers)>, Failure> {
    let part = |name: &str| answer.header(name).and_then(from_base64url);
    let (Some(payload), Some(proof)) = (part("talea-receipt-payload"), part("talea-receipt-proof"))
    else {
        return Ok(None);
    };
    let proof =
        Proof::decode(&proof).or_exit(Exit::Mismatch, || "the receipt's proof cannot be read")?;
    let verified =
        verify_receipt(&payload, &proof).or_exit(Exit::Mismatch, || "the receipt does not hold")?;
    if ReceiptId::of(&payload) != id {
        return Err(contradicts("its receipt"));
    }
    let receipt = verified.document().clone();
    let payload = payload.try_into().or_exit(Exit::Mismatch, || "the receipt is too long")?;
    Ok(Some((receipt, (payload, proof))))
}

fn contradicts(part: &str) -> Failure {
    Failure::said(
        Exit::Mismatch,
        format!("the answer contradicts the host's own signature in {part}"),
    )
    .advise("do not pay this host; keep the answer's headers (--include)")
}

// === impl Answered ===

impl Answered {
    /// The guest's own output. Where it ended itself without a word, the body is the node's sentence about that.
    pub(super) fn output(&self) -> &[u8] {
        let said_nothing = |receipt: &Receipt| {
            matches!(receipt.outcome, Outcome::Exit(_)) && receipt.output_len == 0
        };
        match self.outcome.has_output() && !self.proven.as_ref().is_some_and(said_nothing) {
            true => &self.body,
            false => &[],
        }
    }

    /// Holds the answer against what was asked and against the host's signature.
    pub(super) fn check(&self, asked: &str) -> Result<(), Failure> {
        if asked.parse::<FunctionId>().is_ok_and(|asked| asked != self.function) {
            return Err(Failure::said(
                Exit::Mismatch,
                format!("asked for {asked}, {} ran", self.function),
            ));
        }
        let Some(receipt) = &self.proven else { return Ok(()) };
        let output_len = self.output().len() as u64;
        let parts = [
            ("the function", receipt.function == self.function),
            ("the outcome", receipt.outcome == self.outcome),
            ("the fuel", receipt.fuel.0 == self.fuel),
            ("the bill", receipt.bill.0 == self.bill),
            ("the input's length", receipt.input_len == self.sent.len() as u64),
            ("the output's length", receipt.output_len == output_len),
        ];
        match parts.iter().find(|(_, agrees)| !agrees) {
            Some((part, _)) => Err(contradicts(part)),
            None => Ok(()),
        }
    }

    /// Outcome, fuel, bill and receipt on one line.
    pub(super) fn line(&self) -> String {
        let Self { outcome, receipt, .. } = self;
        format!(
            "{outcome}  fuel {}  bill {} tal  receipt {receipt}",
            grouped(self.fuel),
            grouped(self.bill)
        )
    }

    /// The answer as JSON; the body as text where it is text.
    pub(super) fn json(&self, with_body: bool) -> Value {
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .filter(|(name, _)| !name.as_str().starts_with("talea-"))
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())
            })
            .collect();
        let mut view = json!({
            "outcome": self.outcome.to_string(),
            "fuel": self.fuel.to_string(),
            "bill": self.bill.to_string(),
            "receipt": self.receipt.to_string(),
            "function": self.function.to_string(),
            "verified": self.proven.is_some(),
            "status": self.status.as_u16(),
            "headers": headers,
            "body_len": self.body.len().to_string(),
        });
        if let Some(paid) = &self.paid {
            view["paid"] = json!({
                "channel": paid.channel.to_string(),
                "sequence": paid.sequence.to_string(),
                "vouched": paid.vouched.to_string(),
                "short": paid.short,
            });
        }
        if let Some(receipt) = &self.proven {
            view["receipt_document"] = facts::json(self.receipt, receipt);
        }
        if with_body {
            match std::str::from_utf8(&self.body) {
                Ok(text) => view["body"] = text.into(),
                Err(_) => {
                    view["body_base64"] =
                        base64::prelude::BASE64_STANDARD.encode(&self.body).into();
                }
            }
        }
        view
    }
}
