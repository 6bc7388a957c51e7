//! How one part of the node looks to another: small adapters, so that neither imports the other.

use std::io;
use std::sync::Arc;

use talea_ledger::message::FunctionName;
use talea_ledger::rules::record::GrantKey;
use talea_ledger::{
    ChannelId, FunctionId, Ppm, PublicKey, Sealed, Sequence, Session, State, Tal, Verified,
};

use crate::auth::{Auth, Channels, ChannelsError, Escrow, Record, Standing, States, Used, Vouched};
use crate::chain::{KeptReceipt, ReceiptReader, channels};
use crate::executor::FunctionSource;
use crate::ledger::{self, SubmitError};
use crate::market::Standings;
use crate::registry::{Function, Functions, FunctionsError};
use crate::store::{FunctionShelf, ShelfError};
use crate::till::{self, Submitting, Till, Traffic};

/// The chain's channels, as `auth` asks about them.
#[derive(Debug)]
pub(super) struct KeptChannels(pub(super) ReceiptReader);

impl Channels for KeptChannels {
    fn record(&self, channel: ChannelId, sequence: Sequence) -> Result<Record, ChannelsError> {
        let account = self.0.channel(&channel).unwrap_or_default();
        let standing = match account.standing(sequence) {
            channels::Standing::Fresh => Standing::Fresh,
            channels::Standing::Used => {
                let found = self.0.by_payment(channel, sequence);
                let found = found.map_err(|fault| ChannelsError(Box::new(fault)))?;
                let payment = |kept: &KeptReceipt| kept.receipt().payment.clone();
                let found = found.and_then(|kept| Some((payment(&kept)?, kept)));
                found.map_or(Standing::Spent, |(payment, kept)| {
                    let (run, receipt) = (kept.receipt().run, kept.id());
                    Standing::Used(Used { run, signer: payment.payer, receipt })
                })
            }
        };
        Ok(Record { owed: account.owed(), floor: account.floor(), standing })
    }

    fn debts(&self) -> Vec<(ChannelId, Tal)> {
        self.0.debts()
    }
}

/// The ledger and the till, as `auth` asks about them.
#[derive(Debug)]
pub(super) struct KeptEscrow {
    pub(super) ledger: Arc<dyn till::Ledger>,
    pub(super) till: Arc<Till>,
}

impl Escrow for KeptEscrow {
    fn states(&self) -> States {
        States { finalised: self.ledger.finalised(), head: self.ledger.head() }
    }

    fn vouched(&self, channel: &ChannelId) -> Vouched {
        let (owed, settled) = self.till.vouched(channel);
        Vouched { owed, settled }
    }

    fn keep_grant(&self, grant: &Verified<Session>, sealed: &Sealed) -> Result<(), ChannelsError> {
        self.till.keep_grant(grant, sealed).map_err(|fault| ChannelsError(Box::new(fault)))
    }
}

/// The calls under way, as the till asks about them.
#[derive(Debug)]
pub(super) struct RunsUnderWay(pub(super) Arc<Auth>);

impl Traffic for RunsUnderWay {
    fn is_busy(&self, channel: &ChannelId) -> bool {
        self.0.is_busy(channel)
    }
}

/// The ledger's doors, as the till asks about them.
#[derive(Debug)]
pub(super) struct LedgerDoors {
    pub(super) reader: ledger::Reader,
    pub(super) mailbox: ledger::Mailbox,
}

impl till::Ledger for LedgerDoors {
    fn head(&self) -> State {
        self.reader.view().head.clone()
    }

    fn finalised(&self) -> State {
        self.reader.view().finalised.clone()
    }

    fn submit(&self, envelope: Vec<u8>) -> Submitting<'_> {
        Box::pin(async move {
            let submitted = self.mailbox.submit(envelope).await;
            submitted.map_err(|fault| match fault {
                SubmitError::Refused(refusal) => refusal.as_str().to_owned(),
                other => other.to_string(),
            })
        })
    }
}

/// The ledger, as the market asks about it.
#[derive(Debug)]
pub(super) struct KeptStandings(pub(super) ledger::Reader);

impl Standings for KeptStandings {
    fn head(&self) -> State {
        self.0.view().head.clone()
    }
}

/// The shelf, as `registry` asks about it.
#[derive(Debug)]
pub(super) struct KeptFunctions {
    pub(super) shelf: Arc<FunctionShelf>,
    pub(super) ledger: ledger::Reader,
}

impl Functions for KeptFunctions {
    fn by_id(&self, id: FunctionId) -> Result<Option<Function>, FunctionsError> {
        let found = self.shelf.get(id).map_err(|fault| FunctionsError(Box::new(fault)))?;
        Ok(found
            .map(|shelved| Function { registration: shelved.registration, len: shelved.wasm_len }))
    }

    /// The ledger's name, or else one that was given here alone. A namespace that somebody has on the ledger is
    /// his alone.
    fn named(&self, name: &FunctionName) -> Result<Option<FunctionId>, FunctionsError> {
        let view = self.ledger.view();
        if let Some(record) = view.head.name(name) {
            return Ok(record.function());
        }
        if view.head.namespace(&name.namespace()).is_some() {
            return Ok(None);
        }
        self.shelf.by_name(name.as_str()).map_err(|fault| FunctionsError(Box::new(fault)))
    }

    fn owner(&self, name: &FunctionName) -> Option<PublicKey> {
        self.ledger.view().head.name(name).map(|record| record.owner)
    }

    fn royalty(&self, name: &FunctionName) -> Ppm {
        self.ledger.view().head.name(name).map_or(Ppm::ZERO, |record| record.royalty)
    }

    fn admits(&self, name: &FunctionName, payer: Option<&PublicKey>, method: &str) -> bool {
        admits(&self.ledger.view().head, name, payer, method)
    }
}

/// What the ledger says about who may call a name: everybody, unless it is private; then its owner, and keys with a
/// grant for the method.
fn admits(state: &State, name: &FunctionName, payer: Option<&PublicKey>, method: &str) -> bool {
    let Some(record) = state.name(name).filter(|record| record.private) else { return true };
    let Some(payer) = payer else { return false };
    let granted = || {
        let grant = state.grant(&GrantKey { key: *payer, name: name.clone() })?;
        let methods = grant.methods.as_ref();
        Some(methods.is_none_or(|methods| methods.iter().any(|each| each.as_str() == method)))
    };
    record.owner == *payer || granted().unwrap_or(false)
}

/// The shelf, as the executor asks about it.
#[derive(Debug)]
pub(super) struct KeptModules(pub(super) Arc<FunctionShelf>);

impl FunctionSource for KeptModules {
    fn wasm(&self, function: FunctionId) -> io::Result<Option<Vec<u8>>> {
        self.0.wasm(function).map_err(|fault| match fault {
            ShelfError::Io(fault) => fault,
            other => io::Error::other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use talea_ledger::rules::record::{GrantRecord, Key, NameRecord, Record};
    use talea_ledger::{Network, Ppm, SecretKey};

    use super::*;

    #[test]
    fn a_private_name_is_for_its_owner_and_for_granted_keys_and_methods() {
        let key = |seed| SecretKey::from_bytes(&[seed; 32]).public();
        let name = |text: &str| text.parse::<FunctionName>().unwrap();
        let record = |private| NameRecord {
            royalty: Ppm::ZERO,
            count: 1,
            owner: key(1),
            private,
            versions: vec![FunctionId::of(b"f")].try_into().unwrap(),
        };
        let grant = |methods: Option<&str>| {
            let methods = methods.map(|method| vec![method.parse().unwrap()].try_into().unwrap());
            Record::Grant(GrantRecord { methods })
        };
        let of = |key| GrantKey { key, name: name("me/closed") };
        let network = Network::new(crate::ledger::development(key(9))).unwrap();
        let genesis = State::genesis(Arc::new(network));
        let records = [
            (Key::Name(name("me/open")), Record::Name(Box::new(record(false)))),
            (Key::Name(name("me/closed")), Record::Name(Box::new(record(true)))),
            (Key::Grant(of(key(2))), grant(None)),
            (Key::Grant(of(key(3))), grant(Some("GET"))),
        ];
        let state = State::restore(Arc::clone(genesis.network()), genesis.tip(), records);
        let closed = |payer: Option<u8>, method: &str| {
            admits(&state, &name("me/closed"), payer.map(key).as_ref(), method)
        };
        assert!(admits(&state, &name("me/open"), None, "POST"));
        assert!(admits(&state, &name("me/unknown"), None, "POST"));
        let cases = [
            (None, "GET", false),
            (Some(1), "DELETE", true),
            (Some(2), "POST", true),
            (Some(3), "GET", true),
            (Some(3), "POST", false),
            (Some(4), "GET", false),
        ];
        for (payer, method, may) in cases {
            assert_eq!(closed(payer, method), may, "{payer:?} {method}");
        }
    }
}
