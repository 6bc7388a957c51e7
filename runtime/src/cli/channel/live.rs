//! A channel as its ledger has it, asked through a node.

use http::StatusCode;
use serde_json::Value;
use talea_ledger::{ChannelId, PublicKey, Slot, Tal};

use crate::cli::client::{Client, ClientError};
use crate::cli::exit::Failure;

/// The record of a channel.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Live {
    pub(in crate::cli) payer: PublicKey,
    pub(in crate::cli) host: PublicKey,
    pub(in crate::cli) escrow: Tal,
    pub(in crate::cli) redeemed: Tal,
    pub(in crate::cli) deadline: Slot,
    pub(in crate::cli) is_closing: bool,
    /// What a host counts on: paid and left in the finalised state.
    pub(in crate::cli) covered: Tal,
    /// The node's own words, for whoever wants all of them.
    pub(in crate::cli) view: Value,
}

// === impl Live ===

impl Live {
    /// Asks the node; `None` when its ledger has no such channel.
    pub(in crate::cli) async fn of(
        client: &Client,
        channel: ChannelId,
    ) -> Result<Option<Self>, Failure> {
        let path = format!("/channels/{channel}");
        let view = match client.get_json(&path).await {
            Ok(view) => view,
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let read = read(&view).ok_or_else(|| ClientError::Unintelligible {
            path,
            reason: "a field is missing or not of its form".to_owned(),
        })?;
        Ok(Some(Self { view, ..read }))
    }

    /// All that was ever put into it.
    pub(in crate::cli) fn sum(&self) -> Tal {
        self.redeemed.saturating_add(self.escrow)
    }
}

fn read(view: &Value) -> Option<Live> {
    let amounts = |view: &Value| Some((number(view, "escrow")?, number(view, "redeemed")?));
    let (escrow, redeemed) = amounts(view)?;
    let covered = view.get("final").and_then(amounts);
    let covered = covered.map_or(Tal::ZERO, |(escrow, paid)| Tal(escrow.saturating_add(paid)));
    Some(Live {
        payer: view.get("payer")?.as_str()?.parse().ok()?,
        host: view.get("host")?.as_str()?.parse().ok()?,
        escrow: Tal(escrow),
        redeemed: Tal(redeemed),
        deadline: Slot(number(view, "deadline")?),
        is_closing: view.get("closing").is_some_and(|closing| !closing.is_null()),
        covered,
        view: Value::Null,
    })
}

/// A 64-bit number, which views have as text.
pub(super) fn number(view: &Value, field: &str) -> Option<u64> {
    view.get(field)?.as_str()?.parse().ok()
}
