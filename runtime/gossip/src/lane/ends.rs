//! The two ends of a lane on one connection: a reader and a writer, each with at most one stream.
//!
//! Invariants: one frame is in memory for each end at most, besides the bounded queue; a frame that was begun ends in
//! time or the lane breaks; a second stream of a peer takes the place of its first.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::StreamProtocol;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::futures::future::BoxFuture;
use libp2p::futures::{AsyncWriteExt, FutureExt};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
};
use talea_ledger::chain::message::MESSAGE_LEN_MAX;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::NotQueued;
use crate::frame;
use crate::inbox::{Held, Share};
use crate::rates::Bucket;

/// Longest frame of a lane.
pub(crate) const FRAME_LEN_MAX: u32 = {
    assert!(MESSAGE_LEN_MAX < 1 << 30);
    MESSAGE_LEN_MAX as u32
};

/// Messages that wait for one peer: a sync of 64 blocks and a burst of announcements and votes beside it.
const QUEUE_COUNT_MAX: usize = 512;
/// Bytes that wait for one peer: four of the longest messages.
const QUEUE_BYTES_MAX: usize = 4 * MESSAGE_LEN_MAX;

/// Why a lane broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneFault {
    /// A frame was longer than any message.
    TooLong,
    /// A frame was begun and did not end, or the peer does not read.
    Slow,
    /// The stream ended within a frame, or could not be opened.
    Broken,
    /// The peer does not speak this protocol.
    Unspoken,
}

/// Lets the peer speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admit;

/// What the ends report.
#[derive(Debug)]
pub(crate) enum FromEnds {
    Received { bytes: Vec<u8>, held: Held },
    Broke(LaneFault),
}

/// Where messages for one connection wait.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

/// The other end of it.
#[derive(Debug)]
pub(crate) struct Drain {
    queue: mpsc::Receiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Outbox {
    pub(crate) fn new() -> (Self, Drain) {
        let (sender, receiver) = mpsc::channel(QUEUE_COUNT_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        (Self { queue: sender, bytes: bytes.clone() }, Drain { queue: receiver, bytes })
    }

    /// Queues a message, unless too many or too long ones wait.
    pub(crate) fn push(&self, message: Vec<u8>) -> Result<(), NotQueued> {
        let len = message.len();
        // Relaxed: only the network's task adds, so the bound holds whatever the order of the subtractions.
        if self.bytes.load(Ordering::Relaxed) + len > QUEUE_BYTES_MAX {
            return Err(NotQueued);
        }
        self.bytes.fetch_add(len, Ordering::Relaxed);
        self.queue.try_send(message).map_err(|_| {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            NotQueued
        })
    }
}

/// Where the writer stands.
enum Writer {
    /// Nothing to send, and no stream.
    Idle(Drain),
    /// A message waits for its stream.
    Opening(Drain, Vec<u8>),
    /// Writing, for as long as it goes well.
    Writing(BoxFuture<'static, (Drain, LaneFault)>),
    /// Between two states, or given up.
    Off,
}

/// What a peer may send: its room in the inbox and its rate.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) share: Share,
    pub(crate) bucket: Arc<Mutex<Bucket>>,
    /// How long a frame may take once it was begun, either way.
    pub(crate) frame_time: Duration,
}

/// One message read, and the stream for the next.
type Read = Result<Option<(Stream, Vec<u8>, Held)>, LaneFault>;

/// Both ends.
pub(crate) struct Ends {
    protocol: StreamProtocol,
    gate: Gate,
    admitted: bool,
    /// A stream that came before the peer was admitted.
    waiting: Option<Stream>,
    reader: Option<BoxFuture<'static, Read>>,
    writer: Writer,
    events: VecDeque<FromEnds>,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

fn fault(error: &io::Error) -> LaneFault {
    match error.kind() {
        io::ErrorKind::InvalidData => LaneFault::TooLong,
        io::ErrorKind::TimedOut => LaneFault::Slow,
        _ => LaneFault::Broken,
    }
}

/// Reads one message, when there is room for it.
async fn read(mut stream: Stream, gate: Gate) -> Read {
    let head = frame::read_head(&mut stream, FRAME_LEN_MAX).await;
    let Some(len) = head.map_err(|error| fault(&error))? else { return Ok(None) };
    let Some(held) = gate.share.hold(len).await else { return Ok(None) };
    let body = timeout(gate.frame_time, frame::read_body(&mut stream, len)).await;
    let bytes = body.map_err(|_| LaneFault::Slow)?.map_err(|error| fault(&error))?;
    // A bucket is numbers only: whole whatever happened while it was locked.
    let wait = gate
        .bucket
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(bytes.len(), Instant::now());
    if !wait.is_zero() {
        sleep(wait).await;
    }
    Ok(Some((stream, bytes, held)))
}

/// Writes messages until one cannot be written.
async fn write(
    mut stream: Stream,
    first: Vec<u8>,
    mut drain: Drain,
    time: Duration,
) -> (Drain, LaneFault) {
    let mut message = first;
    loop {
        let written = timeout(time, frame::write(&mut stream, &message)).await;
        drain.bytes.fetch_sub(message.len(), Ordering::Relaxed);
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return (drain, fault(&error)),
            Err(_) => return (drain, LaneFault::Slow),
        }
        match drain.queue.recv().await {
            Some(next) => message = next,
            None => {
                // The connection is going; nothing is lost by a stream that does not close.
                let _ = stream.close().await;
                return (drain, LaneFault::Broken);
            }
        }
    }
}

impl Ends {
    pub(crate) fn new(protocol: StreamProtocol, gate: Gate, drain: Drain, admitted: bool) -> Self {
        Self {
            protocol,
            gate,
            admitted,
            waiting: None,
            reader: None,
            writer: Writer::Idle(drain),
            events: VecDeque::new(),
        }
    }

    fn begin_reading(&mut self) {
        if let Some(stream) = self.waiting.take() {
            self.reader = Some(read(stream, self.gate.clone()).boxed());
        }
    }

    fn poll_reader(&mut self, cx: &mut Context<'_>) -> Option<FromEnds> {
        let reader = self.reader.as_mut()?;
        let Poll::Ready(read_one) = reader.poll_unpin(cx) else { return None };
        self.reader = None;
        match read_one {
            Ok(Some((stream, bytes, held))) => {
                self.reader = Some(read(stream, self.gate.clone()).boxed());
                Some(FromEnds::Received { bytes, held })
            }
            Ok(None) => None,
            Err(fault) => Some(FromEnds::Broke(fault)),
        }
    }

    /// Moves the writer on; true when a stream is to be opened.
    fn poll_writer(&mut self, cx: &mut Context<'_>) -> bool {
        match std::mem::replace(&mut self.writer, Writer::Off) {
            Writer::Idle(mut drain) => match drain.queue.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    self.writer = Writer::Opening(drain, message);
                    return true;
                }
                Poll::Ready(None) => {}
                Poll::Pending => self.writer = Writer::Idle(drain),
            },
            Writer::Writing(mut writing) => match writing.poll_unpin(cx) {
                Poll::Ready((drain, fault)) => {
                    self.writer = Writer::Idle(drain);
                    self.events.push_back(FromEnds::Broke(fault));
                    cx.waker().wake_by_ref();
                }
                Poll::Pending => self.writer = Writer::Writing(writing),
            },
            other => self.writer = other,
        }
        false
    }

    fn opened(&mut self, stream: Stream) {
        if let Writer::Opening(drain, first) = std::mem::replace(&mut self.writer, Writer::Off) {
            self.writer =
                Writer::Writing(write(stream, first, drain, self.gate.frame_time).boxed());
        }
    }

    fn not_opened(&mut self, fault: LaneFault) {
        if let Writer::Opening(drain, first) = std::mem::replace(&mut self.writer, Writer::Off) {
            drain.bytes.fetch_sub(first.len(), Ordering::Relaxed);
            self.writer = Writer::Idle(drain);
        }
        self.events.push_back(FromEnds::Broke(fault));
    }
}

type Upgrade = ReadyUpgrade<StreamProtocol>;

impl ConnectionHandler for Ends {
    type FromBehaviour = Admit;
    type ToBehaviour = FromEnds;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    /// A connection to an admitted peer is kept, however quiet.
    fn connection_keep_alive(&self) -> bool {
        self.admitted
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Upgrade, (), FromEnds>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(event) = self.poll_reader(cx) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if self.poll_writer(cx) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ()),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, Admit: Admit) {
        self.admitted = true;
        self.begin_reading();
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => {
                self.waiting = Some(stream);
                if self.admitted {
                    self.begin_reading();
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                ..
            }) => self.opened(stream),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.not_opened(match error {
                    StreamUpgradeError::NegotiationFailed => LaneFault::Unspoken,
                    StreamUpgradeError::Timeout => LaneFault::Slow,
                    _ => LaneFault::Broken,
                });
            }
            _ => {}
        }
    }
}
