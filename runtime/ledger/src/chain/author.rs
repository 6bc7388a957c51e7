//! Own blocks, and transactions that are handed in or heard of.

use std::sync::Arc;

use super::event::{Action, Record, Submission};
use super::message::Message;
use super::{Chain, Held, REST_MAX, TransactionStatus, UNFINALISED_MAX};
use crate::block::{Block, SignedBlock, VerifiedBlock};
use crate::codec::{Blob, Document as _};
use crate::id::TransactionId;
use crate::pool::Reason;
use crate::rules::{self, Rejection};
use crate::sign::{Domain, Sealed};
use crate::transaction::{Transaction, VerifiedTransaction};
use crate::units::{Height, UnixNanos};

/// Why a transaction is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// It could be taken nowhere: the stable code says why.
    Invalid(&'static str),
    /// This node's pool has no room for it, or its sender cannot pay as this node sees it.
    Unwanted(Reason),
}

impl Refused {
    fn into_reason(self) -> Reason {
        match self {
            Self::Invalid(code) => Reason::new(code),
            Self::Unwanted(reason) => reason,
        }
    }
}

impl Chain {
    /// Takes a transaction from somebody who waits for the answer.
    pub(super) fn submit(
        &mut self,
        submission: Submission,
        envelope: &[u8],
        actions: &mut Vec<Action>,
    ) {
        let outcome = match Sealed::decode(envelope) {
            Ok(sealed) => self.judge_transaction(&sealed, actions),
            Err(_) => Err(Refused::Invalid("malformed")),
        };
        let outcome = outcome.map_err(Refused::into_reason);
        let is_new = matches!(outcome, Ok((_, true)));
        actions.push(Action::Answer { submission, outcome: outcome.map(|(id, _)| id) });
        if is_new && let Ok(envelope) = Blob::try_from(envelope) {
            actions.push(Action::Broadcast(Message::Transaction(envelope)));
        }
    }

    /// Judges a transaction and takes it into the pool: first what costs a look at the sender's account, then the
    /// signatures, of which a redeem by batch carries more than a hundred. So whoever cannot pay the fee costs this
    /// node the reading of the bytes and nothing more.
    pub(super) fn judge_transaction(
        &mut self,
        sealed: &Sealed,
        actions: &mut Vec<Action>,
    ) -> Result<(TransactionId, bool), Refused> {
        self.admissible(sealed).map_err(Refused::Unwanted)?;
        let transaction = VerifiedTransaction::verify(sealed, &self.network.id())
            .map_err(|error| Refused::Invalid(error.code()))?;
        self.accept(transaction, actions).map_err(Refused::Unwanted)
    }

    /// Whether the pool could take what an envelope says it is. What cannot be read at all is for the verifier, which
    /// names the fault.
    fn admissible(&self, sealed: &Sealed) -> Result<(), Reason> {
        let id = TransactionId::of(sealed.payload());
        let Ok(transaction) = Transaction::decode(sealed.payload()) else { return Ok(()) };
        let is_ours = sealed.domain() == Domain::Transaction
            && transaction.network == self.network.id()
            && sealed.signatures().iter().all(|signed| signed.key == transaction.sender);
        if !is_ours || self.transaction_status(&id) != TransactionStatus::Unknown {
            return Ok(());
        }
        let fee = self.network.fee(sealed.payload().len());
        let standing = Self::standing_for(self.head_state(), &transaction);
        self.pool.admissible(&transaction.sender, transaction.nonce, fee, standing)
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
        let standing = Self::standing_for(self.head_state(), transaction.transaction());
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
        let age = now.0.saturating_sub(self.network.slot_start(head.slot).0);
        // The genesis alone is no ledger that anybody pays by.
        let is_old = head.height > Height::ZERO && age > REST_MAX.0;
        let may_rest = is_settled && self.pool.is_empty() && !is_old;
        if !is_mine || may_rest || self.lag() >= UNFINALISED_MAX {
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
