//! `talea channel`: escrow towards a host, what was paid from it, and getting the rest back.
//!
//! Invariants: a channel is on this machine's disk before it is on the ledger; what a voucher promises was seen in
//! verified receipts; what the host lists is held against the receipts that were kept; closing gives the last voucher
//! first, so that the host has no reason to wait. Absent: the host's own redeeming, which its node does by itself (`redeem` asks it to do so now).

mod compare;
mod counter;
pub(super) mod hand;
pub(super) mod live;
pub(super) mod opening;
pub(super) mod promise;
mod revoke;

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use talea_ledger::transaction::{CloseChannel, Lock, Settle};
use talea_ledger::{Action, ChannelId, NetworkId, Sequence, Tal, Voucher};

use self::counter::Counter;
use self::live::{Live, number};
use self::opening::{Bank, Wish};
use self::promise::Given;
use super::client::Client;
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::screen::grouped;
use super::terms::Terms;
use super::wallet::channels;
use super::wallet::runs::RunBook;
use super::wallet::{Home, Wallet};
use super::{Context, NodeArgs, SignerArgs, amount, papers};

/// How often the node is asked while something is awaited: several times a slot of a development network.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What to do with channels.
#[derive(Debug, Subcommand)]
pub(super) enum ChannelCommand {
    /// Open a channel to a node's host
    #[command(after_help = "Examples:
  talea channel open                         a million tal for a week
  talea channel open --escrow 20M --for 24h
  talea channel open --batch-cap 0           the host is paid by voucher only

`talea invoke --pay` opens one by itself when there is none.")]
    Open(OpenArgs),
    /// Put more into a channel, or prolong it
    #[command(after_help = "Examples:
  talea channel top-up --amount 5M
  talea channel top-up --for 336h            a later end")]
    TopUp(TopUpArgs),
    /// Close a channel and get back what was not used
    #[command(after_help = "Examples:
  talea channel close                        the channel to this node's host
  talea channel close --no-wait              the host has its time; the rest comes later")]
    Close(CloseArgs),
    /// Show a channel, or all that were opened from here
    #[command(after_help = "Examples:
  talea channel show                         what the ledger and the host say
  talea channel show --all                   every channel of this wallet, from its own notes
  talea channel show --output json | jq -r .escrow")]
    Show(ShowArgs),
    /// Give the host a voucher for all that was received
    Voucher(OneArgs),
    /// End a session: the host serves its key no more in this channel
    #[command(after_help = "Examples:
  talea channel revoke session.grant         what its key has signed can still be redeemed for a while")]
    Revoke(revoke::RevokeArgs),
    /// As the host's owner: have a channel's best voucher redeemed now
    #[command(after_help = "Examples:
  talea channel redeem --key node/key CHANNEL

A node redeems by itself when a voucher brings `channels.redeem` or its channel nears its end.")]
    Redeem(RedeemArgs),
}

/// Which channel, and who asks.
#[derive(Clone, Debug, Args)]
pub(super) struct OneArgs {
    /// The channel [default: the one that this wallet opened to this node's host]
    channel: Option<ChannelId>,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea channel open` takes.
#[derive(Clone, Debug, Args)]
pub(super) struct OpenArgs {
    /// How much is locked
    #[arg(long, value_name = "TAL", default_value = "1M", value_parser = amount::count)]
    escrow: u64,
    /// How long it stands
    #[arg(long = "for", value_name = "TIME", default_value = "168h", value_parser = amount::time)]
    term: Duration,
    /// The most that the host may claim with receipts alone, without a voucher [default: a tenth]
    #[arg(long, value_name = "TAL", value_parser = amount::count)]
    batch_cap: Option<u64>,
    /// The most work that may be without a voucher [default: all of the escrow]
    #[arg(long, value_name = "TAL", value_parser = amount::count)]
    watermark: Option<u64>,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea channel top-up` takes.
#[derive(Clone, Debug, Args)]
pub(super) struct TopUpArgs {
    /// How much more
    #[arg(long, value_name = "TAL", value_parser = amount::count, required_unless_present = "term")]
    amount: Option<u64>,
    /// From now on, how long it stands
    #[arg(long = "for", value_name = "TIME", value_parser = amount::time)]
    term: Option<Duration>,
    #[command(flatten)]
    one: OneArgs,
}

/// What `talea channel close` takes.
#[derive(Clone, Debug, Args)]
pub(super) struct CloseArgs {
    /// Do not wait until the rest is back
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    one: OneArgs,
}

/// What `talea channel show` takes.
#[derive(Clone, Debug, Args)]
pub(super) struct ShowArgs {
    /// List the channels that were opened from here, without asking a node
    #[arg(long, conflicts_with = "channel")]
    all: bool,
    #[command(flatten)]
    one: OneArgs,
}

/// What `talea channel redeem` takes.
#[derive(Clone, Debug, Args)]
pub(super) struct RedeemArgs {
    /// The channel
    channel: ChannelId,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea channel ..`.
pub(super) async fn run(command: &ChannelCommand, context: &Context) -> Ran {
    match command {
        ChannelCommand::Open(args) => open(args, context).await,
        ChannelCommand::TopUp(args) => top_up(args, context).await,
        ChannelCommand::Close(args) => close(args, context).await,
        ChannelCommand::Show(args) if args.all => all(context),
        ChannelCommand::Show(args) => show(&args.one, context).await,
        ChannelCommand::Voucher(args) => voucher(args, context).await,
        ChannelCommand::Revoke(args) => revoke::run(args, context).await,
        ChannelCommand::Redeem(args) => redeem(args, context).await,
    }
}

async fn open(args: &OpenArgs, context: &Context) -> Ran {
    let counter = Counter::of(&args.signer, &args.node, context).await?;
    let hand = counter.hand()?;
    let wish = Wish {
        escrow: Some(Tal(args.escrow)),
        term: Some(args.term),
        batch_cap: args.batch_cap.map(Tal),
        watermark: args.watermark.map(Tal),
    };
    let channel = {
        let _opening = context.screen.spinner("opening");
        counter.bank(&hand).open(wish).await?
    };
    told(&counter.client, channel, context).await
}

async fn top_up(args: &TopUpArgs, context: &Context) -> Ran {
    let counter = Counter::of(&args.one.signer, &args.one.node, context).await?;
    let (hand, channel) = (counter.hand()?, counter.channel(args.one.channel)?);
    {
        let _waiting = context.screen.spinner("waiting for the block");
        let amount = Tal(args.amount.unwrap_or(0));
        counter.bank(&hand).top_up(channel, amount, args.term).await?;
    }
    told(&counter.client, channel, context).await
}

async fn told(client: &Client, channel: ChannelId, context: &Context) -> Ran {
    let live = Live::of(client, channel).await?.ok_or_else(|| gone(channel))?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&view(channel, live));
    } else {
        screen.line(channel);
        screen.note(format_args!(
            "{} tal locked until slot {}",
            grouped(live.escrow.0),
            live.deadline
        ));
    }
    Ok(Exit::Ok)
}

/// The node's words about a channel, with its name.
fn view(channel: ChannelId, live: Live) -> Value {
    let mut view = live.view;
    view["id"] = json!(channel.to_string());
    view
}

fn gone(channel: ChannelId) -> Failure {
    Failure::said(Exit::Failed, format!("the ledger has no channel {channel}"))
        .coded("channel_not_found")
}

fn all(context: &Context) -> Ran {
    let home = Home::of(&context.around)?;
    let opened = channels::all(&home)?;
    let screen = &context.screen;
    if screen.is_json() {
        let view = |opened: &channels::Opened| {
            json!({
                "id": opened.channel.to_string(),
                "host": opened.pair.host.to_string(),
                "payer": opened.pair.payer.to_string(),
                "network": opened.pair.network.to_string(),
            })
        };
        screen.json(&json!({ "channels": opened.iter().map(view).collect::<Vec<Value>>() }));
        return Ok(Exit::Ok);
    }
    for opened in &opened {
        screen.line(format_args!("{} to {}", opened.channel, opened.pair.host));
    }
    if opened.is_empty() {
        screen.note("no channel was opened from here");
    }
    Ok(Exit::Ok)
}

async fn show(args: &OneArgs, context: &Context) -> Ran {
    let counter = Counter::of(&args.signer, &args.node, context).await?;
    let channel = counter.channel(args.channel)?;
    let live = Live::of(&counter.client, channel).await?.ok_or_else(|| gone(channel))?;
    let Counter { client, wallet, .. } = &counter;
    let network = counter.network.id();
    let account = account(client, wallet, network, channel).await?;
    let book = book(wallet, channel)?;
    let found = compare::with_the_host(client, wallet, network, channel, &book).await?;
    let screen = &context.screen;
    if screen.is_json() {
        let mut view = view(channel, live);
        view["account"] = account;
        view["contradictions"] = found.iter().map(compare::view).collect();
        screen.json(&view);
    } else {
        let shown = |field: &str| number(&account, field).map_or("-".to_owned(), grouped);
        screen.line(format_args!("channel   {channel}"));
        screen.line(format_args!("payer     {}", live.payer));
        screen.line(format_args!("host      {}", live.host));
        screen.line(format_args!("escrow    {} tal", grouped(live.escrow.0)));
        screen.line(format_args!("redeemed  {} tal", grouped(live.redeemed.0)));
        screen.line(format_args!("owed      {} tal", shown("owed")));
        screen.line(format_args!("vouched   {} tal", shown("vouched")));
        let closing = if live.is_closing { ", closing" } else { "" };
        screen.line(format_args!("ends      slot {}{closing}", live.deadline));
    }
    match found.first() {
        None => Ok(Exit::Ok),
        Some(first) => Err(promise::cheated(first)),
    }
}

/// What the host says of a channel; nothing where it does not show it to this key.
async fn account(
    client: &Client,
    wallet: &Wallet,
    network: NetworkId,
    channel: ChannelId,
) -> Result<Value, Failure> {
    let path = format!("/vouchers/{channel}");
    match papers::signed_get(client, wallet, network, &path, "application/json").await {
        Ok(answer) => serde_json::from_slice(&answer.body)
            .or_exit(Exit::Failed, || "the node's answer is no JSON"),
        Err(failure) if failure.code().is_some() => Ok(Value::Null),
        Err(failure) => Err(failure),
    }
}

async fn voucher(args: &OneArgs, context: &Context) -> Ran {
    let counter = Counter::of(&args.signer, &args.node, context).await?;
    let (hand, channel) = (counter.hand()?, counter.channel(args.channel)?);
    let book = book(&counter.wallet, channel)?;
    let network = counter.network.id();
    let given = promise::give(&counter.client, &hand, network, channel, &book).await?;
    let tally = book.tally().or_exit(Exit::Failed, || "the tally cannot be read")?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "channel": channel.to_string(),
            "owed": tally.vouched().to_string(),
            "given": given != Given::Before,
            "whole": !matches!(given, Given::Part(_)),
        }));
        return Ok(Exit::Ok);
    }
    screen.line(format_args!("{} tal", grouped(tally.vouched().0)));
    match given {
        Given::Whole => {}
        Given::Before => screen.note("the host has that voucher already"),
        Given::Part(_) => {
            screen.note("one redeem lists no more functions: give the rest when that is redeemed")
        }
    }
    Ok(Exit::Ok)
}

fn book(wallet: &Wallet, channel: ChannelId) -> Result<RunBook, Failure> {
    RunBook::open(wallet.home(), channel)
        .or_exit(Exit::Failed, || "the runs of the channel cannot be read")
}

async fn close(args: &CloseArgs, context: &Context) -> Ran {
    let counter = Counter::of(&args.one.signer, &args.one.node, context).await?;
    let (hand, channel) = (counter.hand()?, counter.channel(args.one.channel)?);
    let (bank, Counter { client, wallet, .. }) = (counter.bank(&hand), &counter);
    let Some(live) = Live::of(client, channel).await? else {
        bank.pair().forget(wallet.home())?;
        return Err(gone(channel));
    };
    let is_over = counter.network.slot_at(super::now()) >= live.deadline;
    if is_over {
        bank.send(Action::Settle(Settle { lock: Lock::Channel(channel) })).await?;
    } else {
        last_voucher(&bank, channel, context).await?;
        if !live.is_closing {
            bank.send(Action::CloseChannel(CloseChannel { channel })).await?;
        }
    }
    let left = match args.no_wait {
        true => Live::of(client, channel).await?,
        false => wait_until_gone(&bank, channel, context).await?,
    };
    if left.is_none() {
        bank.pair().forget(wallet.home())?;
    }
    let (paid, escrow) = match &left {
        Some(live) => (live.redeemed, live.escrow),
        None => last_known(wallet, channel, &live)?,
    };
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "channel": channel.to_string(),
            "closed": left.is_none(),
            "paid": paid.to_string(),
            "returned": left.is_none().then(|| escrow.to_string()),
        }));
    } else if left.is_none() {
        screen.line(format_args!("{} tal are back", grouped(escrow.0)));
    } else {
        screen.line(format_args!("closing: {} tal are still locked", grouped(escrow.0)));
        screen.note("the host has its window; run this again when it has passed");
    }
    Ok(Exit::Ok)
}

/// What was paid and what came back of a channel that is gone: all that was promised was paid.
fn last_known(wallet: &Wallet, channel: ChannelId, live: &Live) -> Result<(Tal, Tal), Failure> {
    let tally = book(wallet, channel)?.tally();
    let vouched = tally.or_exit(Exit::Failed, || "the tally cannot be read")?.vouched();
    let paid = vouched.max(live.redeemed);
    Ok((paid, live.sum().saturating_sub(paid)))
}

/// The last word before a channel is closed. A channel without any bill says that nothing is owed.
async fn last_voucher(
    bank: &Bank<'_>,
    channel: ChannelId,
    context: &Context,
) -> Result<(), Failure> {
    let book = book(bank.hand.wallet, channel)?;
    let given = match tokio::time::timeout(bank.time_max, all_promised(bank, channel, &book)).await
    {
        Ok(given) => given,
        Err(_) => Err(Failure::said(Exit::Unavailable, "the host has not redeemed what it has")),
    };
    if let Err(failure) = given {
        // The host then has until the window's end to redeem what it can.
        context.screen.note(format_args!("no last voucher: {}", failure.sentence()));
    }
    Ok(())
}

/// Promises all that was seen. Where one redeem cannot list it, one part after the other, each when the one before it
/// is redeemed.
async fn all_promised(bank: &Bank<'_>, channel: ChannelId, book: &RunBook) -> Result<(), Failure> {
    let network = bank.network.id();
    loop {
        match promise::give(bank.client, bank.hand, network, channel, book).await? {
            Given::Whole => return Ok(()),
            Given::Part(_) => tokio::time::sleep(ASK_EVERY).await,
            Given::Before => break,
        }
    }
    let tally = book.tally().or_exit(Exit::Failed, || "the tally cannot be read")?;
    if tally.vouched() > Tal::ZERO {
        return Ok(());
    }
    let (owed, settled) = (Tal::ZERO, Sequence::ZERO);
    let nothing = Voucher { network, channel, owed, settled };
    promise::send(bank.client, bank.hand, nothing).await
}

async fn wait_until_gone(
    bank: &Bank<'_>,
    channel: ChannelId,
    context: &Context,
) -> Result<Option<Live>, Failure> {
    let _waiting = context.screen.spinner("waiting for the host to take its part");
    let wait = async {
        loop {
            let Some(live) = Live::of(bank.client, channel).await? else { return Ok(None) };
            if bank.network.slot_at(super::now()) >= live.deadline {
                bank.send(Action::Settle(Settle { lock: Lock::Channel(channel) })).await?;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    match tokio::time::timeout(bank.time_max, wait).await {
        Ok(left) => left,
        Err(_) => Live::of(bank.client, channel).await,
    }
}

async fn redeem(args: &RedeemArgs, context: &Context) -> Ran {
    let (client, wallet) = (args.node.client(), args.signer.wallet(context)?);
    let terms = Terms::of(&client).await?;
    let path = format!("/vouchers/{}/redeem", args.channel);
    let (network, json) = (terms.network, "application/json");
    let answer = papers::signed(&client, &wallet, network, &Method::POST, &path, json).await?;
    let view: Value = serde_json::from_slice(&answer.body)
        .or_exit(Exit::Failed, || "the node's answer is no JSON")?;
    let id = view["transaction"].as_str().and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Failure::said(Exit::Failed, "the node names no transaction"))?;
    let settled = super::ledger::teller::settled(&client, id, args.node.timeout).await?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "channel": args.channel.to_string(),
            "transaction": id.to_string(),
            "block": settled.block.to_string(),
            "height": settled.height.to_string(),
        }));
    } else {
        screen.line(format_args!("redeemed by {id} in block {}", settled.height));
    }
    Ok(Exit::Ok)
}
