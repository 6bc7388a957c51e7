//! Chain messages: from the lanes to the inbox, from the node to the lanes.

use talea_ledger::PublicKey;

use super::Task;
use crate::inbox::Incoming;
use crate::key;
use crate::lane::{LaneEvent, LaneFault};

impl Task {
    /// Sends one message to one peer, or drops and counts it.
    pub(super) fn send(&mut self, to: &PublicKey, message: Vec<u8>) {
        let len = message.len();
        let peer = key::peer_of(to);
        let is_queued =
            peer.is_some_and(|peer| self.swarm.behaviour_mut().lanes.send(&peer, message).is_ok());
        let entry = peer.and_then(|peer| self.peers.get_mut(&peer));
        if is_queued {
            self.tally.sent.one(len);
            if let Some(entry) = entry {
                entry.sent.one(len);
            }
        } else {
            self.tally.dropped.one();
            if let Some(entry) = entry {
                entry.dropped += 1;
            }
        }
    }

    pub(super) fn chain_event(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Received { peer, bytes, held } => {
                // A lane reads nothing before its peer has joined, so this finds one.
                let Some(entry) = self.peers.joined_mut(&peer) else { return };
                entry.received.one(bytes.len());
                self.tally.received.one(bytes.len());
                let from = entry.key;
                if !self.deliver(Incoming::Sent { from, bytes }, Some(held)) {
                    self.tally.dropped.one();
                }
            }
            LaneEvent::Broke { peer, fault } => {
                tracing::debug!(%peer, ?fault, "a chain stream ended");
                match fault {
                    LaneFault::TooLong => {
                        self.tally.malformed.one();
                        self.hold_against(peer, "a chain message is too long");
                        self.cut(peer, "it sent a chain message that is too long");
                    }
                    LaneFault::Slow => self.cut(peer, "it does not read or finish its messages"),
                    LaneFault::Unspoken => self.cut(peer, "it does not speak the chain protocol"),
                    LaneFault::Broken => {}
                }
            }
        }
    }
}
