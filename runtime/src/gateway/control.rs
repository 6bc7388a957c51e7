//! The control plane: one table of routes, one function per route, on axum.
//!
//! Invariants: `ROUTES` is the whole of it, and the OpenAPI document says the same (a test compares them).
//! What only some may read needs a signed request; every write is a signed document.
//! Absent: sessions, tokens and cookies: every right is a signature.

mod forwards;
mod fraud;
mod functions;
mod ledger;
mod logs;
mod named;
mod offers;
mod operations;
mod peers;
mod pins;
mod query;
mod receipts;
mod vouchers;

use std::sync::Arc;

use axum::extract::{Extension, Request};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use http::{HeaderMap, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use talea_ledger::{BodyId, ChannelId, ReceiptId};
use tower::ServiceExt as _;

#[cfg(test)]
pub(super) use self::operations::OPENAPI;
use super::respond::Fault;
use super::{Gateway, ReplyBody};
use crate::auth::{Asked, Reader, RequestError};

/// What can go wrong here and nowhere else.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// Nothing at this path.
    #[error("there is nothing at this path")]
    RouteUnknown,
    /// Something is there, for other methods.
    #[error("this path takes {allowed}")]
    MethodUnknown {
        /// For the header `allow`.
        allowed: &'static str,
    },
    /// A query parameter is not known or not readable.
    #[error("the query parameter `{name}` {fault}")]
    Query {
        /// Which.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// No such receipt, or no longer kept.
    #[error("no such receipt is kept here")]
    ReceiptUnknown,
    /// The ledger has no such channel of this host.
    #[error("the ledger has no channel {0} of this host")]
    ChannelUnknown(ChannelId),
    /// The text is neither a function's id nor a name.
    #[error("`{0}` is neither a function id nor namespace/name")]
    FunctionUnreadable(String),
    /// Not a profile that is known here.
    #[error("no profile {0} is known here")]
    ProfileUnknown(String),
    /// The output of a repeated run cannot be had any more.
    #[error("the output of receipt {receipt} is no longer kept and cannot be made again")]
    OutputGone {
        /// The receipt, which is still there.
        receipt: ReceiptId,
    },
    /// The text names nothing of its kind.
    #[error("`{text}` names no {what}")]
    Unreadable {
        /// What was asked for.
        what: &'static str,
        /// What stands in the path.
        text: String,
    },
    /// The ledger has no such thing.
    #[error("the ledger has no such {0}")]
    LedgerUnknown(&'static str),
    /// No signed header leads to it.
    #[error(
        "no block shows it: before the first block the state follows from the network's parameters"
    )]
    NotProvable,
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerReadError),
    /// Not one of those who may.
    #[error("only {whom} may read this")]
    NotReader {
        /// Who may.
        whom: &'static str,
    },
    /// The registry's shelf would not take it.
    #[error(transparent)]
    Shelf(#[from] crate::store::ShelfError),
    /// The logs could not be read.
    #[error("the log could not be read")]
    Logs(#[source] std::io::Error),
}

/// One route of the control plane.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// For the header `allow`, and for the comparison with the OpenAPI document.
    pub(super) allowed: &'static str,
    serve: fn() -> MethodRouter,
}

/// All of them.
pub(super) const ROUTES: [Route; 29] = [
    Route { path: "/", allowed: "GET, HEAD", serve: || get(operations::page) },
    Route {
        path: "/functions",
        allowed: "GET, HEAD, POST",
        serve: || get(functions::list).merge(post(functions::deploy)),
    },
    Route { path: "/functions/{id}", allowed: "GET, HEAD", serve: || get(functions::one) },
    Route { path: "/functions/{id}/logs", allowed: "GET, HEAD", serve: || get(logs::of_one) },
    Route {
        path: "/functions/{id}/pin",
        allowed: "DELETE, POST",
        serve: || post(pins::pin).delete(pins::unpin),
    },
    Route {
        path: "/functions/{namespace}/{name}",
        allowed: "GET, HEAD",
        serve: || get(functions::named),
    },
    Route { path: "/receipts", allowed: "GET, HEAD", serve: || get(receipts::list) },
    Route { path: "/receipts/{cid}", allowed: "GET, HEAD", serve: || get(receipts::one) },
    Route { path: "/transactions", allowed: "POST", serve: || post(ledger::submit) },
    Route { path: "/transactions/{id}", allowed: "GET, HEAD", serve: || get(ledger::transaction) },
    Route { path: "/blocks", allowed: "GET, HEAD", serve: || get(ledger::blocks) },
    Route { path: "/blocks/{id}", allowed: "GET, HEAD", serve: || get(ledger::block) },
    Route { path: "/accounts/{key}", allowed: "GET, HEAD", serve: || get(ledger::account) },
    Route { path: "/channels/{id}", allowed: "GET, HEAD", serve: || get(ledger::channel) },
    Route { path: "/names/{namespace}/{name}", allowed: "GET, HEAD", serve: || get(ledger::name) },
    Route { path: "/network", allowed: "GET, HEAD", serve: || get(ledger::network) },
    Route { path: "/peers", allowed: "GET, HEAD", serve: || get(peers::list) },
    Route { path: "/offers", allowed: "GET, HEAD", serve: || get(offers::list) },
    Route { path: "/forwards", allowed: "GET, HEAD", serve: || get(forwards::list) },
    Route { path: "/vouchers", allowed: "POST", serve: || post(vouchers::give) },
    Route { path: "/vouchers/{channel}", allowed: "GET, HEAD", serve: || get(vouchers::of_one) },
    Route { path: "/vouchers/{channel}/redeem", allowed: "POST", serve: || post(vouchers::redeem) },
    Route {
        path: "/fraud",
        allowed: "GET, HEAD, POST",
        serve: || get(fraud::list).merge(post(fraud::accuse)),
    },
    Route {
        path: "/.well-known/talea/info",
        allowed: "GET, HEAD",
        serve: || get(operations::info),
    },
    Route { path: "/health", allowed: "GET, HEAD", serve: || get(operations::health) },
    Route { path: "/ready", allowed: "GET, HEAD", serve: || get(operations::ready) },
    Route { path: "/metrics", allowed: "GET, HEAD", serve: || get(operations::metrics) },
    Route { path: "/openapi.json", allowed: "GET, HEAD", serve: || get(operations::openapi) },
    Route { path: "/profiles/{id}", allowed: "GET, HEAD", serve: || get(operations::profile) },
];

/// What a route gives.
type Served = Result<Response<ReplyBody>, Fault>;

/// An error on its way through axum; `serve` takes it out again and hands it to `respond`.
impl IntoResponse for Fault {
    fn into_response(self) -> axum::response::Response {
        let mut response = axum::response::Response::default();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The gateway, for every route.
#[derive(Debug, Clone)]
struct Here {
    gateway: Arc<Gateway>,
}

/// The router over the table.
pub(super) fn router() -> axum::Router {
    let mut router = axum::Router::new();
    for Route { path, allowed, serve } in ROUTES {
        let refuse = move || async move { Fault::from(ControlError::MethodUnknown { allowed }) };
        router = router.route(path, serve().fallback(refuse));
    }
    router.fallback(|| async { Fault::from(ControlError::RouteUnknown) })
}

/// Answers a request of the control plane.
pub(super) async fn serve(
    gateway: &Arc<Gateway>,
    request: hyper::Request<Incoming>,
) -> Response<ReplyBody> {
    let target = request.uri().clone();
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(Here { gateway: gateway.clone() });
    let served = gateway.control.clone().oneshot(request).await;
    // axum's router cannot fail: its error type has no values.
    let mut response = served.unwrap_or_else(|never| match never {});
    match response.extensions_mut().remove::<Arc<Fault>>() {
        Some(fault) => gateway.refuse(&fault, &target),
        None => response.map(Either::Right),
    }
}

/// Who reads, by the request's signature.
fn reader(gateway: &Gateway, request: &Request) -> Result<Reader, RequestError> {
    // Reads have no body; a signature is over that of nothing.
    asked(gateway, request, BodyId::of(&[]))
}

/// Who asks, by the request's signature over this body too.
fn asked(gateway: &Gateway, request: &Request, body: BodyId) -> Result<Reader, RequestError> {
    let path_and_query = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let method = request.method().as_str();
    let at = gateway.doors.clock.now();
    let asked = Asked { method, path_and_query, body, at };
    gateway.doors.auth.reader(request.headers(), &asked)
}

/// Whether this host shows its lists to whoever asks. A page of another origin is never whoever asks: on a loopback node
/// everybody would be any site that its owner visits. Browsers say from where a request comes, and a page cannot hide it.
fn shows_lists(gateway: &Gateway, headers: &HeaderMap) -> bool {
    gateway.http.open_lists && !headers.contains_key(http::header::ORIGIN)
}

/// Whether a client would rather have this media type than JSON.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers.get_all(http::header::ACCEPT).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|kind| kind.split(';').next().unwrap_or("").trim() == media_type)
        })
    })
}

/// The gateway of a request.
fn gateway(Extension(here): Extension<Here>) -> Arc<Gateway> {
    here.gateway
}
