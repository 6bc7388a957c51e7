//! How evidence against hosts reaches every node: what peers say is judged and passed on, what was handed in here is said.
//!
//! # Invariants
//! Only evidence that holds, that the ledger lacks, and that costs the accused something is kept from a peer or said to
//! one: a stake, or a channel of the accused, stands behind each piece, so nobody fills the network with keys made for
//! it. Who was told by a peer reports later than who was told by a person, and not all at once: a report is paid for by
//! whoever makes it, and only the first one counts.
//!
//! # Absent
//! Connections: the node hands in what came and says what is to be said.

use sha2::{Digest as _, Sha256};
use talea_ledger::UnixNanos;
use talea_ledger::rules::record::FraudKey;
use talea_ledger::sign::TRANSACTION_LEN_MAX;
use talea_ledger::transaction::ReportFraud;

use super::evidence::{Evidence, EvidenceError, has_consequence};
use super::vouchers::{Till, lock};

/// Until evidence is said again that the ledger still lacks: nodes that came since hear it then.
const AGAIN_NANOS: u64 = 10 * 60 * 1_000_000_000;
/// Pieces that are said at once.
const SAID_MAX: usize = 16;
/// How long whoever heard of evidence leaves the report to the one it was handed to: some slots, until its report is in a
/// block.
const WAIT_NANOS: u64 = 5 * 1_000_000_000;
/// Over how long those that heard of it spread their reports, by their keys.
const TURNS_NANOS: u64 = 20 * 1_000_000_000;

/// Longest evidence that travels: what is longer no transaction can report.
pub const EVIDENCE_LEN_MAX: usize = TRANSACTION_LEN_MAX;

/// How far a piece of evidence was spread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    /// When it was said, or came from a peer, last.
    said: Option<UnixNanos>,
    /// Before that somebody else may report it.
    not_before: UnixNanos,
}

/// What is to become of evidence that came from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearsay {
    /// It is kept: pass it on.
    New,
    /// Known, recorded, without consequence, or there is no room: nobody's fault, and not to be passed on.
    Passed,
    /// No honest node would have said it.
    Refused(&'static str),
}

impl Till {
    /// Takes evidence as it came from a peer. May wait for the disk.
    pub fn hear_evidence(&self, bytes: &[u8], now: UnixNanos) -> Hearsay {
        if bytes.len() > EVIDENCE_LEN_MAX {
            return Hearsay::Refused("fraud-too-long");
        }
        let Ok(report) = ReportFraud::decode(bytes) else {
            return Hearsay::Refused("fraud-malformed");
        };
        let head = self.ledger().head();
        let Ok(fraud) = report.check(&head.network().id()) else {
            return Hearsay::Refused("fraud-unproven");
        };
        let evidence = Evidence { fraud, report };
        let key = evidence.key();
        if head.fraud(&key).is_some() || !has_consequence(&head, &evidence.fraud) {
            return Hearsay::Passed;
        }
        // Before it is kept, so that nobody finds it there and takes it for handed in here.
        let turn = self.turn(&key).saturating_add(WAIT_NANOS);
        let heard = Spread { said: Some(now), not_before: UnixNanos(now.0.saturating_add(turn)) };
        lock(&self.spread).entry(key).or_insert(heard);
        match self.accuse(bytes) {
            Ok((_, true)) => Hearsay::New,
            Ok((_, false)) => Hearsay::Passed,
            // It held a moment ago.
            Err(EvidenceError::Unreadable(_) | EvidenceError::Unproven(_)) => Hearsay::Passed,
            Err(error) => {
                tracing::warn!(%error, "evidence that a peer passed on is not kept");
                Hearsay::Passed
            }
        }
    }

    /// Evidence that peers are to hear of now, as it is passed on.
    pub fn evidence_to_say(&self, now: UnixNanos) -> Vec<Vec<u8>> {
        let head = self.ledger().head();
        // Who holds both locks took that of the evidence first.
        let due = self.evidence(SAID_MAX, |evidence| {
            let said = lock(&self.spread).get(&evidence.key()).and_then(|it| it.said);
            said.is_none_or(|said| now.0.saturating_sub(said.0) >= AGAIN_NANOS)
                && head.fraud(&evidence.key()).is_none()
                && has_consequence(&head, &evidence.fraud)
        });
        let kept = lock(&self.evidence);
        let mut spread = lock(&self.spread);
        // What a peer says is noted before it is kept: that is the newest.
        let is_new =
            |it: &Spread| it.said.is_some_and(|said| now.0.saturating_sub(said.0) < WAIT_NANOS);
        spread.retain(|key, it| kept.contains_key(key) || is_new(it));
        for evidence in &due {
            spread.entry(evidence.key()).or_default().said = Some(now);
        }
        let said = due.iter().map(|evidence| evidence.report.encode());
        said.filter(|bytes| bytes.len() <= EVIDENCE_LEN_MAX).collect()
    }

    /// Whether it is this host's turn to report a piece of evidence.
    pub(super) fn has_turn(&self, key: &FraudKey, now: UnixNanos) -> bool {
        lock(&self.spread).get(key).is_none_or(|it| now >= it.not_before)
    }

    /// When this host reports evidence that it heard of, within the time that all have for it.
    fn turn(&self, key: &FraudKey) -> u64 {
        let hash = Sha256::new()
            .chain_update(b"talea turn of a report v1\0")
            .chain_update(self.host.as_bytes())
            .chain_update(key.host.as_bytes())
            .chain_update(key.channel.as_bytes())
            .finalize();
        let part = hash.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        part % TURNS_NANOS
    }
}
