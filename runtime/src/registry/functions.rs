//! What is registered, remembered for the calls to come.
//!
//! Invariant: what is remembered is what was read last or newer; `forget` after a registration makes the
//! next call read again. Absent: names in memory: they may move, and a lookup by name says so by a read.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use talea_ledger::message::FunctionName;
use talea_ledger::{FunctionId, Ppm, PublicKey, Registration};

/// Functions remembered: 4,096 x about 500 bytes is 2 MiB.
const KNOWN_MAX: usize = 4096;

/// One registered function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// What its owner says about it, as signed last.
    pub registration: Registration,
    /// Length of the module.
    pub len: u64,
}

/// Where registered functions are kept. The node hands in the store's view of it.
pub trait Functions: Send + Sync + std::fmt::Debug {
    /// One by id.
    fn by_id(&self, id: FunctionId) -> Result<Option<Function>, FunctionsError>;
    /// What a name points to.
    fn named(&self, name: &FunctionName) -> Result<Option<FunctionId>, FunctionsError>;
    /// Who has the name on the ledger.
    fn owner(&self, name: &FunctionName) -> Option<PublicKey>;
    /// The author's share of each bill of a call by this name.
    fn royalty(&self, name: &FunctionName) -> Ppm;
    /// Whether a name may be called with this method, by this payer or by somebody who did not sign.
    fn admits(&self, name: &FunctionName, payer: Option<&PublicKey>, method: &str) -> bool;
}

/// The record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FunctionsError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug)]
pub(super) struct Known {
    functions: Arc<dyn Functions>,
    remembered: RwLock<HashMap<FunctionId, Arc<Function>>>,
}

impl Known {
    pub(super) fn new(functions: Arc<dyn Functions>) -> Self {
        Self { functions, remembered: RwLock::default() }
    }

    pub(super) fn by_id(&self, id: FunctionId) -> Result<Option<Arc<Function>>, FunctionsError> {
        // The map is whole between any two statements: poisoning says nothing about it.
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = remembered.get(&id) {
            return Ok(Some(function.clone()));
        }
        drop(remembered);
        let Some(function) = self.functions.by_id(id)? else { return Ok(None) };
        let function = Arc::new(function);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= KNOWN_MAX {
            // All at once: reading one again costs microseconds, and this needs no order of use.
            remembered.clear();
        }
        remembered.insert(id, function.clone());
        Ok(Some(function))
    }

    pub(super) fn named(&self, name: &FunctionName) -> Result<Option<FunctionId>, FunctionsError> {
        self.functions.named(name)
    }

    pub(super) fn owner(&self, name: &FunctionName) -> Option<PublicKey> {
        self.functions.owner(name)
    }

    pub(super) fn royalty(&self, name: &FunctionName) -> Ppm {
        self.functions.royalty(name)
    }

    pub(super) fn admits(
        &self,
        name: &FunctionName,
        payer: Option<&PublicKey>,
        method: &str,
    ) -> bool {
        self.functions.admits(name, payer, method)
    }

    pub(super) fn forget(&self, id: FunctionId) {
        self.remembered.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
