//! A node's key and its name among peers are one thing, in two spellings.
//!
//! Invariant: a peer whose key the ledger would not take (weak, not canonical, not Ed25519) has no name here and
//! is cut off before anything of it is read.

use libp2p::identity::{self, Keypair, PeerId};
use talea_ledger::PublicKey;

/// The multihash code under which a peer id carries its whole key.
const IDENTITY: u64 = 0;

/// The key behind a peer id.
pub(crate) fn key_of(peer: &PeerId) -> Option<PublicKey> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = identity::PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    PublicKey::from_bytes(&key.try_into_ed25519().ok()?.to_bytes()).ok()
}

/// The peer id of a key: none for bytes that are no point of the curve.
pub(crate) fn peer_of(key: &PublicKey) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(PeerId::from_public_key(&key.into()))
}

/// What stands after `/p2p/` in the addresses of the node with this key; none for a key that cannot sign.
pub fn peer_name(key: &PublicKey) -> Option<String> {
    peer_of(key).map(|peer| peer.to_base58())
}

/// The pair behind a node's secret bytes. The copy that is read from is wiped.
pub(crate) fn keypair(secret: &[u8; 32]) -> Option<Keypair> {
    let mut copy = zeroize::Zeroizing::new(*secret);
    Keypair::ed25519_from_bytes(copy.as_mut_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_peer_id_name_each_other() {
        for seed in 1..=16 {
            let secret = talea_ledger::SecretKey::from_bytes(&[seed; 32]);
            let peer = keypair(&[seed; 32]).unwrap().public().to_peer_id();
            assert_eq!(key_of(&peer), Some(secret.public()));
            assert_eq!(peer_of(&secret.public()), Some(peer));
        }
    }

    #[test]
    fn other_kinds_of_peer_ids_have_no_key() {
        // A hash of a key instead of the key.
        assert_eq!(key_of(&PeerId::random()), None);
        // A point of small order: its signatures bind to nothing.
        let mut weak = vec![0x08, 0x01, 0x12, 0x20, 0x01];
        weak.extend([0; 31]);
        if let Ok(key) = identity::PublicKey::try_decode_protobuf(&weak) {
            assert_eq!(key_of(&key.to_peer_id()), None);
        }
    }
}
