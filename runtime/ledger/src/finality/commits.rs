//! Commits: whether enough authorities stand behind a block, and what a commit from a peer changes.

use std::collections::BTreeMap;

use super::effect::{CommitOutcome, Effect, VoteError};
use super::round::Voter;
use super::vote::{Commit, Phase, Target, Vote};
use super::{Finality, weight};
use crate::codec::Document as _;
use crate::fork::Tree;
use crate::id::BlockId;
use crate::sign::{Sealed, VerifyError};

/// The checked votes of a commit, and blocks that are needed to weigh them.
type Weighed = (Vec<(Voter, Vote, Sealed)>, Vec<BlockId>);

impl Finality {
    /// A commit from anywhere.
    pub fn import_commit(
        &mut self,
        tree: &Tree,
        commit: Commit,
    ) -> Result<CommitOutcome, VoteError> {
        let target = commit.target();
        if target.height <= self.finalised.height {
            return Ok(CommitOutcome::Known);
        }
        if commit.network != self.network {
            return Err(
                VerifyError::Network { expected: self.network, found: commit.network }.into()
            );
        }
        if tree.get(&target.id).is_none() {
            // Nobody looks for a block because of votes that do not hold, or are too few whatever they stand on.
            self.weigh(tree, &commit)?;
            return Ok(CommitOutcome::Missing(vec![target.id]));
        }
        let (votes, missing) = self.weigh(tree, &commit)?;
        if !missing.is_empty() {
            return Ok(CommitOutcome::Missing(missing));
        }
        if !tree.descends(&self.finalised.id, &target.id) {
            return Ok(CommitOutcome::Effects(vec![Effect::Split(commit)]));
        }
        let mut effects = Vec::new();
        for (voter, vote, sealed) in votes {
            // What does not fit this node's rounds is not needed.
            if let Ok(more) = self.place(tree, voter, &vote, sealed) {
                effects
                    .extend(more.into_iter().filter(|effect| !matches!(effect, Effect::Want(_))));
            }
        }
        self.finalised = target;
        self.commit = Some(commit.clone());
        effects.push(Effect::Finalised(commit));
        Ok(CommitOutcome::Effects(effects))
    }

    /// The votes of a commit, if enough authorities stand behind it; and blocks that are needed to tell.
    fn weigh(&self, tree: &Tree, commit: &Commit) -> Result<Weighed, VoteError> {
        let mut checked = Vec::new();
        let mut votes: BTreeMap<Voter, Vec<Target>> = BTreeMap::new();
        for sealed in commit.votes.iter() {
            let voter = self.signer(sealed)?;
            let vote = if self.knows(voter, sealed) {
                Vote::decode(sealed.payload()).map_err(VerifyError::from)?
            } else {
                self.verify(sealed)?
            };
            if vote.round != commit.round || vote.phase != Phase::Precommit {
                return Err(VoteError::Foreign);
            }
            let targets = votes.entry(voter).or_default();
            if !targets.contains(&vote.target()) {
                targets.push(vote.target());
            }
            checked.push((voter, vote, sealed.clone()));
        }
        let threshold = weight(self.voters.threshold().get());
        let mut found = 0_u32;
        let mut missing = Vec::new();
        for targets in votes.values() {
            let stands = targets.iter().any(|target| tree.descends(&commit.block, &target.id));
            if stands || targets.len() > 1 {
                found = found.saturating_add(1);
            } else {
                missing.extend(
                    targets.iter().filter(|target| !tree.contains(&target.id)).map(|t| t.id),
                );
            }
        }
        if found >= threshold {
            return Ok((checked, Vec::new()));
        }
        if found.saturating_add(weight(missing.len() as u64)) >= threshold {
            return Ok((checked, missing));
        }
        Err(VoteError::TooFew { found, threshold })
    }
}
