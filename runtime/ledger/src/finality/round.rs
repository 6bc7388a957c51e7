//! One round of voting: which block the prevotes agree on, which one the precommits make final, which one
//! could still become final, and whether that can change.
//!
//! The vote graph, its GHOST rule and the threshold are the crate `finality-grandpa`'s; the rules that read
//! them (GRANDPA, sections 2 and 3) stand here, because the crate's own round takes votes only from its
//! asynchronous voter. With V the prevotes, C the precommits, and an authority that signed two votes of a phase
//! counted for *every* block in it:
//!
//! - `ghost` g(V): the highest block with a supermajority of V;
//! - `finalised`: the highest ancestor of g(V) with a supermajority of C;
//! - `estimate`: the highest ancestor of g(V) that can still get one;
//! - `completable`: the estimate is below g(V), or nothing above it can still get one.
//!
//! Invariants: a vote counts once; of an authority at most two votes a phase are kept.

use core::fmt;
use std::collections::BTreeMap;

use finality_grandpa::Chain;
use finality_grandpa::vote_graph::VoteGraph;

use super::vote::{Phase, RoundNumber, Target};
use super::weight;
use crate::fork::Tree;
use crate::id::BlockId;
use crate::params::AUTHORITIES_MAX;
use crate::sign::Sealed;
use crate::units::Height;

/// The place of an authority in the network's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Voter(pub(super) u8);

/// Which authorities, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Voters(u64);
const _: () = assert!(AUTHORITIES_MAX <= u64::BITS as usize);

/// Who voted for a block or for one above it.
#[derive(Debug, Clone, Copy, Default)]
struct Ballots {
    prevotes: Voters,
    precommits: Voters,
}

/// A vote that was counted.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    pub(super) target: Target,
    pub(super) sealed: Sealed,
}

/// The votes of one authority in one phase.
#[derive(Debug, Clone)]
enum Ballot {
    One(Cast),
    Two(Cast, Cast),
}

#[derive(Debug, Clone, Default)]
struct Tally {
    ballots: BTreeMap<Voter, Ballot>,
    voted: Voters,
    equivocators: Voters,
}

/// What came of a vote.
#[derive(Debug)]
pub(super) enum Imported {
    /// It counts.
    Counted,
    /// It was there.
    Known,
    /// The second of its kind: both together are evidence, and it counts for everything.
    Equivocation(Sealed),
    /// The third of its kind: changes nothing.
    Superfluous,
}

/// The target does not stand on the round's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffBase;

/// The votes of one round and what follows from them.
pub(super) struct Round {
    number: RoundNumber,
    base: Target,
    voters: u32,
    threshold: u32,
    graph: VoteGraph<BlockId, u64, Ballots>,
    prevotes: Tally,
    precommits: Tally,
    ghost: Option<Target>,
    finalised: Option<Target>,
    estimate: Option<Target>,
    completable: bool,
}

impl Chain<BlockId, u64> for Tree {
    fn ancestry(
        &self,
        base: BlockId,
        block: BlockId,
    ) -> Result<Vec<BlockId>, finality_grandpa::Error> {
        Self::ancestry(self, &base, &block).ok_or(finality_grandpa::Error::NotDescendent)
    }
}

// === impl Round ===

impl Round {
    pub(super) fn new(number: RoundNumber, base: Target, voters: u32, threshold: u32) -> Self {
        Self {
            number,
            base,
            voters,
            threshold,
            graph: VoteGraph::new(base.id, base.height.get(), Ballots::default()),
            prevotes: Tally::default(),
            precommits: Tally::default(),
            ghost: None,
            finalised: None,
            estimate: None,
            completable: false,
        }
    }

    pub(super) fn number(&self) -> RoundNumber {
        self.number
    }

    pub(super) fn base(&self) -> Target {
        self.base
    }

    pub(super) fn ghost(&self) -> Option<Target> {
        self.ghost
    }

    pub(super) fn finalised(&self) -> Option<Target> {
        self.finalised
    }

    pub(super) fn estimate(&self) -> Option<Target> {
        self.estimate
    }

    pub(super) fn is_completable(&self) -> bool {
        self.completable
    }

    /// Whether every authority has prevoted: waiting longer cannot raise the ghost.
    pub(super) fn all_prevoted(&self) -> bool {
        self.prevotes.voted.count() >= self.voters
    }

    pub(super) fn len(&self) -> u32 {
        weight(self.votes().count() as u64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.prevotes.ballots.is_empty() && self.precommits.ballots.is_empty()
    }

    /// Whether this very vote was counted, so that its signature need not be checked again.
    pub(super) fn knows(&self, voter: Voter, phase: Phase, sealed: &Sealed) -> bool {
        self.tally(phase)
            .ballots
            .get(&voter)
            .is_some_and(|ballot| ballot.casts().any(|cast| cast.sealed == *sealed))
    }

    /// Counts a vote whose signature was checked and whose target is in the tree.
    pub(super) fn import(
        &mut self,
        tree: &Tree,
        voter: Voter,
        phase: Phase,
        cast: Cast,
    ) -> Result<Imported, OffBase> {
        let target = cast.target;
        let tally = match phase {
            Phase::Prevote => &mut self.prevotes,
            Phase::Precommit => &mut self.precommits,
        };
        let imported = match tally.ballots.get_mut(&voter) {
            Some(ballot) if ballot.casts().any(|known| known.target == target) => {
                return Ok(Imported::Known);
            }
            Some(Ballot::Two(..)) => return Ok(Imported::Superfluous),
            Some(ballot @ Ballot::One(_)) => {
                // The first vote stays in the graph: from now on it counts for every block, so for its own too.
                let first = ballot.first().clone();
                let evidence = first.sealed.clone();
                *ballot = Ballot::Two(first, cast);
                tally.equivocators.insert(voter);
                Imported::Equivocation(evidence)
            }
            None => {
                let ballots = Ballots::of(voter, phase);
                self.graph
                    .insert(target.id, target.height.get(), ballots, tree)
                    .map_err(|_| OffBase)?;
                tally.ballots.insert(voter, Ballot::One(cast));
                tally.voted.insert(voter);
                Imported::Counted
            }
        };
        self.update();
        Ok(imported)
    }

    /// Every vote, prevotes first: what another node needs to complete this round.
    pub(super) fn votes(&self) -> impl Iterator<Item = &Sealed> {
        self.prevotes.casts().chain(self.precommits.casts()).map(|cast| &cast.sealed)
    }

    /// The precommits that make `target` final: for it or above it, and both of whoever signed two.
    pub(super) fn justification(&self, tree: &Tree, target: &Target) -> Vec<Sealed> {
        self.precommits
            .ballots
            .values()
            .filter(|ballot| match ballot {
                Ballot::One(cast) => tree.descends(&target.id, &cast.target.id),
                Ballot::Two(..) => true,
            })
            .flat_map(Ballot::casts)
            .map(|cast| cast.sealed.clone())
            .collect()
    }

    fn tally(&self, phase: Phase) -> &Tally {
        match phase {
            Phase::Prevote => &self.prevotes,
            Phase::Precommit => &self.precommits,
        }
    }

    fn update(&mut self) {
        let threshold = self.threshold;
        if self.prevotes.voted.count() < threshold {
            return;
        }
        let prevotes = &self.prevotes;
        let best = self.ghost.map(|ghost| (ghost.id, ghost.height.get()));
        self.ghost = self
            .graph
            .find_ghost(best, |node| prevotes.weight(node.prevotes) >= threshold)
            .map(Target::from);
        let Some(ghost) = self.ghost else { return };

        let precommits = &self.precommits;
        let counted = precommits.voted.count();
        if counted < threshold {
            // Any block above can still get a supermajority of precommits.
            self.estimate = Some(ghost);
            return;
        }
        let at = (ghost.id, ghost.height.get());
        self.finalised = self
            .graph
            .find_ancestor(at.0, at.1, |node| precommits.weight(node.precommits) >= threshold)
            .map(Target::from);

        // Assume that all who have not voted vote for the block, and that as many of those who voted elsewhere
        // as may be faulty sign a second vote for it.
        let absent = self.voters.saturating_sub(counted);
        let more_equivocators =
            self.voters.saturating_sub(threshold).saturating_sub(precommits.equivocators.count());
        let possible = |node: &Ballots| {
            let sure = precommits.weight(node.precommits);
            let turned = counted.saturating_sub(sure).min(more_equivocators);
            sure.saturating_add(absent).saturating_add(turned) >= threshold
        };
        self.estimate = self.graph.find_ancestor(at.0, at.1, possible).map(Target::from);
        self.completable = self.estimate.is_some_and(|estimate| {
            estimate != ghost
                || self.graph.find_ghost(Some(at), possible).is_none_or(|best| best == at)
        });
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Round")
            .field("number", &self.number)
            .field("base", &self.base.height)
            .field("prevotes", &self.prevotes.voted.count())
            .field("precommits", &self.precommits.voted.count())
            .field("ghost", &self.ghost.map(|ghost| ghost.height))
            .field("finalised", &self.finalised.map(|finalised| finalised.height))
            .field("estimate", &self.estimate.map(|estimate| estimate.height))
            .field("completable", &self.completable)
            .finish_non_exhaustive()
    }
}

// === impl Tally, Ballot ===

impl Tally {
    /// How many authorities stand behind a block, those who signed twice included.
    fn weight(&self, voters: Voters) -> u32 {
        Voters(voters.0 | self.equivocators.0).count()
    }

    fn casts(&self) -> impl Iterator<Item = &Cast> {
        self.ballots.values().flat_map(Ballot::casts)
    }
}

impl Ballot {
    fn first(&self) -> &Cast {
        match self {
            Self::One(first) | Self::Two(first, _) => first,
        }
    }

    fn casts(&self) -> impl Iterator<Item = &Cast> {
        let (first, second) = match self {
            Self::One(first) => (first, None),
            Self::Two(first, second) => (first, Some(second)),
        };
        core::iter::once(first).chain(second)
    }
}

// === impl Voters, Ballots ===

impl Voters {
    fn insert(&mut self, voter: Voter) {
        self.0 |= bit(voter);
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// The bit of an authority. There are at most 64, so the shift loses nothing.
fn bit(voter: Voter) -> u64 {
    1_u64.checked_shl(u32::from(voter.0)).unwrap_or(0)
}

impl Ballots {
    fn of(voter: Voter, phase: Phase) -> Self {
        let mut ballots = Self::default();
        match phase {
            Phase::Prevote => ballots.prevotes.insert(voter),
            Phase::Precommit => ballots.precommits.insert(voter),
        }
        ballots
    }
}

impl core::ops::AddAssign<&Self> for Ballots {
    fn add_assign(&mut self, other: &Self) {
        self.prevotes.0 |= other.prevotes.0;
        self.precommits.0 |= other.precommits.0;
    }
}

impl From<(BlockId, u64)> for Target {
    fn from((id, height): (BlockId, u64)) -> Self {
        Self { id, height: Height::new(height) }
    }
}
