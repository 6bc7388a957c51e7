//! The ledger's routes: transactions in, blocks and records out, each with its proof for who asks.
//!
//! Records are read from the finalised state when a proof is wanted, since only that can be shown to others, and
//! both states are told apart otherwise.

use axum::extract::{Extension, Path, Request};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use talea_ledger::merkle::LeafIndex;
use talea_ledger::message::FunctionName;
use talea_ledger::proof::Evidence;
use talea_ledger::rules::record::Key;
use talea_ledger::sign::{ENVELOPE_LEN_MAX, TRANSACTION_LEN_MAX};
use talea_ledger::{ChannelId, Document as _, Height, PublicKey, Transaction, TransactionId};

use super::named::{BlockName, Named, unreadable};
use super::query::Query;
use super::{ControlError, Here, Served, accepts, gateway};
use crate::gateway::json::{bytes, ledger as views};
use crate::gateway::respond::{Fault, json_response};
use crate::gateway::{Gateway, full};
use crate::ledger::{LedgerReadError, Reader, Status, StoredBlock, View};

/// A block's own bytes, for whoever verifies them.
const CBOR: &str = "application/cbor";

/// `POST /transactions`: a sealed transaction as body. Answered when it is on the disk.
pub(super) async fn submit(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let len_max = (TRANSACTION_LEN_MAX + ENVELOPE_LEN_MAX) as u64;
    let held = gateway.bodies.read(request.into_body(), len_max).await?;
    let id = gateway.doors.ledger.submit(held.bytes.to_vec()).await?;
    let view = status_of(&gateway, id).await?.unwrap_or(json!({
        "id": id.to_string(), "status": "pending",
    }));
    let mut response = json_response(StatusCode::ACCEPTED, &view);
    if let Ok(location) = HeaderValue::try_from(format!("/transactions/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /transactions/{id}?proof=`.
pub(super) async fn transaction(
    here: Extension<Here>,
    Named(id): Named<TransactionId>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let wants_proof = proof_wanted(&request)?;
    let Some(mut view) = status_of(&gateway, id).await? else {
        return Err(ControlError::LedgerUnknown("transaction").into());
    };
    if wants_proof {
        let shown = read(&gateway, move |reader| {
            let Some(Status::Included { block, .. }) = reader.transaction(&id)? else {
                return Ok(None);
            };
            let Some(stored) = reader.block(&block)? else { return Ok(None) };
            Ok(Evidence::of_transaction(&reader.verified(&stored)?, &id))
        });
        let evidence = shown.await?.ok_or(ControlError::NotProvable)?;
        view["evidence"] = json!(bytes(&evidence.encode()));
    }
    Ok(json_response(StatusCode::OK, &view))
}

/// `GET /blocks?after=&limit=&order=`.
pub(super) async fn blocks(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let query = Query::read(request.uri().query(), &["after", "limit", "order"])?;
    let limit = query.limit()?;
    let head = gateway.doors.blocks.view().height();
    let is_newest = match (query.text("order"), query.text("after")) {
        (None | Some("oldest"), _) => false,
        (Some("newest"), None) => true,
        (Some(_), _) => {
            let fault = "is `oldest` or, without `after`, `newest`";
            return Err(ControlError::Query { name: "order".into(), fault }.into());
        }
    };
    let after = match query.get::<Height>("after")? {
        Some(after) => after,
        None if is_newest => Height(head.0.saturating_sub(limit as u64)),
        None => Height::ZERO,
    };
    let mut found = read(&gateway, move |reader| reader.blocks(after, limit)).await?;
    let next = found.last().map(|block| block.header.height).filter(|last| *last < head);
    if is_newest {
        found.reverse();
    }
    let network = &gateway.doors.blocks.view().network;
    let views: Vec<Value> = found
        .iter()
        .map(|block| views::header(network, &block.id, &block.header, block.is_final))
        .collect();
    let next = next.filter(|_| !is_newest).map(|next| next.to_string());
    Ok(json_response(StatusCode::OK, &json!({ "blocks": views, "next": next })))
}

/// `GET /blocks/{id}`, by id or height: JSON, or the block itself.
pub(super) async fn block(
    here: Extension<Here>,
    Named(wanted): Named<BlockName>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let found = read(&gateway, move |reader| {
        let block = match wanted {
            BlockName::Id(id) => reader.block(&id)?,
            BlockName::Height(height) => reader.block_at(height)?,
        };
        let Some(block) = block else { return Ok(None) };
        let commit = match block.is_final {
            true => reader.commit_from(block.header.height)?,
            false => None,
        };
        Ok(Some((block, commit)))
    });
    let (block, commit) = found.await?.ok_or(ControlError::LedgerUnknown("block"))?;
    if accepts(request.headers(), CBOR) {
        let mut response = Response::new(full(Bytes::from(block.block.encode())));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CBOR));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        return Ok(response);
    }
    let network = &gateway.doors.blocks.view().network;
    let mut view = views::header(network, &block.id, &block.header, block.is_final);
    view["transactions"] = Value::Array(transactions(&block));
    view["header_sealed"] = json!(bytes(&block.block.head.encode()));
    view["commit"] = json!(commit.map(|commit| bytes(&commit)));
    let mut response = json_response(StatusCode::OK, &view);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// `GET /accounts/{key}?proof=`.
pub(super) async fn account(
    here: Extension<Here>,
    Named(key): Named<PublicKey>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let wants_proof = proof_wanted(&request)?;
    let view = gateway.doors.blocks.view();
    let mut body = views::account(&view.head.account(&key));
    body["key"] = json!(key.to_string());
    body["next"] = json!(gateway.doors.blocks.next_nonce(&key).to_string());
    body["final"] = views::account(&view.finalised.account(&key));
    if let Some(stake) = view.finalised.stake(&key) {
        body["stake"] = json!({
            "amount": stake.amount.to_string(),
            "leaving": stake.leaving.to_string(),
            "until": stake.until.to_string(),
        });
    }
    with_proof(&gateway, &view, body, wants_proof.then_some(Key::Account(key))).await
}

/// `GET /channels/{id}?proof=`.
pub(super) async fn channel(
    here: Extension<Here>,
    Named(id): Named<ChannelId>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let wants_proof = proof_wanted(&request)?;
    let view = gateway.doors.blocks.view();
    let finalised = view.finalised.channel(&id);
    let shown = view.head.channel(&id).or(finalised);
    let mut body = match shown {
        Some(channel) => views::channel(channel),
        // That there is none can be proven too.
        None if wants_proof => json!({}),
        None => return Err(ControlError::LedgerUnknown("channel").into()),
    };
    body["id"] = json!(id.to_string());
    body["final"] = json!(finalised.map(views::channel));
    with_proof(&gateway, &view, body, wants_proof.then_some(Key::Channel(id))).await
}

/// `GET /names/{namespace}/{name}?proof=`.
pub(super) async fn name(
    here: Extension<Here>,
    Path((namespace, name)): Path<(String, String)>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let wants_proof = proof_wanted(&request)?;
    let text = format!("{namespace}/{name}");
    let name: FunctionName = text.parse().map_err(|_| unreadable("name", &text))?;
    let view = gateway.doors.blocks.view();
    let finalised = view.finalised.name(&name);
    let mut body = match view.head.name(&name).or(finalised) {
        Some(record) => views::name(record),
        None if wants_proof => json!({}),
        None => return Err(ControlError::LedgerUnknown("name").into()),
    };
    body["name"] = json!(text);
    body["final"] = json!(finalised.map(views::name));
    with_proof(&gateway, &view, body, wants_proof.then_some(Key::Name(name))).await
}

/// `GET /network`: the parameters, whose hash is the network's id.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn network(here: Extension<Here>) -> Served {
    let gateway = gateway(here);
    let view = gateway.doors.blocks.view();
    let mut body = views::network(&view.network);
    let totals = view.finalised.totals();
    body["params"] = json!(bytes(&view.params().encode()));
    body["taken"] = views::burnt(totals.fees, totals.burned);
    body["height"] = json!(view.height().to_string());
    body["final_height"] = json!(view.finalised_height().to_string());
    body["pending"] = json!(view.pending);
    Ok(json_response(StatusCode::OK, &body))
}

/// The answer about records of a view, with the proof of one of them.
async fn with_proof(
    gateway: &std::sync::Arc<Gateway>,
    view: &View,
    mut body: Value,
    key: Option<Key>,
) -> Served {
    body["height"] = json!(view.height().to_string());
    body["final_height"] = json!(view.finalised_height().to_string());
    if let Some(key) = key {
        let finalised = view.finalised.clone();
        let shown = read(gateway, move |reader| {
            let head = reader.header(&finalised.tip().id)?;
            Ok(head.and_then(|head| Evidence::of_state(&head, &finalised, key)))
        });
        let evidence = shown.await?.ok_or(ControlError::NotProvable)?;
        body["evidence"] = json!(bytes(&evidence.encode()));
    }
    Ok(json_response(StatusCode::OK, &body))
}

/// Status and, once it is in a block, the transaction itself.
async fn status_of(
    gateway: &std::sync::Arc<Gateway>,
    id: TransactionId,
) -> Result<Option<Value>, Fault> {
    read(gateway, move |reader| {
        let Some(status) = reader.transaction(&id)? else { return Ok(None) };
        let mut view = views::status(&id, &status);
        if let Status::Included { block, index, .. } = status
            && let Some(stored) = reader.block(&block)?
            && let Some(found) = transactions(&stored).into_iter().nth(index as usize)
        {
            view["transaction"] = found;
        }
        Ok(Some(view))
    })
    .await
}

/// The transactions of a block.
fn transactions(block: &StoredBlock) -> Vec<Value> {
    let sealed = |envelope: &Vec<u8>| talea_ledger::Sealed::decode(envelope).ok();
    let view = |(index, sealed): (u32, talea_ledger::Sealed)| {
        let transaction = Transaction::decode(sealed.payload()).ok()?;
        let mut view = views::transaction(&TransactionId::of(sealed.payload()), &transaction);
        view["index"] = json!(LeafIndex::new(index).get());
        Some(view)
    };
    (0..).zip(block.block.body.iter().filter_map(sealed)).filter_map(view).collect()
}

/// Reads the disk where that may take its time.
async fn read<T: Send + 'static>(
    gateway: &std::sync::Arc<Gateway>,
    look: impl FnOnce(&Reader) -> Result<T, LedgerReadError> + Send + 'static,
) -> Result<T, Fault> {
    let reader = gateway.doors.blocks.clone();
    let found = tokio::task::spawn_blocking(move || look(&reader)).await?;
    Ok(found.map_err(ControlError::from)?)
}

fn proof_wanted(request: &Request) -> Result<bool, ControlError> {
    let query = Query::read(request.uri().query(), &["proof"])?;
    match query.text("proof") {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(ControlError::Query { name: "proof".into(), fault: "is 0 or 1" }),
    }
}
