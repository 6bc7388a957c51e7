//! Headers, bodies and the head: from what a peer sent to a block in the tree.

use std::sync::Arc;

use super::event::{Action, Peer, Record};
use super::{AHEAD_SLOTS, Chain, Held, SIDE_MAX, UNFINALISED_MAX, place_of};
use crate::block::{Block, SignedBlock, SignedHeader, VerifiedBlock};
use crate::finality::Equivocation;
use crate::fork::{Place, PlaceError, Route};
use crate::id::{BlockId, TransactionId};
use crate::pool::Reason;
use crate::rules;
use crate::sign::Sealed;
use crate::transaction::VerifiedTransaction;
use crate::units::{Height, Slots, UnixNanos};

/// What came of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderOutcome {
    /// Its body is wanted, or here.
    Placed,
    /// Its parent is not known.
    Orphan,
    /// It cannot stand.
    Refused(&'static str),
}

impl Chain {
    /// Takes a header from a peer. Headers of one slot beyond the second are taken only when others were built
    /// on them (`is_sync`), so that one author cannot fill the memory.
    pub(super) fn take_header(
        &mut self,
        now: UnixNanos,
        from: Peer,
        sealed: &Sealed,
        is_sync: bool,
        actions: &mut Vec<Action>,
    ) -> HeaderOutcome {
        let id = BlockId::of(sealed.payload());
        if self.tree.contains(&id) || self.peers.wanted(&id).is_some() {
            return HeaderOutcome::Placed;
        }
        if self.peers.is_invalid(&id) {
            return HeaderOutcome::Refused("invalid-block");
        }
        let latest = self.slot_now(now).after(Slots(AHEAD_SLOTS));
        let head = match SignedHeader::verify(sealed, &self.network, latest) {
            Ok(head) => head,
            Err(error) => return HeaderOutcome::Refused(error.code()),
        };
        if let Some(evidence) = self.note_slot(&head) {
            actions.push(Action::Persist(Record::Equivocation(evidence)));
        }
        let of_slot = self.slots.get(&head.header().slot);
        let is_crowded = of_slot
            .is_some_and(|seen| seen.len() >= 2 && seen.iter().all(|(other, _)| *other != id));
        if is_crowded && !is_sync {
            return HeaderOutcome::Refused("slot-taken");
        }
        match self.check_place(&head) {
            Ok(()) => {
                self.peers.want(head, from);
                HeaderOutcome::Placed
            }
            Err(PlaceError::Orphan(_)) => HeaderOutcome::Orphan,
            Err(PlaceError::Below) => HeaderOutcome::Refused("below-finalised"),
            Err(PlaceError::Height { .. }) => HeaderOutcome::Refused("wrong-height"),
            Err(PlaceError::Slot { .. }) => HeaderOutcome::Refused("wrong-slot"),
        }
    }

    /// Remembers who made a block in a slot. A second one is evidence. Slots long final are not looked at any more:
    /// an author could fill the memory with them.
    pub(super) fn note_slot(&mut self, head: &SignedHeader) -> Option<Equivocation> {
        let finalised = self.tree.finalised().slot;
        if head.header().slot.0.saturating_add(super::RECENT_MAX) < finalised.0 {
            return None;
        }
        let seen = self.slots.entry(head.header().slot).or_default();
        if seen.len() >= 2 || seen.iter().any(|(id, _)| *id == head.id()) {
            return None;
        }
        seen.push((head.id(), head.sealed().clone()));
        match seen.as_slice() {
            [(_, first), (_, second)] => {
                Some(Equivocation { first: first.clone(), second: second.clone() })
            }
            _ => None,
        }
    }

    /// Whether a header follows on a block in the tree or on a header whose body is still to come.
    fn check_place(&self, head: &SignedHeader) -> Result<(), PlaceError> {
        let header = head.header();
        let place = Place {
            id: head.id(),
            parent: header.parent,
            height: header.height,
            slot: header.slot,
        };
        let top = self.tree.finalised().height.0.saturating_add(UNFINALISED_MAX);
        if header.height.0 > top {
            // As far as this node can tell nothing connects it yet.
            return Err(PlaceError::Orphan(header.parent));
        }
        let Some(parent) = self.peers.wanted(&header.parent) else {
            return self.tree.check(&place);
        };
        let parent = parent.head.header();
        let expected = parent.height.saturating_add(Height(1));
        if header.height != expected {
            return Err(PlaceError::Height { found: header.height, expected });
        }
        if header.slot <= parent.slot {
            return Err(PlaceError::Slot { found: header.slot, parent: parent.slot });
        }
        Ok(())
    }

    /// Takes a whole block from a peer. Of one that was asked for the header is here already; one that comes of itself
    /// is news like any header.
    pub(super) fn take_block(
        &mut self,
        now: UnixNanos,
        from: Peer,
        block: Block,
        actions: &mut Vec<Action>,
    ) -> HeaderOutcome {
        let outcome = self.take_header(now, from, &block.head, false, actions);
        let id = BlockId::of(block.head.payload());
        let Some(wanted) = self.peers.wanted(&id).filter(|wanted| wanted.body.is_none()) else {
            return outcome;
        };
        match wanted.head.clone().with_body(block.body) {
            Ok(signed) => {
                self.peers.keep(signed);
                HeaderOutcome::Placed
            }
            // The header stands; its body is asked of another.
            Err(error) => HeaderOutcome::Refused(error.code()),
        }
    }

    /// Applies every block whose parent and body are here, lowest first.
    pub(super) fn apply_ready(&mut self, now: UnixNanos, actions: &mut Vec<Action>) {
        loop {
            let ready = self.peers.in_order().find_map(|wanted| {
                let body = wanted.body.as_ref()?;
                self.tree
                    .contains(&wanted.head.header().parent)
                    .then(|| (body.clone(), wanted.from))
            });
            let Some((block, from)) = ready else { return };
            let id = block.head().id();
            self.peers.forget(&id);
            match self.apply(&block) {
                Ok((block, held)) => {
                    actions.push(Action::Persist(Record::Block(Arc::clone(&block))));
                    self.place(block, held, actions);
                    self.retry_commit(now, actions);
                }
                Err(code) => {
                    self.peers.refuse(id);
                    actions.push(Action::Refused { from, code });
                }
            }
        }
    }

    fn apply(&self, block: &SignedBlock) -> Result<(Arc<VerifiedBlock>, Held), &'static str> {
        let known = |bytes: &[u8]| self.known_transaction(bytes);
        let verified = VerifiedBlock::verify_with(block, &self.network, known)
            .map_err(|error| error.code())?;
        self.tree.check(&place_of(&verified)).map_err(|_| "below-finalised")?;
        let parent = self.state_of(&verified.header().parent).ok_or("below-finalised")?;
        let state = rules::apply(parent, &verified).map_err(|error| error.code())?;
        let block = Arc::new(verified);
        Ok((Arc::clone(&block), Held { block, state: Some(state) }))
    }

    /// A pending transaction by its envelope: its signatures were checked when it came.
    fn known_transaction(&self, envelope: &[u8]) -> Option<Arc<VerifiedTransaction>> {
        let sealed = Sealed::decode(envelope).ok()?;
        self.pool.get(&TransactionId::of(sealed.payload())).cloned()
    }

    /// Puts a valid block into the tree and moves the head if it is better.
    pub(super) fn place(
        &mut self,
        block: Arc<VerifiedBlock>,
        held: Held,
        actions: &mut Vec<Action>,
    ) {
        let place = place_of(&block);
        let before = self.tree.head().id;
        self.blocks.insert(place.id, held);
        match self.tree.insert(place) {
            Ok(true) => {
                let route = self.tree.route(&before, &place.id).unwrap_or_default();
                self.follow(route, actions);
            }
            Ok(false) => {}
            Err(_) => {
                self.blocks.remove(&place.id);
                return;
            }
        }
        let spine = self.tree.head().height.0.saturating_sub(self.tree.finalised().height.0);
        let side = (self.tree.len() as u64).saturating_sub(spine).saturating_sub(super::RECENT_MAX);
        if side > SIDE_MAX as u64
            && let Some(worst) = self.tree.drop_worst()
        {
            self.lose(&[worst], actions);
        }
    }

    /// The head has moved: transactions follow it.
    pub(super) fn follow(&mut self, route: Route, actions: &mut Vec<Action>) {
        let mut returned = Vec::new();
        for id in route.undone.iter().rev() {
            for transaction in self.transactions_of(id) {
                self.included.remove(&transaction.id());
                returned.push(transaction);
            }
        }
        for id in &route.applied {
            for transaction in self.transactions_of(id) {
                self.included.insert(transaction.id(), *id);
                self.pool.include(&transaction.id());
            }
        }
        #[cfg(test)]
        if self.flaw == super::mutations::Flaw::ForgetsReturned {
            returned.clear();
        }
        for transaction in returned {
            self.give_back(transaction, actions);
        }
        let (undone, applied) = (route.undone, route.applied);
        actions.push(Action::HeadMoved { undone, applied });
    }

    /// A transaction that is in no block of the head's line is pending again.
    pub(super) fn give_back(
        &mut self,
        transaction: Arc<VerifiedTransaction>,
        actions: &mut Vec<Action>,
    ) {
        let id = transaction.id();
        if self.included.contains_key(&id) || self.pool.get(&id).is_some() {
            return;
        }
        let settled = self.finalised_state().account(&transaction.sender()).nonce;
        if transaction.nonce() < settled {
            // Another of the same nonce is final.
            if self.pool.rejection(&id).is_none() {
                let rejected = self.pool.refuse(id, Reason::new("nonce-used"));
                actions.push(Action::Persist(Record::Rejected(rejected)));
            }
            return;
        }
        actions.push(Action::Persist(Record::Transaction(Arc::clone(&transaction))));
        let fee = self.network.fee(transaction.payload_len());
        if let Some(rejected) = self.pool.give_back(transaction, fee) {
            actions.push(Action::Persist(Record::Rejected(rejected)));
        }
    }

    /// Blocks have left the tree: their transactions are pending again.
    pub(super) fn lose(&mut self, lost: &[BlockId], actions: &mut Vec<Action>) {
        for id in lost {
            let Some(held) = self.blocks.remove(id) else { continue };
            #[cfg(test)]
            if self.flaw == super::mutations::Flaw::ForgetsReturned {
                continue;
            }
            for transaction in held.block.transactions() {
                self.give_back(Arc::clone(transaction), actions);
            }
        }
    }
}
