//! Starting the ledger where its log ends, and ending it in order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use talea_ledger::chain;
use talea_ledger::{ApplyError, BlockId, DecodeError, Digest, Height, Network, NetworkParams};
use thiserror::Error;
use tokio::sync::mpsc;

use super::line::Line;
use super::mailbox::{Event, Mailbox};
use super::prune;
use super::reader::{Archive, LedgerReadError, Reader};
use super::record::RecordError;
use super::replica::Replica;
use super::task::{self, Parts, Task};
use super::wire::{Bell, SAID_MAX, Said, Wire};
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::disk::Disk;
use crate::store::ledger::{
    AppendLogError, Checkpoint, LedgerDatabase, LedgerLog, LedgerLogReader, LogOptions,
    LookupError, OpenLogError, ReadLogError,
};

/// Where the log and the database lie.
pub const FOLDER: &str = "ledger";
/// The database's file within it.
pub const DATABASE: &str = "index.redb";

/// What the ledger needs.
pub struct LedgerOptions {
    /// Where log and database lie.
    pub disk: Arc<dyn Disk>,
    /// Bytes after which a segment of the log is ended: [`LOG_SEGMENT_LEN`](crate::store::ledger::LOG_SEGMENT_LEN).
    pub segment_len: u64,
    /// The network.
    pub network: Arc<Network>,
    /// Signs blocks and votes.
    pub notary: Notary,
    /// Tells in which slot we are.
    pub clock: Arc<dyn Clock>,
    /// What is said to peers goes there: [`Nobody`](super::Nobody) for a node without any.
    pub line: Arc<dyn Line>,
}

/// Why the ledger cannot be used.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] OpenLogError),
    /// A write failed.
    #[error(transparent)]
    Append(#[from] AppendLogError),
    /// A record of the log could not be read.
    #[error(transparent)]
    ReadLog(#[from] ReadLogError),
    /// The database cannot be used.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A block cannot be read.
    #[error(transparent)]
    Read(#[from] LedgerReadError),
    /// A record of the log does not hold.
    #[error("{file} is damaged at byte {offset}: {source}")]
    Record {
        /// The file.
        file: String,
        /// The first byte of the record.
        offset: u64,
        /// What is wrong.
        #[source]
        source: Box<RecordError>,
    },
    /// What is stored of votes or rejections is none.
    #[error(
        "the ledger's database is damaged: {0}; `talea ledger rebuild` makes it again from the log"
    )]
    Document(#[from] DecodeError),
    /// Something that was written is not there.
    #[error(
        "the ledger's database is damaged: {0} is missing; `talea ledger rebuild` makes it again from the log"
    )]
    Incomplete(&'static str),
    /// The state is not the one that was signed.
    #[error(
        "the ledger's database is damaged: at height {height} the state's root is {found}, signed was {expected}; \
         `talea ledger rebuild` makes it again from the log"
    )]
    Root {
        /// The finalised height.
        height: Height,
        /// The root of what is stored.
        found: Digest,
        /// The root in the block's header.
        expected: Digest,
    },
    /// A finalised block does not follow on the state before it.
    #[error("block {block} does not follow on the state before it: {source}")]
    Apply {
        /// Which.
        block: BlockId,
        /// Why.
        #[source]
        source: Box<ApplyError>,
    },
    /// The records contradict each other.
    #[error(transparent)]
    Chain(Box<chain::OpenError>),
    /// The thread could not be started.
    #[error("the ledger could not be started")]
    Io(#[from] io::Error),
    /// A bug ended the thread. What was answered before is on the disk.
    #[error("the ledger's thread ended by a panic")]
    Panicked,
}

/// The running ledger.
#[derive(Debug)]
pub struct Ledger {
    mailbox: Mailbox,
    reader: Reader,
    said: mpsc::Sender<Said>,
    bell: Bell,
    line: Arc<dyn Line>,
    thread: JoinHandle<Result<(), LedgerError>>,
    cut: u64,
}

/// What a rebuild made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The finalised block's height.
    pub height: Height,
    /// It.
    pub block: BlockId,
    /// The root of the state after it.
    pub root: Digest,
    /// Records of the state.
    pub records: usize,
    /// Commits of the log that were read.
    pub commits: u64,
    /// Bytes at the log's end that were no whole commit.
    pub cut: u64,
}

/// Log, database and what follows from them, before the chain goes on.
struct Opened {
    log: LedgerLog,
    replica: Replica,
    archive: Archive,
    commits: u64,
}

// === impl Ledger ===

impl Ledger {
    /// Opens log and database, checks what they hold, and starts the thread.
    pub fn open(options: LedgerOptions) -> Result<Self, LedgerError> {
        let LedgerOptions { disk, segment_len, network, notary, clock, line } = options;
        let Opened { log, replica, archive, .. } =
            restore(&disk, segment_len, &network, notary.public())?;
        let cut = log.cut();
        let (log_options, me) = (log_options(segment_len, &network), notary.public());
        let stored = archive.clone();
        let (said, heard) = mpsc::channel(SAID_MAX);
        let spoken = Arc::clone(&line);
        let parts = Parts { log, replica, archive, network, notary, clock, line, said: heard };
        let (task, mailbox, reader, bell) = Task::begin(parts)?;
        let pruned = prune::prune(&disk, &log_options, &stored, me)?;
        if pruned.segments > 0 {
            let prune::Pruned { segments, before, after } = pruned;
            tracing::info!(segments, before, after, "the ledger's log was pruned");
        }
        let thread = std::thread::Builder::new().name("talea-ledger".into());
        let thread = thread.spawn(|| task::run(task))?;
        Ok(Self { mailbox, reader, said, bell, line: spoken, thread, cut })
    }

    /// Where one task hands in what peers say. The thread ends by itself only when this is dropped too.
    pub fn wire(&self) -> Wire {
        let network = self.reader.view().network.id();
        let reader = Some(self.reader.clone());
        Wire::new(self.said.clone(), self.bell.clone(), network, Arc::clone(&self.line), reader)
    }

    /// Where transactions are handed in.
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Where the ledger is read.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Bytes of a torn commit that were cut at open; nobody was answered for it.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Takes no more, answers who waits, and ends.
    pub async fn close(self) -> Result<(), LedgerError> {
        let Self { mailbox, thread, .. } = self;
        let joined = tokio::task::spawn_blocking(move || {
            // A thread that has ended already hears nothing.
            let _ = mailbox.events.send(Event::Close);
            thread.join()
        });
        match joined.await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) | Err(_) => Err(LedgerError::Panicked),
        }
    }
}

impl From<chain::OpenError> for LedgerError {
    fn from(error: chain::OpenError) -> Self {
        Self::Chain(Box::new(error))
    }
}

impl fmt::Debug for LedgerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerOptions").field("network", &self.network.id()).finish_non_exhaustive()
    }
}

/// Makes the database again from the log: every block and signature is checked and every finalised block applied.
/// The node must not be running.
pub fn rebuild(
    disk: &Arc<dyn Disk>,
    network: &Arc<Network>,
    me: talea_ledger::PublicKey,
) -> Result<Rebuilt, LedgerError> {
    let name = format!("{FOLDER}/{DATABASE}");
    if disk.open(&name)?.is_some() {
        disk.remove(&name)?;
        disk.sync_folder(FOLDER)?;
    }
    let opened = restore(disk, crate::store::ledger::LOG_SEGMENT_LEN, network, me)?;
    let state = opened.replica.state();
    Ok(Rebuilt {
        height: state.tip().height,
        block: state.tip().id,
        root: state.root(),
        records: state.len(),
        commits: opened.commits,
        cut: opened.log.cut(),
    })
}

fn restore(
    disk: &Arc<dyn Disk>,
    segment_len: u64,
    network: &Arc<Network>,
    me: talea_ledger::PublicKey,
) -> Result<Opened, LedgerError> {
    let (database, is_new) = LedgerDatabase::open(disk, FOLDER, DATABASE)?;
    let log = LedgerLogReader::new(Arc::clone(disk), FOLDER);
    let archive = Archive { database: Arc::new(database), log };
    let options = log_options(segment_len, network);
    prune::mend(disk, &options, &archive)?;
    let mut replica = Replica::load(Arc::clone(network), me, archive.clone(), is_new)?;
    let checkpoint = archive.database.checkpoint()?.unwrap_or_default();
    let seen = (checkpoint != Checkpoint::default()).then_some((
        checkpoint.commit,
        checkpoint.segment,
        checkpoint.end,
    ));
    let mut commits = 0;
    let log = LedgerLog::open(Arc::clone(disk), options, seen, |commit| {
        commits += 1;
        replica.replay(&commit)
    })?;
    Ok(Opened { log, replica, archive, commits })
}

fn log_options(segment_len: u64, network: &Network) -> LogOptions {
    let identity = network.id().to_bytes();
    LogOptions { folder: FOLDER.into(), segment_len, identity, salt: draw_salt }
}

/// A salt need not be secret for its own sake, only unknown to callers; without randomness the segment's number
/// still keeps commits of two segments apart.
fn draw_salt() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// The development network of a node: its key is the only authority, and the published development key has money.
pub fn development(authority: talea_ledger::PublicKey) -> NetworkParams {
    NetworkParams::development(&[super::development_key().public(), authority], authority)
}
