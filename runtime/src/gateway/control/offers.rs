//! What hosts offer, as far as this node has heard.

use axum::extract::Extension;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Here, Served, gateway};
use crate::executor::RunLimits;
use crate::gateway::json::{LimitsView, PriceView, bytes};
use crate::gateway::respond::json_response;
use crate::market::Listed;

/// `GET /offers`: each as it was signed, so that nobody has to believe this node.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn list(here: Extension<Here>) -> Served {
    let gateway = gateway(here);
    let market = &gateway.doors.market;
    let tally = market.tally();
    let refused: Map<String, Value> = tally
        .refused
        .into_iter()
        .map(|(code, count)| (code.to_owned(), json!(count.to_string())))
        .collect();
    let body = json!({
        "offers": market.list().iter().map(view).collect::<Vec<_>>(),
        "taken": tally.taken.to_string(),
        "refused": refused,
    });
    Ok(json_response(StatusCode::OK, &body))
}

fn view(listed: &Listed) -> Value {
    let offer = &listed.offer;
    let limits = RunLimits {
        fuel: offer.limits.fuel,
        memory: offer.limits.memory,
        output: offer.limits.output,
        log: offer.limits.log,
    };
    json!({
        "id": listed.id.to_string(),
        "host": offer.host.to_string(),
        "price": PriceView::from(&offer.price),
        "limits": LimitsView::from(&limits),
        "profiles": offer.profiles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "endpoints": offer.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "issued": offer.issued.to_string(),
        "expires": offer.expires.to_string(),
        "sealed": bytes(&listed.sealed.encode()),
    })
}
