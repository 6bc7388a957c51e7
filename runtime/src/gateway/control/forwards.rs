//! What this node does as a payer of other hosts: its channels, what it owes and what it has promised.

use axum::extract::{Extension, Request};
use http::StatusCode;
use serde_json::{Value, json};

use super::{ControlError, Here, Served, gateway, reader, shows_lists};
use crate::auth::{Reader, RequestError};
use crate::gateway::json::bytes;
use crate::gateway::respond::json_response;
use crate::purse::Shown;

/// `GET /forwards`: for the host's own key, unless the host shows its lists.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn list(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let host = gateway.doors.auth.offer().host;
    let is_open = shows_lists(&gateway, request.headers());
    match reader(&gateway, &request)? {
        _ if is_open => {}
        Reader::Key(key) if key == host => {}
        Reader::Key(_) => return Err(ControlError::NotReader { whom: "this host" }.into()),
        Reader::Anyone => {
            return Err(RequestError::Missing { header: "talea-request" }.into());
        }
    }
    let body = match &gateway.forwarder {
        None => json!({ "when": "never", "channels": [] }),
        Some(forwarder) => {
            let purse = forwarder.purse();
            let (passed, failed) = forwarder.counts();
            json!({
                "when": forwarder.when().word(),
                "budget": purse.budget().to_string(),
                "locked": purse.locked().to_string(),
                "passed": passed.to_string(),
                "failed": failed.to_string(),
                "channels": purse.shown().iter().map(view).collect::<Vec<_>>(),
            })
        }
    };
    Ok(json_response(StatusCode::OK, &body))
}

fn view(channel: &Shown) -> Value {
    json!({
        "channel": channel.channel.to_string(),
        "host": channel.host.to_string(),
        "escrow": channel.escrow.to_string(),
        "redeemed": channel.redeemed.to_string(),
        "owed": channel.owed.to_string(),
        "settled": channel.settled.to_string(),
        "vouched": channel.vouched.to_string(),
        "under_way": channel.under_way.to_string(),
        "voucher": channel.voucher.as_ref().map(|sealed| bytes(&sealed.encode())),
    })
}
