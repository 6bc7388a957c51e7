//! The state: all records, the block they are of, and the attempt of one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::Draft;
use super::record::{
    Account, AnchorRecord, Channel, Claim, FraudKey, FraudRecord, FunctionRecord, GrantKey,
    GrantRecord, Key, NameRecord, NamespaceRecord, OfferRecord, Record, SessionKey, SessionRecord,
    StakeRecord, Totals,
};
use super::tree::{Tree, TreePath};
use super::{Rejection, account, channel, claim, penalty, registry};
use crate::codec::Document as _;
use crate::id::{BlockId, ChannelId, Digest, FunctionId, PublicKey, TransactionId};
use crate::message::{FunctionName, Namespace};
use crate::params::Network;
use crate::transaction::{Action, Carried, Lock, Settle, Transaction, VerifiedTransaction};
use crate::units::{Height, Nonce, Slot, Tal};
use crate::voucher::Voucher;

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The block's height.
    pub height: Height,
    /// The block's slot, which is the time of all rules.
    pub slot: Slot,
}

/// The block that a state is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tip {
    /// Its name.
    pub id: BlockId,
    /// Its height.
    pub height: Height,
    /// Its slot.
    pub slot: Slot,
}

/// All records after a block. A clone costs nothing.
#[derive(Debug, Clone)]
pub struct State {
    network: Arc<Network>,
    tree: Tree,
    tip: Tip,
    /// What changed since the block before.
    changed: Arc<BTreeSet<Key>>,
}

/// Money that appeared or vanished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the records hold {found}, genesis and deposits less withdrawals are {expected}")]
pub struct ConservationError {
    /// What accounts, stakes, escrow, claims, fees and burned money sum to.
    pub found: u128,
    /// What they should.
    pub expected: u128,
}

macro_rules! getters {
    ($( $(#[$meta:meta])* $name:ident($($arg:ident : $ty:ty)?) $case:ident $record:ty, $key:expr; )+) => {
        impl State {
            $(
                $(#[$meta])*
                pub fn $name(&self $(, $arg: &$ty)?) -> Option<&$record> {
                    match self.get(&$key)? {
                        Record::$case(record) => Some(record),
                        _ => None,
                    }
                }
            )+
        }
    };
}

getters! {
    /// A function.
    function(id: FunctionId) Function FunctionRecord, Key::Function(*id);
    /// A namespace.
    namespace(name: Namespace) Namespace NamespaceRecord, Key::Namespace(name.clone());
    /// A name.
    name(name: FunctionName) Name NameRecord, Key::Name(name.clone());
    /// What a key may call.
    grant(key: GrantKey) Grant GrantRecord, Key::Grant(key.clone());
    /// A host's offer.
    offer(host: PublicKey) Offer OfferRecord, Key::Offer(*host);
    /// A channel.
    channel(id: ChannelId) Channel Channel, Key::Channel(*id);
    /// The bills of a redeem by batch, until they are settled.
    claim(id: TransactionId) Claim Claim, Key::Claim(*id);
    /// What a session has spent of a channel.
    session(key: SessionKey) Session SessionRecord, Key::Session(*key);
    /// A stake.
    stake(key: PublicKey) Stake StakeRecord, Key::Stake(*key);
    /// A host's last anchor.
    anchor(host: PublicKey) Anchor AnchorRecord, Key::Anchor(*host);
    /// What is known against a host.
    fraud(key: FraudKey) Fraud FraudRecord, Key::Fraud(*key);
}

impl State {
    /// The state before the first block.
    pub fn genesis(network: Arc<Network>) -> Self {
        let mut tree = Tree::default();
        let totals = Totals { genesis: network.supply(), ..Totals::default() };
        let mut set = |key: Key, record: Record| tree.set(key.path(), key, record);
        set(Key::Totals(()), Record::Totals(totals));
        for balance in network.params().balances.iter() {
            let account = Account { balance: balance.amount, ..Account::default() };
            set(Key::Account(balance.key), Record::Account(account));
        }
        let tip = Tip { id: network.genesis(), height: Height::ZERO, slot: Slot::ZERO };
        Self { network, tree, tip, changed: Arc::default() }
    }

    /// A state from stored records. Whoever stored them compares [`State::root`] with the header's.
    pub fn restore(
        network: Arc<Network>,
        tip: Tip,
        records: impl IntoIterator<Item = (Key, Record)>,
    ) -> Self {
        let mut tree = Tree::default();
        for (key, record) in records {
            tree.set(key.path(), key, record);
        }
        Self { network, tree, tip, changed: Arc::default() }
    }

    /// The network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The block it is of.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// The root over all records.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there are none, which no state is: it has its totals.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// What lies under a key.
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.tree.get(&key.path())
    }

    /// All keys and records, in the order of their paths.
    pub fn records(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.tree.iter()
    }

    /// The keys that the last block changed, with what lies there now: nothing when it is gone.
    pub fn changes(&self) -> impl Iterator<Item = (&Key, Option<&Record>)> {
        self.changed.iter().map(|key| (key, self.get(key)))
    }

    /// The way to what lies under a key, or to where it would be.
    pub fn prove(&self, key: &Key) -> TreePath {
        self.tree.prove(&key.path())
    }

    /// An account; one that never had money or sent a transaction has nothing.
    pub fn account(&self, key: &PublicKey) -> Account {
        match self.get(&Key::Account(*key)) {
            Some(Record::Account(account)) => *account,
            _ => Account::default(),
        }
    }

    /// What a transaction would bring its sender at once, at most: its fee can be paid out of that. A redeem brings what
    /// its voucher owes, the end of a lock what that holds; nothing else brings money. Reads the voucher, checks no
    /// signature: a promise of more than there is in the channel counts as what is there.
    pub fn income(&self, transaction: &Transaction) -> Tal {
        let sender = &transaction.sender;
        let found = match &transaction.action {
            Action::Redeem(redeem) => {
                Voucher::decode(redeem.voucher.payload()).ok().and_then(|it| {
                    let channel =
                        self.channel(&it.channel).filter(|channel| channel.host == *sender)?;
                    Some(it.owed.saturating_sub(channel.redeemed).min(channel.escrow))
                })
            }
            Action::Settle(Settle { lock: Lock::Channel(id) }) => {
                self.channel(id).filter(|it| it.payer == *sender).map(|it| it.escrow)
            }
            Action::Settle(Settle { lock: Lock::Stake(owner) }) => {
                self.stake(owner).filter(|_| owner == sender).map(|it| it.leaving)
            }
            Action::Settle(Settle { lock: Lock::Claim(id) }) => {
                self.claim(id).filter(|it| it.host == *sender).map(|it| {
                    let amounts = it.bills.iter().map(|bill| bill.amount);
                    amounts.fold(Tal::ZERO, Tal::saturating_add)
                })
            }
            _ => None,
        };
        found.unwrap_or(Tal::ZERO)
    }

    /// The sums over all.
    pub fn totals(&self) -> Totals {
        match self.get(&Key::Totals(())) {
            Some(Record::Totals(totals)) => *totals,
            _ => Totals::default(),
        }
    }

    /// Law 5: accounts, stakes, escrow, claims, fees and burned money are genesis and deposits less withdrawals.
    /// Walks over every record.
    pub fn conserved(&self) -> Result<(), ConservationError> {
        let found =
            self.records().fold(0_u128, |sum, (_, record)| sum.saturating_add(record.money()));
        let totals = self.totals();
        let expected = u128::from(totals.genesis.0)
            .saturating_add(u128::from(totals.deposits.0))
            .saturating_sub(u128::from(totals.withdrawn.0));
        if found == expected { Ok(()) } else { Err(ConservationError { found, expected }) }
    }

    /// Applies one transaction wholly or not at all.
    pub fn attempt(
        &mut self,
        transaction: &VerifiedTransaction,
        place: Place,
    ) -> Result<(), Rejection> {
        if transaction.transaction().network != self.network.id() {
            return Err(Rejection::Network);
        }
        let mut draft =
            Draft::new(&self.tree, &self.network, place, transaction.id(), transaction.sender());
        admit(&mut draft, transaction)?;
        act(&mut draft, transaction)?;
        charge(&mut draft, transaction)?;
        let changes = draft.finish()?;
        let changed = Arc::make_mut(&mut self.changed);
        for (path, key, record) in changes {
            changed.insert(key.clone());
            match record {
                Some(record) => self.tree.set(path, key, record),
                None => self.tree.remove(&path),
            }
        }
        Ok(())
    }

    /// The same records, with nothing changed yet.
    pub(super) fn fork(&self) -> Self {
        Self { changed: Arc::default(), ..self.clone() }
    }

    /// Makes it the state of a block.
    pub(super) fn advance(&mut self, tip: Tip) {
        self.tip = tip;
    }
}

/// Nonce and resource.
fn admit(draft: &mut Draft<'_>, transaction: &VerifiedTransaction) -> Result<(), Rejection> {
    let sender = transaction.sender();
    let mut account = draft.get_account(&sender).unwrap_or_default();
    let (found, expected) = (transaction.nonce(), account.nonce);
    if found < expected {
        return Err(Rejection::NonceUsed { found, expected });
    }
    if found > expected {
        return Err(Rejection::NonceGap { found, expected });
    }
    if let Some(named) = transaction.transaction().builds_on {
        let last = transaction.resource().and_then(|resource| draft.last(&resource));
        if last != Some(named) {
            return Err(Rejection::Stale { last });
        }
    }
    account.nonce = expected.checked_add(Nonce(1)).ok_or(Rejection::Overflow)?;
    account.last = Some(transaction.id());
    draft.put_account(&sender, account);
    Ok(())
}

/// Takes the fee from what the sender has when the action is done. So a host that starts with nothing pays the fee of
/// its first redeem out of what that redeem brings; whoever cannot pay has done nothing.
fn charge(draft: &mut Draft<'_>, transaction: &VerifiedTransaction) -> Result<(), Rejection> {
    let fee = draft.network.fee(transaction.payload_len());
    if fee == Tal::ZERO {
        return Ok(());
    }
    let sender = transaction.sender();
    let mut account = draft.get_account(&sender).unwrap_or_default();
    let balance = account.balance;
    account.balance = balance.checked_sub(fee).ok_or(Rejection::Fee { fee, balance })?;
    draft.put_account(&sender, account);
    let mut totals = draft.get_totals().unwrap_or_default();
    totals.fees = totals.fees.checked_add(fee).ok_or(Rejection::Overflow)?;
    draft.put_totals(totals);
    Ok(())
}

/// What the action does.
fn act(draft: &mut Draft<'_>, transaction: &VerifiedTransaction) -> Result<(), Rejection> {
    match (transaction.action(), transaction.carried()) {
        (Action::Transfer(action), _) => account::transfer(draft, action),
        (Action::RegisterFunction(action), _) => registry::register_function(draft, action),
        (Action::UpdateFunction(action), _) => registry::update_function(draft, action),
        (Action::RegisterName(action), _) => registry::register_name(draft, action),
        (Action::UpdateName(action), _) => registry::update_name(draft, action),
        (Action::Grant(action), _) => registry::grant(draft, action),
        (Action::Revoke(action), _) => registry::revoke(draft, action),
        (Action::AnnounceOffer(action), _) => registry::offer(draft, action),
        (Action::Anchor(action), _) => registry::anchor(draft, action),
        (Action::OpenChannel(action), _) => channel::open(draft, action),
        (Action::TopUp(action), _) => channel::top_up(draft, action),
        (Action::CloseChannel(action), _) => channel::close(draft, action),
        (Action::RevokeSession(action), _) => channel::revoke_session(draft, action),
        (Action::Settle(action), _) => match &action.lock {
            Lock::Claim(id) => claim::settle(draft, id),
            Lock::Stake(owner) => account::settle(draft, owner),
            Lock::Channel(id) => channel::settle(draft, id),
        },
        (Action::Redeem(action), Carried::Voucher(voucher, signer)) => {
            channel::redeem(draft, action, voucher, signer)
        }
        (Action::RedeemBatch(action), Carried::Bills(bills)) => {
            claim::redeem_batch(draft, action, bills)
        }
        (Action::Challenge(action), _) => claim::challenge(draft, action),
        (Action::Answer(action), Carried::Answer(receipt)) => claim::answer(draft, action, receipt),
        (Action::Stake(action), _) => account::stake(draft, action),
        (Action::Unstake(action), _) => account::unstake(draft, action),
        (Action::ReportFraud(_), Carried::Fraud(fraud)) => penalty::report(draft, fraud),
        // An action without what belongs to it: verification makes none.
        (
            action @ (Action::Redeem(_)
            | Action::RedeemBatch(_)
            | Action::Answer(_)
            | Action::ReportFraud(_)
            | Action::RegisterTrigger(_)
            | Action::AuditClaim(_)
            | Action::AuditVerdict(_)
            | Action::RotateAuthority(_)
            | Action::Deposit(_)
            | Action::Withdraw(_)),
            _,
        ) => Err(Rejection::Unsupported(action.kind())),
    }
}
