//! What is known of peers, and what is asked of them: headers that wait for their bodies, and whom to ask next.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Peer;
use crate::block::{SignedBlock, SignedHeader};
use crate::id::BlockId;
use crate::units::{Height, UnixNanos};

/// Most headers that wait for their bodies: a few pages of a range sync.
pub(super) const WANTED_MAX: usize = 2_048;
/// Most bodies asked for and not yet come.
pub(super) const IN_FLIGHT_MAX: usize = 64;
/// Most bytes of bodies that came before their parents.
pub(super) const EARLY_LEN_MAX: usize = 32 * 1024 * 1024;
/// After so many peers did not give a body, its header is dropped. It may be announced again.
pub(super) const TRIES_MAX: u32 = 12;
/// Most requests of one peer that are answered within a slot. Syncing takes a few; a flood goes unanswered.
pub(super) const BUDGET: u32 = 256;
/// Transactions that a peer may have sent unasked and that changed nothing. An honest one sends none to one node alone; one is
/// forgiven each slot.
pub(super) const IDLE_MAX: u32 = 16;
/// Most blocks remembered as invalid, so that they are not asked for again.
pub(super) const INVALID_MAX: usize = 1_024;

/// A header whose body is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) head: SignedHeader,
    pub(super) body: Option<SignedBlock>,
    pub(super) from: Peer,
    asked: Option<UnixNanos>,
    tries: u32,
}

#[derive(Debug, Clone)]
struct Known {
    budget: u32,
    /// Transactions that it was asked for and may still send, and whether it may be asked within this slot.
    asked: usize,
    may_be_asked: bool,
    /// Transactions that it sent unasked and for nothing.
    idle: u32,
    /// The line that was asked for last: a page is followed by the next.
    target: Option<BlockId>,
    /// When headers, votes and a commit may be asked for again.
    headers_after: UnixNanos,
    votes_after: UnixNanos,
    commit_after: UnixNanos,
}

/// What may be asked of a peer only once at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Topic {
    Headers,
    Votes,
    Commit,
}

/// Whom to ask for which bodies, and headers that nobody has a body for, with who sent them.
pub(super) type Due = (BTreeMap<Peer, Vec<BlockId>>, Vec<(BlockId, Peer)>);

#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<Peer, Known>,
    wanted: BTreeMap<BlockId, Wanted>,
    order: BTreeSet<(Height, BlockId)>,
    early_len: usize,
    invalid: BTreeSet<BlockId>,
    /// Counts turns, so that each slot another peer is talked to.
    turn: u64,
}

impl Peers {
    pub(super) fn join(&mut self, peer: Peer) {
        self.known.entry(peer).or_insert(Known {
            budget: BUDGET,
            asked: 0,
            may_be_asked: true,
            idle: 0,
            target: None,
            headers_after: UnixNanos::ZERO,
            votes_after: UnixNanos::ZERO,
            commit_after: UnixNanos::ZERO,
        });
    }

    pub(super) fn leave(&mut self, peer: Peer) {
        self.known.remove(&peer);
    }

    /// Takes from what a peer may ask within a slot.
    pub(super) fn spend(&mut self, peer: Peer) -> bool {
        self.join(peer);
        self.known.get_mut(&peer).is_some_and(|known| match known.budget.checked_sub(1) {
            Some(left) => {
                known.budget = left;
                true
            }
            None => false,
        })
    }

    /// Whether a peer may be asked for transactions, which is once a slot; then so many may come.
    pub(super) fn ask_for(&mut self, peer: Peer, count: usize) -> bool {
        let Some(known) = self.known.get_mut(&peer).filter(|known| known.may_be_asked) else {
            return false;
        };
        known.may_be_asked = false;
        known.asked = count;
        true
    }

    /// A peer sent a transaction to this node alone. Whether it was asked for it.
    pub(super) fn was_asked(&mut self, peer: Peer) -> bool {
        let Some(known) = self.known.get_mut(&peer) else { return false };
        match known.asked.checked_sub(1) {
            Some(left) => {
                known.asked = left;
                true
            }
            None => false,
        }
    }

    /// It sent one unasked that changed nothing. Whether it has done so too often; then the count begins anew.
    pub(super) fn was_idle(&mut self, peer: Peer) -> bool {
        let Some(known) = self.known.get_mut(&peer) else { return false };
        known.idle = known.idle.saturating_add(1);
        let is_much = known.idle > IDLE_MAX;
        if is_much {
            known.idle = 0;
        }
        is_much
    }

    /// A slot has begun: budgets are whole again, and another peer has its turn.
    pub(super) fn next_turn(&mut self) -> Option<Peer> {
        for known in self.known.values_mut() {
            known.budget = BUDGET;
            known.may_be_asked = true;
            known.idle = known.idle.saturating_sub(1);
        }
        self.turn = self.turn.saturating_add(1);
        self.nth(self.turn)
    }

    /// Whether something may be asked of a peer now; then not again before `until`.
    pub(super) fn may_ask(
        &mut self,
        peer: Peer,
        topic: Topic,
        now: UnixNanos,
        until: UnixNanos,
    ) -> bool {
        let Some(known) = self.known.get_mut(&peer) else { return false };
        let after = match topic {
            Topic::Headers => &mut known.headers_after,
            Topic::Votes => &mut known.votes_after,
            Topic::Commit => &mut known.commit_after,
        };
        if now < *after {
            return false;
        }
        *after = until;
        true
    }

    /// Remembers which line was asked for.
    pub(super) fn aim(&mut self, peer: Peer, target: BlockId) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.target = Some(target);
        }
    }

    /// Which line was asked for last.
    pub(super) fn target(&self, peer: Peer) -> Option<BlockId> {
        self.known.get(&peer)?.target
    }

    /// An answer came: the next question may follow at once.
    pub(super) fn answered(&mut self, peer: Peer, topic: Topic) {
        if let Some(known) = self.known.get_mut(&peer) {
            match topic {
                Topic::Headers => known.headers_after = UnixNanos::ZERO,
                Topic::Votes => known.votes_after = UnixNanos::ZERO,
                Topic::Commit => known.commit_after = UnixNanos::ZERO,
            }
        }
    }

    pub(super) fn wanted(&self, id: &BlockId) -> Option<&Wanted> {
        self.wanted.get(id)
    }

    pub(super) fn wanted_len(&self) -> usize {
        self.wanted.len()
    }

    /// Remembers a header whose body is wanted. When there are too many, the highest gives way to a lower one.
    pub(super) fn want(&mut self, head: SignedHeader, from: Peer) -> bool {
        let (height, id) = (head.header().height, head.id());
        if self.wanted.len() >= WANTED_MAX {
            let Some((highest, last)) = self.order.last().copied() else { return false };
            if highest <= height {
                return false;
            }
            self.forget(&last);
        }
        self.order.insert((height, id));
        self.wanted.insert(id, Wanted { head, body: None, from, asked: None, tries: 0 });
        true
    }

    /// Keeps a body until its parent is there.
    pub(super) fn keep(&mut self, body: SignedBlock) {
        let len = body.head().header().body_len as usize;
        if self.early_len.saturating_add(len) > EARLY_LEN_MAX {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(&body.head().id())
            && wanted.body.is_none()
        {
            self.early_len = self.early_len.saturating_add(len);
            wanted.body = Some(body);
        }
    }

    pub(super) fn forget(&mut self, id: &BlockId) -> Option<Wanted> {
        let wanted = self.wanted.remove(id)?;
        self.order.remove(&(wanted.head.header().height, *id));
        if wanted.body.is_some() {
            let len = wanted.head.header().body_len as usize;
            self.early_len = self.early_len.saturating_sub(len);
        }
        Some(wanted)
    }

    /// Forgets headers that can have no place any more.
    pub(super) fn forget_where(&mut self, gone: impl Fn(&SignedHeader) -> bool) {
        let ids: Vec<BlockId> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| gone(&wanted.head))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.forget_branch(id);
        }
    }

    /// Remembers that a block is invalid, and forgets what stands on it.
    pub(super) fn refuse(&mut self, id: BlockId) {
        if self.invalid.len() >= INVALID_MAX {
            self.invalid.pop_first();
        }
        self.invalid.insert(id);
        self.forget_branch(id);
    }

    /// Forgets a header and what stands on it: without it, that would wait for ever and never be asked for again.
    fn forget_branch(&mut self, id: BlockId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            self.forget(&id);
            open.extend(
                self.wanted
                    .iter()
                    .filter(|(_, wanted)| wanted.head.header().parent == id)
                    .map(|(child, _)| *child),
            );
        }
    }

    pub(super) fn is_invalid(&self, id: &BlockId) -> bool {
        self.invalid.contains(id)
    }

    /// Lowest first: the wanted headers.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Wanted> {
        self.order.iter().filter_map(|(_, id)| self.wanted.get(id))
    }

    /// Whom to ask for which bodies now, lowest first; headers that nobody has a body for are given up and
    /// returned.
    pub(super) fn due(&mut self, now: UnixNanos, until: UnixNanos) -> Due {
        let mut asks: BTreeMap<Peer, Vec<BlockId>> = BTreeMap::new();
        let mut given_up = Vec::new();
        let order: Vec<BlockId> =
            self.order.iter().map(|(_, id)| *id).take(IN_FLIGHT_MAX).collect();
        for id in order {
            let Some(wanted) = self.wanted.get(&id) else { continue };
            if wanted.body.is_some() || wanted.asked.is_some_and(|asked| now < asked) {
                continue;
            }
            if wanted.tries >= TRIES_MAX {
                given_up.push((id, wanted.from));
                continue;
            }
            // First who sent the header, then the others in turn.
            let peer = if wanted.tries == 0 && self.known.contains_key(&wanted.from) {
                Some(wanted.from)
            } else {
                self.nth(self.turn.saturating_add(u64::from(wanted.tries)))
            };
            let Some(peer) = peer else { break };
            if let Some(wanted) = self.wanted.get_mut(&id) {
                wanted.tries = wanted.tries.saturating_add(1);
                wanted.asked = Some(until);
            }
            asks.entry(peer).or_default().push(id);
        }
        for (id, _) in &given_up {
            self.forget_branch(*id);
        }
        (asks, given_up)
    }

    fn nth(&self, turn: u64) -> Option<Peer> {
        let count = self.known.len() as u64;
        let at = turn.checked_rem(count)?;
        self.known.keys().nth(at as usize).copied()
    }
}
