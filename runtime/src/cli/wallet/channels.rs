//! Which channel this wallet uses with a host, so that the next command finds it.
//!
//! Format: `<home>/channels/<pair>.json`, one for each payer, host and network; the pair's name is the hash that
//! `ChannelId::local` makes of them. Invariant: the signed opening is on the disk before it is sent: whatever
//! happens then, the escrow is found again. Absent: what the channel holds, which the ledger says.

use std::fs;
use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use talea_ledger::{ChannelId, NetworkId, PublicKey, Sealed, TransactionId};

use super::{Home, make_private_folder, replace_private};
use crate::cli::exit::{Exit, Failure, OrExit as _};

/// Who pays whom where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Pair {
    pub(in crate::cli) payer: PublicKey,
    pub(in crate::cli) host: PublicKey,
    pub(in crate::cli) network: NetworkId,
}

/// A channel that was opened from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Opened {
    pub(in crate::cli) pair: Pair,
    pub(in crate::cli) channel: ChannelId,
    /// The signed transaction that opened it.
    pub(in crate::cli) opening: Sealed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    payer: String,
    host: String,
    network: String,
    channel: String,
    opening: String,
}

// === impl Pair ===

impl Pair {
    fn path(&self, home: &Home) -> PathBuf {
        let name = ChannelId::local(&self.payer, &self.host, &self.network);
        folder(home).join(format!("{name}.json"))
    }

    /// The channel of the pair, if one was opened from here.
    pub(in crate::cli) fn opened(&self, home: &Home) -> Result<Option<Opened>, Failure> {
        let path = self.path(home);
        match fs::read(&path) {
            Ok(text) => read(&text).map(Some).ok_or_else(|| damaged(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).or_exit(Exit::NoInput, || format!("cannot read {}", path.display()))
            }
        }
    }

    /// Forgets the pair's channel, which is gone.
    pub(in crate::cli) fn forget(&self, home: &Home) -> Result<(), Failure> {
        let path = self.path(home);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).or_exit(Exit::Failed, || format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

// === impl Opened ===

impl Opened {
    /// The channel that a signed transaction opens.
    pub(in crate::cli) fn by(pair: Pair, opening: Sealed) -> Self {
        let channel = ChannelId::opened_by(&TransactionId::of(opening.payload()));
        Self { pair, channel, opening }
    }

    /// Keeps it durably, in place of the one before.
    pub(in crate::cli) fn keep(&self, home: &Home) -> Result<(), Failure> {
        let (folder, path) = (folder(home), self.pair.path(home));
        let cannot = || format!("cannot write {}", path.display());
        let written = Written {
            payer: self.pair.payer.to_string(),
            host: self.pair.host.to_string(),
            network: self.pair.network.to_string(),
            channel: self.channel.to_string(),
            opening: BASE64_URL_SAFE_NO_PAD.encode(self.opening.encode()),
        };
        let text = serde_json::to_vec_pretty(&written).or_exit(Exit::Failed, cannot)?;
        make_private_folder(&folder)
            .and_then(|()| replace_private(&path, &text))
            .or_exit(Exit::Failed, cannot)
    }
}

/// All channels that were opened from here.
pub(in crate::cli) fn all(home: &Home) -> Result<Vec<Opened>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(home)).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read(&path)
                .or_exit(Exit::NoInput, || format!("cannot read {}", path.display()))?;
            found.push(read(&text).ok_or_else(|| damaged(&path))?);
        }
    }
    found.sort_by_key(|opened| opened.channel);
    Ok(found)
}

fn folder(home: &Home) -> PathBuf {
    home.path().join("channels")
}

fn read(text: &[u8]) -> Option<Opened> {
    let written: Written = serde_json::from_slice(text).ok()?;
    let pair = Pair {
        payer: written.payer.parse().ok()?,
        host: written.host.parse().ok()?,
        network: written.network.parse().ok()?,
    };
    let opening = Sealed::decode(&BASE64_URL_SAFE_NO_PAD.decode(&written.opening).ok()?).ok()?;
    let opened = Opened::by(pair, opening);
    (opened.channel.to_string() == written.channel).then_some(opened)
}

fn damaged(path: &std::path::Path) -> Failure {
    Failure::said(Exit::Data, format!("{} is not a channel's file", path.display()))
}

#[cfg(test)]
mod tests {
    use talea_ledger::sign::seal_document;
    use talea_ledger::{SecretKey, Sequence, Tal, Voucher};

    use super::*;

    #[test]
    fn a_channel_is_found_again_and_a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let key = |seed| SecretKey::from_bytes(&[seed; 32]);
        let network = NetworkId::DEVELOPMENT;
        let pair = Pair { payer: key(1).public(), host: key(2).public(), network };
        assert_eq!(pair.opened(&home).unwrap(), None);
        let any = Voucher {
            network,
            channel: ChannelId::new([1; 32]),
            owed: Tal(1),
            settled: Sequence(1),
        };
        let opened = Opened::by(pair, seal_document(&key(1), &any));
        opened.keep(&home).unwrap();
        assert_eq!(pair.opened(&home).unwrap(), Some(opened.clone()));
        assert_eq!(all(&home).unwrap(), [opened]);
        fs::write(pair.path(&home), "{}").unwrap();
        assert_eq!(pair.opened(&home).unwrap_err().exit(), Exit::Data);
        pair.forget(&home).unwrap();
        pair.forget(&home).unwrap();
        assert_eq!(all(&home).unwrap(), []);
    }
}
