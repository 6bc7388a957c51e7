//! What peers say and ask: headers first, then bodies, then the pool by ids; votes and commits for who lags.
//!
//! Nothing is pushed to a peer but news; what it lacks it asks for. Each slot a node says where it stands, so a
//! lost message costs a slot.

use std::collections::BTreeSet;

use super::author::Refused;
use super::event::{Action, Peer};
use super::import::HeaderOutcome;
use super::message::{
    BLOCKS_MAX, CommitRange, HEADERS_MAX, LOCATOR_MAX, Locator, Message, POOL_IDS_MAX, Request,
    Status,
};
use super::peers::{Topic, WANTED_MAX};
use super::{Chain, TransactionStatus};
use crate::codec::{Blob, List};
use crate::fork::Rank;
use crate::id::{BlockId, TransactionId};
use crate::sign::Sealed;
use crate::transaction::VerifiedTransaction;
use crate::units::{Height, Slots, UnixNanos};

impl Chain {
    /// A message from a peer.
    pub(super) fn hear(
        &mut self,
        now: UnixNanos,
        from: Peer,
        message: Message,
        actions: &mut Vec<Action>,
    ) {
        self.peers.join(from);
        let is_question = matches!(
            message,
            Message::Status(_)
                | Message::Pool(_)
                | Message::GetHeaders(_)
                | Message::GetBlocks(_)
                | Message::GetTransactions(_)
                | Message::GetCommit(_)
                | Message::GetVotes(_)
        );
        if is_question && !self.peers.spend(from) {
            actions.push(Action::Refused { from, code: "too-many-requests" });
            return;
        }
        match message {
            Message::Status(status) => self.hear_status(now, from, status, actions),
            Message::Announce(header) => {
                let outcome = self.take_header(now, from, &header, false, actions);
                self.after_header(now, from, &header, outcome, actions);
            }
            Message::Transaction(envelope) => self.hear_transaction(from, &envelope, actions),
            Message::Vote(vote) => self.take_vote(now, from, vote, actions),
            Message::Commit(commit) => self.take_commit(now, from, commit, actions),
            Message::GetHeaders(locator) => self.give_headers(from, locator, actions),
            Message::Headers(headers) => self.hear_headers(now, from, &headers, actions),
            Message::GetBlocks(ids) => self.give_blocks(from, &ids, actions),
            Message::Block(block) => {
                let header = block.head.clone();
                let outcome = self.take_block(now, from, block, actions);
                self.after_header(now, from, &header, outcome, actions);
            }
            Message::Pool(ids) => self.hear_pool(from, &ids, actions),
            Message::GetTransactions(ids) => self.give_transactions(from, &ids, actions),
            Message::GetCommit(range) => self.give_commit(from, range, actions),
            Message::GetVotes(round) => {
                let votes = self.finality.votes(round);
                send_votes(from, votes, actions);
            }
            Message::Votes(votes) => self.take_votes(now, from, &votes, actions),
        }
    }

    /// Once a slot: says where this node stands, and compares pool and votes with one peer.
    pub(super) fn take_turn(&mut self, actions: &mut Vec<Action>) {
        actions.push(Action::Broadcast(self.status_message()));
        let Some(to) = self.peers.next_turn() else { return };
        if self.finality.is_voting() {
            send_votes(to, self.finality.recent_votes(), actions);
        }
        let ids: Vec<TransactionId> =
            self.pool.ids_after(self.pool_cursor).take(POOL_IDS_MAX).collect();
        self.pool_cursor = ids.last().copied().filter(|_| ids.len() == POOL_IDS_MAX);
        if !ids.is_empty()
            && let Ok(ids) = List::try_from(ids)
        {
            actions.push(Action::Send { to, message: Message::Pool(ids) });
        }
    }

    /// Asks for the bodies of headers that wait for them.
    pub(super) fn ask_for_bodies(&mut self, now: UnixNanos, actions: &mut Vec<Action>) {
        let patience = self.network.params().slot_len.0 / 2;
        let until = UnixNanos(now.0.saturating_add(patience));
        let (asks, given_up) = self.peers.due(now, until);
        for (to, ids) in asks {
            for ids in ids.chunks(BLOCKS_MAX) {
                if let Ok(ids) = List::try_from(ids.to_vec()) {
                    actions.push(Action::Send { to, message: Message::GetBlocks(ids) });
                }
            }
        }
        for (_, from) in given_up {
            actions.push(Action::Refused { from, code: "withheld-body" });
        }
    }

    pub(super) fn status_message(&self) -> Message {
        let head = self.tree.head();
        Message::Status(Status {
            head: head.id,
            slot: head.slot,
            round: self.finality.round_number(),
            votes: self.finality.votes_len(),
            height: head.height,
            finalised: self.tree.finalised().height,
        })
    }

    fn hear_status(
        &mut self,
        now: UnixNanos,
        from: Peer,
        status: Status,
        actions: &mut Vec<Action>,
    ) {
        let until = self.network.slot_start(self.slot_now(now).after(Slots(1)));
        let finalised = self.tree.finalised().height;
        let is_better = Rank::of(status.height, status.slot, status.head) > self.tree.head().rank();
        let is_known = self.tree.contains(&status.head)
            || self.peers.wanted(&status.head).is_some()
            || self.peers.is_invalid(&status.head);
        if !is_known && (is_better || status.finalised > finalised) {
            self.ask_for_headers(now, from, None, status.head, actions);
        }
        let head = self.tree.head().height;
        if status.finalised > finalised
            && head > finalised
            && self.peers.may_ask(from, Topic::Commit, now, until)
        {
            let message = Message::GetCommit(CommitRange { above: finalised, upto: head });
            actions.push(Action::Send { to: from, message });
        }
        let round = self.finality.round_number();
        if status.round > round {
            if let Some(before) = status.round.previous()
                && self.peers.may_ask(from, Topic::Votes, now, until)
            {
                actions.push(Action::Send { to: from, message: Message::GetVotes(before) });
            }
        } else if status.round == round && status.votes < self.finality.votes_len() {
            send_votes(from, self.finality.recent_votes(), actions);
        }
    }

    /// Asks for the headers up to `target`; `after` is the last of those that came.
    pub(super) fn ask_for_headers(
        &mut self,
        now: UnixNanos,
        to: Peer,
        after: Option<BlockId>,
        target: BlockId,
        actions: &mut Vec<Action>,
    ) {
        let until = self.network.slot_start(self.slot_now(now).after(Slots(1)));
        if self.peers.wanted_len() >= WANTED_MAX
            || !self.peers.may_ask(to, Topic::Headers, now, until)
        {
            return;
        }
        self.peers.aim(to, target);
        let locator = self.locator(after, target);
        actions.push(Action::Send { to, message: Message::GetHeaders(locator) });
    }

    /// Blocks of the head's line, ever further apart, and the beginning of the network.
    fn locator(&self, after: Option<BlockId>, target: BlockId) -> Locator {
        let mut known: Vec<BlockId> = after.into_iter().collect();
        let top = self.tree.head().height.0;
        let mut back = 0_u64;
        while known.len() < LOCATOR_MAX.saturating_sub(2) {
            let Some(id) = top.checked_sub(back).and_then(|height| self.tree.at(Height(height)))
            else {
                break;
            };
            known.push(*id);
            back = if back < 4 { back.saturating_add(1) } else { back.saturating_mul(2) };
        }
        known.push(self.tree.finalised().id);
        known.push(self.network.genesis());
        Locator { known: List::try_from(known).unwrap_or_default(), target }
    }

    fn hear_headers(
        &mut self,
        now: UnixNanos,
        from: Peer,
        headers: &[Sealed],
        actions: &mut Vec<Action>,
    ) {
        self.peers.answered(from, Topic::Headers);
        for header in headers {
            match self.take_header(now, from, header, true, actions) {
                HeaderOutcome::Placed => {}
                HeaderOutcome::Orphan => return,
                HeaderOutcome::Refused(code) => {
                    actions.push(Action::Refused { from, code });
                    return;
                }
            }
        }
        if headers.len() == HEADERS_MAX
            && let Some(target) = self.peers.target(from)
        {
            let last = headers.last().map(|header| BlockId::of(header.payload()));
            self.ask_for_headers(now, from, last, target, actions);
        }
    }

    fn after_header(
        &mut self,
        now: UnixNanos,
        from: Peer,
        header: &Sealed,
        outcome: HeaderOutcome,
        actions: &mut Vec<Action>,
    ) {
        match outcome {
            HeaderOutcome::Placed => {}
            HeaderOutcome::Orphan => {
                let target = BlockId::of(header.payload());
                self.ask_for_headers(now, from, None, target, actions);
            }
            HeaderOutcome::Refused(code) => actions.push(Action::Refused { from, code }),
        }
    }

    fn hear_transaction(&mut self, from: Peer, envelope: &[u8], actions: &mut Vec<Action>) {
        let Ok(sealed) = Sealed::decode(envelope) else {
            actions.push(Action::Refused { from, code: "malformed" });
            return;
        };
        if self.is_transaction_known(&TransactionId::of(sealed.payload())) {
            return;
        }
        match self.judge_transaction(&sealed, actions) {
            // What the pool does not take is no fault of the peer: its view differs.
            Ok(_) | Err(Refused::Unwanted(_)) => {}
            Err(Refused::Invalid(code)) => actions.push(Action::Refused { from, code }),
        }
    }

    /// A transaction whose signatures were checked outside. What the pool does not take is no fault of the peer; but
    /// whoever goes on sending to this node alone what it was not asked for, and what changes nothing, repeats what others
    /// have said.
    pub(super) fn take_transaction(
        &mut self,
        from: Peer,
        transaction: VerifiedTransaction,
        is_news: bool,
        actions: &mut Vec<Action>,
    ) {
        let is_taken = !self.is_transaction_known(&transaction.id())
            && self.accept(transaction, actions).is_ok();
        if !is_news && !self.peers.was_asked(from) && !is_taken && self.peers.was_idle(from) {
            actions.push(Action::Refused { from, code: "replayed" });
        }
    }

    fn is_transaction_known(&self, id: &TransactionId) -> bool {
        self.transaction_status(id) != TransactionStatus::Unknown
    }

    fn hear_pool(&mut self, to: Peer, ids: &[TransactionId], actions: &mut Vec<Action>) {
        let missing: Vec<TransactionId> =
            ids.iter().filter(|id| !self.is_transaction_known(id)).copied().collect();
        if missing.is_empty() {
            return;
        }
        if let Ok(missing) = List::try_from(missing)
            && self.peers.ask_for(to, missing.len())
        {
            actions.push(Action::Send { to, message: Message::GetTransactions(missing) });
        }
    }

    fn give_transactions(&self, to: Peer, ids: &[TransactionId], actions: &mut Vec<Action>) {
        for transaction in ids.iter().filter_map(|id| self.pool.get(id)) {
            if let Ok(envelope) = Blob::try_from(transaction.bytes()) {
                actions.push(Action::Send { to, message: Message::Transaction(envelope) });
            }
        }
    }

    fn give_headers(&self, to: Peer, locator: Locator, actions: &mut Vec<Action>) {
        let head = self.tree.head().id;
        let target = if self.tree.contains(&locator.target) { locator.target } else { head };
        let Some(line) = self.line_above(&locator.known, target) else {
            actions.push(Action::Serve { to, request: Request::Headers(locator) });
            return;
        };
        let headers: Vec<Sealed> = line
            .iter()
            .rev()
            .take(HEADERS_MAX)
            .filter_map(|id| self.blocks.get(id))
            .map(|held| held.block.head().sealed().clone())
            .collect();
        if !headers.is_empty()
            && let Ok(headers) = List::try_from(headers)
        {
            actions.push(Action::Send { to, message: Message::Headers(headers) });
        }
    }

    /// The blocks from `target` down to the first that is known; nothing when that is not in memory any more.
    fn line_above(&self, known: &[BlockId], target: BlockId) -> Option<Vec<BlockId>> {
        let known: BTreeSet<&BlockId> = known.iter().collect();
        let mut line = Vec::new();
        let mut at = target;
        while !known.contains(&at) {
            line.push(at);
            let place = self.tree.get(&at)?;
            if place.height == Height::ZERO {
                return None;
            }
            at = place.parent;
        }
        Some(line)
    }

    fn give_blocks(&self, to: Peer, ids: &[BlockId], actions: &mut Vec<Action>) {
        let mut stored = Vec::new();
        for id in ids {
            match self.blocks.get(id) {
                Some(held) => {
                    let message = Message::Block(held.block.to_block());
                    actions.push(Action::Send { to, message });
                }
                None => stored.push(*id),
            }
        }
        if !stored.is_empty() {
            actions.push(Action::Serve { to, request: Request::Blocks(stored) });
        }
    }

    fn give_commit(&self, to: Peer, range: CommitRange, actions: &mut Vec<Action>) {
        if self.tree.finalised().height <= range.above {
            return;
        }
        let best = self.commits.range(..=range.upto).next_back().map(|(_, commit)| commit);
        match best.filter(|commit| commit.height > range.above) {
            Some(commit) => {
                actions.push(Action::Send { to, message: Message::Commit(commit.clone()) });
            }
            None => actions.push(Action::Serve { to, request: Request::Commit(range) }),
        }
    }
}

fn send_votes(to: Peer, votes: Vec<Sealed>, actions: &mut Vec<Action>) {
    if votes.is_empty() {
        return;
    }
    if let Ok(votes) = List::try_from(votes) {
        actions.push(Action::Send { to, message: Message::Votes(votes) });
    }
}
