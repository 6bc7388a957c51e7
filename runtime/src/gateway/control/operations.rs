//! What an operator, a load balancer or a curious person asks a node.

use axum::extract::{Extension, Path};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{ControlError, Here, Served, gateway};
use crate::gateway::json::{LimitsView, PriceView, bytes};
use crate::gateway::metrics::{Gauge, peers_text};
use crate::gateway::respond::{Fault, json_response};
use crate::gateway::{Gateway, full, page as status_page};

/// The API's description, committed beside this file.
pub(in crate::gateway) const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /`: the page for people.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn page() -> Served {
    Ok(status_page::page())
}

/// `GET /health`: the process answers.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn health() -> Served {
    Ok(json_response(StatusCode::OK, &json!({ "status": "ok" })))
}

/// `GET /ready`: it takes calls, what it records is kept, and its ledger is as far as those of the nodes it joined.
pub(super) async fn ready(here: Extension<Here>) -> Served {
    let gateway = gateway(here);
    if gateway.is_stopping() {
        return Err(Fault::Stopping);
    }
    if !gateway.is_writing() {
        return Err(Fault::NotWriting);
    }
    if !gateway.is_in_step() {
        return Err(Fault::NotInStep);
    }
    Ok(json_response(StatusCode::OK, &json!({ "status": "ready" })))
}

/// `GET /openapi.json`.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn openapi() -> Served {
    let mut response = Response::new(full(Bytes::from_static(OPENAPI.as_bytes())));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// `GET /.well-known/talea/info`: who this host is, and its terms.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn info(here: Extension<Here>) -> Served {
    let gateway = gateway(here);
    let offer = gateway.doors.auth.offer();
    let limits = crate::executor::RunLimits {
        fuel: offer.fuel_max,
        memory: offer.memory_max,
        output: offer.output_len_max,
        log: offer.log_len_max,
    };
    let body = json!({
        "host": offer.host.to_string(),
        "network": offer.network.to_string(),
        "profile": offer.profile.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "time": gateway.doors.clock.now().to_string(),
        "started": gateway.started.to_string(),
        "ledger": ledger_view(&gateway),
        "peers": super::peers::summary(&gateway),
        "free_calls": gateway.free_calls,
        "price": PriceView::from(&offer.price),
        "limits": LimitsView::from(&limits),
        "watermark": offer.watermark.to_string(),
        "body_bytes_max": gateway.http.body_len_max.to_string(),
        "module_bytes_max": gateway.http.module_len_max.to_string(),
        "totals": gateway.metrics.totals(),
        "in_flight": gateway.metrics.in_flight(),
    });
    Ok(json_response(StatusCode::OK, &body))
}

/// Where the ledger stands, and what this host has on it.
fn ledger_view(gateway: &Gateway) -> serde_json::Value {
    let view = gateway.doors.blocks.view();
    let host = gateway.doors.auth.offer().host;
    json!({
        "name": view.params().name.to_string(),
        "height": view.height().to_string(),
        "final_height": view.finalised_height().to_string(),
        "pending": view.pending,
        "balance": view.head.account(&host).balance.to_string(),
        "final_balance": view.finalised.account(&host).balance.to_string(),
    })
}

/// `GET /profiles/{id}`: the document by which runs are executed and metered here.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn profile(Path(id): Path<String>) -> Served {
    let unknown = || ControlError::ProfileUnknown(id.chars().take(80).collect());
    let known = id.parse().ok().and_then(talea_ledger::profile::by_id).ok_or_else(unknown)?;
    let payload = known.encode();
    let body = json!({ "id": id, "payload": bytes(&payload) });
    Ok(json_response(StatusCode::OK, &body))
}

/// `GET /metrics`.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn metrics(here: Extension<Here>) -> Served {
    let gateway = gateway(here);
    let mut text = gateway.metrics.render(&gauges(&gateway));
    if let Some(peers) = &gateway.doors.peers {
        text.push_str(&peers_text(&peers.counters(), &peers.peers()));
    }
    let mut response = Response::new(full(Bytes::from(text)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn gauges(gateway: &Gateway) -> Vec<Gauge> {
    let executor = gateway.doors.executor.gauges();
    let commits = *gateway.doors.receipts.commits().borrow();
    let gauge = |name, help, value| Gauge { name, help, kind: "gauge", value };
    let counter =
        |name, help, value: u64| Gauge { name, help, kind: "counter", value: value as f64 };
    let mut gauges = vec![
        gauge("executor_instances", "Instances alive now.", f64::from(executor.instances)),
        gauge("executor_long_runs", "Runs past their first slice now.", executor.long_runs as f64),
        gauge("executor_functions_loaded", "Functions loaded now.", executor.loaded as f64),
        gauge("executor_loaded_bytes", "Bytes they hold.", executor.loaded_bytes as f64),
        counter("executor_compiled_total", "Modules compiled.", executor.compiled),
        counter(
            "executor_artefacts_refused_total",
            "Artefacts refused.",
            executor.refused_artefacts,
        ),
        counter("receipts_total", "Receipts ever written.", gateway.doors.receipts.end().0),
        counter("batches_total", "Batches signed and synced since the start.", commits.count),
        Gauge {
            name: "batch_write_seconds_total",
            help: "Time of writing and syncing them.",
            kind: "counter",
            value: commits.nanos as f64 / 1e9,
        },
        counter("executor_cache_hits_total", "Artefacts taken from the disk.", executor.cached),
        counter("executor_repeats_total", "Runs repeated in the exact variant.", executor.repeats),
    ];
    if let Some(supply) = &gateway.doors.supply {
        let (count, bytes) = supply.holds();
        let help = "Functions brought from other nodes.";
        gauges.push(counter("functions_brought_total", help, supply.brought()));
        let help = "Functions of other nodes that gave way to others.";
        gauges.push(counter("functions_evicted_total", help, supply.evicted()));
        gauges.push(gauge("functions_held", "Functions held now.", count as f64));
        gauges.push(gauge("functions_held_bytes", "Bytes of their modules.", bytes as f64));
    }
    if let Some(forwarder) = &gateway.forwarder {
        let (passed, failed) = forwarder.counts();
        let locked = forwarder.purse().locked();
        gauges.extend([
            counter("forwards_total", "Calls that another host ran for this one.", passed),
            counter("forwards_failed_total", "Calls passed on that came to nothing.", failed),
            gauge("forward_escrow", "Tal locked in channels to other hosts.", locked.0 as f64),
        ]);
    }
    gauges.extend(ledger_gauges(gateway));
    gauges
}

fn ledger_gauges(gateway: &Gateway) -> [Gauge; 5] {
    let ledger = gateway.doors.blocks.view();
    let gauge = |name, help, value| Gauge { name, help, kind: "gauge", value };
    [
        gauge("ledger_height", "Height of the best block.", ledger.height().0 as f64),
        gauge(
            "ledger_final_height",
            "Height of the last block that can never be undone.",
            ledger.finalised_height().0 as f64,
        ),
        gauge("ledger_pending", "Transactions that wait for a block.", ledger.pending as f64),
        gauge("ledger_records", "Records of the finalised state.", ledger.finalised.len() as f64),
        Gauge {
            name: "ledger_rejected_total",
            help: "Transactions refused or rejected since the start.",
            kind: "counter",
            value: gateway.doors.blocks.rejected() as f64,
        },
    ]
}
