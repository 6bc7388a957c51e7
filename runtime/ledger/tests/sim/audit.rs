//! What must hold whatever happens: nothing final is undone, money is conserved, nothing accepted vanishes, and
//! no honest node signs two things that exclude each other.

use std::collections::{BTreeMap, BTreeSet};

use talea_ledger::chain::message::Message;
use talea_ledger::chain::{Action, Chain, TransactionStatus};
use talea_ledger::codec::Document as _;
use talea_ledger::finality::{Phase, RoundNumber, Vote};
use talea_ledger::{BlockId, Header, Height, Slot, TransactionId};

/// What was seen, over all honest nodes.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    finalised: BTreeMap<Height, BlockId>,
    settled: BTreeSet<TransactionId>,
    told: BTreeMap<usize, Height>,
    accepted: BTreeMap<usize, BTreeSet<TransactionId>>,
    votes: BTreeMap<(usize, RoundNumber, Phase), BlockId>,
    blocks: BTreeMap<(usize, Slot), BlockId>,
    pub(crate) figures: Figures,
}

/// What happened in a run, so that runs in which nothing happens are noticed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) finalised: u64,
    pub(crate) accepted: u64,
    pub(crate) reorganised: u64,
    pub(crate) crashes: u64,
    pub(crate) messages: u64,
}

impl Audit {
    /// An honest node did this, and the world can see it.
    pub(crate) fn saw(
        &mut self,
        node: usize,
        chain: &Chain,
        action: &Action,
    ) -> Result<(), String> {
        match action {
            Action::Finalised(target) => {
                let told = self.told.entry(node).or_default();
                *told = (*told).max(target.height);
                self.figures.finalised = self.figures.finalised.max(target.height.0);
                self.extend(node, chain, target.height)?;
            }
            Action::Answer { outcome: Ok(id), .. } => {
                self.figures.accepted += 1;
                self.accepted.entry(node).or_default().insert(*id);
            }
            Action::HeadMoved { undone, .. } if !undone.is_empty() => {
                self.figures.reorganised += 1;
            }
            Action::Split(commit) => {
                return Err(format!("node {node} saw a commit against what is final: {commit:?}"));
            }
            Action::Broadcast(message) | Action::Send { message, .. } => {
                self.sent(node, chain, message)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn sent(&mut self, node: usize, chain: &Chain, message: &Message) -> Result<(), String> {
        match message {
            Message::Vote(sealed) => {
                let vote = Vote::decode(sealed.payload()).map_err(|e| e.to_string())?;
                let key = (node, vote.round, vote.phase);
                let before = *self.votes.entry(key).or_insert(vote.block);
                if before != vote.block {
                    return Err(format!("node {node} voted twice in {:?}", vote.round));
                }
            }
            Message::Announce(sealed) => {
                let header = Header::decode(sealed.payload()).map_err(|e| e.to_string())?;
                let before = *self.blocks.entry((node, header.slot)).or_insert(header.id());
                if before != header.id() {
                    return Err(format!("node {node} made two blocks in slot {}", header.slot));
                }
                let _ = chain;
            }
            _ => {}
        }
        Ok(())
    }

    /// After an event, for an honest node.
    pub(crate) fn check(&mut self, node: usize, chain: &Chain) -> Result<(), String> {
        let (head, finalised) = (chain.head(), chain.finalised());
        if chain.block_at(finalised.height) != Some(finalised.id) {
            return Err(format!("node {node}: the head is not on the finalised line"));
        }
        if head.height < finalised.height {
            return Err(format!("node {node}: the head is below the finalised block"));
        }
        match self.finalised.get(&finalised.height) {
            Some(id) if *id != finalised.id => {
                Err(format!("node {node}: two final blocks at height {}", finalised.height))
            }
            _ => Ok(()),
        }
    }

    /// A node said that everything up to `top` is final. What it only holds in memory, its disk not having it,
    /// nobody has seen: a crash may undo it.
    fn extend(&mut self, node: usize, chain: &Chain, top: Height) -> Result<(), String> {
        for height in (1..=top.0).rev().map(Height) {
            let Some(id) = chain.block_at(height) else { break };
            match self.finalised.get(&height) {
                Some(known) if *known == id => break,
                Some(_) => return Err(format!("node {node}: two final blocks at {height}")),
                None => {
                    self.finalised.insert(height, id);
                    let block = chain.block(&id).ok_or("a final block is in memory")?;
                    self.settled.extend(block.transactions().iter().map(|each| each.id()));
                }
            }
        }
        chain.finalised_state().conserved().map_err(|error| format!("node {node}: {error}"))?;
        chain.head_state().conserved().map_err(|error| format!("node {node}, head: {error}"))
    }

    /// A node is back: nothing that it told anybody is forgotten.
    pub(crate) fn restarted(&mut self, node: usize, chain: &Chain) -> Result<(), String> {
        let told = self.told.get(&node).copied().unwrap_or_default();
        if chain.finalised().height < told {
            return Err(format!(
                "node {node} told that {told} is final and now knows {}",
                chain.finalised().height
            ));
        }
        self.extend(node, chain, chain.finalised().height)?;
        self.nothing_vanished(node, chain)
    }

    /// Law 7, for one node.
    pub(crate) fn nothing_vanished(&self, node: usize, chain: &Chain) -> Result<(), String> {
        for id in self.accepted.get(&node).into_iter().flatten() {
            if chain.transaction_status(id) == TransactionStatus::Unknown
                && !self.settled.contains(id)
            {
                return Err(format!("node {node}: accepted transaction {id} has vanished"));
            }
        }
        Ok(())
    }

    /// Whether each accepted transaction of a node is final or rejected.
    pub(crate) fn unsettled(&self, node: usize, chain: &Chain) -> usize {
        let accepted = self.accepted.get(&node).into_iter().flatten();
        accepted
            .filter(|id| {
                !self.settled.contains(id)
                    && !matches!(chain.transaction_status(id), TransactionStatus::Rejected(_))
            })
            .count()
    }
}
