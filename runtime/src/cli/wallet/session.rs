//! `talea wallet session`: let another key sign runs and vouchers for this wallet, within bounds.
//!
//! Invariant: the wallet's secret signs here once and is asked no more; the grant is public, only the session's own
//! secret makes use of it. Absent: taking a grant back, which `talea channel revoke` does; its sum, its time and
//! closing the channel bound it too.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use talea_ledger::codec::List;
use talea_ledger::sign::seal_document;
use talea_ledger::{FunctionId, PublicKey, Session, Tal, UnixNanos};

use crate::cli::exit::{Exit, Failure, OrExit as _, Ran};
use crate::cli::screen::grouped;
use crate::cli::terms::Terms;
use crate::cli::{Context, NodeArgs, SignerArgs, amount};

/// What `talea wallet session` takes.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct SessionArgs {
    /// The public key that may sign: did:key:z6Mk..
    to: PublicKey,
    /// Where the grant is written
    #[arg(long, value_name = "FILE", default_value = "session.grant")]
    out: PathBuf,
    /// The most it may spend of one channel
    #[arg(long, value_name = "TAL", default_value = "100k", value_parser = amount::count)]
    total: u64,
    /// How long it counts
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = amount::time)]
    term: Duration,
    /// A host it may pay; several times for several [default: the node's]
    #[arg(long = "host", value_name = "KEY", conflicts_with = "any_host")]
    hosts: Vec<PublicKey>,
    /// It may pay any host
    #[arg(long)]
    any_host: bool,
    /// A function it may call; several times for several [default: any]
    #[arg(long = "function", value_name = "ID")]
    functions: Vec<FunctionId>,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs `talea wallet session`.
pub(in crate::cli) async fn run(args: &SessionArgs, context: &Context) -> Ran {
    let wallet = args.signer.wallet(context)?;
    let terms = Terms::of(&args.node.client()).await?;
    let many = |what: &str| Failure::said(Exit::Usage, format!("too many {what} for one session"));
    let hosts = match (args.any_host, args.hosts.is_empty()) {
        (true, _) => None,
        (false, true) => Some(vec![terms.host]),
        (false, false) => Some(args.hosts.clone()),
    };
    let hosts = hosts.map(List::try_from).transpose().map_err(|_| many("hosts"))?;
    let functions = (!args.functions.is_empty()).then(|| args.functions.clone());
    let functions = functions.map(List::try_from).transpose().map_err(|_| many("functions"))?;
    let term = u64::try_from(args.term.as_nanos()).unwrap_or(u64::MAX);
    let session = Session {
        key: args.to,
        network: terms.network,
        hosts,
        payer: wallet.public(),
        total: Tal(args.total),
        expires: UnixNanos(crate::cli::now().0.saturating_add(term)),
        functions,
    };
    let sealed = seal_document(wallet.key(), &session);
    std::fs::write(&args.out, sealed.encode())
        .or_exit(Exit::Failed, || format!("cannot write {}", args.out.display()))?;
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "session": session.id().to_string(),
            "key": args.to.to_string(),
            "payer": wallet.public().to_string(),
            "total": args.total.to_string(),
            "expires": session.expires.to_string(),
            "file": args.out.display().to_string(),
        }));
    } else {
        screen.line(args.out.display());
        screen.note(format_args!("{} tal of a channel at most", grouped(args.total)));
    }
    Ok(Exit::Ok)
}
