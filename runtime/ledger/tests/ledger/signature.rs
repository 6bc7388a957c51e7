//! Signatures: strict, bound to their domain, and to every byte of type and payload.

use talea_ledger::id::{KeyError, Signature};
use talea_ledger::sign::{pre_authentication, seal_document};
use talea_ledger::*;

use crate::golden::{from_hex, path};
use crate::samples;

#[test]
fn what_is_signed_is_the_pre_authentication_encoding() {
    let bytes = pre_authentication(Domain::Run, b"\x00payload ");
    let expected = b"DSSEv1 37 application/vnd.talea.run.v1+dag-cbor 9 \x00payload ";
    assert_eq!(bytes, expected);
}

#[test]
fn domains_have_unique_media_types() {
    for domain in Domain::ALL {
        assert_eq!(Domain::from_media_type(domain.media_type()), Some(domain));
        assert!(domain.media_type().len() <= 46);
    }
}

#[test]
fn any_changed_bit_of_an_envelope_breaks_it() {
    let bytes = samples::sealed_run().encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[at] ^= 1 << bit;
            let holds = Sealed::decode(&other).is_ok_and(|sealed| sealed.verify::<Run>().is_ok());
            assert!(!holds, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_signature_holds_in_its_domain_only() {
    let sealed = samples::sealed_run();
    let signed = sealed.signatures()[0];
    for domain in Domain::ALL.into_iter().filter(|domain| *domain != Domain::Run) {
        let other = Sealed::from_parts(domain, sealed.payload().to_vec(), signed).unwrap();
        assert!(matches!(other.verify::<Run>(), Err(VerifyError::Domain { .. })));
    }
}

#[test]
fn a_document_is_signed_by_whom_it_names_and_for_its_network() {
    let sealed = seal_document(&samples::payer(), &samples::registration());
    assert!(matches!(sealed.verify::<Registration>(), Err(VerifyError::Signer { .. })));
    let sealed = seal_document(&samples::owner(), &samples::registration());
    let verified = sealed.verify::<Registration>().unwrap();
    assert!(verified.clone().on(&NetworkId::DEVELOPMENT).is_ok());
    let elsewhere = verified.on(&NetworkId::new([1; 32]));
    assert!(matches!(elsewhere, Err(VerifyError::Network { .. })));
}

#[test]
fn malleable_signatures_are_refused() {
    // The order of the group, least byte first. S + L is the same scalar in another form.
    let order = from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let sealed = samples::sealed_run();
    let message = pre_authentication(Domain::Run, sealed.payload());
    let signed = sealed.signatures()[0];
    assert!(signed.key.verify(&message, &signed.signature));
    let mut bytes = *signed.signature.as_bytes();
    let mut carry = 0_u16;
    for (byte, add) in bytes[32..].iter_mut().zip(&order) {
        carry += u16::from(*byte) + u16::from(*add);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0, "S + L fits 32 bytes");
    assert!(!signed.key.verify(&message, &Signature::new(bytes)));
}

#[test]
fn weak_and_non_canonical_keys_are_refused() {
    let text = std::fs::read_to_string(path("keys-refused.txt")).unwrap();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (hex, what) = line.split_once(' ').unwrap();
        let bytes: [u8; 32] = from_hex(hex).try_into().unwrap();
        assert!(PublicKey::from_bytes(&bytes).is_err(), "{what}");
        // In a document too, but for points, which show at their first signature.
        let is_point_error = PublicKey::from_bytes(&bytes) == Err(KeyError::Point);
        let mut receipt = samples::receipt_paid().encode();
        let place = receipt
            .windows(32)
            .position(|window| window == samples::host().public().as_bytes())
            .unwrap();
        receipt[place..place + 32].copy_from_slice(&bytes);
        assert_eq!(Receipt::decode(&receipt).is_ok(), is_point_error, "{what}");
        count += 1;
    }
    assert!(count >= 20, "{count} keys");
}

#[test]
fn the_signature_table() {
    let text = std::fs::read_to_string(path("signatures.txt")).unwrap();
    let (mut held, mut refused) = (0, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let [verdict, key, message, signature, what] = words[..] else {
            panic!("five columns: {line}");
        };
        let key: [u8; 32] = from_hex(key).try_into().unwrap();
        let signature: [u8; 64] = from_hex(signature).try_into().unwrap();
        let message = if message == "-" { Vec::new() } else { from_hex(message) };
        let holds = PublicKey::from_bytes(&key)
            .is_ok_and(|key| key.verify(&message, &Signature::new(signature)));
        assert_eq!(holds, verdict == "holds", "{what}");
        if holds { held += 1 } else { refused += 1 }
    }
    assert!(held >= 3 && refused >= 8, "{held} hold, {refused} are refused");
}
