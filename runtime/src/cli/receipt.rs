//! `talea receipt show | verify | explain | fraud | save | list`.
//!
//! Owns: the grammar of the six and the two that only look. Absent: any state; what is shown comes from a file or
//! a node at that moment.

mod explain;
mod fraud;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;
use talea_ledger::{Bundle, Offer, PublicKey, ReceiptId};

use super::amount;
use super::client::{Client, encode_query};
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::moment::rfc3339;
use super::papers::{self, Place};
use super::screen::{Align, Table, grouped};
use super::terms::Terms;
use super::wallet::Wallet;
use super::{Context, NodeArgs, SignerArgs, facts};

/// Hosts of a draw that are asked for a function: one honest one among them is enough.
const OTHERS_MAX: usize = 4;

/// The commands on receipts.
#[derive(Debug, Subcommand)]
pub(super) enum ReceiptCommand {
    /// Show what a receipt says
    Show(ShowArgs),
    /// Check a receipt: proof, signature, links, price; with --rerun, the bill itself
    Verify(verify::VerifyArgs),
    /// Show where the fuel of a run went, by function; sums to the bill
    Explain(explain::ExplainArgs),
    /// Say whether two receipts prove that their host cheated
    Fraud(fraud::FraudArgs),
    /// Keep a receipt and all that proves it in a file
    Save(SaveArgs),
    /// List receipts a node has
    List(ListArgs),
}

/// What `talea receipt show` takes.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A .talea file or a receipt's CID
    receipt: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea receipt save` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea receipt save bafyrei.. call.talea    then, anywhere: talea receipt verify call.talea --rerun

Bodies are handed out to the payer and the function's owner only: the request is signed with your key.")]
pub(super) struct SaveArgs {
    /// The receipt's CID
    receipt: ReceiptId,
    /// The file
    file: PathBuf,
    /// Leave out the function's bytes
    #[arg(long)]
    without_function: bool,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea receipt list` takes.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those of this function
    #[arg(long, value_name = "ID")]
    function: Option<String>,
    /// Only those of this payer; `me` is your own key
    #[arg(long, value_name = "KEY")]
    payer: Option<String>,
    /// Only those after this receipt, as the last line of a page says
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// How many
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = amount::count)]
    limit: u64,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea receipt ..`.
pub(super) async fn run(command: &ReceiptCommand, context: &Context) -> Ran {
    match command {
        ReceiptCommand::Show(args) => show(args, context).await,
        ReceiptCommand::Verify(args) => verify::run(args, context).await,
        ReceiptCommand::Explain(args) => explain::run(args, context).await,
        ReceiptCommand::Fraud(args) => fraud::run(args, context).await,
        ReceiptCommand::Save(args) => save(args, context).await,
        ReceiptCommand::List(args) => list(args, context).await,
    }
}

/// Reads a bundle from wherever it is.
async fn obtain(text: &str, node: &NodeArgs, context: &Context) -> Result<Bundle, Failure> {
    match Place::of(text)? {
        Place::File(path) => papers::read(&path),
        Place::Node(receipt) => {
            let _asking = context.screen.spinner("asking the node");
            papers::fetch(&node.client(), receipt, None).await
        }
    }
}

/// Reads a bundle with everything a re-run needs, as far as it can be had: a receipt named by CID is asked for with
/// the user's signature, and a function that is missing is fetched and held against its id.
async fn obtain_whole(
    text: &str,
    node: &NodeArgs,
    signer: &SignerArgs,
    context: &Context,
) -> Result<Bundle, Failure> {
    let receipt = match Place::of(text)? {
        Place::File(path) => return papers::read(&path),
        Place::Node(receipt) => receipt,
    };
    let _asking = context.screen.spinner("asking the node");
    let client = node.client();
    let terms = Terms::of(&client).await?;
    let wallet = signer.wallet(context)?;
    let mut bundle = papers::fetch(&client, receipt, None).await?;
    add_bodies_of_host(&mut bundle, &client, &terms, &wallet).await?;
    if bundle.function.is_none() {
        let checked = bundle
            .check()
            .or_exit(Exit::Mismatch, || format!("receipt {receipt} does not hold"))?;
        let function = checked.receipt().document().function;
        bundle.function = papers::fetch_function(&client, function).await.ok();
        // A gateway that passed the call on may not hold it. Who ran it does, and one that will not show it cannot hide
        // it: others that could have been drawn are asked too.
        let ran = checked.forward().map(|forward| forward.receipt().document().host);
        for host in ran.into_iter().chain(others_of_draw(&bundle)) {
            if bundle.function.is_some() {
                break;
            }
            if let Some(theirs) = client.of_peer(&host).await {
                bundle.function = papers::fetch_function(&theirs, function).await.ok();
            }
        }
    }
    Ok(bundle)
}

/// Hosts that a forwarded run could have gone to, by the offers beside its receipt.
fn others_of_draw(bundle: &Bundle) -> Vec<PublicKey> {
    let offers = bundle.forward.iter().flat_map(|forward| forward.offers.iter());
    let hosts = offers.filter_map(|sealed| Some(sealed.verify::<Offer>().ok()?.document().host));
    hosts.take(OTHERS_MAX).collect()
}

/// Asks the receipt's host for the bodies, with the user's signature: it alone gives them, and only to those whom the
/// receipt concerns. A node that is not the host says where that one is, if they know each other.
async fn add_bodies_of_host(
    bundle: &mut Bundle,
    client: &Client,
    terms: &Terms,
    wallet: &Wallet,
) -> Result<(), Failure> {
    let receipt = ReceiptId::of(&bundle.receipt);
    let checked =
        bundle.check().or_exit(Exit::Mismatch, || format!("receipt {receipt} does not hold"))?;
    let host = checked.receipt().document().host;
    let elsewhere = match host == terms.host {
        true => None,
        false => match client.of_peer(&host).await {
            Some(theirs) => Some(theirs),
            None => return Ok(()),
        },
    };
    let theirs = elsewhere.as_ref().unwrap_or(client);
    // A host that cannot be reached, or says no, leaves the papers as they are.
    let asked = papers::fetch(theirs, receipt, Some((wallet, terms.network))).await;
    if let Ok(whole) = asked {
        bundle.input_body = whole.input_body;
        bundle.output_body = whole.output_body;
    }
    Ok(())
}

async fn show(args: &ShowArgs, context: &Context) -> Ran {
    let bundle = obtain(&args.receipt, &args.node, context).await?;
    let checked = bundle.check().or_exit(Exit::Mismatch, || "this receipt does not hold")?;
    let (id, receipt) = (ReceiptId::of(&bundle.receipt), checked.receipt().document());
    if context.screen.is_json() {
        context.screen.json(&facts::json(id, receipt));
    } else {
        facts::print(id, receipt, &context.screen);
    }
    Ok(Exit::Ok)
}

async fn save(args: &SaveArgs, context: &Context) -> Ran {
    let client = args.node.client();
    let wallet = args.signer.wallet(context)?;
    let mut bundle = {
        let _asking = context.screen.spinner("asking the node");
        let network = Terms::of(&client).await?.network;
        papers::fetch(&client, args.receipt, Some((&wallet, network))).await?
    };
    let checked = bundle.check().or_exit(Exit::Mismatch, || "the node's papers do not hold")?;
    if args.without_function {
        bundle.function = None;
    } else if bundle.function.is_none() {
        bundle.function =
            Some(papers::fetch_function(&client, checked.receipt().document().function).await?);
    }
    papers::write(&args.file, &bundle)?;
    let missing = missing(&bundle);
    if context.screen.is_json() {
        let file = args.file.display().to_string();
        context.screen.json(&serde_json::json!({ "file": file, "missing": missing }));
    } else {
        context.screen.note(format_args!("kept in {}", args.file.display()));
        if !missing.is_empty() {
            context
                .screen
                .warn(format_args!("without {}: a re-run needs them", missing.join(", ")));
        }
    }
    Ok(Exit::Ok)
}

/// The parts a re-run needs that a bundle lacks.
fn missing(bundle: &Bundle) -> Vec<&'static str> {
    let parts = [
        ("the function", bundle.function.is_none()),
        ("the input", bundle.input.is_none()),
        ("the input's body", bundle.input_body.is_none()),
    ];
    parts.into_iter().filter_map(|(part, is_missing)| is_missing.then_some(part)).collect()
}

async fn list(args: &ListArgs, context: &Context) -> Ran {
    let client = args.node.client();
    let wallet = args.signer.wallet(context)?;
    let payer = match args.payer.as_deref() {
        Some("me") => Some(wallet.public().to_string()),
        other => other.map(str::to_owned),
    };
    let limit = args.limit.to_string();
    let filters = [
        ("function", args.function.as_deref()),
        ("payer", payer.as_deref()),
        ("after", args.after.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let path = format!("/receipts{}", encode_query(filters));
    let network = Terms::of(&client).await?.network;
    let answer = papers::signed_get(&client, &wallet, network, &path, "application/json").await?;
    let view: Value = serde_json::from_slice(&answer.body)
        .or_exit(Exit::Failed, || "the node's list is not JSON")?;
    if context.screen.is_json() {
        context.screen.json(&view);
    } else {
        print_list(&view, context);
    }
    Ok(Exit::Ok)
}

fn print_list(view: &Value, context: &Context) {
    let receipts =
        view.get("receipts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut table = Table::new(&[
        ("receipt", Align::Left),
        ("at", Align::Left),
        ("outcome", Align::Left),
        ("fuel", Align::Right),
        ("bill", Align::Right),
    ]);
    for receipt in receipts {
        let text = |name: &str| receipt.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let number = |name: &str| text(name).parse().map_or_else(|_| text(name), grouped);
        let at = text("at").parse().map_or_else(|_| text("at"), rfc3339);
        table.row([text("id"), at, text("outcome"), number("fuel"), number("bill")]);
    }
    for line in table.lines() {
        context.screen.line(line);
    }
    if let Some(next) = view.get("next").and_then(Value::as_str) {
        context.screen.note(format_args!("more: --after {next}"));
    }
}
