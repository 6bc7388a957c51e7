//! Own blocks, and transactions that are handed in or heard of.

use std::sync::Arc;

use super::event::{Action, Record, Submission};
use super::message::Message;
use super::{Chain, Held, TransactionStatus, UNFINALISED_MAX};
use crate::block::{Block, SignedBlock, VerifiedBlock};
use crate::codec::{Blob, Document as _};
use crate::id::TransactionId;
use crate::pool::Reason;
use crate::rules::{self, Rejection};
use crate::sign::Domain;
use crate::transaction::VerifiedTransaction;
use crate::units::UnixNanos;

impl Chain {
    /// Takes a transaction from somebody who waits for the answer.
    pub(super) fn submit(
        &mut self,
        submission: Submission,
        envelope: &[u8],
        actions: &mut Vec<Action>,
    ) {
        let outcome = match VerifiedTransaction::decode(envelope, &self.network.id()) {
            Ok(transaction) => self.accept(transaction, actions),
            Err(error) => Err(Reason::new(error.code())),
        };
        let is_new = matches!(outcome, Ok((_, true)));
        actions.push(Action::Answer { submission, outcome: outcome.map(|(id, _)| id) });
        if is_new && let Ok(envelope) = Blob::try_from(envelope) {
            actions.push(Action::Broadcast(Message::Transaction(envelope)));
        }
    }

    /// Takes a transaction into the pool. One that is here already is accepted once more, with no effect.
    pub(super) fn accept(
        &mut self,
        transaction: VerifiedTransaction,
        actions: &mut Vec<Action>,
    ) -> Result<(TransactionId, bool), Reason> {
        let id = transaction.id();
        match self.transaction_status(&id) {
            TransactionStatus::Included { .. } | TransactionStatus::Pending => {
                return Ok((id, false));
            }
            TransactionStatus::Rejected(reason) => return Err(reason),
            TransactionStatus::Unknown => {}
        }
        let transaction = Arc::new(transaction);
        let fee = self.network.fee(transaction.payload_len());
        let standing = Self::standing(self.head_state(), &transaction.sender());
        let evicted = self.pool.admit(Arc::clone(&transaction), fee, standing)?;
        if let Some(evicted) = evicted {
            actions.push(Action::Persist(Record::Rejected(evicted)));
        }
        actions.push(Action::Persist(Record::Transaction(transaction)));
        Ok((id, true))
    }

    /// Makes the block of this slot, if it is this node's and there is reason to.
    pub(super) fn author(&mut self, now: UnixNanos, actions: &mut Vec<Action>) {
        let slot = self.slot_now(now);
        let head = self.tree.head();
        let is_mine = slot > self.authored.max(head.slot) && self.network.author(slot) == self.me;
        let is_settled = head.id == self.tree.finalised().id;
        if !is_mine || (is_settled && self.pool.is_empty()) || self.lag() >= UNFINALISED_MAX {
            return;
        }
        self.authored = slot;
        let params = self.network.params();
        let state = self.head_state();
        let candidates = self.pool.candidates(
            params.block_count_max as usize,
            params.block_len_max as usize,
            |sender| state.account(sender).nonce,
        );
        let proposal = rules::propose(state, slot, self.me, &candidates);
        for (id, rejection) in &proposal.refused {
            self.fail(id, rejection, is_settled, actions);
        }
        let sealed = self.signer.seal(Domain::Block, proposal.header.encode());
        let body = proposal.transactions.iter().map(|each| each.bytes().to_vec()).collect();
        let block = Block { head: sealed, body };
        let signed = SignedBlock::verify(block, &self.network, slot)
            .expect("an own block is of this slot, signed by its owner, with its own body");
        let verified = VerifiedBlock::verify_with(&signed, &self.network, |bytes| {
            proposal.transactions.iter().find(|each| each.bytes() == bytes).cloned()
        })
        .expect("a proposal is in canonical order");
        let next = rules::apply(self.head_state(), &verified).expect("a proposal applies");
        self.note_slot(verified.head());
        let block = Arc::new(verified);
        actions.push(Action::Persist(Record::Block(Arc::clone(&block))));
        let announcement = block.head().sealed().clone();
        self.place(Arc::clone(&block), Held { block, state: Some(next) }, actions);
        actions.push(Action::Broadcast(Message::Announce(announcement)));
        self.vote(now, actions);
    }

    /// A transaction did not apply. It is rejected when it never will: on a line that can still be undone nothing
    /// is never.
    pub(super) fn fail(
        &mut self,
        id: &TransactionId,
        rejection: &Rejection,
        is_settled: bool,
        actions: &mut Vec<Action>,
    ) {
        let reason = Reason::new(rejection.code());
        if !is_settled || rejection.may_pass() {
            self.pool.note_failure(id, reason);
        } else if let Some(rejected) = self.pool.reject(id, reason) {
            actions.push(Action::Persist(Record::Rejected(rejected)));
        }
    }
}
