//! `talea channel revoke`: a session ends before its time, in one channel.
//!
//! The ledger gives the host the closing window to redeem what the session's key has signed by then; the host takes
//! no further run under it as soon as a block says so. Absent: other channels, in which the session goes on.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use talea_ledger::transaction::RevokeSession;
use talea_ledger::{Action, ChannelId};

use super::counter::Counter;
use super::hand;
use crate::cli::exit::{Exit, Failure, Ran};
use crate::cli::{Context, NodeArgs, SignerArgs};

/// What `talea channel revoke` takes.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct RevokeArgs {
    /// The grant, as `talea wallet session` wrote it
    grant: PathBuf,
    /// The channel [default: the one that this wallet opened to this node's host]
    #[arg(long)]
    channel: Option<ChannelId>,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea channel revoke`.
pub(super) async fn run(args: &RevokeArgs, context: &Context) -> Ran {
    let (_, session) = hand::read(&args.grant)?;
    let counter = Counter::of(&args.signer, &args.node, context).await?;
    if session.payer != counter.wallet.public() {
        let sentence = format!("the session was granted by {}, not by this wallet", session.payer);
        return Err(Failure::said(Exit::Denied, sentence));
    }
    let (hand, channel) = (counter.hand()?, counter.channel(args.channel)?);
    let action = RevokeSession { channel, session: session.id() };
    let transaction = {
        let _waiting = context.screen.spinner("waiting for the block");
        counter.bank(&hand).send(Action::RevokeSession(action)).await?
    };
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "channel": channel.to_string(),
            "session": session.id().to_string(),
            "transaction": transaction.to_string(),
        }));
    } else {
        screen.line(format_args!("{} signs no more in this channel", session.key));
        screen.note("what it has signed can be redeemed for the closing window");
    }
    Ok(Exit::Ok)
}
