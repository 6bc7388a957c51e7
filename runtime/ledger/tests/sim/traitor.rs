//! Authorities that break the rules: below a third of them nothing they send may do harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use talea_ledger::block::{Block, VerifiedBlock};
use talea_ledger::chain::message::Message;
use talea_ledger::chain::{Action, Chain, Peer};
use talea_ledger::codec::{Blob, Document as _, List};
use talea_ledger::finality::Vote;
use talea_ledger::rules::{self, State};
use talea_ledger::sign::{self, Domain, Sealed};
use talea_ledger::{BlockId, Digest, Header, SecretKey, Slot};

use super::chance::Chance;

/// How an authority cheats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vice {
    /// Two blocks in a slot, each shown to one half.
    TwoBlocks,
    /// Two votes in a phase, each shown to one half.
    TwoVotes,
    /// Announces blocks and gives no body.
    NoBodies,
    /// Headers of foreign and future slots, wrong roots, forged signatures, votes for what does not exist.
    Forgery,
    /// Says nothing at all.
    Silence,
    /// Two blocks and two votes.
    Both,
}

impl Vice {
    pub(crate) const ALL: [Self; 6] =
        [Self::TwoBlocks, Self::TwoVotes, Self::NoBodies, Self::Forgery, Self::Silence, Self::Both];
}

/// What a traitor remembers: the second blocks that it must be able to show.
#[derive(Debug)]
pub(crate) struct Traitor {
    pub(crate) vice: Vice,
    second: BTreeMap<BlockId, Block>,
}

impl Traitor {
    pub(crate) fn new(vice: Vice) -> Self {
        Self { vice, second: BTreeMap::new() }
    }

    /// Turns what the rules would have it do into what it does. `before` is the head's state before the event.
    pub(crate) fn turn(
        &mut self,
        key: &SecretKey,
        chain: &Chain,
        before: &State,
        others: &[Peer],
        chance: &mut Chance,
        action: Action,
    ) -> Vec<Action> {
        match (self.vice, action) {
            (Vice::Silence, Action::Broadcast(_) | Action::Send { .. } | Action::Serve { .. }) => {
                Vec::new()
            }
            (Vice::NoBodies, Action::Send { message: Message::Block(_), .. }) => Vec::new(),
            (Vice::NoBodies, Action::Serve { .. }) => Vec::new(),
            (Vice::TwoBlocks | Vice::Both, Action::Broadcast(Message::Announce(header))) => {
                self.announce_two(key, chain, before, others, header)
            }
            (Vice::TwoVotes | Vice::Both, Action::Broadcast(Message::Vote(vote))) => {
                let second = second_vote(key, chain, &vote);
                halves(others, Message::Vote(vote), second.map(Message::Vote))
            }
            (Vice::Forgery, action) => {
                let mut actions = vec![action];
                if chance.in_thousand(50) {
                    actions.push(Action::Broadcast(forge(key, chain, chance)));
                }
                actions
            }
            (_, action) => vec![action],
        }
    }

    /// A second block that it was asked for.
    pub(crate) fn block(&self, id: &BlockId) -> Option<Message> {
        self.second.get(id).map(|block| Message::Block(block.clone()))
    }

    fn announce_two(
        &mut self,
        key: &SecretKey,
        chain: &Chain,
        before: &State,
        others: &[Peer],
        header: Sealed,
    ) -> Vec<Action> {
        let first = Header::decode(header.payload()).expect("an own header");
        let mut second = None;
        // The same slot on the same parent, without the transactions: as valid as the first.
        if first.count > 0 && before.tip().id == first.parent {
            let proposal = rules::propose(before, first.slot, first.author, &[]);
            let head = sign::seal(key, Domain::Block, proposal.header.encode());
            self.second
                .insert(proposal.header.id(), Block { head: head.clone(), body: Vec::new() });
            second = Some(Message::Announce(head));
        }
        let _ = chain;
        halves(others, Message::Announce(header), second)
    }
}

fn halves(others: &[Peer], first: Message, second: Option<Message>) -> Vec<Action> {
    let second = second.unwrap_or_else(|| first.clone());
    others
        .iter()
        .enumerate()
        .map(|(at, to)| {
            let message = if at % 2 == 0 { first.clone() } else { second.clone() };
            Action::Send { to: *to, message }
        })
        .collect()
}

/// The same vote for another block: the target's parent, or the finalised block.
fn second_vote(key: &SecretKey, chain: &Chain, vote: &Sealed) -> Option<Sealed> {
    let mut vote = Vote::decode(vote.payload()).ok()?;
    let target = chain.block(&vote.block)?;
    let parent = chain.block(&target.header().parent)?;
    vote.block = parent.id();
    vote.height = parent.header().height;
    Some(sign::seal(key, Domain::Vote, vote.encode()))
}

/// Something that cannot stand.
fn forge(key: &SecretKey, chain: &Chain, chance: &mut Chance) -> Message {
    let head: Option<&Arc<VerifiedBlock>> = chain.block(&chain.head().id);
    let Some(head) = head else { return Message::Pool(List::default()) };
    let mut header = *head.header();
    header.author = key.public();
    header.parent = head.id();
    header.height.0 += 1;
    match chance.below(6) {
        0 => header.slot = Slot(header.slot.0 + 1_000),
        1 => header.slot = Slot(header.slot.0 + chance.below(3)),
        2 => header.state = Digest::of(b"another state"),
        3 => header.height.0 += chance.below(5),
        4 => {
            let vote = Vote {
                voter: key.public(),
                network: header.network,
                block: BlockId::of(&chance.next().to_le_bytes()),
                phase: talea_ledger::finality::Phase::Prevote,
                round: talea_ledger::finality::RoundNumber::FIRST.next(),
                height: header.height,
            };
            return Message::Vote(sign::seal(key, Domain::Vote, vote.encode()));
        }
        _ => {
            let bytes: Vec<u8> = (0..chance.below(80)).map(|_| chance.next() as u8).collect();
            return Message::Transaction(Blob::try_from(bytes).expect("80 bytes are few"));
        }
    }
    // A slot of its own, half of the time, so that the header itself stands and its body does not.
    if chance.in_thousand(500) {
        let count = chain.network().params().authorities.len() as u64;
        let mine = chain.network().params().authorities.iter().position(|k| *k == key.public());
        let from = head.header().slot.0 + 1;
        header.slot = Slot(from + (mine.unwrap_or(0) as u64 + count - from % count) % count);
    }
    header.count = 0;
    header.body_len = 0;
    header.body = Digest::of(b"");
    Message::Announce(sign::seal(key, Domain::Block, header.encode()))
}
