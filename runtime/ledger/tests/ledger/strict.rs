//! Verification here against `verify_strict`, on signatures that were made to tell the two apart.
//!
//! A signature over keys and points of any order: A = aB + T, R = rB + T', s = r + ka. The equation sB - kA = R holds
//! exactly when T' = -kT, so of eight T' about one fits, whatever T is; what is left is strictness alone.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::VerifyingKey;
use proptest::prelude::*;
use sha2::{Digest as _, Sha512};
use talea_ledger::PublicKey;
use talea_ledger::id::Signature;

/// The order of the group of the base point, least byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
const MESSAGE: &[u8] = b"a message";

/// What both say, which must be one thing.
fn verdict(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    // Keys that have another form or a small order are refused before any signature, by both.
    let Ok(ours) = PublicKey::from_bytes(key) else { return false };
    let theirs = VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    });
    let known = ours.known().unwrap();
    let signature = Signature::new(*signature);
    assert_eq!(ours.verify(message, &signature), theirs, "{key:02x?} {signature:?}");
    assert_eq!(known.verify(message, &signature), theirs, "{key:02x?} {signature:?}");
    theirs
}

fn scalar(seed: u64) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&Sha512::digest(seed.to_le_bytes()).into())
}

/// The signature of a over the message with this R, whatever point the bytes of R are.
fn signed(a: Scalar, r: Scalar, key: &[u8; 32], point: &[u8; 32]) -> [u8; 64] {
    let hash = Sha512::new().chain_update(point).chain_update(key).chain_update(MESSAGE);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(point);
    signature[32..].copy_from_slice((r + k * a).as_bytes());
    signature
}

fn encoded(factor: Scalar, torsion: EdwardsPoint) -> [u8; 32] {
    (ED25519_BASEPOINT_POINT * factor + torsion).compress().to_bytes()
}

#[test]
fn mixed_and_small_orders_are_taken_and_refused_as_verify_strict_does() {
    let (mut held, mut held_mixed, mut zeros) = (0, 0, 0);
    for seed in 0..24 {
        let (a, r) = (scalar(2 * seed), scalar(2 * seed + 1));
        for (order, torsion) in EIGHT_TORSION.iter().enumerate() {
            let key = encoded(a, *torsion);
            for other in EIGHT_TORSION {
                let holds = verdict(&key, MESSAGE, &signed(a, r, &key, &encoded(r, other)));
                held += usize::from(holds);
                held_mixed += usize::from(holds && order > 0);
                // R of small order: the equation holds as often, and it is never enough.
                let small = encoded(Scalar::ZERO, other);
                assert!(!verdict(&key, MESSAGE, &signed(a, Scalar::ZERO, &key, &small)));
                zeros += 1;
            }
            // A of small order alone is no key.
            let weak = encoded(Scalar::ZERO, *torsion);
            assert!(!verdict(
                &weak,
                MESSAGE,
                &signed(Scalar::ZERO, r, &weak, &encoded(r, *torsion))
            ));
        }
    }
    assert!(held >= 100 && held_mixed >= 50, "{held} hold, of them {held_mixed} of mixed order");
    assert_eq!(zeros, 24 * 64);
}

#[test]
fn other_forms_of_r_and_s_are_refused_as_verify_strict_does() {
    for seed in 0..8 {
        let (a, r) = (scalar(seed), scalar(seed + 100));
        let key = encoded(a, EIGHT_TORSION[0]);
        let good = signed(a, r, &key, &encoded(r, EIGHT_TORSION[0]));
        assert!(verdict(&key, MESSAGE, &good));
        // s and s + L are one scalar in two forms.
        let mut more = good;
        let mut carry = 0;
        for (byte, add) in more[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(!verdict(&key, MESSAGE, &more));
        // y and y + p are one coordinate in two forms, where both fit: 19 values, two signs of x.
        for low in 0..19 {
            for high in [0x7f, 0xff] {
                let mut point = [0xff; 32];
                (point[0], point[31]) = (0xed + low, high);
                for r in [Scalar::ZERO, r] {
                    assert!(!verdict(&key, MESSAGE, &signed(a, r, &key, &point)));
                }
            }
        }
    }
}

proptest! {
    /// Bytes that are nothing in particular, and signatures with one bit changed.
    #[test]
    fn whatever_the_bytes_the_verdict_is_that_of_verify_strict(
        seed in any::<u64>(), bit in 0_usize..1024, noise in prop::array::uniform32(any::<u8>()),
    ) {
        let (a, r) = (scalar(seed), scalar(!seed));
        let mut key = encoded(a, EIGHT_TORSION[0]);
        let mut signature = signed(a, r, &key, &encoded(r, EIGHT_TORSION[0]));
        prop_assert!(verdict(&key, MESSAGE, &signature));
        let mut strange = signature;
        strange[..32].copy_from_slice(&noise);
        verdict(&key, MESSAGE, &strange);
        strange[32..].copy_from_slice(&noise);
        verdict(&key, MESSAGE, &strange);
        verdict(&noise, MESSAGE, &signature);
        match bit {
            0..512 => signature[bit / 8] ^= 1 << (bit % 8),
            512..768 => key[(bit - 512) / 8] ^= 1 << (bit % 8),
            _ => {}
        }
        prop_assert_eq!(verdict(&key, MESSAGE, &signature), bit >= 768);
    }
}
