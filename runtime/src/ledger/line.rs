//! The line to the other nodes, as the ledger's thread uses it: what goes out, and verdicts on what came in.
//!
//! Whoever has the connections implements [`Line`]. Nothing here waits: what cannot be sent is dropped, and the chain
//! asks again for what it misses.
//! Absent: connections, names of topics, limits of a wire.

use std::fmt;

use talea_ledger::PublicKey;

/// Longest block that is published whole: some forty transfers. A longer one is announced by its header, and who wants it asks for it.
pub const BLOCK_NEWS_LEN_MAX: usize = 16 * 1024;

/// What a message to everybody is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A pending transaction.
    Transaction,
    /// A block, or its header alone when it is long; or why one is final.
    Block,
    /// A vote.
    Vote,
}

/// Says things to other nodes. No call waits.
pub trait Line: fmt::Debug + Send + Sync + 'static {
    /// One message of the chain to one peer. What cannot be sent is dropped.
    fn send(&self, to: &PublicKey, message: Vec<u8>);

    /// One message of the chain to everybody.
    fn publish(&self, news: News, message: Vec<u8>);

    /// A peer sent what cannot stand: the stable code says why.
    fn blame(&self, who: &PublicKey, code: &'static str);
}

/// The line of a node without peers.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Line for Nobody {
    fn send(&self, _: &PublicKey, _: Vec<u8>) {}

    fn publish(&self, _: News, _: Vec<u8>) {}

    fn blame(&self, _: &PublicKey, _: &'static str) {}
}

/// What becomes of news that somebody passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds: pass it on.
    Accept,
    /// It is of no use here, and nobody's fault.
    Ignore,
    /// It cannot stand, and whoever passed it on could have seen that.
    Reject,
}

/// Who waits for the verdict on one piece of news. Dropped without a word it is ignored.
pub struct Judge(Option<Box<dyn FnOnce(Verdict) + Send>>);

impl Judge {
    /// Calls `tell` once, from the ledger's thread: it must not wait.
    pub fn new(tell: impl FnOnce(Verdict) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells the verdict.
    pub fn say(mut self, verdict: Verdict) {
        if let Some(tell) = self.0.take() {
            tell(verdict);
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Verdict::Ignore);
        }
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}
