//! `talea logs`: what a function wrote to its log, for its owner.
//!
//! Invariants: every request is signed, since a node hands logs to the owner only; what a guest wrote is printed
//! without its control characters, so that a log cannot drive the reader's terminal. Following asks the node to
//! hold its answer until there is news; when the node goes away the command says so and tries again. Absent: logs
//! of the node itself.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::client::{Client, encode_query};
use super::exit::{Exit, Failure, OrExit as _, Ran};
use super::moment::rfc3339;
use super::screen::Ink;
use super::terms::{Registered, Terms};
use super::wallet::Wallet;
use super::{Context, NodeArgs, SignerArgs, amount, papers};

/// How long the node may hold an answer back; a node's own bound is 25 s.
const WAIT_S: u64 = 20;
/// Pause before a node that went away is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What `talea logs` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea logs me/hello             the newest entries
  talea logs me/hello -f          and what comes, until Ctrl-C
  talea logs me/hello -f -o json  one JSON document per line

Only the key that deployed a function (and the node's own) may read its log.")]
pub(super) struct LogsArgs {
    /// The function: its id or name
    function: String,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// Begin after this entry; 0 is the oldest that is kept
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Entries at a time
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = amount::count)]
    limit: u64,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// A page of a log.
#[derive(Debug, Deserialize)]
struct Page {
    lines: Vec<Entry>,
    next: Option<String>,
    #[serde(default)]
    has_more: bool,
}

/// What one run wrote.
#[derive(Debug, Deserialize)]
struct Entry {
    seq: String,
    at: String,
    receipt: String,
    text: String,
}

/// Runs `talea logs`.
pub(super) async fn run(args: &LogsArgs, context: &Context) -> Ran {
    // A held-back answer is not a late one.
    let time_max = args.node.timeout.max(Duration::from_secs(WAIT_S + 10));
    let client = Client::new(args.node.address.clone(), time_max);
    let wallet = args.signer.wallet(context)?;
    let network = Terms::of(&client).await?.network;
    let function = Registered::of(&client, &args.function).await?.id;
    let mut after = args.after.map(|after| after.to_string());
    loop {
        let limit = args.limit.to_string();
        let wait = WAIT_S.to_string();
        let query = [
            ("after", after.as_deref()),
            ("limit", Some(limit.as_str())),
            ("wait", args.follow.then_some(wait.as_str())),
        ];
        let query =
            encode_query(query.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let path = format!("/functions/{function}/logs{query}");
        match read(&client, &wallet, network, &path).await {
            Ok(page) => {
                page.lines.iter().for_each(|entry| print(entry, context));
                after = page.next.or(after);
                let has_rest = page.has_more && args.after.is_some();
                if !(args.follow || has_rest) {
                    return Ok(Exit::Ok);
                }
            }
            Err(failure) if args.follow && failure.exit() == Exit::Unavailable => {
                context.screen.note(format_args!("{}; trying again", failure.sentence()));
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            Err(failure) => return Err(failure),
        }
        // A closed pipe ends the following.
        context.screen.still_open()?;
    }
}

async fn read(
    client: &Client,
    wallet: &Wallet,
    network: talea_ledger::NetworkId,
    path: &str,
) -> Result<Page, Failure> {
    let answer = papers::signed_get(client, wallet, network, path, "application/json").await?;
    serde_json::from_slice(&answer.body)
        .or_exit(Exit::Failed, || "the node's log is not understood")
}

fn print(entry: &Entry, context: &Context) {
    let screen = &context.screen;
    if screen.is_json() {
        screen.json_line(&serde_json::json!({
            "seq": entry.seq,
            "at": entry.at,
            "receipt": entry.receipt,
            "text": entry.text,
        }));
        return;
    }
    let at = entry.at.parse().map_or_else(|_| entry.at.clone(), rfc3339);
    // The end of a CID tells receipts apart; its beginning is the same in all.
    let receipt =
        entry.receipt.get(entry.receipt.len().saturating_sub(8)..).unwrap_or(&entry.receipt);
    for line in entry.text.lines() {
        let head = screen.ink(Ink::Faint, format_args!("{at} ..{receipt}"));
        screen.line(format_args!("{head}  {}", harmless(line)));
    }
}

/// A line without what a terminal would obey.
fn harmless(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_drive_the_terminal() {
        assert_eq!(harmless("plain\ttext"), "plain\ttext");
        assert_eq!(harmless("\x1b[2J\x07red"), "?[2J?red");
    }

    #[test]
    fn pages_are_read_as_the_node_writes_them() {
        let text = r#"{"lines":[{"seq":"1","at":"5","receipt":"bafyr","text":"info x\n","bytes":null}],"next":"1","has_more":false}"#;
        let page: Page = serde_json::from_str(text).unwrap();
        assert_eq!((page.lines.len(), page.next.as_deref()), (1, Some("1")));
    }
}
