//! `Call` -> `Authorized`: who asks, may they, and is it covered. Decided on the head alone.
//!
//! Invariants: nothing runs on a payer's account that the payer's key, or a session key with its grant, did not
//! sign for this network, this host and this moment; the sum of what a channel owes and what is under way on it
//! never passes what the ledger holds for it, finally or at this host's own bounded risk; a (channel, sequence)
//! is under way at most once.
//! Absent: hyper, the executor, bodies (a run names its input by CID, which `registry` compares), the ledger (the
//! node hands in its states), and vouchers, which the till keeps.

mod book;
mod buckets;
mod escrow;
mod grants;
mod offer;
mod request;
mod signers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use talea_ledger::cover::Refusal;
use talea_ledger::{
    ChannelId, NetworkId, Ppm, PublicKey, ReceiptId, Run, RunId, Sealed, Sequence, Tal, UnixNanos,
    Verified,
};
use tokio::sync::watch;

use self::book::{Book, Claim, Claimed};
pub use self::book::{Channels, ChannelsError, Record, Standing, Used};
use self::buckets::{Buckets, Rate};
pub use self::escrow::{Escrow, States, Vouched};
use self::grants::Grants;
pub use self::offer::Offer;
pub use self::request::{Asked, Reader, RegistrationFault, RequestError};
use self::signers::Signers;
use crate::call::Call;
use crate::config;
use crate::limits;

/// The door. Shared by all connections.
#[derive(Debug)]
pub struct Auth {
    offer: Offer,
    free_calls: bool,
    buckets: Option<Buckets>,
    book: Book,
    grants: Grants,
    signers: Signers,
    escrow: Arc<dyn Escrow>,
    deploy: config::Deploy,
}

/// What pays for runs.
#[derive(Debug)]
pub struct Cover {
    /// Keys that the host's owner trusts without escrow.
    pub credit: config::Credit,
    /// What this host risks on escrow that is not final, over all payers.
    pub exposure: Tal,
    /// What is recorded.
    pub channels: Arc<dyn Channels>,
    /// What is locked and promised.
    pub escrow: Arc<dyn Escrow>,
}

/// A call that may run. Only `Auth::authorize` makes one.
#[derive(Debug)]
pub struct Authorized {
    call: Call,
    caller: Caller,
}

/// On whose account.
#[derive(Debug)]
pub enum Caller {
    /// Nobody's.
    Free,
    /// A payer's.
    Paid(Box<PaidRun>),
}

/// A run that its payer signed and that is covered. Holds the cover until it is dropped.
#[derive(Debug)]
pub struct PaidRun {
    run: Verified<Run>,
    payload: Bytes,
    sealed: Sealed,
    claim: Claim,
}

/// What becomes of a call that is in order.
#[derive(Debug)]
pub enum Admission {
    /// It runs.
    Run(Authorized),
    /// The same run has a receipt already.
    Repeat(ReceiptId),
    /// The same run is under way; ask again when `ended` is closed.
    Underway {
        /// The call, to ask with.
        call: Call,
        /// Closed when the run under way has ended.
        ended: watch::Receiver<()>,
    },
}

/// Why a call may not run.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// The bytes of `talea-run` are no sealed document.
    #[error("the run cannot be read: {0}")]
    RunUnreadable(#[source] talea_ledger::DecodeError),
    /// They are, but of another type, badly signed, or not a run.
    #[error("the run's signature does not hold: {0}")]
    RunUnverified(#[source] talea_ledger::VerifyError),
    /// A run of another network.
    #[error("the run is for network {given}; this is {ours}")]
    NetworkForeign {
        /// In the run.
        given: NetworkId,
        /// This node's.
        ours: NetworkId,
    },
    /// A run that another host is to execute.
    #[error("the run is for host {given}; this is {ours}")]
    HostForeign {
        /// In the run.
        given: PublicKey,
        /// This node's.
        ours: PublicKey,
    },
    /// The bytes of `talea-session` are no sealed document.
    #[error("the session cannot be read: {0}")]
    SessionUnreadable(#[source] talea_ledger::DecodeError),
    /// They are, but of another type, badly signed, or not a grant.
    #[error("the session's signature does not hold: {0}")]
    SessionUnverified(#[source] talea_ledger::VerifyError),
    /// Neither the ledger's head nor its finalised state has the channel.
    #[error("the ledger has no channel {0}")]
    ChannelUnknown(ChannelId),
    /// The channel does not pay for the run.
    #[error(transparent)]
    NotCovered(Refusal),
    /// Too late.
    #[error("the run expired at {expired}, {} ms ago", (now.0.saturating_sub(expired.0)) / 1_000_000)]
    Expired {
        /// The run's bound.
        expired: UnixNanos,
        /// Our time.
        now: UnixNanos,
    },
    /// The guest's clock would be too far from ours.
    #[error("the run's clock is {} s from this host's; at most {} are taken", ahead.unsigned_abs() / 1_000_000_000, limits::CLOCK_SKEW_NANOS / 1_000_000_000)]
    ClockFar {
        /// Nanoseconds that the run is ahead of us.
        ahead: i64,
    },
    /// No run, and this host takes none for free.
    #[error("this host takes no free calls")]
    PaymentRequired,
    /// A run without a payment.
    #[error("the run names no payment")]
    PaymentMissing,
    /// A key that has no channel here.
    #[error("{payer} has no channel to this host")]
    PayerUnknown {
        /// Who signed.
        payer: PublicKey,
    },
    /// Below what this host takes.
    #[error("the run's price is below this host's in `{part}`: {given}, not {ours}")]
    PriceLow {
        /// Which of the three.
        part: &'static str,
        /// In the run.
        given: u64,
        /// Of this host.
        ours: u64,
    },
    /// More than one run may use here.
    #[error("the run asks for {given} of `{part}`; this host gives at most {ours}")]
    LimitHigh {
        /// Which limit.
        part: &'static str,
        /// In the run.
        given: u64,
        /// Of this host.
        ours: u64,
    },
    /// A profile that this host does not execute.
    #[error("the run's profile {given} is not offered here")]
    ProfileUnknown {
        /// In the run.
        given: talea_ledger::ProfileId,
    },
    /// The cap does not cover what the run could cost.
    #[error("the run's cap is {given} tal; its limits allow a bill of {needed}")]
    CapLow {
        /// In the run.
        given: Tal,
        /// The highest bill that its limits allow.
        needed: Tal,
    },
    /// The payer has used up what this host lends it.
    #[error("{owed} tal owed, {reserved} under way and a cap of {cap} pass the credit of {credit}")]
    CreditSpent {
        /// Of recorded runs.
        owed: Tal,
        /// Caps of runs under way.
        reserved: Tal,
        /// Of this run.
        cap: Tal,
        /// What the host lends.
        credit: Tal,
    },
    /// The sequence belongs to another run, or to one whose receipt is no longer kept.
    #[error("sequence {sequence} of the channel is used{}", by(run))]
    SequenceUsed {
        /// The sequence.
        sequence: Sequence,
        /// The run that has it.
        run: Option<RunId>,
    },
    /// The sequence is above the window.
    #[error("sequence {sequence} is above the channel's window; {most} is the highest taken now")]
    SequenceBeyond {
        /// The sequence.
        sequence: Sequence,
        /// The highest that is taken.
        most: Sequence,
    },
    /// Too many free calls from one address.
    #[error("too many free calls from your address; the next is taken in {} ms", retry_after.as_millis())]
    RateLimited {
        /// When the next would be taken.
        retry_after: Duration,
    },
    /// What is recorded about the channel could not be read.
    #[error("the channel's record cannot be read")]
    Channels(#[from] ChannelsError),
}

fn by(run: &Option<RunId>) -> String {
    run.map_or_else(|| ", and its receipt is no longer kept".to_owned(), |run| format!(" by {run}"))
}

impl Auth {
    /// The door of one host.
    pub fn new(offer: Offer, free: &config::Free, cover: Cover, deploy: config::Deploy) -> Self {
        let rate = |per_second| Rate { per_second, burst: free.burst };
        let Cover { credit, exposure, channels, escrow } = cover;
        Self {
            buckets: free.per_second.map(|per_second| Buckets::new(rate(per_second))),
            free_calls: free.calls,
            book: Book::new(credit, exposure, channels, escrow.clone()),
            escrow,
            grants: Grants::default(),
            signers: Signers::new(offer.host, offer.network),
            deploy,
            offer,
        }
    }

    /// What this host takes and gives.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether some run that the channel pays for has no receipt yet.
    pub fn is_busy(&self, channel: &ChannelId) -> bool {
        self.book.is_busy(channel)
    }

    /// Decides about a call.
    pub fn authorize(&self, call: Call) -> Result<Admission, AuthorizeError> {
        let Some(sealed) = call.run() else {
            self.admit_free(call.peer(), call.at())?;
            return Ok(Admission::Run(Authorized { call, caller: Caller::Free }));
        };
        let sealed = Sealed::decode(sealed).map_err(AuthorizeError::RunUnreadable)?;
        // A signature costs 40 us; nothing before it can be believed.
        let (verified, local): (Verified<Run>, _) =
            self.signers.verify(&sealed).map_err(AuthorizeError::RunUnverified)?;
        let grant = call.session().map(|sealed| self.grants.open(sealed)).transpose()?;
        let payload = Bytes::copy_from_slice(verified.payload());
        let asked = book::Asked {
            run: &verified,
            payload: &payload,
            local,
            grant: grant.as_ref().map(|grant| &grant.verified),
            at: call.at(),
        };
        match self.book.claim(&self.offer, asked)? {
            Claimed::Fresh(claim) => {
                if let Some(grant) = &grant {
                    self.escrow.keep_grant(&grant.verified, &grant.sealed)?;
                }
                let paid = PaidRun { payload, run: verified, sealed, claim };
                Ok(Admission::Run(Authorized { call, caller: Caller::Paid(Box::new(paid)) }))
            }
            Claimed::Recorded(receipt) => Ok(Admission::Repeat(receipt)),
            Claimed::Underway(ended) => Ok(Admission::Underway { call, ended }),
        }
    }

    /// Free calls are refused or limited before anything is looked up for them.
    fn admit_free(&self, peer: IpAddr, at: UnixNanos) -> Result<(), AuthorizeError> {
        if !self.free_calls {
            return Err(AuthorizeError::PaymentRequired);
        }
        let Some(buckets) = &self.buckets else { return Ok(()) };
        buckets.take(peer, at).map_err(|retry_after| AuthorizeError::RateLimited { retry_after })
    }
}

// === impl Authorized ===

impl Authorized {
    /// The call.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// On whose account.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Both, for the next step.
    pub fn into_parts(self) -> (Call, Caller) {
        (self.call, self.caller)
    }
}

// === impl PaidRun ===

impl PaidRun {
    /// The run as its payer signed it.
    pub fn run(&self) -> &Run {
        self.run.document()
    }

    /// Who signed it: the payer, or a key of its session.
    pub fn payer(&self) -> PublicKey {
        *self.run.signer()
    }

    /// Whose money it is: the signer's own, or that of whoever granted it the session.
    pub fn account(&self) -> PublicKey {
        self.claim.payer()
    }

    /// The author's share that the run names.
    pub fn royalty(&self) -> Ppm {
        self.run().payment.as_ref().map_or(Ppm::ZERO, |payment| payment.royalty_ppm)
    }

    /// What the run costs at most, held back until this is dropped.
    pub fn reserved(&self) -> Tal {
        self.claim.cap()
    }

    /// The run's bytes and the envelope they came in.
    pub fn carried(&self) -> (Bytes, Sealed) {
        (self.payload.clone(), self.sealed.clone())
    }
}

#[cfg(test)]
mod tests;
