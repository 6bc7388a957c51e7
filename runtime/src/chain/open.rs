//! Starting the chain where the journal ends, and ending it in order.

use std::fmt;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock, Weak};
use std::thread::JoinHandle;

use talea_ledger::{Digest, NetworkId, PublicKey};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use super::batcher::OpenBatch;
use super::channels::{Channels, ReplayError};
use super::keeper::{Keeper, Unpaid, WatchedBills};
use super::mailbox::{Event, Mailbox, QUEUE_MAX};
use super::reader::ReceiptReader;
use super::task::{Commits, Task};
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::disk::Disk;
use crate::store::{
    AppendError, BlobStore, Journal, JournalIdentity, JournalOptions, OpenError, Retention,
    SegmentNumber,
};

/// What the chain needs.
pub struct ChainOptions {
    /// Where journal and bodies lie.
    pub disk: Arc<dyn Disk>,
    /// Bytes of a segment of the journal: [`SEGMENT_LEN`](crate::store::SEGMENT_LEN).
    pub segment_len: u64,
    /// How long receipts are kept.
    pub retention: Retention,
    /// Signs.
    pub notary: Notary,
    /// Tells the time of receipts.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for ChainOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainOptions").field("retention", &self.retention).finish_non_exhaustive()
    }
}

/// Why the chain did not start, or did not end in order.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal can be read but contradicts itself.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The blob store or a thread could not be started.
    #[error("the chain could not be started")]
    Io(#[from] io::Error),
    /// A write had failed; what was answered before is on the disk.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A bug ended one of the threads. What was answered before is on the disk.
    #[error("the chain's thread ended by a panic")]
    Panicked,
}

/// The running chain. It ends when it is closed; dropping it without that leaves the threads to end with the
/// last mailbox.
#[derive(Debug)]
pub struct Chain {
    mailbox: Mailbox,
    reader: ReceiptReader,
    task: JoinHandle<Result<(), AppendError>>,
    keeper: JoinHandle<()>,
    bills: WatchedBills,
    /// Bytes of a torn commit that were cut at open.
    cut: u64,
}

impl Chain {
    /// Opens the journal, restores the state, and starts the threads.
    pub fn open(options: ChainOptions) -> Result<Self, ChainError> {
        let ChainOptions { disk, segment_len, retention, notary, clock } = options;
        let host = notary.public();
        let blobs = BlobStore::open(Arc::clone(&disk), "blobs")?;
        let journal = JournalOptions {
            folder: "journal".into(),
            segment_len,
            identity: identity(&notary.network(), &host),
            salt: Arc::new(draw_salt),
        };
        let opened = Journal::open(disk, journal)?;
        let mut channels = Channels::decode(&opened.replay.checkpoint)?;
        for receipt in &opened.replay.paid {
            channels.replay(receipt)?;
        }
        let channels = Arc::new(RwLock::new(channels));
        let journal = opened.journal;
        let (commits, followed) = watch::channel(Commits::default());
        let (events, queue) = mpsc::channel::<Event>(QUEUE_MAX);
        let (wake, woken) = sync_channel(1);
        let bills = WatchedBills::default();
        let reader =
            ReceiptReader::new(journal.reader(), blobs.clone(), Arc::clone(&channels), followed);
        let mailbox = Mailbox { events, blobs: blobs.clone(), journal: journal.reader() };
        let keeper = Keeper {
            journal: journal.keeper(),
            blobs,
            retention,
            clock: Arc::clone(&clock),
            wake: woken,
            bills: Arc::clone(&bills),
        };
        let task = Task {
            events: queue,
            reader: journal.reader(),
            segment: SegmentNumber(journal.reader().epoch().0),
            journal,
            channels,
            notary,
            clock,
            commits,
            wake,
            batch: OpenBatch::default(),
        };
        let spawn = std::thread::Builder::new;
        let keeper = spawn().name("talea-keeper".into()).spawn(|| keeper.run())?;
        let task = spawn().name("talea-chain".into()).spawn(|| task.run())?;
        Ok(Self { mailbox, reader, task, keeper, bills, cut: opened.replay.cut })
    }

    /// Where finished runs are handed in.
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Where receipts are read.
    pub fn reader(&self) -> ReceiptReader {
        self.reader.clone()
    }

    /// Says who knows which bills are not paid yet. Until then, and when that is gone, none counts as paid: its receipt
    /// is kept for as long as [`Retention::unpaid`] says.
    pub fn watch_bills(&self, unpaid: Weak<dyn Unpaid>) {
        // Said twice, the first stands: a node has one till.
        let _ = self.bills.set(unpaid);
    }

    /// Bytes of a commit that a crash had torn and that were cut at open; nobody was answered for it.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Takes no more, writes what waits, closes the journal. Everybody who waits is answered.
    pub async fn close(self) -> Result<(), ChainError> {
        // A thread that has ended already has closed the queue.
        let _ = self.mailbox.events.send(Event::Close).await;
        let Self { task, keeper, .. } = self;
        let joined = tokio::task::spawn_blocking(move || {
            let ended = task.join();
            let kept = keeper.join();
            ended.and_then(|ended| kept.map(|()| ended))
        });
        match joined.await {
            Ok(Ok(ended)) => Ok(ended?),
            Ok(Err(_)) | Err(_) => Err(ChainError::Panicked),
        }
    }
}

/// Whose journal it is: another key's or network's receipts must never be continued.
fn identity(network: &NetworkId, host: &PublicKey) -> JournalIdentity {
    let mut bytes = b"talea journal v1\0".to_vec();
    bytes.extend_from_slice(network.as_bytes());
    bytes.extend_from_slice(host.as_bytes());
    JournalIdentity(Digest::of(&bytes).to_bytes())
}

/// A salt need not be secret for its own sake, only unknown to callers; without randomness the segment's
/// number still keeps records of two segments apart.
fn draw_salt() -> u64 {
    getrandom::u64().unwrap_or_default()
}
