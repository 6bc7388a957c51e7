//! Pieces: asked for by this node, and asked of it.
//!
//! Invariants: of one peer, and of all, a bounded number of questions is being answered; what a peer asks above that,
//! or above its rate, is answered with "busy" at once. Every question of this node ends with an answer or an error.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::request_response::{
    Event, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use talea_ledger::PublicKey;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Task;
use crate::fetch::{Answer, Ask, FetchError, NotHere, Piece};
use crate::inbox::Incoming;
use crate::key;

/// Questions of one peer that are answered at once. Two sides with as many each stay below what a connection carries.
const ASKED_PER_PEER_MAX: usize = 12;
/// Questions of all peers that are answered at once: 64 MiB of pieces.
const ASKED_MAX: usize = 64;
/// How long the node may take for an answer: a disk that has to wake up.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// Own questions to one peer at once, and those that wait behind them.
const FETCHING_PER_PEER_MAX: usize = 8;
const FETCHES_WAITING_MAX: usize = 256;

type Reply = oneshot::Sender<Result<Piece, FetchError>>;

/// The node's answer, when it is there.
pub(super) struct Answered {
    peer: PeerId,
    ask: Ask,
    channel: ResponseChannel<Vec<u8>>,
    answer: Answer,
}

pub(super) type Answering = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// Own questions.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    asked: HashMap<OutboundRequestId, (PeerId, Ask, Reply)>,
    waiting: HashMap<PeerId, VecDeque<(Ask, Reply)>>,
    waiting_count: usize,
}

impl Fetches {
    fn under_way(&self, peer: &PeerId) -> usize {
        self.asked.values().filter(|(of, _, _)| of == peer).count()
    }
}

impl Task {
    /// Asks a peer for a piece, once it is there.
    pub(super) fn fetch(&mut self, from: &PublicKey, ask: Ask, reply: Reply) {
        let Some(peer) = key::peer_of(from) else {
            let _ = reply.send(Err(FetchError::Unreachable));
            return;
        };
        if self.fetches.waiting_count >= FETCHES_WAITING_MAX {
            let _ = reply.send(Err(FetchError::Overloaded));
            return;
        }
        self.fetches.waiting_count += 1;
        self.fetches.waiting.entry(peer).or_default().push_back((ask, reply));
        if self.peers.joined_mut(&peer).is_some() {
            self.fetch_from(peer);
            return;
        }
        let options =
            DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
        match self.swarm.dial(options) {
            // Under way already, or its hello is: the question waits for it.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                tracing::debug!(%error, %peer, "no way to fetch");
                self.forget_fetches(peer);
            }
        }
    }

    /// Asks a peer that is there what waits to be asked.
    pub(super) fn fetch_from(&mut self, peer: PeerId) {
        let mut free = FETCHING_PER_PEER_MAX.saturating_sub(self.fetches.under_way(&peer));
        let Some(queue) = self.fetches.waiting.get_mut(&peer) else { return };
        while free > 0
            && let Some((ask, reply)) = queue.pop_front()
        {
            free -= 1;
            self.fetches.waiting_count -= 1;
            let id = self.swarm.behaviour_mut().fetch.send_request(&peer, ask.encode());
            self.fetches.asked.insert(id, (peer, ask, reply));
        }
        if queue.is_empty() {
            self.fetches.waiting.remove(&peer);
        }
    }

    /// A peer cannot be reached, or is gone: what waits for it fails. What it was asked fails by its own events.
    pub(super) fn forget_fetches(&mut self, peer: PeerId) {
        for (_, reply) in self.fetches.waiting.remove(&peer).unwrap_or_default() {
            self.fetches.waiting_count -= 1;
            let _ = reply.send(Err(FetchError::Unreachable));
        }
    }

    pub(super) fn fetch_event(&mut self, event: Event<Vec<u8>, Vec<u8>>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.asked_for(peer, &request, channel);
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.fetched(request_id, Some(&response), FetchError::Malformed);
            }
            Event::OutboundFailure { request_id, error, .. } => {
                let error = match error {
                    OutboundFailure::DialFailure | OutboundFailure::UnsupportedProtocols => {
                        FetchError::Unreachable
                    }
                    OutboundFailure::Io(error)
                        if error.kind() == std::io::ErrorKind::InvalidData =>
                    {
                        FetchError::Malformed
                    }
                    _ => FetchError::Silent,
                };
                self.fetched(request_id, None, error);
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a piece was not served");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    /// An own question has its answer, or none.
    fn fetched(&mut self, id: OutboundRequestId, answer: Option<&[u8]>, otherwise: FetchError) {
        let Some((peer, ask, reply)) = self.fetches.asked.remove(&id) else { return };
        let piece = match answer.map(Answer::decode) {
            Some(Ok(answer)) => answer.to(&ask),
            Some(Err(_)) | None => Err(otherwise),
        };
        match &piece {
            Ok(piece) => {
                self.tally.fetched.one(piece.bytes.len());
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.received.one(piece.bytes.len());
                }
            }
            Err(FetchError::Malformed) => {
                self.tally.malformed.one();
                self.hold_against(peer, "a malformed piece");
            }
            Err(_) => {}
        }
        // Who asked may have stopped waiting.
        let _ = reply.send(piece);
        self.fetch_from(peer);
    }

    /// A peer asks for a piece.
    fn asked_for(&mut self, peer: PeerId, question: &[u8], channel: ResponseChannel<Vec<u8>>) {
        let Ok(ask) = Ask::decode(question) else {
            self.tally.malformed.one();
            self.hold_against(peer, "a malformed question for a piece");
            return;
        };
        let is_free = self.answering.len() < ASKED_MAX;
        // Before its hello a peer is served nothing; it knows that it has not said it.
        let Some(entry) = self.peers.joined_mut(&peer) else { return };
        let len = usize::try_from(ask.len).unwrap_or(usize::MAX);
        let from = entry.key;
        if !is_free
            || entry.asked >= ASKED_PER_PEER_MAX
            || !entry.fetches.try_take(len, Instant::now())
        {
            self.not_now(channel);
            return;
        }
        entry.asked += 1;
        let (reply, answer) = oneshot::channel::<Result<Piece, NotHere>>();
        let Ask { wanted, offset, len } = ask;
        if !self.deliver(Incoming::Asked { from, wanted, offset, len, reply }, None) {
            self.not_now(channel);
            if let Some(entry) = self.peers.get_mut(&peer) {
                entry.asked -= 1;
            }
            return;
        }
        self.answering.push(Box::pin(async move {
            let answer = match timeout(ANSWER_TIME, answer).await {
                Ok(Ok(Ok(piece))) => Answer::Piece(piece),
                Ok(Ok(Err(NotHere))) => Answer::NotHere,
                Ok(Err(_)) | Err(_) => Answer::Busy,
            };
            Answered { peer, ask, channel, answer }
        }));
    }

    fn not_now(&mut self, channel: ResponseChannel<Vec<u8>>) {
        self.tally.unserved.one();
        // An error says that the peer is gone.
        let _ = self.swarm.behaviour_mut().fetch.send_response(channel, Answer::Busy.encode());
    }

    /// The node has an answer for a peer.
    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { peer, ask, channel, mut answer } = answered;
        if let Answer::Piece(piece) = &mut answer {
            let max = usize::try_from(ask.len).unwrap_or(usize::MAX);
            piece.bytes.truncate(max);
            self.tally.served.one(piece.bytes.len());
            if let Some(entry) = self.peers.get_mut(&peer) {
                entry.sent.one(piece.bytes.len());
            }
        }
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.asked = entry.asked.saturating_sub(1);
        }
        let _ = self.swarm.behaviour_mut().fetch.send_response(channel, answer.encode());
    }
}
