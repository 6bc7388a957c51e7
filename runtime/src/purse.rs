//! The purse: this node as a payer of other hosts, for calls that it forwards.
//!
//! One channel towards each host that is paid, opened when the first call for it comes and topped up when it runs short,
//! within one budget over all. A run under way holds back its cap, as it does at the host. Bills are counted as any payer
//! counts them: from receipts that were checked, without a gap; vouchers promise that and no more.
//!
//! # Invariants
//! A number of a channel signs one run: numbers are on the disk as given out before one is used, and after a restart
//! those that may have been used are passed over. What is locked in all channels together, and what is on its way to be,
//! never passes the budget.
//!
//! # Absent
//! Connections: the gateway sends runs and vouchers, and asks hosts for receipts that were missed. Which host is paid.

mod account;
mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use talea_ledger::rules::record::{Channel, Key, Record};
use talea_ledger::transaction::{OpenChannel, TopUp};
use talea_ledger::{
    Action, ChannelId, Document, NetworkId, PublicKey, Receipt, Sealed, Sequence, Slot, State, Tal,
    UnixNanos, Voucher,
};
use thiserror::Error;
use tokio::sync::Mutex as Turn;

use self::account::{Account, Room};
pub use self::account::{CountError, Shown};
pub use self::tally::{Overlap, Tally};
use crate::clock::Clock;
use crate::ledger;
use crate::notary::Notary;
use crate::store::{OwnChannel, PaymentsError, PurseShelf};
use crate::till::{CollectError, Desk};

/// Numbers that are given out with one write to the disk; as many may be passed over by a restart, which costs nothing.
const GIVEN_OUT: u64 = 64;
/// How long a channel stands. A payer that goes on paying opens the next one before.
const TERM_NANOS: u64 = 7 * 24 * 3600 * 1_000_000_000;
/// How long an opening or a top-up may take until it is final: many slots of any network.
const FINAL_TIME_MAX: Duration = Duration::from_secs(60);
/// Of its escrow, what a host may claim with receipts alone: such a claim can be challenged but costs time.
const BATCH_PART: u64 = 10;

/// What the purse is made of.
#[derive(Debug)]
pub struct PurseParts {
    /// Signs in the node's name.
    pub notary: Notary,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Says what channels hold.
    pub ledger: ledger::Reader,
    /// Where transactions are asked for.
    pub desk: Desk,
    /// Where channels are remembered.
    pub shelf: PurseShelf,
    /// The most that may be locked in channels at once.
    pub budget: Tal,
    /// What a channel is opened with, and topped up by, at least.
    pub escrow: Tal,
}

/// The node's own channels.
#[derive(Debug)]
pub struct Purse {
    parts: PurseParts,
    accounts: Mutex<HashMap<ChannelId, Account>>,
    /// Who opens or tops up a channel to a host: others wait for that.
    turns: Mutex<HashMap<PublicKey, Weak<Turn<()>>>>,
}

/// Why no run can be paid.
#[derive(Debug, Error)]
pub enum PurseError {
    /// The budget does not allow for more escrow.
    #[error(
        "{locked} tal are locked in channels to other hosts; {needed} more pass the budget of {budget}"
    )]
    Budget {
        /// What is locked, or on its way to be.
        locked: Tal,
        /// What a channel would need.
        needed: Tal,
        /// The bound.
        budget: Tal,
    },
    /// The ledger would not have the opening or the top-up, or its queue is full.
    #[error("a channel could not be opened or topped up")]
    Lock(#[source] CollectError),
    /// It was handed in and is not final yet.
    #[error("the channel to {0} is not final yet")]
    Late(PublicKey),
    /// The shelf could not be used.
    #[error(transparent)]
    Shelf(#[from] PaymentsError),
    /// A task that waits for the disk ended badly.
    #[error("a task ended badly")]
    Task(#[from] tokio::task::JoinError),
}

/// One number of a channel, and the cap held back for its run until this is dropped.
#[derive(Debug)]
pub struct Ticket {
    purse: Arc<Purse>,
    host: PublicKey,
    channel: ChannelId,
    sequence: Sequence,
    cap: Tal,
}

/// What is to be done before a run can be paid.
enum Step {
    Ready(Ticket),
    /// These numbers are to be written down as given out.
    GiveOut(ChannelId, OwnChannel),
    /// The channel is to be topped up, by at least so much.
    TopUp(ChannelId, Tal),
    /// What the head holds is enough, and not final yet.
    Wait,
    /// There is no channel.
    Open,
}

// === impl Purse ===

impl Purse {
    /// The purse over its shelf, and over channels of the ledger that the shelf does not know: a crash may have come
    /// between an opening and the note of it.
    pub fn open(parts: PurseParts) -> Result<Self, PaymentsError> {
        let mut accounts = HashMap::new();
        let view = parts.ledger.view();
        for (id, own) in parts.shelf.all()? {
            let is_over = view.finalised.tip().slot >= own.ends;
            if is_over && view.finalised.channel(&id).is_none() {
                parts.shelf.remove(&id)?;
                continue;
            }
            accounts.insert(id, Account::kept(own));
        }
        let me = parts.notary.public();
        for (key, record) in view.head.records() {
            let Key::Channel(id) = key else { continue };
            let Record::Channel(channel) = record else { continue };
            if channel.payer == me {
                accounts
                    .entry(*id)
                    .or_insert_with(|| Account::opened(channel.host, channel.expires));
            }
        }
        let accounts = Mutex::new(accounts);
        Ok(Self { parts, accounts, turns: Mutex::default() })
    }

    /// A number of a channel to `host` that pays for a run of this cap. Opens or tops up a channel if need be, and then
    /// waits until that is final.
    pub async fn ticket(self: &Arc<Self>, host: PublicKey, cap: Tal) -> Result<Ticket, PurseError> {
        if let Some(ticket) = self.at_hand(host, cap).await? {
            return Ok(ticket);
        }
        let turn = self.turn(host);
        let _turn = turn.lock().await;
        let made = async {
            let mut changes = self.parts.ledger.changes();
            loop {
                changes.mark_unchanged();
                match self.step(host, cap) {
                    Step::Ready(ticket) => return Ok(ticket),
                    Step::GiveOut(channel, own) => self.give_out(channel, own).await?,
                    Step::Wait => {
                        // The ledger's thread has ended when this is an error; then nothing becomes final.
                        changes.changed().await.map_err(|_| PurseError::Late(host))?;
                    }
                    Step::TopUp(channel, lacks) => self.top_up(channel, lacks).await?,
                    Step::Open => self.open_channel(host, cap).await?,
                }
            }
        };
        if let Ok(made) = tokio::time::timeout(FINAL_TIME_MAX, made).await {
            return made;
        }
        // It may never come: what was asked for is counted no longer, and asked for again by the next call.
        let head = self.parts.ledger.view().head.clone();
        for (id, account) in self.lock().iter_mut().filter(|(_, it)| it.host == host) {
            account.asked = head.channel(id).map_or(Tal::ZERO, sum);
            account.is_new = false;
        }
        Err(PurseError::Late(host))
    }

    /// A ticket, if a channel has enough.
    async fn at_hand(
        self: &Arc<Self>,
        host: PublicKey,
        cap: Tal,
    ) -> Result<Option<Ticket>, PurseError> {
        loop {
            match self.step(host, cap) {
                Step::Ready(ticket) => return Ok(Some(ticket)),
                Step::GiveOut(channel, own) => self.give_out(channel, own).await?,
                Step::TopUp(..) | Step::Wait | Step::Open => return Ok(None),
            }
        }
    }

    fn step(self: &Arc<Self>, host: PublicKey, cap: Tal) -> Step {
        let view = self.parts.ledger.view();
        let slot = view.slot_at(self.parts.clock.now()).max(view.slot());
        let margin = view.params().redeem_margin;
        let mut accounts = self.lock();
        let own = accounts.iter_mut().filter(|(_, account)| account.host == host);
        let usable = own.filter_map(|(id, account)| {
            let head = view.head.channel(id);
            let is_late = |end: Slot| slot.after(margin).after(margin) >= end;
            match head {
                Some(channel) if channel.closing.is_some() || is_late(channel.deadline()) => None,
                Some(channel) => Some((sum(channel), *id, account)),
                // Handed in a moment ago, or undone, or over.
                None if is_late(account.ends) || !account.is_new => None,
                None => Some((Tal::ZERO, *id, account)),
            }
        });
        let Some((held, id, account)) = usable.max_by_key(|(held, ..)| *held) else {
            return Step::Open;
        };
        let known = view.finalised.channel(&id).map_or(Tal::ZERO, sum);
        match account.room(cap, held, known) {
            Room::Enough => {}
            Room::NotFinal => return Step::Wait,
            Room::Lacks(lacks) => return Step::TopUp(id, lacks),
        }
        match account.take(cap, GIVEN_OUT) {
            Ok(sequence) => {
                account.is_new = false;
                let purse = Arc::clone(self);
                Step::Ready(Ticket { purse, host, channel: id, sequence, cap })
            }
            Err(own) => Step::GiveOut(id, *own),
        }
    }

    /// Writes numbers down as given out, and only then lets them be used.
    async fn give_out(
        self: &Arc<Self>,
        channel: ChannelId,
        own: OwnChannel,
    ) -> Result<(), PurseError> {
        let given_out = own.given_out;
        self.keep(channel, own).await?;
        if let Some(account) = self.lock().get_mut(&channel) {
            account.given_out(given_out);
        }
        Ok(())
    }

    async fn keep(self: &Arc<Self>, channel: ChannelId, own: OwnChannel) -> Result<(), PurseError> {
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || this.parts.shelf.put(&channel, &own)).await??;
        Ok(())
    }

    async fn open_channel(self: &Arc<Self>, host: PublicKey, cap: Tal) -> Result<(), PurseError> {
        let escrow = self.parts.escrow.max(cap);
        self.affords(escrow)?;
        let expires = self.expiry();
        let action = Action::OpenChannel(OpenChannel {
            host,
            escrow,
            expires,
            batch_cap: Tal(escrow.0 / BATCH_PART),
            // How much it lends is the host's to say: vouchers come after each call, and a channel that is topped up
            // is not to be held to what it was opened with.
            watermark: self.parts.budget.max(escrow),
        });
        let opening = self.parts.desk.pay(action).await.map_err(PurseError::Lock)?;
        let channel = ChannelId::opened_by(&opening);
        tracing::info!(%channel, %host, escrow = escrow.0, "opened a channel to forward calls");
        let mut account = Account::opened(host, expires);
        account.asked = escrow;
        account.is_new = true;
        let own = account.own();
        self.lock().insert(channel, account);
        self.keep(channel, own).await
    }

    async fn top_up(&self, channel: ChannelId, lacks: Tal) -> Result<(), PurseError> {
        let amount = self.parts.escrow.max(lacks);
        self.affords(amount)?;
        let before = self.parts.ledger.view().head.channel(&channel).map_or(Tal::ZERO, sum);
        let action = Action::TopUp(TopUp { channel, amount, expires: None });
        self.parts.desk.pay(action).await.map_err(PurseError::Lock)?;
        if let Some(account) = self.lock().get_mut(&channel) {
            account.asked = before.saturating_add(amount);
        }
        Ok(())
    }

    /// Whether so much more may be locked.
    fn affords(&self, needed: Tal) -> Result<(), PurseError> {
        let (locked, budget) = (self.locked(), self.parts.budget);
        if locked.saturating_add(needed) > budget {
            return Err(PurseError::Budget { locked, needed, budget });
        }
        Ok(())
    }

    /// What is locked in all channels together, or on its way to be.
    pub fn locked(&self) -> Tal {
        let head = self.parts.ledger.view().head.clone();
        let accounts = self.lock();
        let each = accounts.iter().map(|(id, account)| account.locked(head.channel(id)));
        each.fold(Tal::ZERO, Tal::saturating_add)
    }

    /// The most that may be.
    pub fn budget(&self) -> Tal {
        self.parts.budget
    }

    fn expiry(&self) -> Slot {
        let end = UnixNanos(self.parts.clock.now().0.saturating_add(TERM_NANOS));
        self.parts.ledger.view().slot_at(end)
    }

    fn turn(&self, host: PublicKey) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&host).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::new(()));
        turns.insert(host, Arc::downgrade(&turn));
        turn
    }

    /// Signs what this node orders or asks as a payer.
    pub fn sign<T: Document>(&self, document: &T) -> Sealed {
        self.parts.notary.document(document)
    }

    /// The network that all of it names.
    pub fn network(&self) -> NetworkId {
        self.parts.notary.network()
    }

    /// Who pays: this node.
    pub fn payer(&self) -> PublicKey {
        self.parts.notary.public()
    }
}

/// Counting and promising.
impl Purse {
    /// Counts a receipt of a channel, which was checked before.
    pub fn count(&self, receipt: &Receipt) -> Result<(), CountError> {
        let Some(payment) = &receipt.payment else { return Ok(()) };
        let held = self.parts.ledger.view().head.channel(&payment.channel).map_or(Tal::ZERO, sum);
        match self.lock().get_mut(&payment.channel) {
            Some(account) => account.count(payment.sequence, receipt.bill, payment.owed, held),
            None => Ok(()),
        }
    }

    /// Channels to a host on which it has billed more than it has shown receipts for.
    pub fn gaps(&self, host: &PublicKey) -> Vec<ChannelId> {
        let head = self.parts.ledger.view().head.clone();
        let accounts = self.lock();
        let gaps =
            accounts.iter().filter(|(_, account)| account.host == *host && account.has_gap());
        gaps.map(|(id, _)| *id).filter(|id| head.channel(id).is_some()).collect()
    }

    /// Whether the host may have billed what was not counted here.
    pub fn is_doubtful(&self, channel: &ChannelId) -> bool {
        self.lock().get(channel).is_some_and(Account::is_doubtful)
    }

    /// Where to go on with the list of a channel's receipts, and from which sum on they are not counted.
    pub fn missed(&self, channel: &ChannelId) -> Option<(Option<u64>, Tal)> {
        self.lock().get(channel).map(|account| (account.listed, account.promise().0))
    }

    /// The list was read up to a position; `is_whole` when nothing came after it.
    pub fn listed(&self, channel: &ChannelId, upto: Option<u64>, is_whole: bool) {
        if let Some(account) = self.lock().get_mut(channel) {
            account.listed = upto.or(account.listed);
            account.is_doubtful &= !is_whole;
        }
    }

    /// What a voucher would promise beyond the last one, for whoever begins to give it: nobody else does until
    /// [`Self::given`] or [`Self::not_given`] is called.
    pub fn begin_giving(&self, channel: &ChannelId) -> Option<Voucher> {
        let mut accounts = self.lock();
        let account = accounts.get_mut(channel).filter(|account| !account.is_giving)?;
        let (owed, settled) = account.owing()?;
        account.is_giving = true;
        Some(Voucher { network: self.parts.notary.network(), channel: *channel, owed, settled })
    }

    /// The host has a voucher.
    pub async fn given(
        self: &Arc<Self>,
        voucher: &Voucher,
        sealed: Sealed,
    ) -> Result<(), PurseError> {
        let own = {
            let mut accounts = self.lock();
            let Some(account) = accounts.get_mut(&voucher.channel) else { return Ok(()) };
            account.is_giving = false;
            account.vouch(voucher.owed, sealed);
            account.own()
        };
        self.keep(voucher.channel, own).await
    }

    /// It has not.
    pub fn not_given(&self, channel: &ChannelId) {
        if let Some(account) = self.lock().get_mut(channel) {
            account.is_giving = false;
        }
    }

    /// All channels, for who asks.
    pub fn shown(&self) -> Vec<Shown> {
        let head: State = self.parts.ledger.view().head.clone();
        let accounts = self.lock();
        let mut shown: Vec<Shown> =
            accounts.iter().map(|(id, account)| account.shown(*id, head.channel(id))).collect();
        shown.sort_by_key(|shown| shown.channel);
        shown
    }

    /// Each statement under the lock leaves the accounts whole, so a panic elsewhere says nothing about them.
    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that was ever put into a channel.
fn sum(channel: &Channel) -> Tal {
    channel.redeemed.saturating_add(channel.escrow)
}

// === impl Ticket ===

impl Ticket {
    /// Who is paid.
    pub fn host(&self) -> PublicKey {
        self.host
    }

    /// The channel.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The number.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// What is held back.
    pub fn cap(&self) -> Tal {
        self.cap
    }

    /// No answer came: the host may have executed and billed the run all the same.
    pub fn lost(&self) {
        if let Some(account) = self.purse.lock().get_mut(&self.channel) {
            account.is_doubtful = true;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(account) = self.purse.lock().get_mut(&self.channel) {
            account.release(self.cap);
        }
    }
}
