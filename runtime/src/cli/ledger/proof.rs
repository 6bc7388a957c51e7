//! `talea ledger prove | verify`: a file that shows what the ledger says, to somebody who has no node.
//!
//! Format: a JSON object with `talea` (the form's name), `params` (the network's encoded parameters), `evidence`
//! (the encoded proof) and, when the block is final, `commit` (the encoded votes); bytes are base64url.
//!
//! Invariants: verifying opens no connection. The network's id is the hash of the parameters in the file, and the
//! verifier must know it: `--network` holds it against one, otherwise it is printed. Absent: whether the state is
//! the newest. A proof is of one block.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use talea_ledger::finality::{Commit, Phase, Vote};
use talea_ledger::proof::{Evidence, Proven};
use talea_ledger::rules::record::{Key, Record};
use talea_ledger::{
    BlockId, ChannelId, Document as _, Network, NetworkId, NetworkParams, PublicKey, TransactionId,
};

use super::teller::unbase64;
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure, OrExit as _, Ran};
use crate::cli::screen::Ink;
use crate::cli::{Context, NodeArgs, base64url};

/// What such a file calls itself.
const FORM: &str = "ledger proof v1";

/// What `talea ledger prove` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger prove did:key:z6Mk.. --save balance.json      what an account has
  talea ledger prove 4f0c..e2 --save transfer.json           that a block holds a transaction
  talea ledger prove channel:91aa..07 --save channel.json
  talea ledger prove me/hello --save name.json               that nobody has a name can be shown too")]
pub(in crate::cli) struct ProveArgs {
    /// A key, a transaction's id, channel:ID, or namespace/name
    what: String,
    /// Where to write it [default: standard output]
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `talea ledger verify` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger verify balance.json
  talea ledger verify balance.json --network 5b7a..10 && echo shown

No connection is made. Ends with 3 when the proof is false.")]
pub(in crate::cli) struct VerifyArgs {
    /// The proof
    file: PathBuf,
    /// The network it must be of
    #[arg(long, value_name = "ID")]
    network: Option<NetworkId>,
}

/// Runs `talea ledger prove`.
pub(super) async fn prove(args: &ProveArgs, context: &Context) -> Ran {
    let client = args.node.client();
    let network = super::teller::chain_of(&client).await?;
    let view = client.get_json(&path_of(&args.what)?).await?;
    let evidence = view.get("evidence").and_then(Value::as_str).unwrap_or_default();
    // What cannot be verified here is not handed on.
    let decoded = Evidence::decode(&unbase64(evidence)?)
        .or_exit(Exit::Failed, || "the node's proof cannot be read")?;
    let (head, _) =
        decoded.check(&network).or_exit(Exit::Mismatch, || "the node's proof does not hold")?;
    let file = json!({
        "talea": FORM,
        "params": base64url(&network.params().encode()),
        "evidence": evidence,
        "commit": commit_of(&client, head.id()).await?,
    });
    match &args.save {
        None => context.screen.json(&file),
        Some(path) => {
            let text = format!("{file:#}\n");
            std::fs::write(path, text)
                .or_exit(Exit::Failed, || format!("cannot write {}", path.display()))?;
            context.screen.note(format_args!(
                "wrote {}: it leads to block {} at height {}",
                path.display(),
                head.id(),
                head.header().height
            ));
        }
    }
    Ok(Exit::Ok)
}

/// Where a node has the proof of it.
fn path_of(what: &str) -> Result<String, Failure> {
    if let Some(channel) = what.strip_prefix("channel:") {
        let id: ChannelId =
            channel.parse().or_exit(Exit::Usage, || format!("`{channel}` is no channel"))?;
        return Ok(format!("/channels/{id}?proof=1"));
    }
    if let Ok(key) = what.parse::<PublicKey>() {
        return Ok(format!("/accounts/{key}?proof=1"));
    }
    if let Ok(id) = what.parse::<TransactionId>() {
        return Ok(format!("/transactions/{id}?proof=1"));
    }
    let name: Result<talea_ledger::message::FunctionName, _> = what.parse();
    let name = name.map_err(|_| {
        let sentence = format!("`{what}` is no key, transaction, channel or name");
        Failure::said(Exit::Usage, sentence)
    })?;
    Ok(format!("/names/{name}?proof=1"))
}

/// The votes that make a block final, if the node has them for this very block.
async fn commit_of(client: &Client, block: BlockId) -> Result<Value, Failure> {
    let view = client.get_json(&format!("/blocks/{block}")).await?;
    Ok(view.get("commit").cloned().unwrap_or(Value::Null))
}

/// Runs `talea ledger verify`.
pub(super) fn verify(args: &VerifyArgs, context: &Context) -> Ran {
    let (network, evidence, commit) = read(&args.file)?;
    if let Some(wanted) = args.network.filter(|wanted| *wanted != network.id()) {
        let sentence = format!("the proof is of network {}, not {wanted}", network.id());
        return Err(Failure::said(Exit::Mismatch, sentence));
    }
    let (head, proven) =
        evidence.check(&network).or_exit(Exit::Mismatch, || "the proof is false")?;
    let voters = commit.as_ref().map_or(0, |commit| voters(commit, &network, head.id()));
    let authorities = network.params().authorities.len();
    let is_final = voters > 0 && voters >= threshold(authorities);
    let screen = &context.screen;
    let header = head.header();
    if screen.is_json() {
        screen.json(&json!({
            "verdict": "shown",
            "network": network.id().to_string(),
            "name": network.params().name.to_string(),
            "block": head.id().to_string(),
            "height": header.height.to_string(),
            "at": network.slot_start(header.slot).to_string(),
            "final": is_final,
            "votes": voters,
            "authorities": authorities,
            "shown": shown(&proven),
        }));
        return Ok(Exit::Ok);
    }
    screen.line(format_args!("{} {}", screen.ink(Ink::Good, "shown:"), sentence(&proven)));
    let finality = match is_final {
        true => format!("final by {voters} of {authorities} authorities"),
        false => "no finality is shown".to_owned(),
    };
    screen.line(format_args!("in block {} at height {}, {finality}", head.id(), header.height));
    screen.line(format_args!("of network {} ({})", network.id(), network.params().name));
    Ok(Exit::Ok)
}

fn read(path: &Path) -> Result<(Network, Evidence, Option<Commit>), Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let text = std::fs::read(path).or_exit(Exit::NoInput, cannot)?;
    let no_proof = || format!("{} is no proof", path.display());
    let file: Value = serde_json::from_slice(&text).or_exit(Exit::Data, no_proof)?;
    let field = |name: &str| file.get(name).and_then(Value::as_str);
    if field("talea") != Some(FORM) {
        return Err(Failure::said(Exit::Data, no_proof()));
    }
    let params = NetworkParams::decode(&unbase64(field("params").unwrap_or_default())?);
    let network = Network::new(params.or_exit(Exit::Data, no_proof)?);
    let network = network.or_exit(Exit::Data, no_proof)?;
    let evidence = Evidence::decode(&unbase64(field("evidence").unwrap_or_default())?);
    let commit = match field("commit") {
        None => None,
        Some(text) => Some(Commit::decode(&unbase64(text)?).or_exit(Exit::Data, no_proof)?),
    };
    Ok((network, evidence.or_exit(Exit::Data, no_proof)?, commit))
}

/// How many authorities have signed that this very block is final.
fn voters(commit: &Commit, network: &Network, block: BlockId) -> usize {
    let authorities = &network.params().authorities;
    let signed = commit.votes.iter().filter_map(|sealed| {
        let vote = sealed.verify::<Vote>().ok()?.on(&network.id()).ok()?;
        let document = vote.document();
        let counts = document.phase == Phase::Precommit
            && document.round == commit.round
            && document.block == block
            && authorities.contains(vote.signer());
        counts.then(|| *vote.signer())
    });
    signed.collect::<BTreeSet<PublicKey>>().len()
}

/// More than two thirds.
fn threshold(authorities: usize) -> usize {
    authorities - authorities.saturating_sub(1) / 3
}

fn sentence(proven: &Proven) -> String {
    match proven {
        Proven::State(key, None) => format!("{} is not there", subject(key)),
        Proven::State(key, Some(record)) => format!("{} {}", subject(key), content(record)),
        Proven::Transaction(transaction) => format!(
            "transaction {} of {}: {}",
            transaction.id(),
            transaction.sender(),
            transaction.action().kind()
        ),
        Proven::Receipt(receipt) => {
            format!("a receipt of {} over {} tal", receipt.signer(), receipt.document().bill)
        }
    }
}

fn subject(key: &Key) -> String {
    match key {
        Key::Account(key) => format!("account {key}"),
        Key::Channel(id) => format!("channel {id}"),
        Key::Name(name) => format!("name {name}"),
        other => format!("{other:?}"),
    }
}

fn content(record: &Record) -> String {
    match record {
        Record::Account(account) => format!("has {} tal", account.balance),
        Record::Channel(channel) => format!(
            "holds {} tal of {} for {}, {} tal are paid",
            channel.escrow, channel.payer, channel.host, channel.redeemed
        ),
        Record::Name(name) => match name.function() {
            Some(function) => format!("leads to {function} and belongs to {}", name.owner),
            None => format!("belongs to {}", name.owner),
        },
        other => format!("has {other:?}"),
    }
}

fn shown(proven: &Proven) -> Value {
    match proven {
        Proven::State(key, record) => {
            let mut view = json!({ "of": subject(key), "present": record.is_some() });
            match record {
                Some(Record::Account(account)) => {
                    view["balance"] = json!(account.balance.to_string());
                    view["nonce"] = json!(account.nonce.to_string());
                }
                Some(Record::Channel(channel)) => {
                    view["escrow"] = json!(channel.escrow.to_string());
                    view["redeemed"] = json!(channel.redeemed.to_string());
                }
                Some(Record::Name(name)) => {
                    view["function"] = json!(name.function().as_ref().map(ToString::to_string));
                    view["owner"] = json!(name.owner.to_string());
                }
                _ => {}
            }
            view
        }
        Proven::Transaction(transaction) => json!({
            "of": format!("transaction {}", transaction.id()),
            "sender": transaction.sender().to_string(),
            "action": transaction.action().kind(),
        }),
        Proven::Receipt(receipt) => json!({
            "of": "receipt",
            "host": receipt.signer().to_string(),
            "bill": receipt.document().bill.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_two_thirds() {
        let cases = [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7)];
        for (authorities, votes) in cases {
            assert_eq!(threshold(authorities), votes, "of {authorities}");
        }
    }

    #[test]
    fn what_can_be_proven_is_told_apart_by_its_text() {
        let key = talea_ledger::SecretKey::from_bytes(&[1; 32]).public();
        let id = "ab".repeat(32);
        assert_eq!(path_of(&key.to_string()).unwrap(), format!("/accounts/{key}?proof=1"));
        assert_eq!(path_of(&id).unwrap(), format!("/transactions/{id}?proof=1"));
        assert_eq!(path_of(&format!("channel:{id}")).unwrap(), format!("/channels/{id}?proof=1"));
        assert_eq!(path_of("me/hello").unwrap(), "/names/me/hello?proof=1");
        assert_eq!(path_of("nonsense").unwrap_err().exit(), Exit::Usage);
    }
}
