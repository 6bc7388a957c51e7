//! Finality: authorities vote on chains, and what more than two thirds of them stand on is never undone.
//!
//! The protocol is GRANDPA. The vote graph and the voter set are `finality-grandpa`'s; the loop that votes is
//! here, because the crate's own voter is a future over channels and timers, while this one is a function of
//! (state, now): the chain calls [`Finality::step`] until nothing is left to do. With one authority its own two
//! votes are enough and a block is final at once; with two or three all must vote; otherwise more than two thirds.
//!
//! A round: prevote the best chain that stands on the last round's estimate; precommit the block that a
//! supermajority of prevotes stands on, once it stands on that estimate too; go on when the round is
//! completable and the last round's estimate is final. Waiting times only help votes to agree; no safety
//! depends on them.
//!
//! Invariants: an own vote is reported ([`Effect::Cast`]) before anything that follows from it, and the chain
//! has it written before it is sent; a recovered node counts its own earlier votes first and so never signs a
//! second one. What is final only grows, and never leaves its line: a commit that contradicts it is reported
//! as [`Effect::Split`], which takes a third of the authorities signing twice.
//!
//! Absent: changes of the authorities. They are fixed by the network's parameters.

mod commits;
mod effect;
mod round;
mod vote;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use finality_grandpa::voter_set::VoterSet;

pub use effect::{CommitOutcome, Effect, RoundStart, Signer, VoteError};
pub use vote::{COMMIT_VOTES_MAX, Commit, Equivocation, Phase, RoundNumber, Target, Vote};

use crate::codec::{Document as _, List};
use crate::fork::Tree;
use crate::id::{NetworkId, PublicKey};
use crate::params::AUTHORITIES_MAX;
use crate::sign::{Sealed, VerifyError};
use crate::units::{Nanos, UnixNanos};
use round::{Cast, Imported, Round, Voter};

/// Times that a message takes, after which a round that could end waits no more for the round before it: twice as
/// long as a round takes.
const PATIENCE: u64 = 8;

/// Votes that wait for their block, or for the next round to begin: of each authority, phase and round two.
type Waiting = BTreeMap<(RoundNumber, Voter, Phase), Vec<(Vote, Sealed)>>;

/// The votes of one node's view, and its own part in them.
pub struct Finality {
    network: NetworkId,
    voters: VoterSet<PublicKey>,
    /// This node's place, when it is an authority.
    me: Option<Voter>,
    /// About how long a message takes to everybody.
    pace: Nanos,
    previous: Option<Round>,
    current: Round,
    started: UnixNanos,
    finalised: Target,
    commit: Option<Commit>,
    waiting: Waiting,
    /// The votes this node has signed in the last rounds. Kept apart from what is counted: after a restart the
    /// block of an own vote may be gone, and still no second vote may be signed.
    signed: BTreeSet<(RoundNumber, Phase)>,
}

/// How a node stands in finality, for a network and a set of authorities.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The network.
    pub network: NetworkId,
    /// The authorities, each once.
    pub authorities: Vec<PublicKey>,
    /// This node's key, authority or not.
    pub me: Option<PublicKey>,
    /// About how long a message takes to everybody.
    pub pace: Nanos,
}

/// What was written of earlier rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    /// The last two rounds, ascending.
    pub starts: Vec<RoundStart>,
    /// Votes of these rounds.
    pub votes: Vec<Sealed>,
    /// Why the finalised block is final.
    pub commit: Option<Commit>,
}

impl Finality {
    /// Begins the first round on `finalised`, or goes on where `rounds` end.
    ///
    /// # Panics
    /// When there is no authority, or there are more than [`AUTHORITIES_MAX`]: network parameters rule it out.
    pub fn open(
        setting: Setting,
        tree: &Tree,
        rounds: Rounds,
        now: UnixNanos,
    ) -> (Self, Vec<Effect>) {
        assert!(setting.authorities.len() <= AUTHORITIES_MAX, "parameters bound the authorities");
        let voters = VoterSet::new(setting.authorities.iter().map(|key| (*key, 1)))
            .expect("parameters name at least one authority");
        let head = tree.finalised();
        let finalised = Target { id: head.id, height: head.height };
        let mut this = Self {
            network: setting.network,
            me: None,
            pace: if voters.len().get() == 1 { Nanos::ZERO } else { setting.pace },
            previous: None,
            current: Round::new(
                RoundNumber::FIRST,
                finalised,
                weight(voters.total_weight().get()),
                weight(voters.threshold().get()),
            ),
            voters,
            started: now,
            finalised,
            commit: rounds.commit,
            waiting: Waiting::new(),
            signed: BTreeSet::new(),
        };
        this.me = setting.me.and_then(|key| this.voter(&key));
        let mut effects = Vec::new();
        match rounds.starts.as_slice() {
            [] => effects
                .push(Effect::Round(RoundStart { number: RoundNumber::FIRST, base: finalised })),
            [only] => this.current = this.round(*only),
            [.., before, last] => {
                this.previous = Some(this.round(*before));
                this.current = this.round(*last);
            }
        }
        for vote in rounds.votes {
            if let Ok(own) = Vote::decode(vote.payload())
                && Some(own.voter) == setting.me
            {
                this.signed.insert((own.round, own.phase));
            }
            // What was counted before counts again; the records are this node's own, so a fault is none of a peer.
            let known = this.place_vote(tree, vote);
            debug_assert!(known.is_ok(), "a written vote was verified before");
        }
        (this, effects)
    }

    /// What is final.
    pub fn finalised(&self) -> Target {
        self.finalised
    }

    /// Why it is final: absent for the network's beginning.
    pub fn commit(&self) -> Option<&Commit> {
        self.commit.as_ref()
    }

    /// The round that is being voted in.
    pub fn round_number(&self) -> RoundNumber {
        self.current.number()
    }

    /// The lowest block that votes still refer to.
    pub fn lowest(&self) -> Target {
        self.previous.as_ref().map_or(self.current.base(), |previous| {
            if previous.base().height < self.current.base().height {
                previous.base()
            } else {
                self.current.base()
            }
        })
    }

    /// The votes of a round, for a node that lacks them; the round's own and, when it is completed, enough to
    /// enter the next.
    pub fn votes(&self, number: RoundNumber) -> Vec<Sealed> {
        [self.previous.as_ref(), Some(&self.current)]
            .into_iter()
            .flatten()
            .filter(|round| round.number() == number)
            .flat_map(|round| round.votes().cloned())
            .collect()
    }

    /// How many votes of the current round and the one before there are.
    pub fn votes_len(&self) -> u32 {
        let previous = self.previous.as_ref().map_or(0, Round::len);
        previous.saturating_add(self.current.len())
    }

    /// The votes of the current round and the one before: what another node in this round may lack.
    pub fn recent_votes(&self) -> Vec<Sealed> {
        let rounds = [self.previous.as_ref(), Some(&self.current)];
        rounds.into_iter().flatten().flat_map(|round| round.votes().cloned()).collect()
    }

    /// Whether votes were cast in the current round: then somebody may be waiting for them.
    pub fn is_voting(&self) -> bool {
        !self.current.is_empty()
    }

    /// A vote from anywhere.
    pub fn import(&mut self, tree: &Tree, sealed: Sealed) -> Result<Vec<Effect>, VoteError> {
        let mut effects = self.place_vote(tree, sealed)?;
        effects.extend(self.finalise(tree));
        Ok(effects)
    }

    /// All votes of a later round, from a node that completed it: enters the round after it, if they suffice.
    pub fn catch_up(
        &mut self,
        tree: &Tree,
        now: UnixNanos,
        votes: &[Sealed],
    ) -> Result<Vec<Effect>, VoteError> {
        let mut effects = Vec::new();
        let mut ahead = Vec::new();
        for sealed in votes {
            match self.check(sealed)? {
                Some((voter, vote)) if vote.round > self.current.number() => {
                    ahead.push((voter, vote, sealed));
                }
                Some((voter, vote)) => {
                    effects.extend(self.place(tree, voter, &vote, sealed.clone())?);
                }
                None => {}
            }
        }
        let Some(number) = ahead.iter().map(|(_, vote, _)| vote.round).max() else {
            effects.extend(self.finalise(tree));
            return Ok(effects);
        };
        let start = RoundStart { number, base: self.finalised };
        let mut round = self.round(start);
        let mut counted = Vec::new();
        for (voter, vote, sealed) in ahead {
            if vote.round != number {
                continue;
            }
            match tree.get(&vote.block) {
                None => effects.push(Effect::Want(vote.block)),
                Some(place) if place.height != vote.height => return Err(VoteError::Height),
                Some(_) => {
                    let cast = Cast { target: vote.target(), sealed: sealed.clone() };
                    if matches!(
                        round.import(tree, voter, vote.phase, cast),
                        Ok(Imported::Counted | Imported::Equivocation(_))
                    ) {
                        counted.push(Effect::Counted(sealed.clone()));
                    }
                }
            }
        }
        if round.is_completable() {
            effects.push(Effect::Round(start));
            effects.extend(counted);
            self.current = round;
            effects.extend(self.finalise(tree));
            effects.extend(self.begin_next(tree, now));
        }
        Ok(effects)
    }

    /// Does the next thing that is due: votes that waited, an own vote, the next round. Nothing, when there is
    /// none. A caller brings the tree up to date after each step.
    pub fn step(&mut self, tree: &Tree, now: UnixNanos, signer: &dyn Signer) -> Vec<Effect> {
        let waited = self.place_waiting(tree);
        if !waited.is_empty() {
            return waited;
        }
        if let Some(effects) = self.cast_due(tree, now, signer) {
            return effects;
        }
        if self.is_round_done(now) {
            return self.begin_next(tree, now);
        }
        Vec::new()
    }

    /// Checks who signed a vote and that it is one. Nothing, when it was counted before or is of a round that is
    /// over, so that a repeated vote costs no signature.
    fn check(&self, sealed: &Sealed) -> Result<Option<(Voter, Vote)>, VoteError> {
        let voter = self.signer(sealed)?;
        let said = Vote::decode(sealed.payload()).map_err(VerifyError::from)?;
        if said.round < self.oldest() || self.knows(voter, sealed) {
            return Ok(None);
        }
        self.verify(sealed).map(|vote| Some((voter, vote)))
    }

    fn signer(&self, sealed: &Sealed) -> Result<Voter, VoteError> {
        let signer = sealed.signatures()[0].key;
        self.voter(&signer).ok_or(VoteError::NotAuthority(signer))
    }

    fn verify(&self, sealed: &Sealed) -> Result<Vote, VoteError> {
        let (vote, _, _) = sealed.verify::<Vote>()?.on(&self.network)?.into_parts();
        Ok(vote)
    }

    /// Whether this very vote was counted or waits.
    fn knows(&self, voter: Voter, sealed: &Sealed) -> bool {
        let phases = [Phase::Prevote, Phase::Precommit];
        let rounds = [self.previous.as_ref(), Some(&self.current)];
        rounds
            .into_iter()
            .flatten()
            .any(|round| phases.iter().any(|phase| round.knows(voter, *phase, sealed)))
    }

    /// The oldest round whose votes count.
    fn oldest(&self) -> RoundNumber {
        self.previous.as_ref().map_or(self.current.number(), Round::number)
    }

    fn place_vote(&mut self, tree: &Tree, sealed: Sealed) -> Result<Vec<Effect>, VoteError> {
        match self.check(&sealed)? {
            Some((voter, vote)) => self.place(tree, voter, &vote, sealed),
            None => Ok(Vec::new()),
        }
    }

    /// Counts a vote that was checked, or keeps it for later, or drops it.
    fn place(
        &mut self,
        tree: &Tree,
        voter: Voter,
        vote: &Vote,
        sealed: Sealed,
    ) -> Result<Vec<Effect>, VoteError> {
        if vote.round > self.current.number().next() {
            let before = vote.round.previous().unwrap_or(RoundNumber::FIRST);
            return Ok(vec![Effect::WantRound(before)]);
        }
        if vote.round < self.oldest() {
            return Ok(Vec::new());
        }
        let place = tree.get(&vote.block);
        if place.is_some_and(|place| place.height != vote.height) {
            return Err(VoteError::Height);
        }
        if vote.round > self.current.number() || place.is_none() {
            let waits = self.waiting.entry((vote.round, voter, vote.phase)).or_default();
            if waits.len() < 2 && waits.iter().all(|(_, known)| *known != sealed) {
                waits.push((vote.clone(), sealed));
            }
            let want = if place.is_none() { vec![Effect::Want(vote.block)] } else { Vec::new() };
            return Ok(want);
        }
        Ok(self.count(tree, voter, vote, sealed))
    }

    fn count(&mut self, tree: &Tree, voter: Voter, vote: &Vote, sealed: Sealed) -> Vec<Effect> {
        let round = match &mut self.previous {
            Some(previous) if previous.number() == vote.round => previous,
            _ if self.current.number() == vote.round => &mut self.current,
            _ => return Vec::new(),
        };
        let cast = Cast { target: vote.target(), sealed: sealed.clone() };
        match round.import(tree, voter, vote.phase, cast) {
            Ok(Imported::Counted) => vec![Effect::Counted(sealed)],
            Ok(Imported::Equivocation(first)) => {
                let evidence = Equivocation { first, second: sealed.clone() };
                vec![Effect::Counted(sealed), Effect::Equivocation(evidence)]
            }
            Ok(Imported::Known | Imported::Superfluous) | Err(round::OffBase) => Vec::new(),
        }
    }

    /// Votes whose block or round has come.
    fn place_waiting(&mut self, tree: &Tree) -> Vec<Effect> {
        let (oldest, current) = (self.oldest(), self.current.number());
        self.waiting.retain(|(number, _, _), _| *number >= oldest);
        let mut ready = Vec::new();
        for ((number, voter, _), votes) in &mut self.waiting {
            if *number <= current {
                let found = votes.extract_if(.., |(vote, _)| tree.contains(&vote.block));
                ready.extend(found.map(|(vote, sealed)| (*voter, vote, sealed)));
            }
        }
        if ready.is_empty() {
            return Vec::new();
        }
        self.waiting.retain(|_, votes| !votes.is_empty());
        let mut effects = Vec::new();
        for (voter, vote, sealed) in ready {
            // Its signature was checked when it came; a height that turns out wrong now makes it void.
            effects.extend(self.place(tree, voter, &vote, sealed).unwrap_or_default());
        }
        effects.extend(self.finalise(tree));
        effects
    }

    /// The own vote that is due.
    fn cast_due(
        &mut self,
        tree: &Tree,
        now: UnixNanos,
        signer: &dyn Signer,
    ) -> Option<Vec<Effect>> {
        let me = self.me?;
        let estimate = match &self.previous {
            Some(previous) => previous.estimate()?,
            None => self.current.base(),
        };
        let waited = now.saturating_sub(self.started).get();
        let pace = self.pace.get();
        let number = self.current.number();
        let (phase, target) = if !self.signed.contains(&(number, Phase::Prevote)) {
            if waited < pace.saturating_mul(2) && !self.current.is_completable() {
                return None;
            }
            let best = tree.best_on(&estimate.id)?;
            let is_news =
                best.height > self.finalised.height && tree.descends(&self.finalised.id, &best.id);
            if !is_news {
                return None;
            }
            (Phase::Prevote, Target { id: best.id, height: best.height })
        } else if !self.signed.contains(&(number, Phase::Precommit)) {
            let ghost = self.current.ghost()?;
            let may = waited >= pace.saturating_mul(4)
                || self.current.is_completable()
                || self.current.all_prevoted();
            if !may || !tree.descends(&estimate.id, &ghost.id) {
                return None;
            }
            (Phase::Precommit, ghost)
        } else {
            return None;
        };
        let sealed = self.sign(signer, phase, target);
        let cast = Cast { target, sealed: sealed.clone() };
        if self.current.import(tree, me, phase, cast).is_err() {
            // The target does not stand on the round's base: the head has left the line that this round votes
            // on, which only a lagging node sees. It catches up by the votes of a later round.
            return None;
        }
        self.signed.insert((number, phase));
        let mut effects = vec![Effect::Cast(sealed)];
        effects.extend(self.finalise(tree));
        Some(effects)
    }

    fn sign(&self, signer: &dyn Signer, phase: Phase, target: Target) -> Sealed {
        let vote = Vote {
            voter: signer.public(),
            network: self.network,
            block: target.id,
            phase,
            round: self.current.number(),
            height: target.height,
        };
        signer.seal(Vote::DOMAIN, vote.encode())
    }

    /// What the rounds have made final since the last look.
    fn finalise(&mut self, tree: &Tree) -> Vec<Effect> {
        let mut effects = Vec::new();
        for round in [self.previous.as_ref(), Some(&self.current)].into_iter().flatten() {
            let Some(target) = round.finalised() else { continue };
            if target.height <= self.finalised.height {
                continue;
            }
            let votes = round.justification(tree, &target);
            let Ok(votes) = List::try_from(votes) else { continue };
            let commit = Commit {
                network: self.network,
                block: target.id,
                round: round.number(),
                votes,
                height: target.height,
            };
            if !tree.descends(&self.finalised.id, &target.id) {
                effects.push(Effect::Split(commit));
                continue;
            }
            self.finalised = target;
            self.commit = Some(commit.clone());
            effects.push(Effect::Finalised(commit));
        }
        effects
    }

    /// Whether the current round can be left: nothing new can become final in it, and what the round before
    /// might have made final is final.
    ///
    /// The second condition is there to find that block soon, not for safety: an honest precommit of this round
    /// stands on every block that the round before made final, so such a block can still get a supermajority
    /// here and lies below this round's estimate. It is waived after a while: an authority that shows one half
    /// of the others a second vote could else leave this half waiting for votes that nobody has any more.
    fn is_round_done(&self, now: UnixNanos) -> bool {
        let Some(previous) = &self.previous else { return self.current.is_completable() };
        let settled =
            previous.estimate().is_some_and(|estimate| estimate.height <= self.finalised.height);
        let waited = now.saturating_sub(self.started).get();
        let patience = self.pace.get().saturating_mul(PATIENCE);
        self.current.is_completable() && (settled || waited >= patience)
    }

    fn begin_next(&mut self, tree: &Tree, now: UnixNanos) -> Vec<Effect> {
        let start = RoundStart { number: self.current.number().next(), base: self.finalised };
        let next = self.round(start);
        self.previous = Some(core::mem::replace(&mut self.current, next));
        self.started = now;
        self.signed.retain(|(number, _)| number.next() >= start.number);
        let mut effects = vec![Effect::Round(start)];
        effects.extend(self.place_waiting(tree));
        effects
    }

    fn round(&self, start: RoundStart) -> Round {
        let total = weight(self.voters.total_weight().get());
        Round::new(start.number, start.base, total, weight(self.voters.threshold().get()))
    }

    fn voter(&self, key: &PublicKey) -> Option<Voter> {
        let place = self.voters.get(key)?.position();
        u8::try_from(place).ok().map(Voter)
    }
}

impl core::fmt::Debug for Finality {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Finality")
            .field("previous", &self.previous)
            .field("current", &self.current)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

/// A count of authorities, of which there are at most [`AUTHORITIES_MAX`].
fn weight(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
