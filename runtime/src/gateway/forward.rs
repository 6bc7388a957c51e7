//! Calls that are passed on: a host is drawn, the run is ordered there in this node's own name, its answer is checked, and
//! the caller gets a receipt of this node that names the draw and the other host's receipt.
//!
//! # Invariants
//! The draw is signed before the run is sent. What the caller is told is what the other host's proven receipt says, and
//! the papers that show it lie beside this node's receipt, durable with it. A forward that fails bills the caller nothing:
//! no receipt of this node is made. A call is passed on once: what came passed on goes no further.
//!
//! # Absent
//! Money, which the purse counts, and a second host for the same call: its payer sends the run again, and another host is
//! drawn, since one that failed is left out for a while.

mod hop;
mod settle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use talea_ledger::bundle::BundledRun;
use talea_ledger::codec::List;
use talea_ledger::draw::{self, CANDIDATES_MAX, Draw, Drawn, Forward};
use talea_ledger::offer::Wanted;
use talea_ledger::price::bill;
use talea_ledger::{
    BlockId, Bundle, DrawId, Forwarded, Output, Payment, Ppm, Price, PublicKey, Receipt, ReceiptId,
    Run, RunId, Sealed, Tal, UnixNanos,
};

pub(super) use self::hop::HopError;
use self::hop::{Answered, Base, Hop};
use super::Gateway;
use super::respond::Fault;
use crate::chain::Via;
use crate::config::{self, Forwarding};
use crate::executor::Execution;
use crate::ledger::LedgerReadError;
use crate::market::Listed;
use crate::purse::{Purse, PurseError, Ticket};
use crate::registry::Order;

/// How long a host is left out that could not be reached, or would not take a run.
const FAILED_NANOS: u64 = 10 * 1_000_000_000;
/// How long one is left out whose answer did not hold.
const UNFIT_NANOS: u64 = 600 * 1_000_000_000;
/// Hosts remembered as failed: as many as offers are.
const FAILED_MAX: usize = 1024;
/// Bytes of candidates' offers beside one receipt: some ninety usual ones, so all of a draw.
const OFFERS_LEN_MAX: usize = 32 * 1024;
/// How long another host may take to see a channel that is final here, or to have room for one more run on it.
const SEEN_TIME_MAX: Duration = Duration::from_secs(15);
/// Between two questions whether it does.
const SEEN_PAUSE: Duration = Duration::from_millis(100);

/// What it takes to pass calls on.
#[derive(Debug)]
pub(crate) struct ForwardParts {
    /// Pays.
    pub(crate) purse: Arc<Purse>,
    /// Which calls, and how long.
    pub(crate) settings: config::Forward,
    /// Whether hosts of this machine alone are meant: elsewhere no offer leads to a loopback address.
    pub(crate) is_local: bool,
}

/// Passes calls on.
#[derive(Debug)]
pub(super) struct Forwarder {
    purse: Arc<Purse>,
    settings: config::Forward,
    is_local: bool,
    hop: Hop,
    choice: Mutex<Choice>,
    passed: AtomicU64,
    failed: AtomicU64,
}

/// What this node knows of hosts beyond their offers.
#[derive(Debug, Default)]
struct Choice {
    /// Forwards without an answer.
    load: HashMap<PublicKey, u32>,
    /// Hosts that failed, and until when they are left out.
    failed: HashMap<PublicKey, UnixNanos>,
}

/// Why a call was not passed on, or came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// Nobody pays for it.
    #[error("this host runs no calls itself and passes on only those that are paid for")]
    Unpaid,
    /// It was passed on before.
    #[error("this call was passed on to this host, which would have to pass it on again")]
    Twice,
    /// No offer covers it.
    #[error("no host that this one knows of offers to run this for the price")]
    NoHost,
    /// Nothing decides whom to draw.
    #[error("the latest final block began at {began}: too long ago to draw a host by")]
    Stale {
        /// When its slot began.
        began: UnixNanos,
    },
    /// This node cannot pay for it.
    #[error(transparent)]
    Purse(#[from] PurseError),
    /// The host that was drawn cannot be talked to.
    #[error("the host {host} was drawn and did not answer")]
    Hop {
        /// Which.
        host: PublicKey,
        /// Why.
        #[source]
        source: HopError,
    },
    /// It said no.
    #[error("the host {host} was drawn and refused: {status} {code}")]
    Refused {
        /// Which.
        host: PublicKey,
        /// Its status.
        status: StatusCode,
        /// Its stable code.
        code: String,
    },
    /// What it answered does not hold.
    #[error("the host {host} was drawn and its answer does not hold: {why}")]
    Unfit {
        /// Which.
        host: PublicKey,
        /// What is wrong.
        why: String,
    },
    /// The latest final block could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerReadError),
    /// A task that waits for the disk ended badly.
    #[error("a task ended badly")]
    Task(#[from] tokio::task::JoinError),
}

/// A host that was drawn, and what it was drawn from.
struct Chosen<'f> {
    drawn: Drawn,
    listed: Vec<Listed>,
    host: PublicKey,
    price: Price,
    base: Base,
    block: BlockId,
    _load: Load<'f>,
}

/// One forward without an answer.
struct Load<'f> {
    forwarder: &'f Forwarder,
    host: PublicKey,
}

/// What a run was ordered with.
struct Ordered {
    run: Run,
    id: RunId,
    sealed: Sealed,
    draw: Draw,
    signed_draw: Sealed,
}

/// Has another host run an order: what it did, and the papers that show it.
pub(super) async fn forward(
    gateway: &Arc<Gateway>,
    order: &Order,
    at: UnixNanos,
) -> Result<(Execution, Via), Fault> {
    let Some(forwarder) = &gateway.forwarder else { return Err(ForwardError::NoHost.into()) };
    let forwarded = forwarder.pass_on(gateway, order, at).await;
    let counted = if forwarded.is_ok() { &forwarder.passed } else { &forwarder.failed };
    counted.fetch_add(1, Ordering::Relaxed);
    forwarded.map_err(Fault::from)
}

// === impl Forwarder ===

impl Forwarder {
    pub(super) fn new(parts: ForwardParts) -> Self {
        let ForwardParts { purse, settings, is_local } = parts;
        Self {
            purse,
            hop: Hop::new(settings.time_max),
            settings,
            is_local,
            choice: Mutex::default(),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Which calls are passed on.
    pub(super) fn when(&self) -> Forwarding {
        self.settings.when
    }

    pub(super) fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// Calls passed on and answered, and those that came to nothing.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.passed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    async fn pass_on(
        &self,
        gateway: &Arc<Gateway>,
        order: &Order,
        at: UnixNanos,
    ) -> Result<(Execution, Via), ForwardError> {
        let chosen = self.choose(gateway, order.run(), at)?;
        let host = chosen.host;
        let ordered = self.order_at(gateway, order, chosen, at).await;
        if let Err(error) = &ordered {
            let nanos = match error {
                ForwardError::Unfit { .. } => Some(UNFIT_NANOS),
                ForwardError::Hop { .. } | ForwardError::Refused { .. } => Some(FAILED_NANOS),
                _ => None,
            };
            if let Some(nanos) = nanos {
                self.leave_out(host, UnixNanos(gateway.doors.clock.now().0.saturating_add(nanos)));
            }
        }
        ordered
    }

    /// Draws a host, by the latest final block at the run's arrival.
    fn choose(
        &self,
        gateway: &Gateway,
        run: &Run,
        at: UnixNanos,
    ) -> Result<Chosen<'_>, ForwardError> {
        let doors = &gateway.doors;
        let view = doors.blocks.view();
        let tip = view.finalised.tip();
        let began = view.network.slot_start(tip.slot);
        if !draw::is_recent(began, at) {
            return Err(ForwardError::Stale { began });
        }
        let (own, most) = (self.purse.payer(), affordable(run));
        let mut choice = self.lock();
        let now = doors.clock.now();
        choice.failed.retain(|_, until| *until > now);
        let may = |offer: &talea_ledger::Offer| {
            offer.host != own
                && !choice.failed.contains_key(&offer.host)
                && is_within(&offer.price, &most)
                && Base::of(offer, self.is_local).is_some()
        };
        let listed = doors.market.candidates(&Wanted::by(run, at), &run.id(), may);
        let load = |host: &PublicKey| choice.load.get(host).copied().unwrap_or_default();
        let candidates = listed.iter().map(|it| it.candidate(load(&it.offer.host))).collect();
        let drawn = draw::draw(run, at, (tip.id, tip.height), candidates);
        let drawn = drawn.ok_or(ForwardError::NoHost)?;
        let candidate = drawn.candidate().ok_or(ForwardError::NoHost)?;
        let host = candidate.host;
        let offer = listed.iter().find(|it| it.offer.host == host).map(|it| &it.offer);
        let offer = offer.ok_or(ForwardError::NoHost)?;
        let base = Base::of(offer, self.is_local).ok_or(ForwardError::NoHost)?;
        let price = offer.price;
        let load = choice.load.entry(host).or_default();
        *load = load.saturating_add(1);
        let load = Load { forwarder: self, host };
        Ok(Chosen { drawn, listed, host, price, base, block: tip.id, _load: load })
    }

    /// Pays for the run at the host that was drawn, and checks what it gives.
    async fn order_at(
        &self,
        gateway: &Arc<Gateway>,
        order: &Order,
        chosen: Chosen<'_>,
        at: UnixNanos,
    ) -> Result<(Execution, Via), ForwardError> {
        let Chosen { drawn, listed, host, price, base, block, _load } = chosen;
        let caller = order.run();
        let bytes = caller.input_len.saturating_add(caller.output_limit);
        let cap = bill(&price, caller.fuel_limit, bytes, Tal::MAX);
        self.clear(gateway, host, &base).await?;
        let ticket = self.purse.ticket(host, cap).await?;
        if self.purse.is_doubtful(&ticket.channel()) {
            settle::recover(gateway, self, &base, ticket.channel()).await;
        }
        let ordered = self.ordered(caller, drawn, &ticket, price, at);
        let receipt = self.sent(gateway, order, &ordered, &ticket, &base).await?;
        let papers = self.hop.papers(&base, &self.purse, receipt, gateway.doors.clock.now()).await;
        let bundle = match papers {
            Ok(bundle) => bundle,
            Err(source) => {
                ticket.lost();
                return Err(ForwardError::Hop { host, source });
            }
        };
        let (execution, inner) = fit(&bundle, receipt, &ordered, (host, self.purse.payer()))
            .map_err(|why| ForwardError::Unfit { host, why })?;
        self.purse.count(&inner).map_err(|error| {
            tracing::error!(%host, %error, channel = %ticket.channel(), "a host's bill cannot be counted");
            ForwardError::Unfit { host, why: error.to_string() }
        })?;
        drop(ticket);
        let (owner, channel) = (gateway.clone(), inner.payment.map(|payment| payment.channel));
        gateway.tasks.start(async move {
            if let (Some(forwarder), Some(channel)) = (&owner.forwarder, channel) {
                settle::settle(&owner, forwarder, &base, channel).await;
            }
        });
        let header = header_of(gateway, block).await?;
        let named = Forwarded { draw: DrawId::of(ordered.signed_draw.payload()), receipt };
        let papers = Forward {
            run: BundledRun::Paid(ordered.sealed),
            draw: ordered.signed_draw,
            header,
            proof: bundle.proof,
            offers: kept_offers(listed, &host),
            receipt: bundle.receipt,
        };
        Ok((execution, Via { named, papers: papers.encode().into() }))
    }

    /// Looks for receipts of bills that were not seen. A host that cannot show them gets no further run: what it says it
    /// is owed would be held back for it, and channels be topped up for nothing.
    async fn clear(
        &self,
        gateway: &Arc<Gateway>,
        host: PublicKey,
        base: &Base,
    ) -> Result<(), ForwardError> {
        for channel in self.purse.gaps(&host) {
            settle::recover(gateway, self, base, channel).await;
        }
        match self.purse.gaps(&host).first() {
            None => Ok(()),
            Some(channel) => {
                let why = format!("it has billed on {channel} what it has no receipts for");
                Err(ForwardError::Unfit { host, why })
            }
        }
    }

    /// This node's own run for the host, and the draw that led to it; both signed.
    fn ordered(
        &self,
        caller: &Run,
        drawn: Drawn,
        ticket: &Ticket,
        price: Price,
        at: UnixNanos,
    ) -> Ordered {
        let valid = u64::try_from(self.settings.time_max.as_nanos()).unwrap_or(u64::MAX);
        let run = Run {
            price,
            payment: Some(Payment {
                cap: ticket.cap(),
                expires: UnixNanos(at.0.saturating_add(valid)),
                // The author has his share of what the caller pays.
                royalty_ppm: Ppm::ZERO,
                sequence: ticket.sequence(),
                channel: ticket.channel(),
                host: Some(ticket.host()),
            }),
            ..caller.clone()
        };
        let sealed = self.purse.sign(&run);
        let id = RunId::of(sealed.payload());
        let draw = drawn.record(self.purse.payer(), id);
        let signed_draw = self.purse.sign(&draw);
        Ordered { run, id, sealed, draw, signed_draw }
    }

    /// Sends the run until the host has executed it or said no. The same run again is billed once.
    async fn sent(
        &self,
        gateway: &Arc<Gateway>,
        order: &Order,
        ordered: &Ordered,
        ticket: &Ticket,
        base: &Base,
    ) -> Result<ReceiptId, ForwardError> {
        let host = ticket.host();
        let began = gateway.doors.clock.now();
        let is_early = || {
            let passed = gateway.doors.clock.now().0.saturating_sub(began.0);
            u128::from(passed) < SEEN_TIME_MAX.as_nanos()
        };
        let (mut has_broken, mut has_settled) = (false, false);
        loop {
            let answered = self.hop.call(base, order, &ordered.sealed, &ordered.draw.id()).await;
            match answered {
                Ok(Answered::Receipt(receipt)) => return Ok(receipt),
                // The host has not seen the channel's last block yet.
                Ok(Answered::Refused { code, .. })
                    if matches!(&*code, "channel_unknown" | "escrow_low") && is_early() =>
                {
                    tokio::time::sleep(SEEN_PAUSE).await;
                }
                // What it has no voucher for is too much, runs under way included: those of others may have to end first.
                Ok(Answered::Refused { code, .. }) if code == "voucher_required" && is_early() => {
                    settle::settle(gateway, self, base, ticket.channel()).await;
                    if has_settled {
                        tokio::time::sleep(SEEN_PAUSE).await;
                    }
                    has_settled = true;
                }
                Ok(Answered::Refused { status, code }) => {
                    if code == "escrow_low" {
                        // It has billed more than was counted here.
                        ticket.lost();
                    }
                    return Err(ForwardError::Refused { host, status, code });
                }
                Err(HopError::Broken(_)) if !has_broken => has_broken = true,
                Err(source) => {
                    if !matches!(source, HopError::Unreachable(_)) {
                        ticket.lost();
                    }
                    return Err(ForwardError::Hop { host, source });
                }
            }
        }
    }

    fn leave_out(&self, host: PublicKey, until: UnixNanos) {
        let mut choice = self.lock();
        if choice.failed.len() < FAILED_MAX {
            choice.failed.insert(host, until);
        }
    }

    /// Each statement under the lock leaves the counts whole, so a panic elsewhere says nothing about them.
    fn lock(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let mut choice = self.forwarder.lock();
        if let Some(load) = choice.load.get_mut(&self.host) {
            *load = load.saturating_sub(1);
            if *load == 0 {
                choice.load.remove(&self.host);
            }
        }
    }
}

/// What another host may cost at most: the caller's price, less the author's share of it.
fn affordable(run: &Run) -> Price {
    let royalty = run.payment.as_ref().map_or(Ppm::ZERO, |payment| payment.royalty_ppm);
    let rest = u128::from(1_000_000_u32.saturating_sub(royalty.get()));
    // No more than the part itself.
    let part = |whole: u64| (u128::from(whole) * rest / 1_000_000) as u64;
    Price {
        per_call: Tal(part(run.price.per_call.0)),
        rate: part(run.price.rate),
        per_kib: Tal(part(run.price.per_kib.0)),
    }
}

fn is_within(asked: &Price, most: &Price) -> bool {
    asked.per_call <= most.per_call && asked.rate <= most.rate && asked.per_kib <= most.per_kib
}

/// Whether the papers of the other host's receipt hold and are of this order: what it did then.
fn fit(
    bundle: &Bundle,
    named: ReceiptId,
    ordered: &Ordered,
    (host, payer): (PublicKey, PublicKey),
) -> Result<(Execution, Receipt), String> {
    let checked = bundle.check().map_err(|error| error.to_string())?;
    let receipt = checked.receipt().document().clone();
    let paid_by = receipt.payment.as_ref().map(|payment| payment.payer);
    let links = [
        (ReceiptId::of(&bundle.receipt) == named, "another receipt"),
        (receipt.host == host, "another host"),
        (receipt.run == ordered.id && *checked.run() == ordered.run, "another run"),
        (paid_by == Some(payer), "another payer"),
        (receipt.forwarded.is_none(), "it was passed on again"),
    ];
    let order = &ordered.run;
    let bounds = [
        (receipt.fuel <= order.fuel_limit, "more fuel than was ordered"),
        (receipt.peak_pages <= order.memory_limit, "more memory than was ordered"),
        (receipt.output_len <= order.output_limit, "more output than was ordered"),
    ];
    if let Some((_, why)) = links.into_iter().chain(bounds).find(|(holds, _)| !holds) {
        return Err(why.to_owned());
    }
    let output: Output = checked.output().cloned().ok_or("without the output document")?;
    if !receipt.outcome.has_output() && output != Output::empty() {
        return Err("a run that failed has no output".to_owned());
    }
    let body = match (&bundle.output_body, output.body_len) {
        (Some(body), _) => Bytes::copy_from_slice(body),
        (None, 0) => Bytes::new(),
        (None, _) => return Err("without the output".to_owned()),
    };
    let execution = Execution {
        outcome: receipt.outcome,
        fuel: receipt.fuel,
        host_fuel: receipt.host_fuel,
        peak_pages: receipt.peak_pages,
        output,
        output_body: body,
        // What the guest logged is kept by the host that ran it.
        log: Bytes::new(),
    };
    Ok((execution, receipt))
}

/// The header of the block that a draw names; none of the genesis, which has none.
async fn header_of(gateway: &Gateway, block: BlockId) -> Result<Option<Sealed>, ForwardError> {
    let blocks = gateway.doors.blocks.clone();
    let stored = tokio::task::spawn_blocking(move || blocks.block(&block)).await??;
    Ok(stored.map(|stored| stored.block.head))
}

/// The candidates' offers that lie beside the receipt: the drawn host's first, and as many of the others as have room.
fn kept_offers(listed: Vec<Listed>, drawn: &PublicKey) -> List<Sealed, CANDIDATES_MAX> {
    let (first, rest): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|it| it.offer.host == *drawn);
    let mut len = 0;
    let fits = |listed: &Listed| {
        len += listed.sealed.encode().len();
        len <= OFFERS_LEN_MAX
    };
    let kept: Vec<Sealed> =
        first.into_iter().chain(rest).take_while(fits).map(|it| it.sealed).collect();
    // No more than there were candidates.
    List::try_from(kept).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use talea_ledger::{ChannelId, NetworkId, Sequence};

    use super::*;

    #[test]
    fn another_host_costs_no_more_than_the_caller_pays_less_the_authors_share() {
        let price = Price { per_call: Tal(20), rate: 200, per_kib: Tal(3) };
        let run = |ppm: Option<u32>| {
            let mut run = sample(price);
            let royalty_ppm = Ppm::new(ppm.unwrap_or_default()).unwrap();
            run.payment = ppm.map(|_| Payment {
                cap: Tal(1000),
                expires: UnixNanos(1),
                royalty_ppm,
                sequence: Sequence(1),
                channel: ChannelId::new([1; 32]),
                host: None,
            });
            affordable(&run)
        };
        assert_eq!(run(None), price);
        let half = Price { per_call: Tal(10), rate: 100, per_kib: Tal(1) };
        assert_eq!(run(Some(500_000)), half);
        assert_eq!(run(Some(1_000_000)), Price::FREE);
        assert!(is_within(&half, &price) && !is_within(&price, &half));
        let dear = Price { per_kib: Tal(4), ..Price::FREE };
        assert!(!is_within(&dear, &price));
    }

    fn sample(price: Price) -> Run {
        Run {
            function: talea_ledger::FunctionId::of(b"f"),
            input: talea_ledger::InputId::of(b"i"),
            cgi: false,
            clock: UnixNanos(1),
            input_len: 0,
            network: NetworkId::DEVELOPMENT,
            payment: None,
            profile: talea_ledger::ProfileId::of(b"p"),
            seed: [0; 32],
            price,
            log_limit: 0,
            memory_limit: talea_ledger::Pages(1),
            output_limit: 0,
            fuel_limit: talea_ledger::Fuel(1),
        }
    }
}
