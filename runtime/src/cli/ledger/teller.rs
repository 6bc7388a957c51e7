//! What a client asks of a ledger through a node, and what it sends there.
//!
//! Invariants: the network's parameters are held against its id before anything is signed for it; a transaction is
//! signed over the number that the node gives, and counts once whatever the node says. Absent: belief in balances.
//! Who needs certainty asks for a proof (`talea ledger prove`).

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, header};
use serde_json::Value;
use talea_ledger::{
    Action, BlockId, Document as _, Domain, Height, Network, NetworkParams, Nonce, PublicKey,
    SecretKey, Tal, Transaction, TransactionId,
};

use crate::cli::client::{Client, ClientError, request};
use crate::cli::exit::{Exit, Failure, OrExit as _};

/// How often a node is asked what became of a transaction: eight times in a slot of a quarter of a second.
const ASK_EVERY: Duration = Duration::from_millis(30);

/// What an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Standing {
    /// At the head.
    pub(in crate::cli) balance: Tal,
    /// What can never be undone.
    pub(in crate::cli) final_balance: Tal,
    /// The number of its next transaction, behind those that are pending.
    pub(in crate::cli) next: Nonce,
}

/// Where a transaction ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Settled {
    /// The transaction.
    pub(in crate::cli) id: TransactionId,
    /// Its block.
    pub(in crate::cli) block: BlockId,
    /// The block's height.
    pub(in crate::cli) height: Height,
}

// === impl Standing ===

impl Standing {
    /// Asks the node.
    pub(in crate::cli) async fn of(client: &Client, key: &PublicKey) -> Result<Self, ClientError> {
        let path = format!("/accounts/{key}");
        let view = client.get_json(&path).await?;
        let unintelligible = |reason: &str| ClientError::Unintelligible {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        let number = |view: &Value, field: &str| {
            let text = view.get(field).and_then(Value::as_str);
            text.and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| unintelligible(field))
        };
        let finalised = view.get("final").ok_or_else(|| unintelligible("final"))?;
        Ok(Self {
            balance: Tal(number(&view, "balance")?),
            final_balance: Tal(number(finalised, "balance")?),
            next: Nonce(number(&view, "next")?),
        })
    }
}

/// The network that a node belongs to. Its id is computed here, not believed.
pub(in crate::cli) async fn chain_of(client: &Client) -> Result<Network, Failure> {
    let view = client.get_json("/network").await?;
    let params = view.get("params").and_then(Value::as_str).unwrap_or_default();
    let params = unbase64(params)?;
    let params = NetworkParams::decode(&params)
        .or_exit(Exit::Failed, || "the node's network parameters cannot be read")?;
    let network =
        Network::new(params).or_exit(Exit::Failed, || "the node's network cannot be one")?;
    if view.get("id").and_then(Value::as_str) != Some(network.id().to_string().as_str()) {
        return Err(Failure::said(Exit::Mismatch, "the node names its network otherwise"));
    }
    Ok(network)
}

/// Bytes from base64url without padding.
pub(in crate::cli) fn unbase64(text: &str) -> Result<Vec<u8>, Failure> {
    BASE64_URL_SAFE_NO_PAD.decode(text).or_exit(Exit::Data, || "not base64url")
}

/// Signs an action with the account's next number, hands it in, and waits until it is final.
pub(in crate::cli) async fn send(
    client: &Client,
    network: &Network,
    key: &SecretKey,
    action: Action,
    time_max: Duration,
) -> Result<Settled, Failure> {
    let id = hand_in(client, network, key, action).await?;
    settled(client, id, time_max).await
}

/// Signs an action with the account's next number and hands it in. The node has it on its disk when this returns.
pub(in crate::cli) async fn hand_in(
    client: &Client,
    network: &Network,
    key: &SecretKey,
    action: Action,
) -> Result<TransactionId, Failure> {
    let sender = key.public();
    let nonce = Standing::of(client, &sender).await?.next;
    let transaction = Transaction { action, network: network.id(), sender, nonce, builds_on: None };
    if !transaction.is_short_enough() {
        return Err(Failure::said(Exit::Data, "the transaction is longer than one may be"));
    }
    let id = transaction.id();
    let request = request(client, Method::POST, "/transactions")
        .header(header::CONTENT_TYPE, Domain::Transaction.media_type())
        .body(Bytes::from(transaction.seal(key).encode()))
        .or_exit(Exit::Failed, || "the request cannot be written")?;
    client.expect(request).await?;
    Ok(id)
}

/// Waits until a transaction is in a finalised block.
pub(in crate::cli) async fn settled(
    client: &Client,
    id: TransactionId,
    time_max: Duration,
) -> Result<Settled, Failure> {
    let path = format!("/transactions/{id}");
    let wait = async {
        loop {
            let view = client.get_json(&path).await?;
            let text = |field: &str| view.get(field).and_then(Value::as_str).unwrap_or_default();
            match text("status") {
                "rejected" => {
                    let sentence = format!("the ledger rejected {id}: {}", text("reason"));
                    return Err(Failure::said(Exit::Denied, sentence).coded(text("reason")));
                }
                "included" if view.get("final") == Some(&Value::Bool(true)) => {
                    let height = text("height").parse().map(Height);
                    let height = height.or_exit(Exit::Failed, || "the node gives no height")?;
                    let block = text("block").parse();
                    let block = block.or_exit(Exit::Failed, || "the node names no block")?;
                    return Ok(Settled { id, block, height });
                }
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    };
    tokio::time::timeout(time_max, wait).await.map_err(|_| {
        let sentence = format!("transaction {id} is accepted and not final yet");
        Failure::said(Exit::Unavailable, sentence)
            .advise(format!("ask later: talea ledger show {id}"))
    })?
}
