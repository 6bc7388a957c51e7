//! The draft: what one transaction would change, kept apart until all of it holds.
//!
//! Invariant: nothing reaches the tree but through [`Draft::finish`], so a transaction applies wholly or not at
//! all; and money that a draft moves is neither made nor lost, which is checked over exactly what it touched.

use std::collections::BTreeMap;

use super::record::{
    Account, AnchorRecord, Channel, Claim, FraudKey, FraudRecord, FunctionRecord, GrantKey,
    GrantRecord, Key, NameRecord, NamespaceRecord, OfferRecord, Record, SessionKey, SessionRecord,
    StakeRecord, Totals,
};
use super::tree::Tree;
use super::{Place, Rejection};
use crate::id::{ChannelId, Digest, FunctionId, PublicKey, TransactionId};
use crate::message::{FunctionName, Namespace};
use crate::params::Network;
use crate::transaction::Resource;
use crate::units::{Ppm, Tal};

/// The changes of one transaction over a state.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    tree: &'a Tree,
    /// The network's parameters.
    pub(super) network: &'a Network,
    /// Where the transaction stands.
    pub(super) place: Place,
    /// The transaction.
    pub(super) id: TransactionId,
    /// Who sent it.
    pub(super) sender: PublicKey,
    changes: BTreeMap<Key, Change>,
}

#[derive(Debug)]
struct Change {
    path: Digest,
    record: Option<Record>,
}

/// One record that is new, other or gone.
pub(super) type Changed = (Digest, Key, Option<Record>);

macro_rules! records {
    ($( $get:ident $put:ident $case:ident ($($arg:ident : $ty:ty),*) $record:ty, $key:expr, $wrap:expr, $open:expr; )+) => {
        impl Draft<'_> {
            $(
                pub(super) fn $get(&self, $($arg: &$ty),*) -> Option<$record> {
                    match self.get(&$key)? {
                        Record::$case(record) => Some($open(record)),
                        _ => None,
                    }
                }

                pub(super) fn $put(&mut self, $($arg: &$ty,)* record: $record) {
                    self.put($key, Record::$case($wrap(record)));
                }
            )+
        }
    };
}

fn boxed<T: Clone>(record: &T) -> T {
    record.clone()
}

records! {
    get_account put_account Account(key: PublicKey) Account, Key::Account(*key), |record| record, |record: &Account| *record;
    get_function put_function Function(id: FunctionId) FunctionRecord, Key::Function(*id), Box::new, |record: &FunctionRecord| boxed(record);
    get_namespace put_namespace Namespace(name: Namespace) NamespaceRecord, Key::Namespace(name.clone()), |record| record, |record: &NamespaceRecord| *record;
    get_name put_name Name(name: FunctionName) NameRecord, Key::Name(name.clone()), Box::new, |record: &NameRecord| boxed(record);
    get_grant put_grant Grant(key: GrantKey) GrantRecord, Key::Grant(key.clone()), |record| record, |record: &GrantRecord| boxed(record);
    get_offer put_offer Offer(host: PublicKey) OfferRecord, Key::Offer(*host), Box::new, |record: &OfferRecord| boxed(record);
    get_channel put_channel Channel(id: ChannelId) Channel, Key::Channel(*id), Box::new, |record: &Channel| *record;
    get_claim put_claim Claim(id: TransactionId) Claim, Key::Claim(*id), Box::new, |record: &Claim| boxed(record);
    get_session put_session Session(key: SessionKey) SessionRecord, Key::Session(*key), |record| record, |record: &SessionRecord| *record;
    get_stake put_stake Stake(key: PublicKey) StakeRecord, Key::Stake(*key), |record| record, |record: &StakeRecord| *record;
    get_anchor put_anchor Anchor(host: PublicKey) AnchorRecord, Key::Anchor(*host), Box::new, |record: &AnchorRecord| *record;
    get_fraud put_fraud Fraud(key: FraudKey) FraudRecord, Key::Fraud(*key), Box::new, |record: &FraudRecord| *record;
    get_totals put_totals Totals() Totals, Key::Totals(()), |record| record, |record: &Totals| *record;
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        tree: &'a Tree,
        network: &'a Network,
        place: Place,
        id: TransactionId,
        sender: PublicKey,
    ) -> Self {
        Self { tree, network, place, id, sender, changes: BTreeMap::new() }
    }

    fn get(&self, key: &Key) -> Option<&Record> {
        match self.changes.get(key) {
            Some(change) => change.record.as_ref(),
            None => self.tree.get(&key.path()),
        }
    }

    fn put(&mut self, key: Key, record: Record) {
        let path = self.changes.get(&key).map_or_else(|| key.path(), |change| change.path);
        self.changes.insert(key, Change { path, record: Some(record) });
    }

    pub(super) fn remove(&mut self, key: Key) {
        let path = self.changes.get(&key).map_or_else(|| key.path(), |change| change.path);
        self.changes.insert(key, Change { path, record: None });
    }

    /// Adds money to an account, which comes into being with it.
    pub(super) fn credit(&mut self, key: &PublicKey, amount: Tal) -> Result<(), Rejection> {
        if amount == Tal::ZERO {
            return Ok(());
        }
        let mut account = self.get_account(key).unwrap_or_default();
        account.balance = account.balance.checked_add(amount).ok_or(Rejection::Overflow)?;
        self.put_account(key, account);
        Ok(())
    }

    /// Takes money from an account.
    pub(super) fn debit(&mut self, key: &PublicKey, amount: Tal) -> Result<(), Rejection> {
        let mut account = self.get_account(key).unwrap_or_default();
        let balance = account.balance;
        account.balance =
            balance.checked_sub(amount).ok_or(Rejection::Balance { wanted: amount, balance })?;
        self.put_account(key, account);
        Ok(())
    }

    /// Pays a host for a function's runs: the author's share goes to the function's owner, rounded down; where
    /// the function has no owner here, the host keeps it.
    pub(super) fn pay(
        &mut self,
        host: &PublicKey,
        function: &FunctionId,
        royalty: Ppm,
        amount: Tal,
    ) -> Result<(), Rejection> {
        let share = share_of(amount, royalty);
        match self.get_function(function) {
            Some(record) if share > Tal::ZERO => {
                self.credit(&record.owner, share)?;
                self.credit(host, amount.saturating_sub(share))
            }
            _ => self.credit(host, amount),
        }
    }

    /// The last transaction on a resource.
    pub(super) fn last(&self, resource: &Resource) -> Option<TransactionId> {
        match resource {
            Resource::Account(key) => self.get_account(key)?.last,
            Resource::Function(id) => self.get_function(id).map(|record| record.last),
            Resource::Namespace(name) => self.get_namespace(name).map(|record| record.last),
            Resource::Offer(host) => self.get_offer(host).map(|record| record.last),
            Resource::Channel(id) => self.get_channel(id).map(|record| record.last),
            Resource::Claim(id) => self.get_claim(id).map(|record| record.last),
            Resource::Stake(key) => self.get_stake(key).map(|record| record.last),
            Resource::Anchors(host) => self.get_anchor(host).map(|record| record.transaction),
            Resource::Fraud(host, channel) => self
                .get_fraud(&FraudKey { channel: *channel, host: *host })
                .map(|record| record.transaction),
        }
    }

    /// What changed, if money was conserved.
    pub(super) fn finish(self) -> Result<Vec<Changed>, Rejection> {
        let (mut before, mut after) = (0_u128, 0_u128);
        for change in self.changes.values() {
            let old = self.tree.get(&change.path).map_or(0, Record::money);
            let new = change.record.as_ref().map_or(0, Record::money);
            before = before.checked_add(old).ok_or(Rejection::Overflow)?;
            after = after.checked_add(new).ok_or(Rejection::Overflow)?;
        }
        if before != after {
            return Err(Rejection::Conservation);
        }
        let changes = self.changes.into_iter();
        Ok(changes.map(|(key, change)| (change.path, key, change.record)).collect())
    }
}

/// amount x ppm / 10^6, rounded down. A share is at most the whole, so it fits.
pub fn share_of(amount: Tal, royalty: Ppm) -> Tal {
    let product = u128::from(amount.0).saturating_mul(u128::from(royalty.get()));
    let share = product.checked_div(u128::from(Ppm::WHOLE.get())).unwrap_or_default();
    u64::try_from(share).map_or(amount, Tal)
}
