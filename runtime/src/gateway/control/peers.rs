//! The nodes this one is connected with.

use std::collections::HashMap;

use axum::extract::Extension;
use http::StatusCode;
use serde_json::{Value, json};
use talea_gossip::{Direction, PeerView, Traffic};
use talea_ledger::PublicKey;

use super::{Here, Served, gateway};
use crate::gateway::Gateway;
use crate::gateway::respond::json_response;
use crate::ledger::Told;

/// `GET /peers`.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn list(here: Extension<Here>) -> Served {
    let gateway = gateway(here);
    let Some(network) = &gateway.doors.peers else {
        let alone = json!({ "addresses": [], "in_step": true, "peers": [], "refused": [] });
        return Ok(json_response(StatusCode::OK, &alone));
    };
    let told: HashMap<PublicKey, Told> = gateway.doors.blocks.told().into_iter().collect();
    let all = network.peers();
    let joined = all.iter().filter(|peer| peer.joined);
    let refused = all.iter().filter(|peer| peer.refused.is_some());
    let addresses: Vec<String> = network.addresses().iter().map(ToString::to_string).collect();
    let body = json!({
        "addresses": addresses,
        "in_step": gateway.is_in_step(),
        "peers": joined.map(|peer| peer_view(peer, told.get(&peer.key))).collect::<Vec<_>>(),
        "refused": refused.map(refused_view).collect::<Vec<_>>(),
    });
    Ok(json_response(StatusCode::OK, &body))
}

/// How many are connected, and how far this node is with them: for the node's description.
pub(super) fn summary(gateway: &Gateway) -> Value {
    let Some(network) = &gateway.doors.peers else { return Value::Null };
    let count = network.peers().iter().filter(|peer| peer.joined).count();
    json!({ "count": count, "in_step": gateway.is_in_step() })
}

fn peer_view(peer: &PeerView, told: Option<&Told>) -> Value {
    json!({
        "host": peer.key.to_string(),
        "addresses": addresses(peer),
        "connected_seconds": peer.since.as_secs(),
        "direction": match peer.direction {
            Direction::Dialled => "dialled",
            Direction::Accepted => "accepted",
        },
        "agent": peer.agent,
        "endpoint": peer.endpoint,
        "rtt_micros": peer.rtt.map(|rtt| rtt.as_micros().to_string()),
        "score": peer.score,
        "relayed": peer.relayed,
        "received": traffic(peer.received),
        "sent": traffic(peer.sent),
        "dropped": peer.dropped.to_string(),
        "ignored": peer.ignored.to_string(),
        "ledger": told.map(|told| json!({
            "height": told.height.to_string(),
            "slot": told.slot.to_string(),
            "final_height": told.finalised.to_string(),
        })),
    })
}

fn refused_view(peer: &PeerView) -> Value {
    json!({
        "host": peer.key.to_string(),
        "addresses": addresses(peer),
        "agent": peer.agent,
        "reason": peer.refused,
        "seconds_ago": peer.since.as_secs(),
    })
}

fn addresses(peer: &PeerView) -> Vec<String> {
    peer.addresses.iter().map(ToString::to_string).collect()
}

fn traffic(of: Traffic) -> Value {
    json!({ "messages": of.messages.to_string(), "bytes": of.bytes.to_string() })
}
