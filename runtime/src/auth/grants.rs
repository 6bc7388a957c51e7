//! Session grants that were verified before: one signature for many runs.
//!
//! Invariant: what is remembered is remembered under the hash of the whole envelope, so other bytes are verified
//! anew. Bounded: when the memory is full it begins again, which costs a signature each and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use talea_ledger::{Digest, Sealed, Session, Verified};

use super::AuthorizeError;

/// Grants remembered. Each is under 4 KiB: 4 MiB at most.
const GRANTS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Grants {
    known: Mutex<HashMap<Digest, Arc<Grant>>>,
}

/// A grant whose signature holds, and its envelope.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) verified: Verified<Session>,
    pub(super) sealed: Sealed,
}

impl Grants {
    /// The grant in an envelope, once its signature holds.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Arc<Grant>, AuthorizeError> {
        let digest = Digest::of(sealed);
        if let Some(known) = self.lock().get(&digest) {
            return Ok(Arc::clone(known));
        }
        let sealed = Sealed::decode(sealed).map_err(AuthorizeError::SessionUnreadable)?;
        let verified = sealed.verify().map_err(AuthorizeError::SessionUnverified)?;
        let grant = Arc::new(Grant { verified, sealed });
        let mut known = self.lock();
        if known.len() >= GRANTS_MAX {
            known.clear();
        }
        known.insert(digest, Arc::clone(&grant));
        Ok(grant)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Grant>>> {
        // Each statement leaves the map whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
