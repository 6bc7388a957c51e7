//! Receipts: one with its proof for whoever knows its CID, lists and bodies for those they concern.

use axum::extract::{Extension, Request};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use talea_ledger::{ChannelId, Document as _, FunctionId, PublicKey, Receipt, ReceiptId, Sequence};

use super::named::Named;
use super::query::Query;
use super::{ControlError, Here, Served, accepts, gateway, reader, shows_lists};
use crate::auth::{Reader, RequestError};
use crate::call::Target;
use crate::gateway::json::{ReceiptView, bytes};
use crate::gateway::respond::{Fault, json_response};
use crate::gateway::{Gateway, ReplyBody, full};
use crate::store::{Filter, Position, RunBytes};
use crate::supply::papers;

/// What whoever verifies offline asks for.
const BUNDLE: &str = "application/vnd.talea.bundle.v1+dag-cbor";

/// `GET /receipts/{cid}`: JSON with payload and proof, or the bundle.
pub(super) async fn one(
    here: Extension<Here>,
    Named(id): Named<ReceiptId>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let reader = reader(&gateway, &request)?;
    let receipts = gateway.doors.receipts.clone();
    let wants_bundle = accepts(request.headers(), BUNDLE);
    let Some(kept) = tokio::task::spawn_blocking(move || receipts.by_id(id)).await?? else {
        let supply = gateway.doors.supply.as_ref().filter(|_| wants_bundle);
        let supply = supply.ok_or(ControlError::ReceiptUnknown)?;
        let bundle = supply.papers(id).await.ok_or(ControlError::ReceiptUnknown)?;
        return Ok(as_bundle(id, bundle));
    };
    if wants_bundle {
        let may_see_bodies = concerns(&gateway, kept.receipt(), reader);
        let receipts = gateway.doors.receipts.clone();
        let made = move || papers::bundle(&receipts, &kept, may_see_bodies);
        let bundle = tokio::task::spawn_blocking(made).await?.map_err(Fault::kept)?;
        return Ok(as_bundle(id, bundle));
    }
    let mut view = view(id, kept.receipt())?;
    view["payload"] = json!(bytes(kept.payload()));
    view["proof"] = json!(bytes(&kept.proof().map_err(Fault::kept)?.encode()));
    match kept.run() {
        RunBytes::Free(run) => view["run_payload"] = json!(bytes(run)),
        RunBytes::Sealed(sealed) => view["run_sealed"] = json!(bytes(sealed)),
    }
    view["input_payload"] = json!(bytes(kept.input()));
    view["output_payload"] = json!(bytes(kept.output()));
    let mut response = json_response(StatusCode::OK, &view);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// `GET /receipts?function=&payer=&channel=&sequence=&order=&after=&limit=`.
pub(super) async fn list(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let known = ["function", "payer", "channel", "sequence", "order", "after", "limit"];
    let query = Query::read(request.uri().query(), &known)?;
    let limit = query.limit()?;
    let after = query.get::<u64>("after")?.map(Position);
    let filter = Filter {
        function: function(&gateway, &query)?,
        payer: query.get::<PublicKey>("payer")?,
        channel: query.get::<ChannelId>("channel")?,
        sequence: query.get::<Sequence>("sequence")?,
    };
    let is_open = shows_lists(&gateway, request.headers());
    may_list(&gateway, &filter, reader(&gateway, &request)?, is_open)?;
    let receipts = gateway.doors.receipts.clone();
    let is_newest = newest(&query, &filter, after)?;
    let page = tokio::task::spawn_blocking(move || {
        let page_len = u64::try_from(limit).unwrap_or(u64::MAX);
        let after = match is_newest {
            // The position before the first of the last `limit`; none if there are fewer.
            true => receipts.end().0.checked_sub(page_len.saturating_add(1)).map(Position),
            false => after,
        };
        receipts.list(&filter, after, limit)
    });
    let mut page = page.await??;
    if is_newest {
        page.receipts.reverse();
        page.next = None;
    }
    let mut views = Vec::with_capacity(page.receipts.len());
    for (position, id, receipt, _) in &page.receipts {
        let mut view = view(*id, receipt)?;
        view["position"] = json!(position.0.to_string());
        views.push(view);
    }
    let next = page.next.map(|position| position.0.to_string());
    Ok(json_response(StatusCode::OK, &json!({ "receipts": views, "next": next })))
}

fn function(gateway: &Gateway, query: &Query) -> Result<Option<FunctionId>, Fault> {
    let Some(text) = query.text("function") else { return Ok(None) };
    let unreadable = || ControlError::FunctionUnreadable(text.chars().take(80).collect());
    match Target::parse(text).ok_or_else(unreadable)? {
        // Its receipts may outlive a function.
        Target::Function(id) => Ok(Some(id)),
        name @ Target::Name(_) => {
            Ok(Some(gateway.doors.registry.find(&name)?.registration.function))
        }
    }
}

fn newest(query: &Query, filter: &Filter, after: Option<Position>) -> Result<bool, ControlError> {
    let fault = |fault| ControlError::Query { name: "order".to_owned(), fault };
    let is_filtered = filter.function.is_some()
        || filter.payer.is_some()
        || filter.channel.is_some()
        || filter.sequence.is_some();
    match query.text("order") {
        None | Some("oldest") => Ok(false),
        Some("newest") if is_filtered || after.is_some() => {
            Err(fault("is `newest` only without filters and `after`"))
        }
        Some("newest") => Ok(true),
        Some(_) => Err(fault("is `oldest` or `newest`")),
    }
}

/// Lists are for those they concern: the host, the payer asked about, the owner of the function asked
/// about. A host may open them to all but pages of other origins, as a loopback node does.
fn may_list(
    gateway: &Gateway,
    filter: &Filter,
    reader: Reader,
    is_open: bool,
) -> Result<(), Fault> {
    if is_open {
        return Ok(());
    }
    let Reader::Key(key) = reader else {
        return Err(RequestError::Missing { header: "talea-request" }.into());
    };
    let offer = gateway.doors.auth.offer();
    let is_theirs = |channel| {
        channel == ChannelId::local(&key, &offer.host, &offer.network)
            || pays(gateway, &channel, key)
    };
    let owns = |function| {
        let found = gateway.doors.registry.find(&Target::Function(function));
        found.is_ok_and(|function| function.registration.owner == key)
    };
    let may = key == offer.host
        || filter.payer == Some(key)
        || filter.channel.is_some_and(is_theirs)
        || filter.function.is_some_and(owns);
    match may {
        true => Ok(()),
        false => {
            let whom = "this host, the payer asked about, or the owner of the function asked about";
            Err(ControlError::NotReader { whom }.into())
        }
    }
}

/// Whether a receipt is the reader's: as its payer, as the function's owner, as the host.
fn concerns(gateway: &Gateway, receipt: &Receipt, reader: Reader) -> bool {
    let Reader::Key(key) = reader else { return false };
    let owns = || {
        let found = gateway.doors.registry.find(&Target::Function(receipt.function));
        found.is_ok_and(|function| function.registration.owner == key)
    };
    key == gateway.doors.auth.offer().host
        || receipt
            .payment
            .as_ref()
            .is_some_and(|payment| payment.payer == key || pays(gateway, &payment.channel, key))
        || owns()
}

/// Whether the channel is the key's, whatever session key signed a run on it.
fn pays(gateway: &Gateway, channel: &ChannelId, key: PublicKey) -> bool {
    gateway.doors.till.account(channel).is_some_and(|account| account.payer == key)
}

fn as_bundle(id: ReceiptId, bundle: Vec<u8>) -> Response<ReplyBody> {
    let mut response = Response::new(full(Bytes::from(bundle)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BUNDLE));
    headers.insert(header::VARY, HeaderValue::from_static("accept, talea-request"));
    let file = format!("attachment; filename=\"{id}.talea\"");
    if let Ok(file) = HeaderValue::try_from(file) {
        headers.insert(header::CONTENT_DISPOSITION, file);
    }
    response
}

fn view(id: ReceiptId, receipt: &Receipt) -> Result<Value, Fault> {
    serde_json::to_value(ReceiptView::new(id, receipt))
        .map_err(|fault| Fault::View(fault.to_string()))
}
