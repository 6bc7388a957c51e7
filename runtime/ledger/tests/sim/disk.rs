//! A node's disk: the records it wrote, of which a prefix is durable, and what they amount to after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use talea_ledger::block::VerifiedBlock;
use talea_ledger::chain::message::{HEADERS_MAX, Message, Request};
use talea_ledger::chain::{Record, Recovered};
use talea_ledger::codec::{Document as _, List};
use talea_ledger::finality::{Commit, Rounds, Vote};
use talea_ledger::rules::{self, State};
use talea_ledger::{BlockId, Network, PublicKey, TransactionId};

#[derive(Debug, Default)]
pub(crate) struct Disk {
    records: Vec<Record>,
    durable: usize,
}

/// All records, folded.
struct Image {
    blocks: BTreeMap<BlockId, Arc<VerifiedBlock>>,
    line: Vec<BlockId>,
    commits: Vec<Commit>,
    recovered: Recovered,
    pending: BTreeMap<TransactionId, Vec<u8>>,
}

impl Disk {
    pub(crate) fn write(&mut self, record: Record) {
        self.records.push(record);
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn durable(&self) -> usize {
        self.durable
    }

    pub(crate) fn sync(&mut self, upto: usize) {
        self.durable = self.durable.max(upto.min(self.records.len()));
    }

    /// Power is lost: of what was not synced, the first `kept` records survive.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.records.truncate(self.durable + kept);
        self.durable = self.records.len();
    }

    fn image(&self, network: &Arc<Network>, me: &PublicKey) -> Image {
        let mut image = Image {
            blocks: BTreeMap::new(),
            line: Vec::new(),
            commits: Vec::new(),
            recovered: Recovered::genesis(network),
            pending: BTreeMap::new(),
        };
        for record in &self.records {
            image.fold(record, me);
        }
        image
    }

    /// What a restarted node begins with. `least` gives no more of the finalised line than is asked for.
    pub(crate) fn recover(&self, network: &Arc<Network>, me: &PublicKey, least: bool) -> Recovered {
        let Image { blocks, line, mut recovered, pending, .. } = self.image(network, me);
        let mut state = State::genesis(Arc::clone(network));
        for id in &line {
            state = rules::apply(&state, &blocks[id]).expect("a finalised block applies");
        }
        let final_height = state.tip().height;
        recovered.state = state;
        let lowest = recovered.rounds.starts.iter().map(|start| start.base.height).min();
        let from = if least { lowest.map_or(0, |height| height.0) } else { 0 };
        recovered.line = line
            .iter()
            .map(|id| &blocks[id])
            .filter(|block| block.header().height.0 >= from)
            .map(|block| block.to_block())
            .collect();
        recovered.blocks = blocks
            .values()
            .filter(|block| block.header().height > final_height)
            .map(|block| block.to_block())
            .collect();
        recovered.pending = pending.into_values().collect();
        recovered
    }

    /// What a peer asked for that was not in memory. `head` is the tip of the line to serve.
    pub(crate) fn serve(
        &self,
        network: &Arc<Network>,
        me: &PublicKey,
        head: BlockId,
        request: &Request,
    ) -> Vec<Message> {
        let image = self.image(network, me);
        match request {
            Request::Headers(locator) => {
                let mut line = Vec::new();
                let is_stored = image.blocks.contains_key(&locator.target);
                let mut at = if is_stored { locator.target } else { head };
                while let Some(block) = image.blocks.get(&at)
                    && !locator.known.contains(&at)
                {
                    line.push(block);
                    at = block.header().parent;
                }
                let headers: Vec<_> = line
                    .iter()
                    .rev()
                    .take(HEADERS_MAX)
                    .map(|block| block.head().sealed().clone())
                    .collect();
                if headers.is_empty() {
                    return Vec::new();
                }
                vec![Message::Headers(List::try_from(headers).unwrap())]
            }
            Request::Blocks(ids) => ids
                .iter()
                .filter_map(|id| image.blocks.get(id))
                .map(|block| Message::Block(block.to_block()))
                .collect(),
            Request::Commit(range) => {
                let above = || image.commits.iter().filter(|commit| commit.height > range.above);
                let best = above().rfind(|commit| commit.height <= range.upto);
                let found = best.or_else(|| above().next());
                found.map(|commit| Message::Commit(commit.clone())).into_iter().collect()
            }
        }
    }
}

impl Image {
    fn fold(&mut self, record: &Record, me: &PublicKey) {
        match record {
            Record::Transaction(transaction) => {
                self.pending.insert(transaction.id(), transaction.bytes().to_vec());
                self.recovered.rejected.retain(|rejected| rejected.id != transaction.id());
            }
            Record::Rejected(rejected) => {
                self.pending.remove(&rejected.id);
                self.recovered.rejected.push(rejected.clone());
            }
            Record::Block(block) => {
                if block.header().author == *me {
                    self.recovered.authored = self.recovered.authored.max(block.header().slot);
                }
                self.blocks.insert(block.id(), Arc::clone(block));
            }
            Record::Round(start) => {
                let rounds = &mut self.recovered.rounds;
                rounds.starts.push(*start);
                let keep = rounds.starts.len().saturating_sub(2);
                rounds.starts.drain(..keep);
                let oldest = rounds.starts[0].number;
                rounds.votes.retain(|vote| Vote::decode(vote.payload()).unwrap().round >= oldest);
            }
            Record::Vote(vote) => self.recovered.rounds.votes.push(vote.clone()),
            Record::Finalised { commit, line, lost } => {
                for id in line {
                    for transaction in self.blocks[id].transactions() {
                        self.pending.remove(&transaction.id());
                    }
                }
                let lost: BTreeSet<&BlockId> = lost.iter().collect();
                self.blocks.retain(|id, _| !lost.contains(id));
                self.line.extend(line);
                self.commits.push(commit.clone());
                self.recovered.rounds = Rounds {
                    commit: Some(commit.clone()),
                    ..std::mem::take(&mut self.recovered.rounds)
                };
            }
            Record::Equivocation(_) => {}
        }
    }
}
