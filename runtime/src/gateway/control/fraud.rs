//! Evidence that a host cheated: taken from whoever has it, shown to whoever asks.
//!
//! Nobody has to sign: two receipts that cannot both be honest prove what they prove whoever brings them. What this
//! host does with them stands in the answer.

use axum::extract::{Extension, Request};
use http::StatusCode;
use serde_json::{Value, json};
use talea_ledger::transaction::ReportFraud;
use talea_ledger::{ChannelId, PublicKey};

use super::query::Query;
use super::{Here, Served, gateway};
use crate::gateway::Gateway;
use crate::gateway::json::bytes;
use crate::gateway::respond::json_response;
use crate::till::{Evidence, Prospect};

/// `POST /fraud`: two receipts with their proofs, as the action that reports them has them. On the disk when it is
/// answered.
pub(super) async fn accuse(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let held = gateway.bodies.read(request.into_body(), ReportFraud::LEN_MAX as u64).await?;
    let till = gateway.doors.till.clone();
    let taken = tokio::task::spawn_blocking(move || till.accuse(&held.bytes));
    let (evidence, is_new) = taken.await??;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json_response(status, &view(&gateway, &evidence)))
}

/// `GET /fraud?host=&channel=&limit=`: what is kept here, each with both receipts.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn list(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let query = Query::read(request.uri().query(), &["host", "channel", "limit"])?;
    let limit = query.limit()?;
    let (host, channel) = (query.get::<PublicKey>("host")?, query.get::<ChannelId>("channel")?);
    let is_asked = |evidence: &Evidence| {
        host.is_none_or(|host| evidence.fraud.host == host)
            && channel.is_none_or(|channel| evidence.fraud.channel == channel)
    };
    let found = gateway.doors.till.evidence(limit, is_asked);
    let views: Vec<Value> = found
        .iter()
        .map(|evidence| {
            let mut view = view(&gateway, evidence);
            view["evidence"] = json!(bytes(&evidence.report.encode()));
            view
        })
        .collect();
    Ok(json_response(StatusCode::OK, &json!({ "fraud": views })))
}

fn view(gateway: &Gateway, evidence: &Evidence) -> Value {
    let fraud = &evidence.fraud;
    let (report, why, record) = match gateway.doors.till.prospect(evidence) {
        Prospect::Recorded(record) => ("recorded", None, Some(record)),
        Prospect::Soon => ("soon", None, None),
        Prospect::Never(why) => ("no", Some(why), None),
    };
    json!({
        "kind": fraud.kind.text(),
        "host": fraud.host.to_string(),
        "channel": fraud.channel.to_string(),
        "receipts": fraud.receipts.map(|receipt| receipt.to_string()),
        "report": report,
        "why": why,
        "record": record.map(|record| json!({
            "transaction": record.transaction.to_string(),
            "by": record.reporter.to_string(),
            "slot": record.slot.to_string(),
            "slashed": record.slashed.to_string(),
        })),
    })
}
