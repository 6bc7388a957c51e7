//! Votes and commits: what they make this node do, and what a finalised block changes.

use super::event::{Action, Peer, Record};
use super::message::Message;
use super::peers::Topic;
use super::{COMMITS_MAX, Chain, RECENT_MAX};
use crate::finality::{Commit, CommitOutcome, Effect};
use crate::id::BlockId;
use crate::rules::Place;
use crate::sign::Sealed;
use crate::units::{Height, Slot, Slots, UnixNanos};

/// Most steps of voting within one call. A round takes three; more than a few rounds at once cannot be due.
const STEPS_MAX: usize = 64;
/// A transaction that has been pending for this many finalised blocks is tried on the finalised state.
const LINGER_BLOCKS: u64 = 2;
/// Most transactions tried so at each finalised block.
const LINGER_MAX: usize = 64;

impl Chain {
    /// Votes, as long as there is something to do.
    pub(super) fn vote(&mut self, now: UnixNanos, actions: &mut Vec<Action>) {
        for _ in 0..STEPS_MAX {
            let effects = self.finality.step(&self.tree, now, self.signer.as_ref());
            if effects.is_empty() {
                return;
            }
            self.apply_effects(effects, None, now, actions);
        }
    }

    pub(super) fn take_vote(
        &mut self,
        now: UnixNanos,
        from: Peer,
        vote: Sealed,
        actions: &mut Vec<Action>,
    ) {
        match self.finality.import(&self.tree, vote) {
            Ok(effects) => self.apply_effects(effects, Some(from), now, actions),
            Err(error) => actions.push(Action::Refused { from, code: error.code() }),
        }
    }

    pub(super) fn take_votes(
        &mut self,
        now: UnixNanos,
        from: Peer,
        votes: &[Sealed],
        actions: &mut Vec<Action>,
    ) {
        self.peers.answered(from, Topic::Votes);
        match self.finality.catch_up(&self.tree, now, votes) {
            Ok(effects) => self.apply_effects(effects, Some(from), now, actions),
            Err(error) => actions.push(Action::Refused { from, code: error.code() }),
        }
    }

    pub(super) fn take_commit(
        &mut self,
        now: UnixNanos,
        from: Peer,
        commit: Commit,
        actions: &mut Vec<Action>,
    ) {
        match self.finality.import_commit(&self.tree, commit.clone()) {
            Ok(CommitOutcome::Known) => {}
            Ok(CommitOutcome::Effects(effects)) => {
                self.peers.answered(from, Topic::Commit);
                self.apply_effects(effects, Some(from), now, actions);
            }
            Ok(CommitOutcome::Missing(blocks)) => {
                self.early_commit = Some((commit, from));
                for block in blocks {
                    if self.peers.wanted(&block).is_none() {
                        self.ask_for_headers(now, from, None, block, actions);
                    }
                }
            }
            Err(error) => actions.push(Action::Refused { from, code: error.code() }),
        }
    }

    /// A block came: perhaps it was the one that a commit waited for.
    pub(super) fn retry_commit(&mut self, now: UnixNanos, actions: &mut Vec<Action>) {
        let Some((commit, from)) = self.early_commit.take() else { return };
        if commit.height <= self.tree.finalised().height {
            return;
        }
        if self.tree.contains(&commit.block) {
            self.take_commit(now, from, commit, actions);
        } else {
            self.early_commit = Some((commit, from));
        }
    }

    pub(super) fn apply_effects(
        &mut self,
        effects: Vec<Effect>,
        from: Option<Peer>,
        now: UnixNanos,
        actions: &mut Vec<Action>,
    ) {
        for effect in effects {
            match effect {
                Effect::Cast(vote) => {
                    actions.push(Action::Persist(Record::Vote(vote.clone())));
                    actions.push(Action::Broadcast(Message::Vote(vote)));
                }
                Effect::Counted(vote) => actions.push(Action::Persist(Record::Vote(vote))),
                Effect::Round(start) => actions.push(Action::Persist(Record::Round(start))),
                Effect::Finalised(commit) => self.finalise(commit, actions),
                Effect::Equivocation(evidence) => {
                    actions.push(Action::Persist(Record::Equivocation(evidence)));
                }
                Effect::Split(commit) => actions.push(Action::Split(commit)),
                Effect::Want(block) => {
                    if let Some(from) = from
                        && self.peers.wanted(&block).is_none()
                    {
                        self.ask_for_headers(now, from, None, block, actions);
                    }
                }
                Effect::WantRound(round) => {
                    let until = self.network.slot_start(self.slot_now(now).after(Slots(1)));
                    if let Some(to) = from
                        && self.peers.may_ask(to, Topic::Votes, now, until)
                    {
                        let message = Message::GetVotes(round);
                        actions.push(Action::Send { to, message });
                    }
                }
            }
        }
    }

    /// A block is final.
    fn finalise(&mut self, commit: Commit, actions: &mut Vec<Action>) {
        let target = commit.target();
        #[cfg(test)]
        if self.flaw == super::mutations::Flaw::IgnoresFinality {
            self.tree.finalise_loosely(&target.id);
            actions.push(Action::Finalised(target));
            return;
        }
        let before = self.tree.head().id;
        let after = self.tree.best_on(&target.id).map_or(before, |place| place.id);
        let route = self.tree.route(&before, &after).unwrap_or_default();
        let Some((line, lost)) = self.tree.finalise(&target.id) else { return };
        assert_eq!(self.tree.head().id, after, "the head is the best block on the finalised one");
        // What goes back to the pool is written before the blocks that held it may go.
        if before != after {
            self.follow(route, actions);
        }
        self.lose(&lost, actions);
        for id in &line {
            for transaction in self.transactions_of(id) {
                self.included.remove(&transaction.id());
            }
        }
        self.commits.insert(target.height, commit.clone());
        while self.commits.len() > COMMITS_MAX {
            self.commits.pop_first();
        }
        actions.push(Action::Persist(Record::Finalised { commit: commit.clone(), line, lost }));
        self.settle_pool(target.height, actions);
        self.forget_old();
        actions.push(Action::Finalised(target));
        if self.network.params().authorities.contains(&self.me) {
            actions.push(Action::Broadcast(Message::Commit(commit)));
        }
    }

    /// Rejects what the finalised state rules out.
    fn settle_pool(&mut self, height: Height, actions: &mut Vec<Action>) {
        let state = self.finalised_state().clone();
        let rejected = self.pool.finalise(height, |key| Self::standing(&state, key));
        actions.extend(rejected.into_iter().map(|each| Action::Persist(Record::Rejected(each))));
        let tip = state.tip();
        let place = Place {
            height: tip.height.saturating_add(Height(1)),
            slot: tip.slot.saturating_add(Slot(1)),
        };
        for transaction in self.pool.lingering(LINGER_BLOCKS, LINGER_MAX) {
            if let Err(rejection) = state.clone().attempt(&transaction, place) {
                self.fail(&transaction.id(), &rejection, true, actions);
            }
        }
    }

    /// Forgets what is too old to matter: states and bodies below the finalised block, headers and slots.
    fn forget_old(&mut self) {
        let finalised = self.tree.finalised();
        let recent = Height(finalised.height.0.saturating_sub(RECENT_MAX));
        let lowest = self.finality.lowest().height.min(recent);
        let gone: Vec<BlockId> = self
            .tree
            .spine()
            .take_while(|(height, _)| **height < lowest)
            .map(|(_, id)| *id)
            .collect();
        for id in gone {
            self.blocks.remove(&id);
        }
        self.tree.forget_below(lowest);
        let below: Vec<BlockId> = self
            .tree
            .spine()
            .take_while(|(height, _)| **height < finalised.height)
            .map(|(_, id)| *id)
            .collect();
        for id in below {
            if let Some(held) = self.blocks.get_mut(&id) {
                held.state = None;
            }
        }
        let oldest = Slot(finalised.slot.0.saturating_sub(RECENT_MAX));
        self.slots = self.slots.split_off(&oldest);
        self.peers.forget_where(|head| head.header().height <= finalised.height);
    }
}
