//! `talea receipt fraud`: do two receipts prove that their host cheated?
//!
//! A host gives a sequence of a channel one receipt, and no two bills count the same money. Two receipts with their
//! host's signature that break this are proof by themselves; the ledger keeps it and takes the host's stake.

use clap::Args;
use serde_json::json;
use talea_ledger::transaction::{ProvenReceipt, ReportFraud};
use talea_ledger::{Action, Bundle, Fraud, Receipt, fraud};

use super::obtain;
use crate::cli::channel::opening::network_of;
use crate::cli::exit::{Exit, Failure, OrExit as _, Ran};
use crate::cli::ledger::teller;
use crate::cli::screen::Ink;
use crate::cli::{Context, NodeArgs, SignerArgs};

/// What `talea receipt fraud` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea receipt fraud one.talea other.talea             offline: exit code 3 when they prove fraud
  talea receipt fraud one.talea other.talea --report    and put the proof on the ledger, for a fee

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
        (Some(_), true) => Some(report(args, &one, &first, &second, context).await?),
        _ => None,
    };
    show(found.as_ref(), reported, context);
    Ok(if found.is_some() { Exit::Mismatch } else { Exit::Ok })
}

/// The receipt, once its host's signature holds.
fn said(bundle: &Bundle) -> Result<Receipt, Failure> {
    let verified = talea_ledger::batch::verify_receipt(&bundle.receipt, &bundle.proof)
        .or_exit(Exit::Data, || "a receipt is not signed by its host, so it proves nothing")?;
    Ok(verified.document().clone())
}

async fn report(
    args: &FraudArgs,
    receipt: &Receipt,
    first: &Bundle,
    second: &Bundle,
    context: &Context,
) -> Result<String, Failure> {
    let (client, wallet) = (args.node.client(), args.signer.wallet(context)?);
    let network = network_of(&client, receipt.network).await?;
    let proven = |bundle: &Bundle| ProvenReceipt {
        proof: bundle.proof.clone(),
        receipt: bundle.receipt.clone(),
    };
    let (first, second) = (proven(first), proven(second));
    let action = Action::ReportFraud(Box::new(ReportFraud { first, second }));
    let settled = teller::send(&client, &network, wallet.key(), action, args.node.timeout).await?;
    Ok(settled.id.to_string())
}

fn show(found: Option<&Fraud>, reported: Option<String>, context: &Context) {
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "fraud": found.map(|fraud| fraud.kind.text()),
            "host": found.map(|fraud| fraud.host.to_string()),
            "channel": found.map(|fraud| fraud.channel.to_string()),
            "transaction": reported,
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
    if let Some(transaction) = reported {
        screen.note(format_args!("on the ledger by {transaction}"));
    }
}
