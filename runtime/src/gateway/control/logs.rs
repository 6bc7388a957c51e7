//! What guests wrote to their log, for the function's owner alone.
//!
//! A page of entries after a cursor; `wait` holds the answer back until there is one, so that following a
//! log costs one request per news and not one per second.

use std::time::Duration;

use axum::extract::{Extension, Path, Request};
use http::StatusCode;
use serde_json::{Value, json};

use super::query::Query;
use super::{ControlError, Here, Served, gateway, reader};
use crate::auth::{Reader, RequestError};
use crate::call::Target;
use crate::gateway::respond::{Fault, json_response};
use crate::gateway::{Gateway, json};
use crate::store::{LogCursor, LogEntry, LogPage};

/// Longest that an answer is held back: below the 30 s and 60 s at which proxies and clients give up.
const WAIT_SECONDS_MAX: u64 = 25;

/// `GET /functions/{id}/logs?after=&limit=&wait=`.
pub(super) async fn of_one(
    here: Extension<Here>,
    Path(id): Path<String>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let query = Query::read(request.uri().query(), &["after", "limit", "wait"])?;
    let after = query.get::<u64>("after")?.map(LogCursor);
    let limit = query.limit()?;
    let wait = Duration::from_secs(query.get::<u64>("wait")?.unwrap_or(0).min(WAIT_SECONDS_MAX));
    let target = Target::parse(&id).ok_or_else(|| ControlError::FunctionUnreadable(id.clone()))?;
    let function = gateway.doors.registry.find(&target)?;
    let owner = function.registration.owner;
    match reader(&gateway, &request)? {
        Reader::Key(key) if key == owner || key == gateway.doors.auth.offer().host => {}
        Reader::Key(_) => {
            return Err(
                ControlError::NotReader { whom: "the function's owner and this host" }.into()
            );
        }
        Reader::Anyone => return Err(RequestError::Missing { header: "talea-request" }.into()),
    }
    let page = follow(&gateway, function.registration.function, after, limit, wait).await?;
    let next = page.entries.last().map(|entry| entry.cursor).or(after);
    let lines: Vec<Value> = page.entries.iter().map(line).collect();
    let next = next.map(|cursor| cursor.0.to_string());
    let body = json!({ "lines": lines, "next": next, "has_more": page.has_more });
    Ok(json_response(StatusCode::OK, &body))
}

async fn follow(
    gateway: &Gateway,
    function: talea_ledger::FunctionId,
    after: Option<LogCursor>,
    limit: usize,
    wait: Duration,
) -> Result<LogPage, Fault> {
    let mut logged = gateway.doors.logged.clone();
    let until = tokio::time::sleep(wait);
    tokio::pin!(until);
    loop {
        // Marked as seen before the read: what is appended during it wakes the next turn.
        logged.borrow_and_update();
        let logs = gateway.doors.logs.clone();
        let page = tokio::task::spawn_blocking(move || logs.read(function, after, limit)).await?;
        let page = page.map_err(ControlError::Logs)?;
        if !page.entries.is_empty() || wait.is_zero() {
            return Ok(page);
        }
        tokio::select! {
            () = &mut until => return Ok(page),
            changed = logged.changed() => if changed.is_err() { return Ok(page) },
        }
    }
}

fn line(entry: &LogEntry) -> Value {
    json!({
        "seq": entry.cursor.0.to_string(),
        "at": entry.at.to_string(),
        "receipt": entry.receipt.to_string(),
        "text": String::from_utf8_lossy(&entry.text),
        "bytes": (std::str::from_utf8(&entry.text).is_err()).then(|| json::bytes(&entry.text)),
    })
}
