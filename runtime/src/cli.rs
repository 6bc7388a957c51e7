//! The command line: its grammar, its help, and the way out.
//!
//! Owns: every word the user types or reads. Invariants: results go to standard output, all else to standard
//! error; each command ends in one [`exit::Exit`]; a wrong command line ends before anything is touched. Absent:
//! the work itself. Commands are clients of a node, of the documents and of the meter; `node` and `dev` start a
//! node through its door, and a re-run goes through the executor's.

mod amount;
mod build;
mod channel;
mod client;
mod completion;
mod deploy;
mod dev;
mod doctor;
mod exit;
mod facts;
mod function;
mod guest;
mod invoke;
mod ledger;
mod logs;
mod moment;
mod new;
mod node;
mod offers;
mod papers;
mod peers;
mod receipt;
mod screen;
mod surroundings;
mod terms;
mod wallet;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use talea_ledger::UnixNanos;
use talea_runtime::clock::{Clock as _, SystemClock};
use talea_runtime::executor::{COMPILE_WORKER, compile_worker_main};

use client::{Client, NodeAddress};
use exit::{Exit, Failure, Ran};
use screen::{Colour, Format, Ink, Screen};
use surroundings::Surroundings;

/// Run WebAssembly functions by the hash of their code, with bills that anyone can run again.
#[derive(Debug, Parser)]
#[command(name = "talea", bin_name = "talea", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
struct Global {
    /// How results are printed
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORM")]
    #[arg(help_heading = "Global options")]
    output: Format,
    /// When colours are used; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    #[arg(help_heading = "Global options")]
    color: Colour,
    /// Print results, warnings and errors only
    #[arg(long, short, global = true, help_heading = "Global options")]
    quiet: bool,
}

/// Which node a client command talks to.
#[derive(Clone, Debug, Args)]
struct NodeArgs {
    /// The node to talk to
    #[arg(long = "node", value_name = "URL", env = "TALEA_NODE", hide_env_values = true)]
    #[arg(default_value = "http://127.0.0.1:7600", help_heading = "Node")]
    address: NodeAddress,
    /// Give up a request after this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = amount::time)]
    #[arg(help_heading = "Node")]
    timeout: Duration,
}

/// Whose key signs.
#[derive(Clone, Debug, Args)]
struct SignerArgs {
    /// Sign with this key (a private file of 64 hex digits, or a name of `talea wallet list`)
    #[arg(long, value_name = "KEY", help_heading = "Node")]
    key: Option<PathBuf>,
}

/// The commands, in the order a new user meets them.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a function's folder from a template
    New(new::NewArgs),
    /// Build a function and say what a node will make of it
    Build(build::BuildArgs),
    /// Run a function here, and again after each change
    Dev(dev::DevArgs),
    /// Put a function on a node
    Deploy(deploy::DeployArgs),
    /// Keep functions on a node, or let them go
    #[command(subcommand)]
    Function(function::FunctionCommand),
    /// Call a function
    Invoke(Box<invoke::InvokeArgs>),
    /// Show, verify, explain, save or list receipts
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Show what a function wrote to its log
    Logs(logs::LogsArgs),
    /// Show, make, list or fund the keys that sign for you
    #[command(subcommand)]
    Wallet(wallet::commands::WalletCommand),
    /// Ask the ledger, send money, prove, verify, rebuild
    #[command(subcommand)]
    Ledger(Box<ledger::LedgerCommand>),
    /// Open, top up, close or show channels, from which runs are paid
    #[command(subcommand)]
    Channel(Box<channel::ChannelCommand>),
    /// Run a node
    Node(Box<node::NodeRunArgs>),
    /// List the nodes that a node is connected with
    Peers(peers::PeersArgs),
    /// List what hosts offer to run calls for, as a node has heard
    Offers(offers::OffersArgs),
    /// Check this machine, the wallet, and a node
    Doctor(doctor::DoctorArgs),
    /// Print the script that makes a shell complete these words
    Completion(completion::CompletionArgs),
}

/// What every command is handed.
#[derive(Debug)]
struct Context {
    screen: Screen,
    around: Surroundings,
}

// === impl NodeArgs ===

impl NodeArgs {
    fn client(&self) -> Client {
        Client::new(self.address.clone(), self.timeout)
    }
}

/// The `talea` command: from the process' arguments to its exit code.
pub(crate) fn main() -> ExitCode {
    // A node starts its own program again to compile a module apart from itself. That process has its standard
    // output for the machine code alone, and nothing of the grammar below.
    if std::env::args_os().nth(1).is_some_and(|word| word == COMPILE_WORKER) {
        return compile_worker_main();
    }
    ExitCode::from(run().number())
}

fn run() -> Exit {
    let grammar = grammar();
    let parsed = grammar.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(refusal) => {
            // Help and version are printed to standard output and are no failure. An error of printing has
            // nowhere to go.
            let _ = refusal.print();
            return if refusal.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let around = Surroundings::read();
    let screen = Screen::new(cli.global.output, cli.global.color, cli.global.quiet, &around);
    let context = Context { screen, around };
    let ran =
        dispatch(cli.command, &context).and_then(|exit| context.screen.close().map(|()| exit));
    ran.unwrap_or_else(|failure| {
        tell(&failure, &context.screen);
        failure.exit()
    })
}

/// The grammar with the exit codes at the end of `talea --help`.
fn grammar() -> clap::Command {
    let help = format!(
        "Examples:\n  talea new hello && cd hello && talea dev\n  talea deploy hello.wasm --name me/hello\n  \
         talea invoke me/hello --data @input.txt --save call.talea\n  \
         talea receipt verify call.talea --rerun\n\n{}",
        Exit::help()
    );
    Cli::command().after_help(help)
}

fn dispatch(command: Command, context: &Context) -> Ran {
    match command {
        Command::New(args) => new::run(&args, context),
        Command::Build(args) => build::run(&args, context),
        Command::Dev(args) => dev::run(&args, context),
        Command::Deploy(args) => block_on(deploy::run(&args, context)),
        Command::Function(command) => block_on(function::run(&command, context)),
        Command::Invoke(args) => block_on(invoke::run(&args, context)),
        Command::Receipt(command) => block_on(receipt::run(&command, context)),
        Command::Logs(args) => block_on(logs::run(&args, context)),
        Command::Wallet(command) => wallet::commands::run(command, context),
        Command::Ledger(command) => block_on(ledger::run(&command, context)),
        Command::Channel(command) => block_on(channel::run(&command, context)),
        Command::Node(args) => node::run(&args, context),
        Command::Peers(args) => block_on(peers::run(&args, context)),
        Command::Offers(args) => block_on(offers::run(&args, context)),
        Command::Doctor(args) => block_on(doctor::run(&args, context)),
        Command::Completion(args) => completion::run(&args, context),
    }
}

/// Runs a client's command; one thread is plenty for one request at a time.
fn block_on(command: impl Future<Output = Ran>) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Failed, error))?.block_on(command)
}

/// Prints a failure: a sentence and advice for people, one JSON document on standard error for programs.
fn tell(failure: &Failure, screen: &Screen) {
    if screen.is_json() {
        let view = serde_json::json!({ "error": {
            "message": failure.sentence(),
            "code": failure.code(),
            "advice": failure.advice(),
            "exit": failure.exit().number(),
        }});
        screen.warn(view);
        return;
    }
    screen.warn(format_args!("{} {}", screen.note_ink(Ink::Bad, "error:"), failure.sentence()));
    if let Some(advice) = failure.advice() {
        screen.warn(format_args!("{} {advice}", screen.note_ink(Ink::Strong, "  try:")));
    }
}

impl SignerArgs {
    fn wallet(&self, context: &Context) -> Result<wallet::Wallet, Failure> {
        wallet::open_for(self.key.as_deref(), context)
    }
}

/// A document's bytes as they travel in a header.
fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The time, for documents this command signs.
fn now() -> UnixNanos {
    SystemClock::default().now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        grammar().debug_assert();
    }

    /// What a command line ends in before anything is run; `None` when it would run.
    fn refused(line: &str) -> Option<Exit> {
        let words = line.split_whitespace();
        match grammar().try_get_matches_from(words) {
            Ok(_) => None,
            Err(refusal) => Some(if refusal.use_stderr() { Exit::Usage } else { Exit::Ok }),
        }
    }

    #[test]
    fn command_lines() {
        for (line, ends) in [
            ("talea", Some(Exit::Usage)),
            ("talea --help", Some(Exit::Ok)),
            ("talea --version", Some(Exit::Ok)),
            ("talea nonsense", Some(Exit::Usage)),
            ("talea new", Some(Exit::Usage)),
            ("talea new hello", None),
            ("talea new hello --template c", None),
            ("talea new hello --template cobol", Some(Exit::Usage)),
            ("talea invoke", Some(Exit::Usage)),
            ("talea invoke f --max-bill 5", Some(Exit::Usage)),
            ("talea invoke f --pay --max-bill 5", None),
            ("talea invoke f --pay --max-bill 5x", Some(Exit::Usage)),
            ("talea invoke f --pay --retry", None),
            ("talea invoke f --pay --retry 7", None),
            ("talea invoke f /p --arg -x --arg --long -d @file -H a:b -i", None),
            ("talea deploy f.wasm --name bad", Some(Exit::Usage)),
            ("talea deploy f.wasm --name me/f --max-memory 16MiB", None),
            ("talea function", Some(Exit::Usage)),
            ("talea function pin", Some(Exit::Usage)),
            ("talea function pin me/f --key node/key", None),
            ("talea function unpin me/f --node 127.0.0.1:1", None),
            ("talea receipt", Some(Exit::Usage)),
            ("talea receipt verify", Some(Exit::Usage)),
            ("talea receipt verify f.talea --rerun --node 127.0.0.1:1", None),
            ("talea receipt save not-a-cid f", Some(Exit::Usage)),
            ("talea receipt explain f --top 0", None),
            ("talea logs me/f -f --after 0", None),
            ("talea invoke f --channel x", Some(Exit::Usage)),
            ("talea invoke f --pay --on-credit --session s", Some(Exit::Usage)),
            ("talea invoke f --pay --session s --key app --escrow 5M", None),
            ("talea channel", Some(Exit::Usage)),
            ("talea channel open --escrow 5M --for 24h", None),
            ("talea channel top-up", Some(Exit::Usage)),
            ("talea channel top-up --amount 5k", None),
            ("talea channel close --no-wait", None),
            ("talea channel show nonsense", Some(Exit::Usage)),
            ("talea channel show --all", None),
            ("talea channel redeem", Some(Exit::Usage)),
            ("talea node --data d --listen 127.0.0.1:0 --payers a,b --set x=y", None),
            ("talea node --data d --join /ip4/1.2.3.4/tcp/1 --network 00", None),
            ("talea peers --node 127.0.0.1:1 --output json", None),
            ("talea peers extra", Some(Exit::Usage)),
            ("talea offers --node 127.0.0.1:1", None),
            ("talea dev --listen nowhere", Some(Exit::Usage)),
            ("talea dev hello --like 127.0.0.1:1 --no-watch", None),
            ("talea completion tcsh", Some(Exit::Usage)),
            ("talea wallet show --output json", None),
            ("talea wallet new alice", None),
            ("talea wallet new Alice!", Some(Exit::Usage)),
            ("talea wallet list --offline", None),
            ("talea wallet fund --amount 5M --key alice", None),
            ("talea wallet fund --amount five", Some(Exit::Usage)),
            ("talea ledger", Some(Exit::Usage)),
            ("talea ledger balance alice", None),
            ("talea ledger transfer alice", Some(Exit::Usage)),
            ("talea ledger transfer alice 5k --no-wait", None),
            ("talea ledger transfer alice 5x", Some(Exit::Usage)),
            ("talea ledger blocks --after 3 --limit 5", None),
            ("talea ledger show 12", None),
            ("talea ledger prove me/hello --save p.json", None),
            ("talea ledger verify p.json --network 12", Some(Exit::Usage)),
            ("talea ledger rebuild", Some(Exit::Usage)),
            ("talea ledger rebuild --data d", None),
            ("talea ledger genesis f --name n", Some(Exit::Usage)),
            ("talea --output json wallet show", None),
            ("talea wallet show --output yaml", Some(Exit::Usage)),
            ("talea doctor --node https://example.org", Some(Exit::Usage)),
            ("talea doctor --timeout 0", Some(Exit::Usage)),
            ("talea doctor --node 127.0.0.1:7600 --timeout 5s", None),
        ] {
            assert_eq!(refused(line), ends, "{line}");
        }
    }
}
