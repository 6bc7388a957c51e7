//! `talea ledger rebuild | genesis`: the care of a node's ledger, and the beginning of a network.
//!
//! Invariants: a rebuild takes the folder's lock, so no node runs meanwhile; it needs the node's key, since its
//! network may be its own, and never makes one. Parameters are checked before they are written.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use talea_ledger::message::NetworkName;
use talea_ledger::params::Balance;
use talea_ledger::units::Nanos;
use talea_ledger::{Document as _, Network, NetworkParams, PublicKey, Tal};
use talea_runtime::config::{self, Sources};
use talea_runtime::store::{NodeFolder, keys};
use talea_runtime::{ledger, node};

use crate::cli::exit::{Exit, Failure, OrExit as _, Ran};
use crate::cli::screen::{Ink, grouped};
use crate::cli::{Context, amount};

/// What `talea ledger rebuild` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger rebuild --data ./data

Reads the whole log, checks every block and signature in it, and applies every finalised block. The node must not
be running. What the log cannot give is named with its file and byte, and nothing is made of it.")]
pub(in crate::cli) struct RebuildArgs {
    /// The node's data folder
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// The node's settings file [default: talea.toml in the data folder, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What `talea ledger genesis` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  talea ledger genesis net.params --name testnet --authority did:key:z6Mk.. --fund did:key:z6Mk..=1000000
  talea node --data ./data --set network.params=net.params

The parameters' hash is the network's id: whoever has the same file is in the same network.")]
pub(in crate::cli) struct GenesisArgs {
    /// Where to write them
    file: PathBuf,
    /// What people call the network
    #[arg(long, value_name = "NAME")]
    name: String,
    /// A key that authors blocks and votes; give it several times
    #[arg(long = "authority", value_name = "KEY", required = true)]
    authorities: Vec<PublicKey>,
    /// Money of the beginning, `KEY=TAL`; give it several times
    #[arg(long = "fund", value_name = "PAIR")]
    funds: Vec<String>,
    /// The length of a slot
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = amount::time)]
    slot: std::time::Duration,
    /// Tal for each KiB of a transaction that is begun
    #[arg(long, value_name = "TAL", default_value = "10", value_parser = amount::count)]
    fee: u64,
}

/// Runs `talea ledger rebuild`.
pub(super) fn rebuild(args: &RebuildArgs, context: &Context) -> Ran {
    if !args.data.is_dir() {
        let sentence = format!("there is no folder {}", args.data.display());
        return Err(Failure::said(Exit::NoInput, sentence));
    }
    let beside = || Some(config::file_in(&args.data)).filter(|file| file.is_file());
    let file = args.config.clone().or_else(beside);
    let flags = vec![("data".to_owned(), args.data.display().to_string())];
    let config = crate::cli::node::load(&Sources::of_process(file, flags))?;
    let folder = NodeFolder::open(&config.data)
        .or_exit(Exit::Unavailable, || "the node's folder cannot be used")?;
    if !config.key_file.exists() {
        let sentence = format!("there is no key at {}", config.key_file.display());
        return Err(Failure::said(Exit::NoInput, sentence));
    }
    let (key, _) = keys::load_or_create(&config.key_file)
        .or_exit(Exit::Denied, || "the node's key cannot be used")?;
    let network = node::network(&config, key.public())
        .or_exit(Exit::Config, || "the network cannot be told")?;
    let rebuilt = {
        let _working = context.screen.spinner("reading the log");
        ledger::rebuild(&folder.disk(), &Arc::new(network), key.public())
            .or_exit(Exit::Data, || "the database cannot be made again")?
    };
    let screen = &context.screen;
    if screen.is_json() {
        screen.json(&json!({
            "height": rebuilt.height.to_string(),
            "block": rebuilt.block.to_string(),
            "root": rebuilt.root.to_string(),
            "records": rebuilt.records,
            "commits": rebuilt.commits.to_string(),
            "cut": rebuilt.cut.to_string(),
        }));
        return Ok(Exit::Ok);
    }
    screen.line(format_args!("root {} at height {}", rebuilt.root, rebuilt.height));
    screen.note(format_args!(
        "{} {} records of the state from {} commits of the log",
        screen.note_ink(Ink::Good, "made again:"),
        grouped(rebuilt.records as u64),
        grouped(rebuilt.commits)
    ));
    if rebuilt.cut > 0 {
        screen.note(format_args!(
            "{} bytes at the log's end are no whole commit and were cut off",
            grouped(rebuilt.cut)
        ));
    }
    Ok(Exit::Ok)
}

/// Runs `talea ledger genesis`.
pub(super) fn genesis(args: &GenesisArgs, context: &Context) -> Ran {
    let balances = args.funds.iter().map(|pair| fund(pair)).collect::<Result<Vec<_>, _>>()?;
    let authority = args.authorities.first().copied();
    let authority =
        authority.ok_or_else(|| Failure::said(Exit::Usage, "a network needs an authority"))?;
    let slot =
        u64::try_from(args.slot.as_nanos()).or_exit(Exit::Usage, || "the slot is too long")?;
    let params = NetworkParams {
        name: NetworkName::try_from(args.name.as_str())
            .or_exit(Exit::Usage, || format!("`{}` is no name of a network", args.name))?,
        slot_len: Nanos(slot),
        fee: Tal(args.fee),
        start: crate::cli::now(),
        authorities: args
            .authorities
            .clone()
            .try_into()
            .or_exit(Exit::Usage, || "there are too many authorities")?,
        balances: balances.try_into().or_exit(Exit::Usage, || "there are too many balances")?,
        // Windows and bounds as a development network has them, in slots of the given length.
        ..NetworkParams::development(&[], authority)
    };
    let network =
        Network::new(params).or_exit(Exit::Usage, || "these parameters make no network")?;
    if args.file.exists() {
        let sentence = format!("{} is there already", args.file.display());
        return Err(Failure::said(Exit::Failed, sentence).advise("choose another file"));
    }
    std::fs::write(&args.file, network.params().encode())
        .or_exit(Exit::Failed, || format!("cannot write {}", args.file.display()))?;
    let screen = &context.screen;
    if screen.is_json() {
        let file = args.file.display().to_string();
        screen.json(&json!({ "network": network.id().to_string(), "file": file }));
    } else {
        screen.line(network.id());
        screen.note(format_args!(
            "start a node of it: talea node --set network.params={}",
            args.file.display()
        ));
    }
    Ok(Exit::Ok)
}

fn fund(pair: &str) -> Result<Balance, Failure> {
    let refused = || Failure::said(Exit::Usage, format!("--fund {pair}: expected KEY=TAL"));
    let (key, tal) = pair.split_once('=').ok_or_else(refused)?;
    let key = key.parse().map_err(|_| refused())?;
    Ok(Balance { key, amount: Tal(amount::count(tal).map_err(|_| refused())?) })
}
