//! `talea invoke`: call a function, see its answer, and keep the proof of what it cost.
//!
//! Invariants: the body goes to standard output exactly as it came, everything else to standard error; a receipt
//! that came with the answer is verified before its numbers are shown; a paid run is durable on this machine
//! before it is sent, and `--retry` sends the very same one. Absent: any judgement of the guest's status: a 404
//! that a function answers is an answer.

mod answer;
mod order;
mod paid;

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use talea_ledger::{Bundle, ChannelId, Outcome};

use self::answer::Answered;
use self::order::Wanted;
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::screen::Ink;
use super::terms::Terms;
use super::{Context, NodeArgs, SignerArgs, amount, facts, papers};

/// What `talea invoke` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea invoke me/hello                                  GET /f/me/hello
  talea invoke me/hello /greet --query name=Ann
  talea invoke me/markdown --data @page.md --header 'content-type: text/markdown'
  cat photo.jpg | talea invoke bafkrei.. --data - > small.png
  talea invoke me/price --pay --max-bill 5000            signed with your key, never billed more
  talea invoke me/price --pay --key app --session app.grant    as a session key
  talea invoke me/price --pay --save call.talea          keep all that proves the bill, then
  talea receipt verify call.talea --rerun                check it without any node

The exit code is 5 when the function ran and did not end `ok`: it was billed and there is a receipt.")]
pub(super) struct InvokeArgs {
    /// The function: its id, sha256:<hex>, namespace/name, or a .wasm file whose id is meant
    function: String,
    /// The path the function sees
    #[arg(default_value = "")]
    path: String,
    #[command(flatten)]
    request: RequestArgs,
    /// Print the whole receipt, not only a line of it
    #[arg(long)]
    receipt: bool,
    /// Keep receipt, proof, run, input, output and the function's bytes in this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Write the answer to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show the status and the headers of the answer
    #[arg(long, short)]
    include: bool,
    #[command(flatten)]
    pay: PayArgs,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What is sent.
#[derive(Clone, Debug, Args)]
struct RequestArgs {
    /// The body: text, @FILE, or - for standard input
    #[arg(long, short, value_name = "BODY")]
    data: Option<String>,
    /// The method [default: POST with a body, GET without]
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// A header, `name: value`; several times for several
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// A query parameter, `name=value`; several times for several
    #[arg(long, value_name = "PAIR")]
    query: Vec<String>,
    /// An argument for a program; several times for several
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    args: Vec<String>,
    /// Put 16 random bytes into the input document, so that nobody can guess it from its CID
    #[arg(long)]
    salt: bool,
}

/// How it is paid for.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Payment")]
struct PayArgs {
    /// Sign a run with your key and pay for it; a call without is free, if the host takes such. Uses the channel to
    /// this host, or opens one
    #[arg(long)]
    pay: bool,
    /// Pay from this channel [default: the one that this wallet opened to the host]
    #[arg(long, value_name = "ID", requires = "pay")]
    channel: Option<ChannelId>,
    /// Sign under this grant of the payer (`talea wallet session`); --key names the session's key
    #[arg(long, value_name = "FILE", requires = "pay")]
    session: Option<PathBuf>,
    /// Lock this much if a channel has to be opened [default: twenty such calls, at least 1M]
    #[arg(long, value_name = "TAL", value_parser = amount::count, requires = "pay")]
    escrow: Option<u64>,
    /// Pay without a channel, at a host that has your key among its payers
    #[arg(long, requires = "pay", conflicts_with_all = ["channel", "session", "escrow"])]
    on_credit: bool,
    /// Never be billed more than this [default: what the limits of the run can cost]
    #[arg(long, value_name = "TAL", value_parser = amount::count, requires = "pay")]
    max_bill: Option<u64>,
    /// The most fuel the run may use [default: 1G, or what the function is allowed]
    #[arg(long, value_name = "COUNT", value_parser = amount::count, requires = "pay")]
    max_fuel: Option<u64>,
    /// The longest answer to pay for [default: 4MiB, or what the function is allowed]
    #[arg(long, value_name = "SIZE", value_parser = amount::size, requires = "pay")]
    max_output: Option<u64>,
    /// Send a signed run again: the newest without an answer, or the one of this number. Billed once
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "0", requires = "pay")]
    retry: Option<u64>,
}

/// Runs `talea invoke`.
pub(super) async fn run(args: &InvokeArgs, context: &Context) -> Ran {
    let client = args.node.client();
    let wanted = Wanted::new(&args.function, &args.path, &args.request)?;
    let answered = {
        let _calling = context.screen.spinner("calling");
        if args.pay.pay {
            let wallet = args.signer.wallet(context)?;
            let time_max = args.node.timeout;
            paid::call(&client, &wallet, &wanted, &args.pay, time_max).await?
        } else {
            answer::read(client.send(wanted.request(&client)?).await?, wanted.body().clone())?
        }
    };
    answered.check(wanted.function())?;
    if let Some(path) = &args.save {
        let bundle = gather(args, &answered, context).await?;
        papers::write(path, &bundle)?;
    }
    show(args, &answered, context)?;
    Ok(if answered.outcome == Outcome::Ok { Exit::Ok } else { Exit::Guest })
}

/// All the papers of a call, checked as one: what is kept verifies later without a node.
async fn gather(
    args: &InvokeArgs,
    answered: &Answered,
    context: &Context,
) -> Result<Bundle, Failure> {
    let _gathering = context.screen.spinner("gathering the papers");
    let client = args.node.client();
    let wallet = if args.pay.pay { Some(args.signer.wallet(context)?) } else { None };
    let network = Terms::of(&client).await?.network;
    let signer = wallet.as_ref().map(|wallet| (wallet, network));
    let mut bundle = papers::fetch(&client, answered.receipt, signer).await?;
    papers::add_bodies(&mut bundle, &answered.sent, answered.output())?;
    if bundle.function.is_none() {
        bundle.function = Some(papers::fetch_function(&client, answered.function).await?);
    }
    bundle
        .check()
        .or_exit(Exit::Mismatch, || "the node's papers contradict each other or the answer")?;
    Ok(bundle)
}

fn show(args: &InvokeArgs, answered: &Answered, context: &Context) -> Result<(), Failure> {
    let screen = &context.screen;
    if let Some(path) = &args.out {
        std::fs::write(path, &answered.body)
            .or_exit(Exit::Failed, || format!("cannot write {}", path.display()))?;
    }
    if screen.is_json() {
        screen.json(&answered.json(args.out.is_none()));
        return Ok(());
    }
    if args.include {
        screen.note(screen.note_ink(Ink::Strong, answered.status));
        for (name, value) in &answered.headers {
            screen.note(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
        screen.note("");
    }
    if args.out.is_none() {
        print_body(&answered.body, context)?;
    }
    if let Some(paid) = &answered.paid {
        screen.note(screen.note_ink(Ink::Faint, paid.line()));
    }
    let ink = if answered.outcome == Outcome::Ok { Ink::Good } else { Ink::Bad };
    screen.note(format_args!("{}", screen.note_ink(ink, answered.line())));
    match &answered.proven {
        Some(proven) if args.receipt => facts::note(answered.receipt, proven, screen),
        None if args.receipt => {
            screen.note("the receipt did not come with the answer: `talea receipt show` gets it")
        }
        _ => {}
    }
    if let Some(path) = &args.save {
        screen.note(screen.note_ink(Ink::Faint, format_args!("kept in {}", path.display())));
    }
    Ok(())
}

/// Prints a body; refuses to pour binary over a terminal.
fn print_body(body: &Bytes, context: &Context) -> Result<(), Failure> {
    let screen = &context.screen;
    let is_text = std::str::from_utf8(body).is_ok_and(|text| !text.contains('\0'));
    if context.around.out_is_terminal && !is_text {
        let sentence = format!("the answer is {} bytes that are not text", body.len());
        return Err(
            Failure::said(Exit::Failed, sentence).advise("use --out FILE, or send it into a pipe")
        );
    }
    screen.bytes(body);
    if context.around.out_is_terminal && !body.is_empty() && !body.ends_with(b"\n") {
        screen.bytes(b"\n");
    }
    Ok(())
}
