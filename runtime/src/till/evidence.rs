//! Evidence against hosts: two receipts that cannot both be honest, kept until the ledger has them.
//!
//! Invariants: what is kept was signed by the host that it is held against and is on the disk before it is answered;
//! of each host and channel one piece is kept, as the ledger records one. This host never reports itself, and pays
//! for a report only where it costs the accused something. Bounded: where the shelf is full, evidence that the
//! ledger has, or that has no consequence there, gives way.
//! Absent: the report itself, which the collector hands in.

use talea_ledger::fraud::Fraud;
use talea_ledger::rules::record::{FraudKey, FraudRecord};
use talea_ledger::transaction::{CarriedError, ReportFraud};
use talea_ledger::{Action, DecodeError, Nonce, State, Tal, Transaction, UnixNanos};
use thiserror::Error;

use super::vouchers::{Till, lock};
use crate::store::PaymentsError;

/// Hosts and channels that evidence is kept of. Each piece is below 10 KiB: 10 MiB at most. Tests fill it.
pub(super) const EVIDENCE_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// A piece of evidence that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What it proves.
    pub fraud: Fraud,
    /// Both receipts with their proofs.
    pub report: ReportFraud,
}

/// What becomes of a piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// The ledger has it.
    Recorded(FraudRecord),
    /// This host reports it: at its next round, or when whoever it heard it from had the time to.
    Soon,
    /// This host does not report it: the stable text says why.
    Never(&'static str),
}

/// Why evidence is not taken.
#[derive(Debug, Error)]
pub enum EvidenceError {
    /// The bytes are no evidence.
    #[error("the evidence cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    /// A signature does not hold, or the receipts contradict nothing.
    #[error(transparent)]
    Unproven(#[from] CarriedError),
    /// Everything kept has consequences.
    #[error("evidence of {EVIDENCE_MAX} hosts and channels is kept, no more")]
    Full,
    /// It could not be kept.
    #[error(transparent)]
    Shelf(#[from] PaymentsError),
}

impl Evidence {
    pub(super) fn key(&self) -> FraudKey {
        FraudKey { channel: self.fraud.channel, host: self.fraud.host }
    }

    pub(super) fn action(&self) -> Action {
        Action::ReportFraud(Box::new(self.report.clone()))
    }
}

impl Till {
    /// Takes evidence; whether it is new. It is on the disk when this returns; may wait for the disk.
    pub fn accuse(&self, bytes: &[u8]) -> Result<(Evidence, bool), EvidenceError> {
        let head = self.ledger().head();
        let report = ReportFraud::decode(bytes)?;
        let fraud = report.check(&head.network().id())?;
        let evidence = Evidence { fraud, report };
        let key = evidence.key();
        let _writing = lock(&self.writing);
        let idle = {
            let kept = lock(&self.evidence);
            if let Some(known) = kept.get(&key) {
                return Ok((known.clone(), false));
            }
            let is_idle = |known: &&Evidence| {
                head.fraud(&known.key()).is_some() || !has_consequence(&head, &known.fraud)
            };
            match kept.len() < EVIDENCE_MAX {
                true => None,
                false => {
                    let idle = kept.values().find(is_idle).map(Evidence::key);
                    Some(idle.ok_or(EvidenceError::Full)?)
                }
            }
        };
        if let Some(idle) = idle {
            self.shelf.remove_evidence(&idle)?;
            lock(&self.evidence).remove(&idle);
        }
        self.shelf.put_evidence(&key, &evidence.report)?;
        lock(&self.evidence).insert(key, evidence.clone());
        tracing::warn!(host = %fraud.host, channel = %fraud.channel, kind = fraud.kind.text(), "a host is proven to have cheated");
        Ok((evidence, true))
    }

    /// What is kept and wanted, in the order of channels, at most so many.
    pub fn evidence(&self, limit: usize, wanted: impl Fn(&Evidence) -> bool) -> Vec<Evidence> {
        let kept = lock(&self.evidence);
        kept.values().filter(|evidence| wanted(evidence)).take(limit).cloned().collect()
    }

    /// What this host is to report, at most so much.
    pub(super) fn to_report(&self, head: &State, limit: usize, now: UnixNanos) -> Vec<Evidence> {
        self.evidence(limit, |evidence| {
            self.has_turn(&evidence.key(), now)
                && self.prospect_at(head, evidence) == Prospect::Soon
        })
    }

    /// What becomes of evidence, by the ledger's head.
    pub fn prospect(&self, evidence: &Evidence) -> Prospect {
        self.prospect_at(&self.ledger().head(), evidence)
    }

    fn prospect_at(&self, head: &State, evidence: &Evidence) -> Prospect {
        let fraud = &evidence.fraud;
        if let Some(record) = head.fraud(&evidence.key()) {
            return Prospect::Recorded(*record);
        }
        if fraud.host == self.host {
            return Prospect::Never("own");
        }
        if !has_consequence(head, fraud) {
            return Prospect::Never("no-consequence");
        }
        if head.account(&self.host).balance < self.fee(head, evidence) {
            return Prospect::Never("cannot-pay");
        }
        Prospect::Soon
    }

    fn fee(&self, head: &State, evidence: &Evidence) -> Tal {
        let network = head.network();
        let transaction = Transaction {
            action: evidence.action(),
            network: network.id(),
            sender: self.host,
            nonce: Nonce::MAX,
            builds_on: None,
        };
        let len = talea_ledger::Document::encode(&transaction).len();
        network.fee(len)
    }
}

/// Whether a report costs the accused anything: a stake that is burned, or a channel from which it can claim bills.
/// Anybody can make a key, cheat with it and wait for somebody to pay for the report.
pub(super) fn has_consequence(head: &State, fraud: &Fraud) -> bool {
    head.stake(&fraud.host).is_some()
        || head.channel(&fraud.channel).is_some_and(|channel| channel.host == fraud.host)
}
