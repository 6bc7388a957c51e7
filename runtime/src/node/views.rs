//! How one part of the node looks to another: small adapters, so that neither imports the other.

use std::io;
use std::sync::Arc;

use talea_ledger::message::FunctionName;
use talea_ledger::{ChannelId, FunctionId, Sequence, Tal};

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
