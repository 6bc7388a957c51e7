//! How one part of the node looks to another: small adapters, so that neither imports the other.

use std::io;
use std::sync::Arc;

use talea_ledger::message::FunctionName;
use talea_ledger::rules::record::GrantKey;
use talea_ledger::{ChannelId, FunctionId, PublicKey, Sequence, State, Tal};

use crate::auth::{Channels, ChannelsError, Standing, Used};
use crate::chain::{ReceiptReader, channels};
use crate::executor::FunctionSource;
use crate::ledger;
use crate::limits::SEQUENCE_WINDOW;
use crate::registry::{Function, Functions, FunctionsError};
use crate::store::{FunctionShelf, ShelfError};

/// The chain's channels, as `auth` asks about them.
#[derive(Debug)]
pub(super) struct KeptChannels(pub(super) ReceiptReader);

impl Channels for KeptChannels {
    fn standing(&self, channel: ChannelId, sequence: Sequence) -> Result<Standing, ChannelsError> {
        let kept = self.0.channel(&channel);
        let owed = kept.as_ref().map_or(Tal::ZERO, channels::Channel::owed);
        let settled = kept.as_ref().map_or(Sequence(0), channels::Channel::settled);
        let standing = match &kept {
            Some(channel) => channel.standing(sequence),
            None => channels::Standing::of_unknown(sequence),
        };
        match standing {
            channels::Standing::Fresh => Ok(Standing::Fresh { owed }),
            channels::Standing::Beyond => {
                Ok(Standing::Beyond { most: Sequence(settled.0.saturating_add(SEQUENCE_WINDOW)) })
            }
            channels::Standing::Used => {
                let found = self.0.by_payment(channel, sequence);
                let found = found.map_err(|fault| ChannelsError(Box::new(fault)))?;
                Ok(found.map_or(Standing::Spent, |kept| {
                    Standing::Used(Used { run: kept.receipt().run, receipt: kept.id() })
                }))
            }
        }
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
