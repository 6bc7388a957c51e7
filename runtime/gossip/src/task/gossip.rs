//! Gossip: what peers pass on, what the node judges, what it says itself.
//!
//! Invariants: a message is judged once, by the node, and passed on only then; what comes before its peer's hello
//! waits for it, bounded; what nobody listens to yet is said again, for some time.

use std::collections::VecDeque;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{Event, Message, MessageAcceptance, MessageId, PublishError};
use talea_ledger::PublicKey;
use tokio::time::Instant;

use super::Task;
use crate::handle::Verdict;
use crate::inbox::Incoming;
use crate::key;
use crate::topics::{GossipId, Topic};

/// Messages that wait for their peer's hello, and their bytes: it is on the way while they come.
const EARLY_MAX: usize = 32;
const EARLY_BYTES_MAX: usize = 256 * 1024;

/// Own messages that wait until somebody listens, and for how long: a network that is just being started.
const UNSENT_MAX: usize = 256;
const UNSENT_BYTES_MAX: usize = 4 * 1024 * 1024;
const UNSENT_TIME: Duration = Duration::from_secs(60);

/// Messages above its rate that make an offence of a peer.
const OVERRUN_OFFENCE: u64 = 256;

/// Messages of a peer that says no hello yet.
pub(super) type Early = Vec<(MessageId, Message)>;

/// Own messages that nobody has heard.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    queue: VecDeque<(Instant, Topic, Vec<u8>)>,
    bytes: usize,
}

impl Unsent {
    /// Keeps a message, at the price of the oldest ones.
    fn push(
        &mut self,
        now: Instant,
        topic: Topic,
        message: Vec<u8>,
        mut given_up: impl FnMut(Topic),
    ) {
        self.bytes += message.len();
        self.queue.push_back((now, topic, message));
        while self.queue.len() > UNSENT_MAX || self.bytes > UNSENT_BYTES_MAX {
            let Some((_, topic, oldest)) = self.queue.pop_front() else { return };
            self.bytes -= oldest.len();
            given_up(topic);
        }
    }

    fn take(&mut self) -> VecDeque<(Instant, Topic, Vec<u8>)> {
        self.bytes = 0;
        std::mem::take(&mut self.queue)
    }
}

impl Task {
    /// Says something to everybody.
    pub(super) fn publish(&mut self, topic: Topic, message: Vec<u8>, since: Instant) {
        let len = message.len();
        let hash = self.topics.hash(topic).clone();
        match self.swarm.behaviour_mut().gossip.publish(hash, message.clone()) {
            Ok(_) => self.tally.topic(topic).published.one(len),
            // Said already, by this node or to it.
            Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                let tally = &self.tally;
                self.unsent.push(since, topic, message, |topic| tally.topic(topic).unsent.one());
            }
            Err(error) => {
                tracing::warn!(%error, topic = topic.word(), "not published");
                self.tally.topic(topic).unsent.one();
            }
        }
    }

    /// Tries again what nobody has heard.
    pub(super) fn publish_again(&mut self, now: Instant) {
        for (since, topic, message) in self.unsent.take() {
            if now.saturating_duration_since(since) < UNSENT_TIME {
                self.publish(topic, message, since);
            } else {
                self.tally.topic(topic).unsent.one();
            }
        }
    }

    pub(super) fn gossip_event(&mut self, event: Event) {
        match event {
            Event::Message { propagation_source, message_id, message } => {
                self.heard(propagation_source, message_id, message, Instant::now());
            }
            Event::Subscribed { .. } => self.publish_again(Instant::now()),
            Event::SlowPeer { peer_id, failed_messages } => {
                if let Some(entry) = self.peers.get_mut(&peer_id) {
                    entry.dropped +=
                        (failed_messages.priority + failed_messages.non_priority) as u64;
                }
            }
            Event::Unsubscribed { .. } | Event::GossipsubNotSupported { .. } => {}
        }
    }

    /// Passes a message to the node, or leaves it aside.
    fn heard(&mut self, peer: PeerId, id: MessageId, message: Message, now: Instant) {
        let Some(topic) = self.topics.topic(&message.topic) else { return };
        let Some(name) = GossipId::from_message_id(&id, topic) else { return };
        let len = message.data.len();
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if !entry.is_joined() {
            let early = self.early.entry(peer).or_default();
            let bytes: usize = early.iter().map(|(_, message)| message.data.len()).sum();
            if early.len() < EARLY_MAX && bytes + len <= EARLY_BYTES_MAX {
                early.push((id, message));
            }
            return;
        }
        let tally = self.tally.topic(topic);
        tally.received.one(len);
        entry.received.one(len);
        let from = entry.key;
        let is_slow_enough = entry.gossip.try_take(len, now);
        let share = self.swarm.behaviour().lanes.share(&peer);
        let held = share.filter(|_| is_slow_enough).and_then(|share| share.try_hold(len));
        if let Some(held) = held {
            let bytes = message.data;
            if self.deliver(Incoming::Gossiped { id: name, from, topic, bytes }, Some(held)) {
                return;
            }
        }
        self.tally.topic(topic).overrun.one();
        self.judge(&id, &peer, MessageAcceptance::Ignore);
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.ignored += 1;
        // What the node is too slow for is not the peer's fault; what comes faster than any honest peer speaks is.
        if !is_slow_enough && entry.ignored.is_multiple_of(OVERRUN_OFFENCE) {
            self.hold_against(peer, "it gossips too fast");
        }
    }

    /// A peer has joined: what it said before comes now.
    pub(super) fn hear_early(&mut self, peer: PeerId) {
        for (id, message) in self.early.remove(&peer).unwrap_or_default() {
            self.heard(peer, id, message, Instant::now());
        }
    }

    /// The node has judged a message.
    pub(super) fn verdict(&mut self, id: GossipId, from: &PublicKey, verdict: Verdict) {
        let tally = self.tally.topic(id.topic());
        let acceptance = match verdict {
            Verdict::Accept => {
                tally.accepted.one();
                MessageAcceptance::Accept
            }
            Verdict::Ignore => {
                tally.ignored.one();
                MessageAcceptance::Ignore
            }
            Verdict::Reject => {
                tally.rejected.one();
                MessageAcceptance::Reject
            }
        };
        if let Some(peer) = key::peer_of(from) {
            self.judge(&id.to_message_id(), &peer, acceptance);
        }
    }

    fn judge(&mut self, id: &MessageId, peer: &PeerId, acceptance: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if !gossip.report_message_validation_result(id, peer, acceptance) {
            tracing::debug!(%id, "a verdict came too late");
        }
    }
}
