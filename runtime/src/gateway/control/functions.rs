//! Deploying and describing functions.

use axum::extract::{Extension, Path, Request};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use talea_ledger::FunctionId;
use talea_ledger::registration::Kind;

use super::query::Query;
use super::{ControlError, Here, Served, accepts, gateway};
use crate::auth::{RegistrationFault, RequestError};
use crate::call::Target;
use crate::config::Forwarding;
use crate::executor;
use crate::gateway::forward::Forwarder;
use crate::gateway::json::FunctionView;
use crate::gateway::respond::{Fault, json_response};
use crate::gateway::{Gateway, ReplyBody, full};
use crate::registry::{Function, Lacking};
use crate::store::{Keeping, Placed, ShelfError, ShelvedFunction};

const WASM: &str = "application/wasm";

/// `POST /functions`: the module as body, its owner's sealed registration in a header.
pub(super) async fn deploy(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let (parts, body) = request.into_parts();
    let doors = &gateway.doors;
    // Decided on the head alone: who may not deploy sends no megabytes.
    let (registration, sealed) = doors.auth.registration(&parts.headers, doors.clock.now())?;
    let held = gateway.bodies.read_module(body, gateway.http.module_len_max).await?;
    let id = FunctionId::of(&held.bytes);
    if registration.document().function != id {
        return Err(RequestError::Differs { part: "function" }.into());
    }
    let profile = doors.auth.offer().profile;
    let inspection = doors.executor.prepare(id, profile, held.bytes.to_vec()).await?;
    let found = match inspection.kind {
        talea_meter::Kind::Command => Kind::Command,
        talea_meter::Kind::Handler => Kind::Handler,
    };
    let given = registration.document().kind;
    if given != found {
        let fault = RegistrationFault::Kind { given, found };
        return Err(RequestError::Registration(fault).into());
    }
    let shelf = doors.functions.clone();
    let wasm = held.bytes.clone();
    let placed =
        tokio::task::spawn_blocking(move || shelf.put(&registration, &sealed, &wasm)).await?;
    let placed = placed.map_err(ControlError::from)?;
    doors.registry.forget(id);
    if let Some(supply) = &doors.supply {
        supply.deployed(id, held.bytes.len() as u64).await;
    }
    let function = doors.registry.find(&Target::Function(id))?;
    let mut view = view(&gateway, &function)?;
    view["static_fuel"] = json!(inspection.static_fuel.to_string());
    view["created"] = json!(placed == Placed::New);
    let status = if placed == Placed::New { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json_response(status, &view);
    if let Ok(location) = HeaderValue::try_from(format!("/functions/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /functions`: all of them, in the order of first registration.
pub(super) async fn list(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let query = Query::read(request.uri().query(), &["after", "limit"])?;
    let (after, limit) = (query.get::<u64>("after")?, query.limit()?);
    let shelf = gateway.doors.functions.clone();
    let page = tokio::task::spawn_blocking(move || {
        let page = shelf.list(after, limit)?;
        let kept = |shelved: &ShelvedFunction| shelf.keeping(shelved.registration.function);
        let kept: Vec<Keeping> = page.functions.iter().map(kept).collect::<Result<_, _>>()?;
        Ok::<_, ShelfError>((page, kept))
    });
    let (page, kept) = page.await?.map_err(ControlError::from)?;
    let mut views = Vec::with_capacity(page.functions.len());
    for (shelved, kept) in page.functions.into_iter().zip(kept) {
        let function = Function { registration: shelved.registration, len: shelved.wasm_len };
        let mut view = view(&gateway, &function)?;
        view["brought"] = json!(shelved.is_brought);
        view["pinned"] = json!(kept.is_pinned);
        views.push(view);
    }
    let next = page.next.map(|next| next.to_string());
    Ok(json_response(StatusCode::OK, &json!({ "functions": views, "next": next })))
}

/// `GET /functions/{id}`.
pub(super) async fn one(here: Extension<Here>, Path(id): Path<String>, request: Request) -> Served {
    describe(here, &id, accepts(request.headers(), WASM)).await
}

/// `GET /functions/{namespace}/{name}`.
pub(super) async fn named(
    here: Extension<Here>,
    Path((namespace, name)): Path<(String, String)>,
    request: Request,
) -> Served {
    let text = format!("{namespace}/{name}");
    describe(here, &text, accepts(request.headers(), WASM)).await
}

/// The exact bytes for whoever wants wasm, otherwise what is known of the function.
async fn describe(here: Extension<Here>, text: &str, wants_wasm: bool) -> Served {
    let gateway = gateway(here);
    let unreadable = || ControlError::FunctionUnreadable(text.chars().take(80).collect());
    let target = Target::parse(text).ok_or_else(unreadable)?;
    if gateway.doors.supply.is_some()
        && let Some(lacking) = gateway.doors.registry.absent(&target)?
    {
        let forwarder = gateway.forwarder.as_ref().filter(|_| !wants_wasm);
        let brought = match forwarder.map(Forwarder::when) {
            // It is run elsewhere: its registration is all that is needed here.
            Some(Forwarding::Always) => None,
            Some(_) => gateway.bring(Some(lacking)).await.ok(),
            None => Some(gateway.bring(Some(lacking)).await?),
        };
        if brought.is_none() {
            return elsewhere(&gateway, &target, lacking).await;
        }
    }
    let function = gateway.doors.registry.find(&target)?;
    let id = function.registration.function;
    let wasm = module(&gateway, id).await?;
    if wants_wasm {
        return Ok(as_wasm(id, wasm));
    }
    let profile = gateway.doors.auth.offer().profile;
    // Bounded by the profile, but not short: megabytes of code are walked.
    let inspected = tokio::task::spawn_blocking(move || executor::inspect(&wasm, profile)).await?;
    let mut view = view(&gateway, &function)?;
    view["static_fuel"] = json!(inspected?.static_fuel.to_string());
    add_royalty(&gateway, &target, &mut view);
    Ok(json_response(StatusCode::OK, &view))
}

/// A function that is not here and is run by other hosts: what its owner says about it, all but its length.
async fn elsewhere(gateway: &Gateway, target: &Target, lacking: Lacking) -> Served {
    let Some(supply) = &gateway.doors.supply else {
        return Err(crate::registry::ResolveError::FunctionUnknown(lacking.function).into());
    };
    let registration = supply.registration(lacking.function, lacking.owner).await?;
    let mut view = view(gateway, &Function { registration, len: 0 })?;
    if let Value::Object(members) = &mut view {
        members.remove("size");
    }
    view["held"] = json!(false);
    add_royalty(gateway, target, &mut view);
    Ok(json_response(StatusCode::OK, &view))
}

fn add_royalty(gateway: &Gateway, target: &Target, view: &mut Value) {
    if let Target::Name(name) = target
        && let Some(record) = gateway.doors.blocks.view().head.name(name)
    {
        view["royalty_ppm"] = json!(record.royalty.get());
    }
}

async fn module(gateway: &Gateway, id: FunctionId) -> Result<Bytes, Fault> {
    let shelf = gateway.doors.functions.clone();
    let wasm = tokio::task::spawn_blocking(move || shelf.wasm(id)).await;
    let wasm = wasm?.map_err(ControlError::from)?;
    Ok(Bytes::from(wasm.ok_or(crate::registry::ResolveError::FunctionUnknown(id))?))
}

/// A module's bytes never change under their id.
fn as_wasm(id: FunctionId, wasm: Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(full(wasm));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(WASM));
    let immutable = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, immutable);
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if let Ok(tag) = HeaderValue::try_from(format!("\"{id}\"")) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn view(gateway: &Gateway, function: &Function) -> Result<Value, Fault> {
    let limits = gateway.doors.registry.limits(function);
    serde_json::to_value(FunctionView::new(function, &limits))
        .map_err(|fault| Fault::View(fault.to_string()))
}
