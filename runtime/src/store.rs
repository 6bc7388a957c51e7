//! Bytes at rest: the only user of files and of redb.
//!
//! | part | holds | durable |
//! |---|---|---|
//! | `journal` | receipts, with all that is needed to check them | when `append` returns, before a caller is answered |
//! | `blobs` | bodies too large for the journal | when `put` returns, before the receipt that names them |
//! | `ledger` | every record of the chain, and what is looked up of them | when `append` returns, before a transaction is said to be accepted |
//! | `functions` | wasm bytes, registrations, names | when `put` returns, before the deploy is answered |
//! | `payments` | vouchers, session grants, redeems under way | when a method returns, before a voucher is answered |
//! | `purse` | channels that the node itself pays from | when a method returns, before a run is signed |
//! | `keys` | the node's secrets | before anything is signed with them |
//! | `logs` | what guests wrote to their log | with the next write-back of the system: a killed process loses nothing, a power cut may |
//! | `artefacts` | compiled code | never promised: it is made again |
//!
//! Invariant: one process per folder, held by a lock on `lock`.
//! Absent: tokio, and any decision about who may read or be billed.

pub mod artefacts;
mod blobs;
pub mod disk;
mod functions;
mod journal;
pub mod keys;
pub mod ledger;
mod logs;
mod payments;
mod purse;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

pub use blobs::{BlobError, BlobStore, Epoch};
pub use functions::{FunctionPage, FunctionShelf, Keeping, Placed, ShelfError, ShelvedFunction};
pub use journal::{
    AppendError, Appended, BatchDraft, BodyPlace, CHECKPOINT_LEN_MAX, COMMIT_LEN_MAX, CommitNumber,
    Damage, DamageReason, Facts, Filter, Journal, JournalIdentity, JournalKeeper, JournalOptions,
    JournalReader, OpenError, Opened, Page, Particulars, Position, ReadError, Replay, Retention,
    RunBytes, SEGMENT_LEN, SegmentNumber, StoredReceipt,
};
pub use logs::{LogCursor, LogEntry, LogPage, LogShelf};
pub use payments::{KeptVoucher, PaymentShelf, Payments, PaymentsError, VoucherBy};
pub use purse::{OwnChannel, PurseShelf};

use disk::{Disk, RealDisk};

/// Why the node's folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The disk did not answer.
    #[error("the folder {path} could not be used")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the folder {0} is in use by another node")]
    InUse(PathBuf),
}

/// The file with the parameters of the network that a folder belongs to.
const PARAMS_FILE: &str = "network.params";

/// The folder that holds everything a node keeps. Locked until it is dropped.
#[derive(Debug)]
pub struct NodeFolder {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    _lock: File,
}

impl NodeFolder {
    /// Locks the folder, making it if it is missing.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let io = |source| FolderError::Io { path: path.into(), source };
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(FolderError::InUse(path.into())),
            Err(fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        Ok(Self { path: path.into(), disk: Arc::new(RealDisk::at(path)), _lock: lock })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk whose names lie below the folder.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    /// Where the node's signing key lies.
    pub fn key_path(&self) -> PathBuf {
        self.path.join("key")
    }

    /// Where functions and names are indexed.
    pub fn state_path(&self) -> PathBuf {
        self.path.join("state.redb")
    }

    /// Where vouchers are kept.
    pub fn payments_path(&self) -> PathBuf {
        self.path.join("payments.redb")
    }

    /// Where channels are remembered that the node itself pays from.
    pub fn purse_path(&self) -> PathBuf {
        self.path.join("purse.redb")
    }

    /// The parameters of the network that the folder belongs to, if it was told of one.
    pub fn params(&self) -> io::Result<Option<Vec<u8>>> {
        kept_params(&self.path)
    }

    /// Keeps the parameters of the network that the folder belongs to from now on. When this returns they are on the
    /// disk, whole.
    pub fn keep_params(&self, params: &[u8]) -> io::Result<()> {
        let draft = self.path.join("network.draft");
        let mut file = File::create(&draft)?;
        file.write_all(params)?;
        file.sync_all()?;
        fs::rename(&draft, self.path.join(PARAMS_FILE))?;
        File::open(&self.path)?.sync_all()
    }

    /// Where compiled code lies.
    pub fn artefacts_path(&self) -> PathBuf {
        self.path.join("artefacts")
    }
}

/// The parameters that the data folder of a node keeps, if it keeps any.
pub fn kept_params(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(folder.join(PARAMS_FILE)) {
        Ok(params) => Ok(Some(params)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node");
        let first = NodeFolder::open(&path).unwrap();
        assert!(matches!(NodeFolder::open(&path), Err(FolderError::InUse(_))));
        drop(first);
        NodeFolder::open(&path).unwrap();
    }
}
