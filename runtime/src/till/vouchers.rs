//! Taking vouchers: which are believed, which one is the best, and what a channel's account looks like.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use talea_ledger::rules::record::{Channel, FraudKey, SessionKey};
use talea_ledger::{
    ChannelId, DecodeError, Digest, NetworkId, PublicKey, Receipt, Sealed, Sequence, Session,
    SessionId, Slot, State, Tal, TransactionId, UnixNanos, Verified, VerifyError, Voucher,
};
use thiserror::Error;

use super::Ledger;
use super::bills::{Bills, BillsError, Line, reach, split};
use super::evidence::Evidence;
use super::spread::Spread;
use crate::chain::{ReceiptReader, Unpaid};
use crate::store::{KeptVoucher, PaymentShelf, PaymentsError, VoucherBy};

/// Vouchers, grants and bills of one host.
#[derive(Debug)]
pub struct Till {
    pub(super) host: PublicKey,
    ledger: Arc<dyn Ledger>,
    pub(super) receipts: ReceiptReader,
    pub(super) shelf: PaymentShelf,
    held: Mutex<HashMap<ChannelId, Held>>,
    /// By payer, so that those of one channel are found without a walk over all.
    grants: Mutex<BTreeMap<(PublicKey, SessionId), Grant>>,
    bills: Mutex<Bills>,
    claims: Mutex<HashMap<TransactionId, ChannelId>>,
    /// Channels whose payers would promise more than one redeem lists: what they have promised is redeemed now.
    crowded: Mutex<HashSet<ChannelId>>,
    pub(super) evidence: Mutex<BTreeMap<FraudKey, Evidence>>,
    /// How far evidence was spread, of what is kept.
    pub(super) spread: Mutex<HashMap<FraudKey, Spread>>,
    /// One voucher at a time is compared and written; nobody else waits for that.
    pub(super) writing: Mutex<()>,
}

/// The latest vouchers of a channel.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) payer: Option<Promise>,
    pub(super) session: Option<Promise>,
}

/// A voucher that holds.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) voucher: Voucher,
    pub(super) kept: KeptVoucher,
    /// What the session that signed it allows.
    pub(super) session: Option<Session>,
}

#[derive(Debug, Clone)]
struct Grant {
    session: Session,
    sealed: Sealed,
}

/// A channel as this host has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The channel.
    pub channel: ChannelId,
    /// Who pays.
    pub payer: PublicKey,
    /// Sum of all bills.
    pub owed: Tal,
    /// What the best voucher owes.
    pub vouched: Tal,
    /// What it has settled.
    pub settled: Sequence,
    /// What the ledger has paid at the head.
    pub redeemed: Tal,
    /// The highest sequence that is used.
    pub highest: Sequence,
}

/// Why a voucher is not taken.
#[derive(Debug, Error)]
pub enum VoucherError {
    /// The bytes are no sealed document.
    #[error("the {what} cannot be read: {source}")]
    Unreadable {
        /// The voucher or the session.
        what: &'static str,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// Badly signed, of another type, or malformed inside.
    #[error("the signature of the {what} does not hold: {source}")]
    Unverified {
        /// The voucher or the session.
        what: &'static str,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// Of another network.
    #[error("the voucher is for network {given}; this is {ours}")]
    NetworkForeign {
        /// In the voucher.
        given: NetworkId,
        /// This node's.
        ours: NetworkId,
    },
    /// Not on the ledger.
    #[error("the ledger has no channel {0}")]
    ChannelUnknown(ChannelId),
    /// Somebody else's channel.
    #[error("the channel pays {0}, not this host")]
    HostForeign(PublicKey),
    /// Past its deadline.
    #[error("the channel ended at slot {0}")]
    Ended(Slot),
    /// Signed neither by the payer nor by a key of its session.
    #[error("the channel's payer is {payer}, not {found}")]
    PayerForeign {
        /// Who pays.
        payer: PublicKey,
        /// Who signed.
        found: PublicKey,
    },
    /// The session does not allow it.
    #[error("the session does not cover this: {0}")]
    SessionScope(&'static str),
    /// The session ends before the voucher could be redeemed.
    #[error("the session ends at {0}")]
    SessionExpired(UnixNanos),
    /// The payer has ended the session, and its last slot is too near.
    #[error("the payer has revoked the session as of slot {0}")]
    SessionRevoked(Slot),
    /// The session has too little left.
    #[error("the session may spend {total}, {needed} would be needed")]
    SessionSpent {
        /// Its bound.
        total: Tal,
        /// With this voucher.
        needed: Tal,
    },
    /// Behind one that was given before.
    #[error("a voucher of {owed} tal, settled up to {settled}, was given before")]
    Backwards {
        /// What that one owes.
        owed: Tal,
        /// What it has settled.
        settled: Sequence,
    },
    /// More than was billed.
    #[error("the voucher owes {given}, the bills add up to {owed}")]
    Ahead {
        /// In the voucher.
        given: Tal,
        /// By the bills.
        owed: Tal,
    },
    /// It settles sequences that nobody used, or fewer than it counts.
    #[error("the voucher settles up to {given}; by what it counts, that is from {least} to {most}")]
    Settles {
        /// In the voucher.
        given: Sequence,
        /// The highest sequence that is counted.
        least: Sequence,
        /// The highest that is used.
        most: Sequence,
    },
    /// It counts more functions and rates than one redeem lists.
    #[error(
        "one redeem cannot list what the voucher pays; up to {owed} tal, settled up to {settled}, it could"
    )]
    Parts {
        /// What a voucher may owe for now: what it promises is redeemed at once, and then the rest can be promised.
        owed: Tal,
        /// The highest sequence in that.
        settled: Sequence,
    },
    /// The bills could not be listed.
    #[error(transparent)]
    Bills(#[from] BillsError),
    /// It could not be kept.
    #[error(transparent)]
    Shelf(#[from] PaymentsError),
}

impl Till {
    /// Opens the till over its file.
    pub fn open(
        host: PublicKey,
        shelf: PaymentShelf,
        receipts: ReceiptReader,
        ledger: Arc<dyn Ledger>,
    ) -> Result<Self, PaymentsError> {
        let all = shelf.all()?;
        let mut held: HashMap<ChannelId, Held> = HashMap::new();
        for (channel, by, kept) in all.vouchers {
            let damaged = || PaymentsError::Damaged("vouchers");
            let voucher = kept.voucher.verify::<Voucher>().map_err(|_| damaged())?;
            let grant = kept.grant.as_ref().map(Sealed::verify::<Session>).transpose();
            let session = grant.map_err(|_| damaged())?.map(|grant| grant.document().clone());
            let promise = Promise { voucher: *voucher.document(), kept, session };
            held.entry(channel).or_default().put(by, promise);
        }
        let mut grants = BTreeMap::new();
        for sealed in all.grants {
            let grant = sealed.verify::<Session>().map_err(|_| PaymentsError::Damaged("grants"))?;
            let session = grant.document().clone();
            let id = SessionId::of(grant.payload());
            grants.insert((session.payer, id), Grant { session, sealed });
        }
        let mut evidence = BTreeMap::new();
        let network = ledger.head().network().id();
        for report in all.evidence {
            let fraud = report.check(&network).map_err(|_| PaymentsError::Damaged("evidence"))?;
            let piece = Evidence { fraud, report };
            evidence.insert(piece.key(), piece);
        }
        Ok(Self {
            host,
            ledger,
            receipts,
            shelf,
            held: Mutex::new(held),
            grants: Mutex::new(grants),
            bills: Mutex::default(),
            claims: Mutex::new(all.claims.into_iter().collect()),
            crowded: Mutex::default(),
            evidence: Mutex::new(evidence),
            spread: Mutex::default(),
            writing: Mutex::default(),
        })
    }

    /// The ledger's doors.
    pub(super) fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// What the best voucher of a channel owes and settles.
    pub fn vouched(&self, channel: &ChannelId) -> (Tal, Sequence) {
        lock(&self.held).get(channel).map_or_else(Default::default, Held::vouched)
    }

    /// The latest vouchers of a channel.
    pub(super) fn held(&self, channel: &ChannelId) -> Held {
        lock(&self.held).get(channel).cloned().unwrap_or_default()
    }

    /// Takes a voucher. It is on the disk when this returns; may wait for the disk.
    pub fn accept(
        &self,
        voucher: &[u8],
        grant: Option<&[u8]>,
        at: UnixNanos,
    ) -> Result<Account, VoucherError> {
        let (sealed, verified) = opened::<Voucher>("voucher", voucher)?;
        let grant = grant.map(|grant| opened::<Session>("session", grant)).transpose()?;
        let head = self.ledger.head();
        let channel = self.channel(&head, verified.document(), at)?;
        let _writing = lock(&self.writing);
        let by = self.check(&head, &channel, &verified, grant.as_ref().map(|(_, it)| it), at)?;
        let session = grant.as_ref().map(|(_, grant)| grant.document().clone());
        let voucher = *verified.document();
        let held = self.held(&voucher.channel);
        if let Some(before) = held.get(by).map(|promise| promise.voucher) {
            if voucher.owed < before.owed || voucher.settled < before.settled {
                let Voucher { owed, settled, .. } = before;
                return Err(VoucherError::Backwards { owed, settled });
            }
            if voucher == before {
                return Ok(self.account_of(voucher.channel, &channel));
            }
        }
        let grant = match by {
            VoucherBy::Payer => None,
            VoucherBy::Session => grant.map(|(sealed, _)| sealed),
        };
        let kept = KeptVoucher { voucher: sealed, grant };
        self.shelf.put_voucher(&voucher.channel, by, &kept)?;
        let session = session.filter(|_| by == VoucherBy::Session);
        let promise = Promise { voucher, kept, session };
        lock(&self.held).entry(voucher.channel).or_default().put(by, promise);
        Ok(self.account_of(voucher.channel, &channel))
    }

    /// The channel that a voucher is of, if it is one of this host and stands.
    fn channel(
        &self,
        head: &State,
        voucher: &Voucher,
        at: UnixNanos,
    ) -> Result<Channel, VoucherError> {
        let (given, ours) = (voucher.network, head.network().id());
        if given != ours {
            return Err(VoucherError::NetworkForeign { given, ours });
        }
        let channel = head.channel(&voucher.channel).copied();
        let channel = channel.ok_or(VoucherError::ChannelUnknown(voucher.channel))?;
        if channel.host != self.host {
            return Err(VoucherError::HostForeign(channel.host));
        }
        if slot(head, at) >= channel.deadline() {
            return Err(VoucherError::Ended(channel.deadline()));
        }
        Ok(channel)
    }

    /// Whether a voucher is signed for the payer, counts what was billed, and could be redeemed.
    fn check(
        &self,
        head: &State,
        channel: &Channel,
        verified: &Verified<Voucher>,
        grant: Option<&Verified<Session>>,
        at: UnixNanos,
    ) -> Result<VoucherBy, VoucherError> {
        let voucher = verified.document();
        let known = self.receipts.channel(&voucher.channel).unwrap_or_default();
        if voucher.owed > known.owed() {
            return Err(VoucherError::Ahead { given: voucher.owed, owed: known.owed() });
        }
        let lines = self.lines(voucher.channel, channel)?;
        let counted = || lines.iter().copied().filter(|line| line.owed <= voucher.owed);
        let least = counted().map(|line| line.sequence).max().unwrap_or_default();
        let most = known.highest().max(channel.settled);
        if voucher.settled < least || voucher.settled > most {
            return Err(VoucherError::Settles { given: voucher.settled, least, most });
        }
        let payment = voucher.owed.saturating_sub(channel.redeemed);
        let parts = match split(counted(), payment) {
            Err(BillsError::Parts(count)) => {
                let reached = reach(&lines, channel.redeemed);
                let (owed, settled) = reached.ok_or(BillsError::Parts(count))?;
                lock(&self.crowded).insert(voucher.channel);
                return Err(VoucherError::Parts { owed, settled });
            }
            parts => parts?,
        };
        let (payer, signer) = (channel.payer, *verified.signer());
        if signer == payer {
            return Ok(VoucherBy::Payer);
        }
        let Some(grant) = grant.filter(|grant| grant.document().payer == payer) else {
            return Err(VoucherError::PayerForeign { payer, found: signer });
        };
        let session = grant.document();
        let scope = [
            (session.network == voucher.network, "of another network"),
            (session.key == signer, "another key signed"),
            (session.has_host(&self.host), "not for this host"),
            (parts.iter().all(|part| session.has_function(&part.function)), "another function"),
        ];
        if let Some((_, why)) = scope.into_iter().find(|(holds, _)| !holds) {
            return Err(VoucherError::SessionScope(why));
        }
        let network = head.network();
        let last = network.slot_start(slot(head, at).after(network.params().redeem_margin));
        if session.expires <= last {
            return Err(VoucherError::SessionExpired(session.expires));
        }
        let key = SessionKey { channel: voucher.channel, session: SessionId::of(grant.payload()) };
        let record = head.session(&key).copied().unwrap_or_default();
        if let Some(until) = record.until
            && slot(head, at).after(network.params().redeem_margin) >= until
        {
            return Err(VoucherError::SessionRevoked(until));
        }
        let needed = record.spent.saturating_add(payment);
        if needed > session.total {
            return Err(VoucherError::SessionSpent { total: session.total, needed });
        }
        Ok(VoucherBy::Session)
    }

    /// A channel's account, if the ledger has the channel.
    pub fn account(&self, channel: &ChannelId) -> Option<Account> {
        let head = self.ledger.head();
        let record = head.channel(channel)?;
        (record.host == self.host).then(|| self.account_of(*channel, record))
    }

    fn account_of(&self, channel: ChannelId, record: &Channel) -> Account {
        let known = self.receipts.channel(&channel).unwrap_or_default();
        let (vouched, settled) = self.vouched(&channel);
        Account {
            channel,
            payer: record.payer,
            owed: known.owed(),
            vouched,
            settled,
            redeemed: record.redeemed,
            highest: known.highest(),
        }
    }

    /// Every channel with a receipt or a voucher, and what it owes.
    pub(super) fn accounts(&self) -> HashMap<ChannelId, Tal> {
        let mut accounts: HashMap<ChannelId, Tal> =
            lock(&self.held).keys().map(|id| (*id, Tal::ZERO)).collect();
        accounts.extend(self.receipts.debts());
        accounts
    }

    /// Bills of a channel that no voucher has paid. Reads the journal.
    pub(super) fn lines(&self, id: ChannelId, channel: &Channel) -> Result<Vec<Line>, BillsError> {
        // What the head has paid may still be undone; what is final is forgotten.
        let surely = self.ledger.finalised().channel(&id).map_or(Tal::ZERO, |it| it.vouched);
        let mut bills = lock(&self.bills);
        let lines = bills.of(&self.receipts, id, surely)?.iter();
        Ok(lines.filter(|line| line.owed > channel.vouched).copied().collect())
    }

    /// Keeps the grant of a session key whose run was taken: a redeem by batch has to show it. Waits for the disk
    /// when the grant is new.
    pub fn keep_grant(
        &self,
        grant: &Verified<Session>,
        sealed: &Sealed,
    ) -> Result<(), PaymentsError> {
        let id = SessionId::of(grant.payload());
        let payer = grant.document().payer;
        if lock(&self.grants).contains_key(&(payer, id)) {
            return Ok(());
        }
        self.shelf.put_grant(&id, sealed)?;
        let session = grant.document().clone();
        lock(&self.grants).insert((payer, id), Grant { session, sealed: sealed.clone() });
        Ok(())
    }

    /// The grant of a channel's payer to a session key; one that stands rather than one that was revoked.
    pub(super) fn grant(
        &self,
        head: &State,
        (id, channel): (ChannelId, &Channel),
        key: &PublicKey,
    ) -> Option<Sealed> {
        let grants = lock(&self.grants);
        let stands = |session| revoked(head, id, session).is_none();
        of_payer(&grants, channel.payer)
            .filter(|(_, grant)| grant.session.key == *key)
            .max_by_key(|(session, grant)| (stands(*session), grant.session.expires))
            .map(|(_, grant)| grant.sealed.clone())
    }

    /// Keys of sessions that the channel's payer has ended there.
    pub(super) fn revoked_keys(
        &self,
        head: &State,
        (id, channel): (ChannelId, &Channel),
    ) -> Vec<PublicKey> {
        let grants = lock(&self.grants);
        of_payer(&grants, channel.payer)
            .filter(|(session, _)| revoked(head, id, *session).is_some())
            .map(|(_, grant)| grant.session.key)
            .collect()
    }

    /// Whether the payer would promise more than one redeem lists. The answer is given once.
    pub(super) fn take_crowded(&self, channel: &ChannelId) -> bool {
        lock(&self.crowded).remove(channel)
    }

    /// Redeems by batch under way.
    pub(super) fn claims(&self) -> Vec<(TransactionId, ChannelId)> {
        lock(&self.claims).iter().map(|(id, channel)| (*id, *channel)).collect()
    }

    /// Notes a redeem by batch, before it is handed in.
    pub(super) fn put_claim(
        &self,
        id: TransactionId,
        channel: ChannelId,
    ) -> Result<(), PaymentsError> {
        self.shelf.put_claim(&id, &channel)?;
        lock(&self.claims).insert(id, channel);
        Ok(())
    }

    /// Forgets one.
    pub(super) fn remove_claim(&self, id: &TransactionId) -> Result<(), PaymentsError> {
        self.shelf.remove_claim(id)?;
        lock(&self.claims).remove(id);
        Ok(())
    }

    /// Lets go of a voucher that can bring nothing any more.
    pub(super) fn drop_voucher(
        &self,
        channel: &ChannelId,
        by: VoucherBy,
    ) -> Result<(), PaymentsError> {
        let _writing = lock(&self.writing);
        self.shelf.remove_voucher(channel, by)?;
        if let Some(held) = lock(&self.held).get_mut(channel) {
            held.remove(by);
        }
        Ok(())
    }

    /// Forgets channels that the ledger no longer has, and grants that have expired.
    pub(super) fn tidy(&self, finalised: &State, now: UnixNanos) -> Result<(), PaymentsError> {
        let is_gone = |id: &ChannelId| finalised.channel(id).is_none();
        let gone: Vec<ChannelId> = {
            let head = self.ledger.head();
            let held = lock(&self.held);
            held.keys().filter(|id| is_gone(id) && head.channel(id).is_none()).copied().collect()
        };
        for channel in gone {
            for by in [VoucherBy::Payer, VoucherBy::Session] {
                if self.held(&channel).get(by).is_some() {
                    self.drop_voucher(&channel, by)?;
                }
            }
            lock(&self.held).remove(&channel);
            lock(&self.bills).forget(&channel);
        }
        let expired = |grant: &Grant| grant.session.expires <= now;
        let ids: Vec<(PublicKey, SessionId)> = {
            let grants = lock(&self.grants);
            grants.iter().filter(|(_, grant)| expired(grant)).map(|(id, _)| *id).collect()
        };
        for id in ids {
            self.shelf.remove_grant(&id.1)?;
            lock(&self.grants).remove(&id);
        }
        Ok(())
    }
}

impl Unpaid for Till {
    /// Whether the bill may still be redeemed, or is in a claim that can be challenged: by the finalised state, since
    /// what the head has paid may be undone.
    fn is_unpaid(&self, receipt: &Receipt) -> bool {
        let Some(payment) = &receipt.payment else { return false };
        let id = payment.channel;
        if lock(&self.claims).values().any(|claimed| *claimed == id) {
            return true;
        }
        match self.ledger.finalised().channel(&id) {
            Some(channel) => {
                let was_claimed =
                    channel.place(payment.sequence).is_some_and(|place| channel.used.has(place));
                channel.host == self.host && payment.owed > channel.vouched && !was_claimed
            }
            // Its opening may not be final yet.
            None => self.ledger.head().channel(&id).is_some(),
        }
    }
}

/// The grants of one payer.
fn of_payer(
    grants: &BTreeMap<(PublicKey, SessionId), Grant>,
    payer: PublicKey,
) -> impl Iterator<Item = (SessionId, &Grant)> {
    let first = SessionId::from_digest(Digest::new([0; 32]));
    let own = grants.range((payer, first)..).take_while(move |((by, _), _)| *by == payer);
    own.map(|((_, session), grant)| (*session, grant))
}

/// The slot from which on nothing counts that a session's key signed in a channel, when the payer has ended it.
pub(super) fn revoked(head: &State, channel: ChannelId, session: SessionId) -> Option<Slot> {
    head.session(&SessionKey { channel, session }).and_then(|record| record.until)
}

/// The slot that counts: of the clock, or of the head where that is later.
pub(super) fn slot(head: &State, at: UnixNanos) -> Slot {
    head.network().slot_at(at).max(head.tip().slot)
}

fn opened<T: talea_ledger::Document>(
    what: &'static str,
    bytes: &[u8],
) -> Result<(Sealed, Verified<T>), VoucherError> {
    let sealed =
        Sealed::decode(bytes).map_err(|source| VoucherError::Unreadable { what, source })?;
    let verified = sealed.verify().map_err(|source| VoucherError::Unverified { what, source })?;
    Ok((sealed, verified))
}

/// Each statement under a lock leaves what it guards whole, so a panic elsewhere says nothing about it.
pub(super) fn lock<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Held ===

impl Held {
    pub(super) fn get(&self, by: VoucherBy) -> Option<&Promise> {
        match by {
            VoucherBy::Payer => self.payer.as_ref(),
            VoucherBy::Session => self.session.as_ref(),
        }
    }

    fn put(&mut self, by: VoucherBy, promise: Promise) {
        match by {
            VoucherBy::Payer => self.payer = Some(promise),
            VoucherBy::Session => self.session = Some(promise),
        }
    }

    fn remove(&mut self, by: VoucherBy) {
        match by {
            VoucherBy::Payer => self.payer = None,
            VoucherBy::Session => self.session = None,
        }
    }

    fn vouched(&self) -> (Tal, Sequence) {
        let both = [&self.payer, &self.session].into_iter().flatten();
        both.fold(Default::default(), |(owed, settled): (Tal, Sequence), promise| {
            (owed.max(promise.voucher.owed), settled.max(promise.voucher.settled))
        })
    }
}
