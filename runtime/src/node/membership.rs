//! Which network a node belongs to: what its settings say, what its data folder keeps, what the nodes it joins tell it,
//! or a development network of its own.
//!
//! Invariants: a folder belongs to one network for good; parameters that were told are those of the id under which they
//! were told; what a folder learns it keeps before it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use talea_gossip::{Multiaddr, ask_params};
use talea_ledger::{Document as _, Network, NetworkId, NetworkParams, PublicKey, SecretKey};

use super::StartError;
use crate::config::Config;
use crate::ledger;
use crate::store::{self, NodeFolder};

/// How long a node with an empty folder asks for its network: three dials of ten seconds, twice.
const ASK_TIME_MAX: Duration = Duration::from_secs(60);
/// How long one that knows its network asks whether the others are of the same: it goes on without them as well.
const COMPARE_TIME_MAX: Duration = Duration::from_secs(3);

/// The network of a file or of the data folder; a development network of this node alone when neither knows of one.
pub fn network(config: &Config, host: PublicKey) -> Result<Network, StartError> {
    let known = known(config)?;
    made(known.unwrap_or_else(|| ledger::development(host)), config)
}

/// The network this node belongs to from now on; asks the nodes it joins when it does not know.
pub(super) async fn settle(
    config: &Config,
    folder: &NodeFolder,
    key: &SecretKey,
) -> Result<Network, StartError> {
    let join = parsed("network.join", &config.network.join)?;
    let is_new = !ledger_lies_in(folder.path());
    let known = known(config)?;
    if let Some(params) = &known {
        keep(folder, params)?;
    }
    if known.is_none() && is_new && !join.is_empty() {
        let (id, params) = ask_params(key.to_bytes(), &join, ASK_TIME_MAX).await?;
        let network = made(decoded(&params, &PathBuf::from("what was told"))?, config)?;
        keep(folder, network.params())?;
        tracing::info!(network = %id, name = %network.params().name, "this folder belongs to the network of the node it joined");
        return Ok(network);
    }
    let network = made(known.unwrap_or_else(|| ledger::development(key.public())), config)?;
    if !join.is_empty() {
        match ask_params(key.to_bytes(), &join, COMPARE_TIME_MAX).await {
            Ok((theirs, _)) => belongs(config, network.id(), theirs)?,
            Err(error) => {
                tracing::warn!(%error, "no node to join has answered yet; going on without them")
            }
        }
    }
    Ok(network)
}

/// The network of these parameters, if it is the one that was asked for.
fn made(params: NetworkParams, config: &Config) -> Result<Network, StartError> {
    let path = config.network.params.clone().unwrap_or_default();
    let unusable =
        |fault: &dyn std::fmt::Display| StartError::Network { path, reason: fault.to_string() };
    let network = Network::new(params).map_err(|fault| unusable(&fault))?;
    match config.network.id {
        Some(wanted) if wanted != network.id() => {
            belongs(config, network.id(), wanted).map(|()| network)
        }
        _ => Ok(network),
    }
}

fn belongs(config: &Config, folder: NetworkId, wanted: NetworkId) -> Result<(), StartError> {
    if folder == wanted {
        return Ok(());
    }
    Err(StartError::OtherNetwork { folder: config.data.clone(), found: folder, wanted })
}

/// What the settings' file and the data folder say, which must be the same.
fn known(config: &Config) -> Result<Option<NetworkParams>, StartError> {
    let given = match &config.network.params {
        None => None,
        Some(path) => {
            let unusable = |reason| StartError::Network { path: path.clone(), reason };
            let bytes = std::fs::read(path).map_err(|fault| unusable(fault.to_string()))?;
            Some(decoded(&bytes, path)?)
        }
    };
    let unreadable = |fault: std::io::Error| StartError::Network {
        path: config.data.clone(),
        reason: fault.to_string(),
    };
    let kept = store::kept_params(&config.data).map_err(unreadable)?;
    let kept = kept.map(|bytes| decoded(&bytes, &config.data)).transpose()?;
    match (given, kept) {
        (Some(given), Some(kept)) => belongs(config, kept.id(), given.id()).map(|()| Some(given)),
        (given, kept) => Ok(given.or(kept)),
    }
}

fn decoded(bytes: &[u8], path: &Path) -> Result<NetworkParams, StartError> {
    NetworkParams::decode(bytes)
        .map_err(|fault| StartError::Network { path: path.into(), reason: fault.to_string() })
}

fn keep(folder: &NodeFolder, params: &NetworkParams) -> Result<(), StartError> {
    let unusable = |fault: std::io::Error| StartError::Network {
        path: folder.path().into(),
        reason: fault.to_string(),
    };
    if folder.params().map_err(unusable)?.is_some() {
        return Ok(());
    }
    folder.keep_params(&params.encode()).map_err(unusable)
}

/// Whether the folder has been some node's already.
fn ledger_lies_in(folder: &Path) -> bool {
    folder.join(ledger::FOLDER).join(ledger::DATABASE).exists()
}

/// Multiaddresses of a setting, in full.
pub(super) fn parsed(
    setting: &'static str,
    texts: &[String],
) -> Result<Vec<Multiaddr>, StartError> {
    let parse = |text: &String| {
        text.parse().map_err(|_| StartError::PeerAddress { setting, text: text.clone() })
    };
    texts.iter().map(parse).collect()
}
