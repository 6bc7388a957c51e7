//! Hello: whom this node talks to.
//!
//! Invariant: who made the connection asks; both sides come to the same answer from the same two hellos, and a
//! refusal is told before the connection is closed.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::request_response::{Event, Message, OutboundFailure, ResponseChannel};
use tokio::time::Instant;

use super::Task;
use crate::hello::{Answer, Hello, Question};
use crate::inbox::Incoming;
use crate::peers::{Peer, Standing};

/// How long a refused peer may take to read why and to leave by itself. Closing at once would lose the answer: it and
/// the end of the connection arrive together, and the end is seen first.
const REFUSED_TIME: Duration = Duration::from_secs(3);

type HelloEvent = Event<Vec<u8>, Vec<u8>>;

impl Task {
    pub(super) fn greeted(&mut self, event: HelloEvent) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.asked_who(peer, &request, channel);
            }
            Event::Message { peer, message: Message::Response { response, .. }, .. } => {
                self.told_who(peer, &response);
            }
            Event::OutboundFailure { peer, error, .. } => {
                if self.peers.get(&peer).is_none_or(Peer::is_joined) {
                    return;
                }
                match error {
                    // The peer is still there, so another connection to it is.
                    OutboundFailure::ConnectionClosed => self.ask_who(&peer),
                    error => self.refuse(peer, format!("it did not answer hello: {error}")),
                }
            }
            // A question that does not come whole is none; the peer's time runs out.
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    /// Says hello to a peer.
    pub(super) fn ask_who(&mut self, peer: &PeerId) {
        let question = Question::Hello(self.hello.clone()).encode();
        self.swarm.behaviour_mut().hello.send_request(peer, question);
    }

    fn asked_who(&mut self, peer: PeerId, question: &[u8], channel: ResponseChannel<Vec<u8>>) {
        let now = Instant::now();
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if !entry.hellos.try_take(question.len(), now) {
            self.hold_against(peer, "too many hellos");
            return;
        }
        let (answer, theirs) = match Question::decode(question) {
            Ok(Question::Params) => (Answer::Params(self.params.clone()), None),
            Ok(Question::Hello(theirs)) => match self.hello.objection(&theirs) {
                None => (Answer::Welcome(self.hello.clone()), Some(Ok(theirs))),
                Some(reason) => {
                    let hello = self.hello.clone();
                    (Answer::Refused { hello, reason: reason.clone() }, Some(Err(reason)))
                }
            },
            Err(error) => {
                self.tally.malformed.one();
                self.hold_against(peer, "a malformed hello");
                self.refuse(peer, format!("its hello is malformed: {error}"));
                return;
            }
        };
        // An error says that the connection is gone, which is told by another event.
        let _ = self.swarm.behaviour_mut().hello.send_response(channel, answer.encode());
        match theirs {
            None => {}
            Some(Ok(theirs)) => self.join(peer, theirs),
            Some(Err(reason)) => {
                self.tally.refused.one();
                self.not_again_soon(peer, now);
                self.peers.refuse(&peer, reason, now);
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.standing = Standing::Refused(now + REFUSED_TIME);
                }
                self.show(now);
            }
        }
    }

    fn told_who(&mut self, peer: PeerId, answer: &[u8]) {
        match Answer::decode(answer) {
            Ok(Answer::Welcome(theirs)) => match self.hello.objection(&theirs) {
                None => self.join(peer, theirs),
                Some(reason) => {
                    self.not_again_soon(peer, Instant::now());
                    self.refuse(peer, reason);
                }
            },
            Ok(Answer::Refused { reason, .. }) => {
                self.not_again_soon(peer, Instant::now());
                self.refuse(peer, format!("it refused this node: {reason}"));
            }
            Ok(Answer::Params(_)) => self.refuse(peer, "its answer is not to hello".to_owned()),
            Err(error) => {
                self.tally.malformed.one();
                self.hold_against(peer, "a malformed answer to hello");
                self.refuse(peer, format!("its answer to hello is malformed: {error}"));
            }
        }
    }

    /// A peer is of this network.
    fn join(&mut self, peer: PeerId, theirs: Hello) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.standing = Standing::Joined(theirs);
        if std::mem::replace(&mut entry.was_told, true) {
            return;
        }
        let key = entry.key;
        tracing::info!(peer = %key, "joined");
        self.deliver_surely(Incoming::Joined(key));
        self.swarm.behaviour_mut().lanes.admit(peer);
        self.make_known(peer);
        self.hear_early(peer);
        self.fetch_from(peer);
        self.show(Instant::now());
    }

    /// A peer's time is over: it did not say hello, or it was refused and had its time to read why.
    pub(super) fn overdue(&mut self, peer: PeerId) {
        match self.peers.get(&peer).map(|peer| &peer.standing) {
            Some(Standing::Awaited(_)) => {
                self.refuse(peer, "it did not say hello in time".to_owned());
            }
            Some(Standing::Refused(_)) => self.disconnect(peer),
            Some(Standing::Joined(_)) | None => {}
        }
    }
}
