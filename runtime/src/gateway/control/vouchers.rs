//! Vouchers: given by payers, looked up by those they concern, redeemed when the host's owner says so.

use axum::extract::{Extension, Request};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use talea_ledger::{BodyId, ChannelId};

use super::named::Named;
use super::{ControlError, Here, Served, asked, gateway, shows_lists};
use crate::auth::{Reader, RequestError};
use crate::call::{SESSION, credential};
use crate::gateway::respond::{Fault, json_response};
use crate::gateway::{Gateway, ReplyBody};
use crate::limits::CREDENTIAL_LEN_MAX;
use crate::till::Account;

/// `POST /vouchers`: a sealed voucher, beside it the grant of the session key that signed it.
pub(super) async fn give(here: Extension<Here>, request: Request) -> Served {
    let gateway = gateway(here);
    let (parts, body) = request.into_parts();
    let grant = credential(&parts.headers, &SESSION)?;
    let held = gateway.bodies.read(body, CREDENTIAL_LEN_MAX as u64).await?;
    let (till, at) = (gateway.doors.till.clone(), gateway.doors.clock.now());
    let taken = tokio::task::spawn_blocking(move || till.accept(&held.bytes, grant.as_deref(), at));
    let account = taken.await??;
    Ok(shown(&gateway, &account))
}

/// `GET /vouchers/{channel}`: what a channel owes, and what vouchers say.
#[allow(clippy::unused_async, reason = "a route is async")]
pub(super) async fn of_one(
    here: Extension<Here>,
    Named(channel): Named<ChannelId>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let account = account(&gateway, channel)?;
    let is_open = shows_lists(&gateway, request.headers());
    may_look(&gateway, &account, super::reader(&gateway, &request)?, is_open)?;
    Ok(shown(&gateway, &account))
}

/// `POST /vouchers/{channel}/redeem`: the best voucher is redeemed now. For the host's own key.
pub(super) async fn redeem(
    here: Extension<Here>,
    Named(channel): Named<ChannelId>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    let account = account(&gateway, channel)?;
    let host = gateway.doors.auth.offer().host;
    match asked(&gateway, &request, BodyId::of(&[]))? {
        Reader::Key(key) if key == host => {}
        Reader::Key(key) => {
            return Err(RequestError::NotPermitted { key, what: "redeem" }.into());
        }
        Reader::Anyone => {
            return Err(RequestError::Missing { header: "talea-request" }.into());
        }
    }
    let transaction = gateway.doors.desk.redeem(account.channel).await?;
    let view = json!({
        "channel": account.channel.to_string(),
        "transaction": transaction.to_string(),
        "vouched": account.vouched.to_string(),
        "redeemed": account.redeemed.to_string(),
    });
    Ok(json_response(StatusCode::ACCEPTED, &view))
}

fn account(gateway: &Gateway, channel: ChannelId) -> Result<Account, ControlError> {
    gateway.doors.till.account(&channel).ok_or(ControlError::ChannelUnknown(channel))
}

/// What a payer spends is between it and its host, unless the host opens its lists.
fn may_look(
    gateway: &Gateway,
    account: &Account,
    reader: Reader,
    is_open: bool,
) -> Result<(), Fault> {
    let host = gateway.doors.auth.offer().host;
    match reader {
        _ if is_open => Ok(()),
        Reader::Key(key) if key == host || key == account.payer => Ok(()),
        Reader::Key(_) => Err(ControlError::NotReader { whom: "this host or the payer" }.into()),
        Reader::Anyone => Err(RequestError::Missing { header: "talea-request" }.into()),
    }
}

fn shown(gateway: &Gateway, account: &Account) -> Response<ReplyBody> {
    let watermark = gateway.doors.auth.offer().watermark;
    json_response(StatusCode::OK, &view(account, watermark.0))
}

fn view(account: &Account, watermark: u64) -> Value {
    json!({
        "channel": account.channel.to_string(),
        "payer": account.payer.to_string(),
        "owed": account.owed.to_string(),
        "vouched": account.vouched.to_string(),
        "settled": account.settled.to_string(),
        "redeemed": account.redeemed.to_string(),
        "highest": account.highest.to_string(),
        "watermark": watermark.to_string(),
    })
}
