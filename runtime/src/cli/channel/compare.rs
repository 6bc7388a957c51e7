//! What the host lists of a channel, held against the receipts that were kept here.
//!
//! Only what contradicts a kept receipt is fetched, and counts only once its host's signature holds: a list proves
//! nothing. Bounded: the newest pages of a channel that was never pruned are not reached in one go.

use serde_json::{Value, json};
use talea_ledger::{ChannelId, NetworkId, ReceiptId, Sequence, Tal};

use super::live::number;
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure, OrExit as _};
use crate::cli::papers;
use crate::cli::wallet::Wallet;
use crate::cli::wallet::runs::RunBook;
use crate::cli::wallet::witness::{Contradiction, Witness};

/// Pages that are looked at: 16 of 200 are three windows of sequences.
const PAGES_MAX: usize = 16;
/// Entries of a page.
const PAGE_LEN: usize = 200;

/// A receipt as a list has it.
struct Listed {
    id: ReceiptId,
    sequence: Sequence,
    bill: Tal,
    owed: Tal,
}

/// What the host has that contradicts what it gave. Empty where it does not show its list to this key.
pub(super) async fn with_the_host(
    client: &Client,
    wallet: &Wallet,
    network: NetworkId,
    channel: ChannelId,
    book: &RunBook,
) -> Result<Vec<Contradiction>, Failure> {
    let cannot = || "the kept receipts cannot be read";
    let kept = book.witnesses().or_exit(Exit::Failed, cannot)?;
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let Some((page, next)) = page(client, wallet, network, channel, after).await? else {
            break;
        };
        for listed in page.iter().filter(|listed| kept.iter().any(|it| contradicts(it, listed))) {
            let bundle = papers::fetch(client, listed.id, Some((wallet, network))).await?;
            bundle
                .check()
                .or_exit(Exit::Mismatch, || "a receipt that the host lists does not hold")?;
            found.extend(book.contradicted(&bundle).or_exit(Exit::Failed, cannot)?);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    Ok(found)
}

/// A contradiction as JSON.
pub(super) fn view(found: &Contradiction) -> Value {
    json!({
        "kind": found.fraud.kind.text(),
        "receipts": found.fraud.receipts.map(|receipt| receipt.to_string()),
        "files": found.files.each_ref().map(|path| path.display().to_string()),
    })
}

/// Whether a listed receipt cannot stand beside a kept one, if the list tells the truth.
fn contradicts(kept: &Witness, listed: &Listed) -> bool {
    let receipt = &kept.receipt;
    let Some(payment) = &receipt.payment else { return false };
    if receipt.id() == listed.id {
        return false;
    }
    let begin = |owed: Tal, bill: Tal| owed.saturating_sub(bill);
    let first = begin(payment.owed, receipt.bill).max(begin(listed.owed, listed.bill));
    payment.sequence == listed.sequence || first < payment.owed.min(listed.owed)
}

type Page = (Vec<Listed>, Option<String>);

async fn page(
    client: &Client,
    wallet: &Wallet,
    network: NetworkId,
    channel: ChannelId,
    after: Option<String>,
) -> Result<Option<Page>, Failure> {
    let after = after.map_or(String::new(), |after| format!("&after={after}"));
    let path = format!("/receipts?channel={channel}&limit={PAGE_LEN}{after}");
    let answer = match papers::signed_get(client, wallet, network, &path, "application/json").await
    {
        Ok(answer) => answer,
        // The node shows its lists to this channel's payer only.
        Err(failure) if failure.code().is_some() => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let view: Value = serde_json::from_slice(&answer.body)
        .or_exit(Exit::Failed, || "the node's list is not JSON")?;
    let receipts = view.get("receipts").and_then(Value::as_array);
    let listed = receipts.into_iter().flatten().filter_map(listed).collect();
    let next = view.get("next").and_then(Value::as_str).map(str::to_owned);
    Ok(Some((listed, next)))
}

fn listed(view: &Value) -> Option<Listed> {
    let payment = view.get("payment")?;
    Some(Listed {
        id: view.get("id")?.as_str()?.parse().ok()?,
        sequence: Sequence(number(payment, "sequence")?),
        bill: Tal(number(view, "bill")?),
        owed: Tal(number(payment, "owed")?),
    })
}
