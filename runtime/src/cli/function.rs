//! `talea function`: which functions stay on a node of one's own.
//!
//! Invariant: every request is signed by the host's key, since only the host's owner decides what his disk is for.
//! Absent: deploying, which is anybody's whom the host lets (`deploy`).

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;
use talea_ledger::FunctionId;

use super::exit::{Exit, OrExit as _, Ran};
use super::terms::{Registered, Terms};
use super::{Context, NodeArgs, SignerArgs, papers};

/// What to do with functions of a node.
#[derive(Debug, Subcommand)]
pub(super) enum FunctionCommand {
    /// As the host's owner: keep a function on the node, whatever is used more
    #[command(after_help = "Example:
  talea function pin --key node/key me/hello

Functions that calls have brought from other nodes give way to others, the least lately used first, when all of them
together pass `network.fetch_size`. A pinned one stays. One that is not on the node yet is brought.")]
    Pin(PinArgs),
    /// As the host's owner: let a function give way again
    Unpin(PinArgs),
}

/// What `talea function pin` and `unpin` take.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// The function's id, or its name
    #[arg(value_name = "FUNCTION")]
    function: String,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea function`.
pub(super) async fn run(command: &FunctionCommand, context: &Context) -> Ran {
    match command {
        FunctionCommand::Pin(args) => change(args, &Method::POST, context).await,
        FunctionCommand::Unpin(args) => change(args, &Method::DELETE, context).await,
    }
}

async fn change(args: &PinArgs, method: &Method, context: &Context) -> Ran {
    let (client, wallet) = (args.node.client(), args.signer.wallet(context)?);
    let terms = Terms::of(&client).await?;
    let function = match args.function.parse::<FunctionId>() {
        Ok(id) => id,
        Err(_) => Registered::of(&client, &args.function).await?.id,
    };
    let path = format!("/functions/{function}/pin");
    let (network, json) = (terms.network, "application/json");
    let answer = papers::signed(&client, &wallet, network, method, &path, json).await?;
    let view: Value = serde_json::from_slice(&answer.body)
        .or_exit(Exit::Failed, || "the node's answer is no JSON")?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&view);
    } else if view["pinned"] == Value::Bool(true) {
        screen.line(format_args!("{function} stays"));
    } else {
        screen.line(format_args!("{function} may give way"));
    }
    Ok(Exit::Ok)
}
