//! `talea ledger ..`: what the ledger says, transfers, proofs, and the care of a node's own database.
//!
//! Invariants: results are the node's word unless they are proven; `verify` needs no node, and `rebuild` none that
//! is running. Absent: channels and vouchers, which have commands of their own.

pub(super) mod proof;
mod rebuild;
pub(super) mod teller;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use talea_ledger::transaction::Transfer;
use talea_ledger::{Action, BlockId, ChannelId, PublicKey, Tal, TransactionId};

use self::teller::{Standing, chain_of, hand_in, settled};
use super::client::Client;
use super::exit::{Exit, Failure, Ran};
use super::moment::rfc3339;
use super::screen::{Align, Ink, Table, grouped};
use super::wallet::{Home, KeyName, Wallet, open_for};
use super::{Context, NodeArgs, SignerArgs, amount};

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Show what an account has
    Balance(BalanceArgs),
    /// Send money to another account
    Transfer(TransferArgs),
    /// List blocks, newest first
    Blocks(BlocksArgs),
    /// Show a block, transaction, account, channel or name
    Show(ShowArgs),
    /// Save a proof of what the ledger says
    Prove(proof::ProveArgs),
    /// Verify a proof without a node
    Verify(proof::VerifyArgs),
    /// Make a node's ledger database again from its log
    Rebuild(rebuild::RebuildArgs),
    /// Write the parameters of a new network
    Genesis(rebuild::GenesisArgs),
}

/// What `talea ledger balance` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger balance                  of the wallet
  talea ledger balance did:key:z6Mk..
  talea ledger balance alice            one of the wallet's further keys")]
pub(super) struct BalanceArgs {
    /// A key, or the name of one of the wallet's [default: the wallet's own]
    key: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea ledger transfer` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger transfer did:key:z6Mk.. 5000
  talea ledger transfer alice 5k --no-wait     accepted and on the node's disk, in no block yet

Waits until the transfer is final, unless told otherwise.")]
pub(super) struct TransferArgs {
    /// To whom: a key, or the name of one of the wallet's
    to: String,
    /// How much, in tal
    #[arg(value_parser = amount::count)]
    amount: u64,
    /// End when the node has accepted it
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea ledger blocks` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger blocks
  talea ledger blocks --after 100 --limit 50 --output json | jq -r '.blocks[].id'")]
pub(super) struct BlocksArgs {
    /// Begin after this height, oldest first
    #[arg(long, value_name = "HEIGHT")]
    after: Option<u64>,
    /// Blocks at most
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = amount::count)]
    limit: u64,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea ledger show` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger show 12                  the block at a height
  talea ledger show bafyrei..           a block by its id
  talea ledger show 4f0c..e2            a transaction, or a channel, by its id
  talea ledger show did:key:z6Mk..      an account
  talea ledger show me/hello            a name")]
pub(super) struct ShowArgs {
    /// A height, a block's id, a transaction's or channel's id, a key, or namespace/name
    what: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea ledger ..`.
pub(super) async fn run(command: &LedgerCommand, context: &Context) -> Ran {
    match command {
        LedgerCommand::Balance(args) => balance(args, context).await,
        LedgerCommand::Transfer(args) => transfer(args, context).await,
        LedgerCommand::Blocks(args) => blocks(args, context).await,
        LedgerCommand::Show(args) => show(args, context).await,
        LedgerCommand::Prove(args) => proof::prove(args, context).await,
        LedgerCommand::Verify(args) => proof::verify(args, context),
        LedgerCommand::Rebuild(args) => rebuild::rebuild(args, context),
        LedgerCommand::Genesis(args) => rebuild::genesis(args, context),
    }
}

/// A key as people name it: itself, or one of the wallet's.
fn key_of(text: &str, context: &Context) -> Result<PublicKey, Failure> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let home = Home::of(&context.around)?;
    let path = text.parse::<KeyName>().ok().map(|name| home.named_path(&name));
    match path.filter(|path| path.exists()) {
        Some(path) => Ok(Wallet::open_key(&path, &home)?.public()),
        None => {
            let sentence = format!("`{text}` is neither a key nor the name of one of the wallet's");
            Err(Failure::said(Exit::Usage, sentence).advise("`talea wallet list` shows them"))
        }
    }
}

async fn balance(args: &BalanceArgs, context: &Context) -> Ran {
    let key = match &args.key {
        Some(text) => key_of(text, context)?,
        None => open_for(None, context)?.public(),
    };
    let standing = Standing::of(&args.node.client(), &key).await?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "key": key.to_string(),
            "balance": standing.balance.to_string(),
            "final_balance": standing.final_balance.to_string(),
            "next": standing.next.to_string(),
        }));
        return Ok(Exit::Ok);
    }
    screen.line(format_args!("{} tal", grouped(standing.balance.0)));
    if standing.final_balance != standing.balance {
        screen.note(format_args!("{} tal of them are final", grouped(standing.final_balance.0)));
    }
    Ok(Exit::Ok)
}

async fn transfer(args: &TransferArgs, context: &Context) -> Ran {
    let to = key_of(&args.to, context)?;
    let wallet = args.signer.wallet(context)?;
    let client = args.node.client();
    let network = chain_of(&client).await?;
    let action = Action::Transfer(Transfer { to, amount: Tal(args.amount) });
    let id = hand_in(&client, &network, wallet.key(), action).await?;
    let screen = &context.screen;
    if args.no_wait {
        if screen.is_json() {
            screen.json(&json!({ "id": id.to_string(), "status": "accepted" }));
        } else {
            screen.line(id);
        }
        return Ok(Exit::Ok);
    }
    let settled = settled(&client, id, args.node.timeout).await?;
    if screen.is_json() {
        screen.json(&json!({
            "id": id.to_string(),
            "status": "final",
            "block": settled.block.to_string(),
            "height": settled.height.to_string(),
        }));
    } else {
        screen.line(id);
        screen.note(format_args!(
            "{} in block {} at height {}",
            screen.note_ink(Ink::Good, "final"),
            settled.block,
            settled.height
        ));
    }
    Ok(Exit::Ok)
}

async fn blocks(args: &BlocksArgs, context: &Context) -> Ran {
    let client = args.node.client();
    let place = match args.after {
        Some(after) => format!("after={after}"),
        None => "order=newest".to_owned(),
    };
    let view = client.get_json(&format!("/blocks?{place}&limit={}", args.limit)).await?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&view);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        ("height", Align::Right),
        ("when", Align::Left),
        ("transactions", Align::Right),
        ("final", Align::Left),
        ("block", Align::Left),
    ]);
    for block in view.get("blocks").and_then(Value::as_array).into_iter().flatten() {
        let text = |field: &str| block.get(field).and_then(Value::as_str).unwrap_or_default();
        let is_final = block.get("final") == Some(&Value::Bool(true));
        table.row([
            text("height").to_owned(),
            text("at").parse().map(rfc3339).unwrap_or_default(),
            block.get("count").map(Value::to_string).unwrap_or_default(),
            if is_final { "yes" } else { "not yet" }.to_owned(),
            text("id").to_owned(),
        ]);
    }
    table.lines().into_iter().for_each(|line| screen.line(line));
    Ok(Exit::Ok)
}

async fn show(args: &ShowArgs, context: &Context) -> Ran {
    let client = args.node.client();
    let view = find(&client, &args.what).await?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&view);
        return Ok(Exit::Ok);
    }
    lines(&view, 0).into_iter().for_each(|line| screen.line(line));
    Ok(Exit::Ok)
}

/// What the text names, asked of the node where it can be.
async fn find(client: &Client, what: &str) -> Result<Value, Failure> {
    let is_height = what.parse::<u64>().is_ok();
    if is_height || what.parse::<BlockId>().is_ok() {
        return Ok(client.get_json(&format!("/blocks/{what}")).await?);
    }
    if what.parse::<PublicKey>().is_ok() {
        return Ok(client.get_json(&format!("/accounts/{what}")).await?);
    }
    if what.parse::<TransactionId>().is_ok() {
        let found = client.get_json(&format!("/transactions/{what}")).await;
        let failure = match found {
            Ok(view) => return Ok(view),
            Err(error) => Failure::from(error),
        };
        if failure.code() != Some("ledger_unknown") {
            return Err(failure);
        }
        let channel = what.parse::<ChannelId>().map(|id| format!("/channels/{id}"));
        let path = channel.map_err(|_| failure)?;
        return Ok(client.get_json(&path).await?);
    }
    if what.contains('/') {
        return Ok(client.get_json(&format!("/names/{what}")).await?);
    }
    let sentence = format!("`{what}` names nothing of a ledger");
    Err(Failure::said(Exit::Usage, sentence).advise("see `talea ledger show --help`"))
}

/// A view as lines of `name  value`; what is bytes is left to JSON.
fn lines(view: &Value, indent: usize) -> Vec<String> {
    let Some(fields) = view.as_object() else { return Vec::new() };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let margin = " ".repeat(indent);
    let mut lines = Vec::new();
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Object(_) => {
                lines.push(format!("{margin}{name}"));
                lines.extend(self::lines(value, indent + 2));
            }
            Value::Array(items) => {
                lines.push(format!("{margin}{name:<width$}  {}", items.len()));
                for item in items {
                    match item.as_str() {
                        Some(text) => lines.push(format!("{margin}  {text}")),
                        None => lines.extend(self::lines(item, indent + 2)),
                    }
                }
            }
            Value::String(text) if matches!(name.as_str(), "commit" | "header_sealed") => {
                lines.push(format!("{margin}{name:<width$}  {} bytes", text.len() / 4 * 3));
            }
            Value::String(text) => lines.push(format!("{margin}{name:<width$}  {text}")),
            other => lines.push(format!("{margin}{name:<width$}  {other}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_becomes_lines() {
        let view = json!({
            "id": "x", "count": 2, "none": null, "commit": "AAAA",
            "inner": { "a": "b" }, "list": [{ "c": "d" }, "e"],
        });
        let expected = [
            "commit  3 bytes",
            "count   2",
            "id      x",
            "inner",
            "  a  b",
            "list    2",
            "  c  d",
            "  e",
        ];
        assert_eq!(lines(&view, 0), expected);
    }
}
