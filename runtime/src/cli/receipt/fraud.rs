//! `talea receipt fraud`: do two receipts prove that their host cheated?
//!
//! A host gives a sequence of a channel one receipt, and no two bills count the same money. Two receipts with their
//! host's signature that break this are proof by themselves; the ledger keeps it and takes the host's stake.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, header};
use serde_json::{Value, json};
use talea_ledger::transaction::{ProvenReceipt, ReportFraud};
use talea_ledger::{Action, Bundle, Fraud, Receipt, fraud};

use super::obtain;
use crate::cli::channel::opening::network_of;
use crate::cli::client::{Client, encode_query, request};
use crate::cli::exit::{Exit, Failure, OrExit as _, Ran};
use crate::cli::ledger::teller;
use crate::cli::screen::Ink;
use crate::cli::{Context, NodeArgs, SignerArgs};

/// How often the node is asked whether it has reported: a few times in each of its rounds.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What `talea receipt fraud` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea receipt fraud one.talea other.talea             offline: exit code 3 when they prove fraud
  talea receipt fraud one.talea other.talea --report    and put the proof on the ledger

The node keeps the proof. Where it reports it by itself, that costs nothing; otherwise this wallet pays the fee.

Exit codes: 0 the two contradict nothing, 3 they prove fraud.")]
pub(in crate::cli) struct FraudArgs {
    /// A .talea file or a receipt's CID
    first: String,
    /// Another one
    second: String,
    /// Put the proof on the ledger
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea receipt fraud`.
pub(super) async fn run(args: &FraudArgs, context: &Context) -> Ran {
    let first = obtain(&args.first, &args.node, context).await?;
    let second = obtain(&args.second, &args.node, context).await?;
    let (one, other) = (said(&first)?, said(&second)?);
    let found = fraud::check(&one, &other);
    let reported = match (&found, args.report) {
        (Some(fraud), true) => {
            Some(report(args, fraud, &one, evidence(&first, &second), context).await?)
        }
        _ => None,
    };
    show(found.as_ref(), reported.as_ref(), context);
    Ok(if found.is_some() { Exit::Mismatch } else { Exit::Ok })
}

/// The receipt, once its host's signature holds.
fn said(bundle: &Bundle) -> Result<Receipt, Failure> {
    let verified = talea_ledger::batch::verify_receipt(&bundle.receipt, &bundle.proof)
        .or_exit(Exit::Data, || "a receipt is not signed by its host, so it proves nothing")?;
    Ok(verified.document().clone())
}

fn evidence(first: &Bundle, second: &Bundle) -> ReportFraud {
    let proven = |bundle: &Bundle| ProvenReceipt {
        proof: bundle.proof.clone(),
        receipt: bundle.receipt.clone(),
    };
    ReportFraud { first: proven(first), second: proven(second) }
}

/// How the proof came to the ledger.
struct Reported {
    transaction: String,
    /// Who paid for it: `node`, `wallet`, or `before` when it was there.
    by: &'static str,
}

async fn report(
    args: &FraudArgs,
    fraud: &Fraud,
    receipt: &Receipt,
    evidence: ReportFraud,
    context: &Context,
) -> Result<Reported, Failure> {
    let (client, wallet) = (args.node.client(), args.signer.wallet(context)?);
    let network = network_of(&client, receipt.network).await?;
    match handed_in(&client, &evidence).await?.as_str() {
        "recorded" => {
            let transaction = recorded(&client, fraud, args.node.timeout).await?;
            return Ok(Reported { transaction, by: "before" });
        }
        "soon" => {
            let _waiting = context.screen.spinner("waiting for the node's report");
            let transaction = recorded(&client, fraud, args.node.timeout).await?;
            return Ok(Reported { transaction, by: "node" });
        }
        _ => {}
    }
    let action = Action::ReportFraud(Box::new(evidence));
    let settled = teller::send(&client, &network, wallet.key(), action, args.node.timeout).await?;
    Ok(Reported { transaction: settled.id.to_string(), by: "wallet" })
}

/// Gives the evidence to the node, which keeps it. What it does with it.
async fn handed_in(client: &Client, evidence: &ReportFraud) -> Result<String, Failure> {
    let request = request(client, Method::POST, "/fraud")
        .header(header::CONTENT_TYPE, "application/cbor")
        .body(Bytes::from(evidence.encode()))
        .or_exit(Exit::Failed, || "the request cannot be written")?;
    let answer = client.expect(request).await?;
    let view: Value = serde_json::from_slice(&answer.body)
        .or_exit(Exit::Failed, || "the node's answer is no JSON")?;
    Ok(view["report"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the ledger has the fraud; the transaction that brought it.
async fn recorded(client: &Client, fraud: &Fraud, time_max: Duration) -> Result<String, Failure> {
    let (host, channel) = (fraud.host.to_string(), fraud.channel.to_string());
    let query = encode_query([("host", host.as_str()), ("channel", channel.as_str())]);
    let path = format!("/fraud{query}");
    let wait = async {
        loop {
            let view = client.get_json(&path).await?;
            if let Some(id) = view["fraud"][0]["record"]["transaction"].as_str() {
                return Ok::<_, Failure>(id.to_owned());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    tokio::time::timeout(time_max, wait).await.map_err(|_| {
        Failure::said(Exit::Unavailable, "the node has the evidence and has not reported it yet")
    })?
}

fn show(found: Option<&Fraud>, reported: Option<&Reported>, context: &Context) {
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "fraud": found.map(|fraud| fraud.kind.text()),
            "host": found.map(|fraud| fraud.host.to_string()),
            "channel": found.map(|fraud| fraud.channel.to_string()),
            "transaction": reported.map(|reported| &reported.transaction),
            "reported_by": reported.map(|reported| reported.by),
        }));
        return;
    }
    let Some(fraud) = found else {
        screen.line("the two receipts contradict nothing");
        return;
    };
    let what = match fraud.kind {
        fraud::FraudKind::Sequence => "one sequence has two receipts",
        fraud::FraudKind::Owed => "two bills count the same money",
    };
    screen.line(screen.ink(Ink::Bad, format_args!("fraud: {what}")));
    screen.line(format_args!("host     {}", fraud.host));
    screen.line(format_args!("channel  {}", fraud.channel));
    if let Some(Reported { transaction, by }) = reported {
        screen.note(format_args!("on the ledger by {transaction} ({by})"));
    }
}
