//! Keys whose runs were verified before: what they cost once and not per call.
//!
//! Invariant: a key is remembered only after a signature of its held, so nobody fills the memory for free. Bounded:
//! when it is full it begins again, which costs each key a square root and a hash, and nothing else.
//! Absent: any trust. Every run is verified, and by the same rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use talea_ledger::{
    ChannelId, Document, KnownKey, NetworkId, PublicKey, Sealed, Verified, VerifyError,
};

/// Keys remembered. Each takes about 300 bytes: 1.2 MiB at most.
const SIGNERS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Signers {
    host: PublicKey,
    network: NetworkId,
    known: Mutex<HashMap<PublicKey, Arc<Signer>>>,
}

#[derive(Debug)]
struct Signer {
    key: KnownKey,
    local: ChannelId,
}

impl Signers {
    pub(super) fn new(host: PublicKey, network: NetworkId) -> Self {
        Self { host, network, known: Mutex::default() }
    }

    /// Verifies an envelope. Gives its signer's channel to this host beside it, as it is without a ledger.
    pub(super) fn verify<T: Document>(
        &self,
        sealed: &Sealed,
    ) -> Result<(Verified<T>, ChannelId), VerifyError> {
        let key = sealed.signatures()[0].key;
        let remembered = self.lock().get(&key).cloned();
        if let Some(signer) = remembered {
            return Ok((sealed.verify_known(&signer.key)?, signer.local));
        }
        let verified = sealed.verify()?;
        let local = ChannelId::local(&key, &self.host, &self.network);
        let Ok(known) = key.known() else { return Ok((verified, local)) };
        let mut remembered = self.lock();
        if remembered.len() >= SIGNERS_MAX {
            remembered.clear();
        }
        remembered.insert(key, Arc::new(Signer { key: known, local }));
        Ok((verified, local))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PublicKey, Arc<Signer>>> {
        // Each statement leaves the map whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use talea_ledger::id::Signature;
    use talea_ledger::sign::{Signed, seal_document};
    use talea_ledger::{Batch, Domain, Request, SecretKey, UnixNanos};

    use super::*;

    fn request(network: NetworkId) -> Request {
        let body = talea_ledger::BodyId::of(&[]);
        let method = "GET".try_into().unwrap();
        let path_and_query = "/".try_into().unwrap();
        Request { at: UnixNanos(1), body, method, network, path_and_query }
    }

    #[test]
    fn a_key_that_is_known_has_the_verdicts_of_one_that_is_not() {
        let host = SecretKey::from_bytes(&[1; 32]).public();
        let signers = Signers::new(host, NetworkId::DEVELOPMENT);
        let payer = SecretKey::from_bytes(&[2; 32]);
        let sealed = seal_document(&payer, &request(NetworkId::DEVELOPMENT));
        let signed = sealed.signatures()[0];
        let mut bytes = *signed.signature.as_bytes();
        bytes[40] ^= 1;
        let broken = Signed { signature: Signature::new(bytes), key: signed.key };
        let broken =
            Sealed::from_parts(Domain::Request, sealed.payload().to_vec(), broken).unwrap();
        let local = ChannelId::local(&payer.public(), &host, &NetworkId::DEVELOPMENT);
        for known in [0, 1, 1] {
            assert_eq!(signers.lock().len(), known);
            assert_eq!(signers.verify::<Request>(&broken), broken.verify().map(|it| (it, local)));
            assert_eq!(
                signers.verify::<Batch>(&sealed),
                sealed.verify::<Batch>().map(|it| (it, local))
            );
            assert_eq!(signers.lock().len(), known, "what does not hold is not remembered");
            assert_eq!(signers.verify::<Request>(&sealed), sealed.verify().map(|it| (it, local)));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let host = SecretKey::from_bytes(&[1; 32]).public();
        let signers = Signers::new(host, NetworkId::DEVELOPMENT);
        let known = Arc::new(Signer { key: host.known().unwrap(), local: ChannelId::new([0; 32]) });
        for seed in 0..SIGNERS_MAX {
            let mut bytes = [3; 32];
            bytes[..8].copy_from_slice(&(seed as u64).to_le_bytes());
            let key = SecretKey::from_bytes(&bytes).public();
            signers.lock().insert(key, Arc::clone(&known));
        }
        let sealed =
            seal_document(&SecretKey::from_bytes(&[2; 32]), &request(NetworkId::DEVELOPMENT));
        assert!(signers.verify::<Request>(&sealed).is_ok());
        assert_eq!(signers.lock().len(), 1);
    }
}
