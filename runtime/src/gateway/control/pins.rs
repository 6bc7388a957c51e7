//! Functions that stay on this node whatever is used more. For the host's own key.

use axum::extract::{Extension, Request};
use http::StatusCode;
use serde_json::json;
use talea_ledger::{BodyId, FunctionId};

use super::named::Named;
use super::{ControlError, Here, Served, asked, gateway};
use crate::auth::{Reader, RequestError};
use crate::call::Target;
use crate::gateway::Gateway;
use crate::gateway::respond::{Fault, json_response};
use crate::registry::ResolveError;

/// `POST /functions/{id}/pin`: brought here if it is not, and kept.
pub(super) async fn pin(
    here: Extension<Here>,
    Named(function): Named<FunctionId>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    is_hosts_own(&gateway, &request)?;
    if gateway.doors.supply.is_some() {
        let target = Target::Function(function);
        gateway.bring(gateway.doors.registry.absent(&target)?).await?;
    }
    change(&gateway, function, true).await
}

/// `DELETE /functions/{id}/pin`: it may give way again, if it was brought.
pub(super) async fn unpin(
    here: Extension<Here>,
    Named(function): Named<FunctionId>,
    request: Request,
) -> Served {
    let gateway = gateway(here);
    is_hosts_own(&gateway, &request)?;
    change(&gateway, function, false).await
}

fn is_hosts_own(gateway: &Gateway, request: &Request) -> Result<(), RequestError> {
    match asked(gateway, request, BodyId::of(&[]))? {
        Reader::Key(key) if key == gateway.doors.auth.offer().host => Ok(()),
        Reader::Key(key) => Err(RequestError::NotPermitted { key, what: "pin functions" }),
        Reader::Anyone => Err(RequestError::Missing { header: "talea-request" }),
    }
}

async fn change(gateway: &Gateway, function: FunctionId, is_pinned: bool) -> Served {
    let is_here = match &gateway.doors.supply {
        Some(supply) => supply.pin(function, is_pinned).await?,
        // Nothing gives way on a node that brings nothing; the owner's word is kept for when it does.
        None => {
            let shelf = gateway.doors.functions.clone();
            let pinned = tokio::task::spawn_blocking(move || shelf.pin(function, is_pinned));
            pinned.await?.map_err(ControlError::from)?
        }
    };
    if !is_here {
        return Err(Fault::from(ResolveError::FunctionUnknown(function)));
    }
    let view = json!({ "id": function.to_string(), "pinned": is_pinned });
    Ok(json_response(StatusCode::OK, &view))
}
