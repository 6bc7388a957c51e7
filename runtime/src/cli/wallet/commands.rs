//! `talea wallet show | new | list | fund`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use talea_ledger::{PublicKey, Tal};

use super::fund::{Purse, fund};
use super::session::{self, SessionArgs};
use super::{Home, KeyName, Origin, Wallet};
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure, Ran};
use crate::cli::ledger::teller::Standing;
use crate::cli::screen::{Align, Ink, Table, grouped};
use crate::cli::{Context, NodeArgs, SignerArgs, amount, block_on};

/// What to do with the wallet.
#[derive(Clone, Debug, Subcommand)]
pub(in crate::cli) enum WalletCommand {
    /// Show the public key, made on first use, and where its secret lies
    Show(ShowArgs),
    /// Make a key; fails when there is one already
    #[command(after_help = "Examples:
  talea wallet new            the wallet's own key
  talea wallet new alice      a further one; commands take it as --key alice")]
    New {
        /// A name, for a further key
        name: Option<KeyName>,
    },
    /// List the keys, and what a node's ledger says they have
    #[command(after_help = "Examples:
  talea wallet list                 with balances, if a node answers
  talea wallet list --offline       keys alone
  talea wallet list --output json")]
    List(ListArgs),
    /// Give the wallet money of a development network, which is worth nothing
    #[command(after_help = "Examples:
  talea wallet fund                 a million tal from the published development key
  talea wallet fund --amount 5M --key alice

A development network's genesis funds a key that everybody knows. On any other network this is refused.")]
    Fund(FundArgs),
    /// Let another key sign runs for the wallet, within bounds
    #[command(after_help = "Examples:
  talea wallet session did:key:z6Mk.. --total 50k --for 12h --out app.grant
  talea wallet session did:key:z6Mk.. --function bafkrei.. --any-host
  talea invoke me/hello --pay --key app.key --session app.grant --channel ID")]
    Session(Box<SessionArgs>),
}

/// What `talea wallet show` takes.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// A further key instead of the wallet's own
    name: Option<KeyName>,
}

/// What `talea wallet list` takes.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Ask no node
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea wallet fund` takes.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct FundArgs {
    /// How much
    #[arg(long, value_name = "TAL", default_value = "1M", value_parser = amount::count)]
    amount: u64,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea wallet ..`.
pub(in crate::cli) fn run(command: WalletCommand, context: &Context) -> Ran {
    let home = Home::of(&context.around)?;
    match command {
        WalletCommand::Show(ShowArgs { name: None }) => {
            let (wallet, origin) = Wallet::open_or_make(&home)?;
            show(&wallet, origin, &home.key_path(), context);
        }
        WalletCommand::Show(ShowArgs { name: Some(name) }) => {
            let path = home.named_path(&name);
            show(&Wallet::open_key(&path, &home)?, Origin::Found, &path, context);
        }
        WalletCommand::New { name: None } => {
            show(&Wallet::make(&home)?, Origin::Made, &home.key_path(), context);
        }
        WalletCommand::New { name: Some(name) } => {
            let wallet = Wallet::make_named(&home, &name)?;
            show(&wallet, Origin::Made, &home.named_path(&name), context);
        }
        WalletCommand::List(args) => return block_on(list(&args, &home, context)),
        WalletCommand::Fund(args) => return block_on(give(&args, context)),
        WalletCommand::Session(args) => return block_on(session::run(&args, context)),
    }
    Ok(Exit::Ok)
}

fn show(wallet: &Wallet, origin: Origin, path: &std::path::Path, context: &Context) {
    let screen = &context.screen;
    if origin == Origin::Made {
        screen.note(format_args!("made a new key at {}", path.display()));
    }
    if screen.is_json() {
        screen.json(&json!({
            "key": wallet.public().to_string(),
            "path": path.display().to_string(),
            "made": origin == Origin::Made,
        }));
    } else {
        screen.line(wallet.public());
        screen.note(screen.note_ink(Ink::Faint, format_args!("secret: {}", path.display())));
    }
}

async fn list(args: &ListArgs, home: &Home, context: &Context) -> Ran {
    let mut keys: Vec<(String, PublicKey)> = Vec::new();
    if home.key_path().exists() {
        keys.push(("wallet".to_owned(), Wallet::open(home)?.public()));
    }
    for name in home.names() {
        let wallet = Wallet::open_key(&home.named_path(&name), home)?;
        keys.push((name.to_string(), wallet.public()));
    }
    let client = args.node.client();
    let mut rows = Vec::with_capacity(keys.len());
    for (name, key) in keys {
        let standing = if args.offline { None } else { standing(&client, key, context).await };
        rows.push((name, key, standing));
    }
    let screen = &context.screen;
    if screen.is_json() {
        let view = |(name, key, standing): &(String, PublicKey, Option<Standing>)| {
            let balance = standing.as_ref().map(|standing| standing.balance.to_string());
            json!({ "name": name, "key": key.to_string(), "balance": balance })
        };
        screen.json(&json!({ "keys": rows.iter().map(view).collect::<Vec<Value>>() }));
        return Ok(Exit::Ok);
    }
    let mut table =
        Table::new(&[("name", Align::Left), ("key", Align::Left), ("tal", Align::Right)]);
    for (name, key, standing) in rows {
        let balance = standing.map_or("-".to_owned(), |standing| grouped(standing.balance.0));
        table.row([name, key.to_string(), balance]);
    }
    table.lines().into_iter().for_each(|line| screen.line(line));
    Ok(Exit::Ok)
}

/// A list is of use without a node; that there is none is said once by each key's dash.
async fn standing(client: &Client, key: PublicKey, context: &Context) -> Option<Standing> {
    match Standing::of(client, &key).await {
        Ok(standing) => Some(standing),
        Err(failure) => {
            context.screen.note(format_args!("no balance: {}", Failure::from(failure).sentence()));
            None
        }
    }
}

async fn give(args: &FundArgs, context: &Context) -> Ran {
    let wallet = args.signer.wallet(context)?;
    let client = args.node.client();
    let purse = Purse { client: &client, time_max: args.node.timeout };
    let standing = fund(&purse, wallet.public(), Tal(args.amount)).await?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "key": wallet.public().to_string(),
            "given": args.amount.to_string(),
            "balance": standing.balance.to_string(),
        }));
    } else {
        screen.line(format_args!("{} tal", grouped(standing.balance.0)));
    }
    Ok(Exit::Ok)
}
