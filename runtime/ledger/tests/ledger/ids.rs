//! Text forms: one per thing, the same as other implementations give, and no other is accepted.

use std::collections::HashSet;

use cid::Cid;
use cid::multibase::{self, Base};
use proptest::prelude::*;
use talea_ledger::*;

proptest! {
    #[test]
    fn content_ids_are_cids(bytes in any::<[u8; 32]>()) {
        let id = FunctionId::from_digest(Digest::new(bytes));
        let cid = Cid::try_from(&id.to_bytes()[..]).unwrap();
        prop_assert_eq!(cid.to_string(), id.to_string());
        prop_assert_eq!((cid.codec(), cid.hash().digest()), (0x55, &bytes[..]));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(format!("sha256:{}", id.digest()).parse(), Ok(id));
        prop_assert_eq!(FunctionId::from_bytes(&id.to_bytes()), Ok(id));
        let document = RunId::from_digest(Digest::new(bytes));
        let cid = Cid::try_from(&document.to_bytes()[..]).unwrap();
        prop_assert_eq!(cid.codec(), 0x71);
        prop_assert_eq!(document.to_string().parse(), Ok(document));
        prop_assert!(document.to_string().parse::<FunctionId>().is_err());
        let hex = format!("sha256:{}", id.digest()).parse::<RunId>();
        prop_assert!(hex.is_err());
    }

    #[test]
    fn keys_are_did_keys(bytes in any::<[u8; 32]>()) {
        let key = SecretKey::from_bytes(&bytes).public();
        let tagged = [&[0xed, 0x01], &key.as_bytes()[..]].concat();
        let text = format!("did:key:{}", multibase::encode(Base::Base58Btc, tagged));
        prop_assert_eq!(key.to_string(), text.clone());
        prop_assert!(text.starts_with("did:key:z6Mk"));
        prop_assert_eq!(text.parse(), Ok(key));
    }

    #[test]
    fn hex_ids(bytes in any::<[u8; 32]>()) {
        let id = NetworkId::new(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(ChannelId::new(bytes).to_string(), id.to_string());
    }

    #[test]
    fn any_changed_character_is_another_id_or_an_error(
        bytes in any::<[u8; 32]>(), at in 0..59_usize, by in 0x20..0x7f_u8,
    ) {
        let id = ReceiptId::from_digest(Digest::new(bytes));
        let mut text = id.to_string().into_bytes();
        prop_assume!(text[at] != by);
        text[at] = by;
        let text = String::from_utf8(text).unwrap();
        prop_assert_ne!(text.parse(), Ok(id));
    }
}

#[test]
fn other_forms_are_refused() {
    let id = FunctionId::of(b"x");
    let text = id.to_string();
    let cid = Cid::try_from(&id.to_bytes()[..]).unwrap();
    let base58 = cid.to_string_of_base(Base::Base58Btc).unwrap();
    let upper = cid.to_string_of_base(Base::Base32Upper).unwrap();
    let mut filled = text.clone();
    // The last digit carries two bits that must be zero.
    let last = filled.pop().unwrap();
    filled.push(if last == 'a' { 'b' } else { char::from(last as u8 + 1) });
    for form in [
        "".to_owned(),
        "b".to_owned(),
        base58,
        upper,
        format!("{text}a"),
        format!(" {text}"),
        text.to_uppercase(),
        filled,
        format!("sha256:{}", id.digest().to_string().to_uppercase()),
        "sha256:00".to_owned(),
        id.digest().to_string(),
    ] {
        assert!(form.parse::<FunctionId>().is_err(), "{form} was accepted");
    }
}

#[test]
fn other_keys_are_refused() {
    let key = SecretKey::from_bytes(&[9; 32]).public();
    let did = |bytes: &[u8]| format!("did:key:{}", multibase::encode(Base::Base58Btc, bytes));
    let tagged = |head: [u8; 2]| did(&[&head[..], &key.as_bytes()[..]].concat());
    assert_eq!(tagged([0xed, 1]).parse(), Ok(key));
    let no_point = {
        // The first y from 2 on that no point has.
        let mut bytes = [0; 32];
        loop {
            bytes[0] += 1;
            if PublicKey::from_bytes(&bytes) == Err(id::KeyError::Point) {
                break bytes;
            }
        }
    };
    for text in [
        tagged([0xe7, 1]),
        tagged([0xed, 2]),
        did(key.as_bytes()),
        did(&[&[0xed, 1], &no_point[..]].concat()),
        did(&[&[0xed, 1], &[0; 32][..]].concat()),
        key.to_string().replace("did:key:", ""),
        format!("{key}1"),
        format!("{key}#{key}"),
    ] {
        assert!(text.parse::<PublicKey>().is_err(), "{text} was accepted");
    }
}

#[test]
fn the_development_network_is_its_name() {
    let digest = Digest::of(b"talea development network v1");
    assert_eq!(NetworkId::DEVELOPMENT.as_bytes(), digest.as_bytes());
}

#[test]
fn a_local_channel_belongs_to_one_ordered_pair_on_one_network() {
    let (one, two) =
        (SecretKey::from_bytes(&[1; 32]).public(), SecretKey::from_bytes(&[2; 32]).public());
    let networks = [NetworkId::DEVELOPMENT, NetworkId::new([0; 32])];
    let channels: HashSet<ChannelId> = networks
        .iter()
        .flat_map(|network| {
            [ChannelId::local(&one, &two, network), ChannelId::local(&two, &one, network)]
        })
        .collect();
    assert_eq!(channels.len(), 4);
}

#[test]
fn a_secret_key_is_not_printed() {
    let secret = SecretKey::from_bytes(&[0x41; 32]);
    let text = format!("{secret:?}");
    assert!(text.contains("did:key:") && !text.contains("4141") && !text.contains("65, 65"));
    assert_eq!(*secret.to_bytes(), [0x41; 32]);
}
