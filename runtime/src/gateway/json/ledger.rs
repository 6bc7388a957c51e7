//! Views of the ledger: blocks, transactions and records as JSON.

use serde_json::{Map, Value, json};
use talea_ledger::rules::record::{Account, Channel, NameRecord};
use talea_ledger::transaction::{Lock, Part};
use talea_ledger::{Action, BlockId, Header, Network, Tal, Transaction, TransactionId};

use super::PriceView;
use crate::ledger::Status;

/// What became of a transaction.
pub(in crate::gateway) fn status(id: &TransactionId, status: &Status) -> Value {
    match status {
        Status::Pending => json!({ "id": id.to_string(), "status": "pending" }),
        Status::Included { block, height, index, is_final } => json!({
            "id": id.to_string(),
            "status": "included",
            "block": block.to_string(),
            "height": height.to_string(),
            "index": index,
            "final": is_final,
        }),
        Status::Rejected { reason, at } => json!({
            "id": id.to_string(),
            "status": "rejected",
            "reason": reason.as_str(),
            "at": at.to_string(),
        }),
    }
}

/// A block's header.
pub(in crate::gateway) fn header(
    network: &Network,
    id: &BlockId,
    header: &Header,
    is_final: bool,
) -> Value {
    json!({
        "id": id.to_string(),
        "height": header.height.to_string(),
        "slot": header.slot.to_string(),
        "at": network.slot_start(header.slot).to_string(),
        "author": header.author.to_string(),
        "parent": header.parent.to_string(),
        "body": header.body.to_string(),
        "state": header.state.to_string(),
        "count": header.count,
        "body_len": header.body_len,
        "final": is_final,
    })
}

/// A transaction.
pub(in crate::gateway) fn transaction(id: &TransactionId, transaction: &Transaction) -> Value {
    let mut view = json!({
        "id": id.to_string(),
        "sender": transaction.sender.to_string(),
        "nonce": transaction.nonce.to_string(),
        "action": transaction.action.kind(),
        "detail": Value::Object(detail(&transaction.action)),
    });
    if let Some(before) = transaction.builds_on {
        view["builds_on"] = json!(before.to_string());
    }
    view
}

/// What an action is about, as far as it is short. Everything is in the transaction's own bytes.
fn detail(action: &Action) -> Map<String, Value> {
    let mut view = Map::new();
    let mut put = |name: &str, value: Value| {
        view.insert(name.to_owned(), value);
    };
    let text = |value: &dyn std::fmt::Display| Value::String(value.to_string());
    match action {
        Action::Transfer(action) => {
            put("to", text(&action.to));
            put("amount", text(&action.amount));
        }
        Action::RegisterFunction(action) => {
            put("function", text(&action.function));
            put("kind", text(&action.kind.text()));
        }
        Action::UpdateFunction(action) => put("function", text(&action.function)),
        Action::RegisterName(action) => {
            put("name", text(&action.name));
            put("function", text(&action.function));
            put("private", json!(action.private));
            put("royalty_ppm", json!(action.royalty.get()));
        }
        Action::UpdateName(action) => {
            put("name", text(&action.name));
            put("function", json!(action.function.as_ref().map(ToString::to_string)));
        }
        Action::Grant(action) => {
            put("name", text(&action.name));
            put("key", text(&action.key));
        }
        Action::Revoke(action) => {
            put("name", text(&action.name));
            put("key", text(&action.key));
        }
        Action::AnnounceOffer(action) => {
            put("price", json!(PriceView::from(&action.price)));
            put("until", text(&action.until));
        }
        Action::OpenChannel(action) => {
            put("host", text(&action.host));
            put("escrow", text(&action.escrow));
            put("expires", text(&action.expires));
        }
        Action::TopUp(action) => {
            put("channel", text(&action.channel));
            put("amount", text(&action.amount));
        }
        Action::CloseChannel(action) => put("channel", text(&action.channel)),
        Action::RevokeSession(action) => {
            put("channel", text(&action.channel));
            put("session", text(&action.session));
        }
        Action::Settle(action) => match &action.lock {
            Lock::Claim(claim) => put("claim", text(claim)),
            Lock::Stake(key) => put("stake", text(key)),
            Lock::Channel(channel) => put("channel", text(channel)),
        },
        Action::Redeem(action) => put("parts", parts(&action.split)),
        Action::RedeemBatch(action) => {
            put("channel", text(&action.channel));
            put("bills", json!(action.bills.len()));
        }
        Action::Challenge(action) => {
            put("claim", text(&action.claim));
            put("sequence", text(&action.sequence));
        }
        Action::Answer(action) => {
            put("claim", text(&action.claim));
            put("sequence", text(&action.sequence));
        }
        Action::Stake(action) => put("amount", text(&action.amount)),
        Action::Unstake(action) => put("amount", text(&action.amount)),
        Action::Anchor(action) => {
            put("root", text(&action.root));
            put("first", text(&action.first));
            put("last", text(&action.last));
        }
        Action::ReportFraud(_)
        | Action::RegisterTrigger(_)
        | Action::AuditClaim(_)
        | Action::AuditVerdict(_)
        | Action::RotateAuthority(_)
        | Action::Deposit(_)
        | Action::Withdraw(_) => {}
    }
    view
}

fn parts(parts: &[Part]) -> Value {
    let part = |part: &Part| json!({ "function": part.function.to_string(), "amount": part.amount.to_string() });
    Value::Array(parts.iter().map(part).collect())
}

/// An account.
pub(in crate::gateway) fn account(account: &Account) -> Value {
    json!({
        "balance": account.balance.to_string(),
        "nonce": account.nonce.to_string(),
        "last": account.last.as_ref().map(ToString::to_string),
    })
}

/// A channel.
pub(in crate::gateway) fn channel(channel: &Channel) -> Value {
    json!({
        "payer": channel.payer.to_string(),
        "host": channel.host.to_string(),
        "escrow": channel.escrow.to_string(),
        "redeemed": channel.redeemed.to_string(),
        "vouched": channel.vouched.to_string(),
        "batched": channel.batched.to_string(),
        "batch_cap": channel.batch_cap.to_string(),
        "watermark": channel.watermark.to_string(),
        "settled": channel.settled.to_string(),
        "opened": channel.opened.to_string(),
        "closing": channel.closing.as_ref().map(ToString::to_string),
        "expires": channel.expires.to_string(),
        "deadline": channel.deadline().to_string(),
        "last": channel.last.to_string(),
    })
}

/// A name.
pub(in crate::gateway) fn name(name: &NameRecord) -> Value {
    json!({
        "function": name.function().as_ref().map(ToString::to_string),
        "owner": name.owner.to_string(),
        "private": name.private,
        "royalty_ppm": name.royalty.get(),
        "version": name.count.to_string(),
        "versions": name.versions.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// The network's parameters.
pub(in crate::gateway) fn network(network: &Network) -> Value {
    let params = network.params();
    json!({
        "id": network.id().to_string(),
        "name": params.name.to_string(),
        "authorities": params.authorities.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "supply": network.supply().to_string(),
        "start": params.start.to_string(),
        "slot": params.slot_len.to_string(),
        "fee": params.fee.to_string(),
        "windows": {
            "close": params.close_window.to_string(),
            "answer": params.answer_window.to_string(),
            "dispute": params.dispute_window.to_string(),
            "unstake": params.unstake_window.to_string(),
            "margin": params.redeem_margin.to_string(),
        },
        "retention": params.retention.to_string(),
    })
}

/// The sums over all records.
pub(in crate::gateway) fn burnt(fees: Tal, burned: Tal) -> Value {
    json!({ "fees": fees.to_string(), "burned": burned.to_string() })
}
