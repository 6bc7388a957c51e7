//! Every way of writing a document other than its own is refused, at every item of every document.

use crate::samples;
use crate::tree::{self, Item, head_of, write};

/// Other forms of one item that mean the same, or mean what documents cannot say. None may be accepted.
pub(crate) fn illegal_forms(item: &Item) -> Vec<(&'static str, Item)> {
    let raw = |parts: &[&[u8]]| Item::Raw(parts.concat());
    let own = write(item);
    let mut forms = vec![
        ("half float", raw(&[&[0xf9, 0x3c, 0x00]])),
        ("double float", raw(&[&[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]])),
        ("null", raw(&[&[0xf6]])),
        ("undefined", raw(&[&[0xf7]])),
        ("true", raw(&[&[0xf5]])),
        ("false", raw(&[&[0xf4]])),
        ("simple value", raw(&[&[0xf8, 0xff]])),
        ("break", raw(&[&[0xff]])),
        ("negative", raw(&[&[0x20]])),
        ("bignum", raw(&[&[0xc2, 0x41, 1]])),
        ("tag 0 before", raw(&[&[0xc0], &own])),
        ("self-described", raw(&[&[0xd9, 0xd9, 0xf7], &own])),
        ("reserved head", raw(&[&[0x1c]])),
        ("nothing", raw(&[])),
    ];
    let widths = [1, 2, 4, 8];
    let longer = |major: u8, value: u64, rest: &[u8]| -> Vec<Item> {
        widths
            .iter()
            .map(|width| head_of(major, value, *width))
            .filter(|head| *head != head_of(major, value, 0))
            .map(|head| Item::Raw([head, rest.to_vec()].concat()))
            .collect()
    };
    let longs = match item {
        Item::Uint(value) => {
            forms.push(("text for a number", Item::Text(value.to_string())));
            longer(0, *value, &[])
        }
        Item::Bytes(bytes) => {
            forms.push(("indefinite bytes", raw(&[&[0x5f], &own, &[0xff]])));
            forms.push(("a byte short", Item::Raw(own[..own.len() - 1].to_vec())));
            forms.push((
                "array of bytes",
                Item::Array(bytes.iter().map(|byte| Item::Uint(u64::from(*byte))).collect()),
            ));
            longer(2, bytes.len() as u64, bytes)
        }
        Item::Text(text) => {
            forms.push(("indefinite text", raw(&[&[0x7f], &own, &[0xff]])));
            forms.push(("bytes for text", Item::Bytes(text.clone().into_bytes())));
            forms.push(("not ASCII", Item::Text(format!("{text}\u{e9}"))));
            forms.push(("a NUL", Item::Text(format!("{text}\0"))));
            longer(3, text.len() as u64, text.as_bytes())
        }
        Item::Array(items) => {
            let rest: Vec<u8> = items.iter().flat_map(write).collect();
            forms.push(("indefinite array", raw(&[&[0x9f], &rest, &[0xff]])));
            forms.push((
                "one item declared and missing",
                raw(&[&head_of(4, items.len() as u64 + 1, 0), &rest]),
            ));
            longer(4, items.len() as u64, &rest)
        }
        Item::Map(pairs) => illegal_maps(pairs, &mut forms),
        Item::Link(link) => {
            illegal_links(link, &mut forms);
            vec![]
        }
        Item::Raw(_) => vec![],
    };
    forms.extend(longs.into_iter().map(|form| ("longer head", form)));
    forms
}

/// Keys and values of a map.
type Pairs = Vec<(Item, Item)>;

fn illegal_maps(pairs: &[(Item, Item)], forms: &mut Vec<(&'static str, Item)>) -> Vec<Item> {
    let rest: Vec<u8> =
        pairs.iter().flat_map(|(key, value)| [write(key), write(value)].concat()).collect();
    let count = pairs.len() as u64;
    forms.push(("indefinite map", Item::Raw([&[0xbf], &rest[..], &[0xff]].concat())));
    forms.push(("array for a map", Item::Raw([head_of(4, count * 2, 0), rest.clone()].concat())));
    forms.push((
        "one key more declared",
        Item::Raw([head_of(5, count + 1, 0), rest.clone()].concat()),
    ));
    let mut with = |what, change: &dyn Fn(&mut Pairs)| {
        let mut pairs = pairs.to_vec();
        change(&mut pairs);
        forms.push((what, Item::Map(pairs)));
    };
    for at in 0..pairs.len() {
        with("key twice", &|pairs| pairs.insert(at, pairs[at].clone()));
        with("key in capitals", &|pairs| {
            if let Item::Text(key) = &mut pairs[at].0 {
                key.make_ascii_uppercase();
            }
        });
        with("key of bytes", &|pairs| {
            if let Item::Text(key) = &pairs[at].0 {
                pairs[at].0 = Item::Bytes(key.clone().into_bytes());
            }
        });
        with("key with a long head", &|pairs| {
            if let Item::Text(key) = &pairs[at].0 {
                let long = [vec![0x78, key.len() as u8], key.clone().into_bytes()].concat();
                pairs[at].0 = Item::Raw(long);
            }
        });
        with("unknown key", &|pairs| {
            pairs.insert(at, (Item::Text("zz".into()), Item::Uint(0)));
        });
        if at > 0 {
            with("keys out of order", &|pairs| pairs.swap(at, at - 1));
        }
    }
    with("unknown key at the end", &|pairs| {
        pairs.push((Item::Text("zzzzzzzzzzzzzzzz".into()), Item::Uint(0)));
    });
    let widths = [1, 2, 4, 8].into_iter();
    widths.map(|width| Item::Raw([head_of(5, count, width), rest.clone()].concat())).collect()
}

fn illegal_links(link: &[u8], forms: &mut Vec<(&'static str, Item)>) {
    let mut with = |what, change: &dyn Fn(&mut Vec<u8>)| {
        let mut link = link.to_vec();
        change(&mut link);
        forms.push((what, Item::Link(link)));
    };
    with("no multibase prefix", &|link| {
        link.remove(0);
    });
    with("other multibase prefix", &|link| link[0] = 1);
    with("other CID version", &|link| link[1] = 0);
    with("other codec", &|link| link[2] ^= 0x55 ^ 0x71);
    with("unknown codec", &|link| link[2] = 0x70);
    with("other hash function", &|link| link[3] = 0x1e);
    with("other digest length", &|link| link[4] = 0x1f);
    with("a byte more", &|link| link.push(0));
    with("a byte less", &|link| {
        link.pop();
    });
    let tagged = |tag: &[u8]| {
        let bytes = write(&Item::Bytes(link.to_vec()));
        Item::Raw([tag, &bytes].concat())
    };
    forms.push(("bytes for a link", Item::Bytes(link.to_vec())));
    forms.push(("other tag", tagged(&[0xd8, 43])));
    forms.push(("long tag", tagged(&[0xd9, 0, 42])));
    forms.push(("tag twice", tagged(&[0xd8, 42, 0xd8, 42])));
    let text = write(&Item::Text("a".repeat(37)));
    forms.push(("text in a link", Item::Raw([&[0xd8, 42], &text[..]].concat())));
}

#[test]
fn every_other_form_of_every_item_is_refused() {
    let mut count = 0;
    for sample in samples::all() {
        let tree = tree::parse(&sample.bytes);
        assert_eq!(write(&tree), sample.bytes, "{}: canonical", sample.name);
        for place in tree::places(&tree) {
            for (what, form) in illegal_forms(tree::at(&tree, &place)) {
                let bytes = write(&tree::replaced(&tree, &place, form));
                let name = tree::name(&tree, &place);
                assert!(
                    (sample.recode)(&bytes).is_err(),
                    "{}{name}: {what} was accepted",
                    sample.name
                );
                count += 1;
            }
        }
    }
    // A guard against a walk that finds nothing to change.
    assert!(count > 6_000, "only {count} cases");
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    for sample in samples::all() {
        for len in 0..sample.bytes.len() {
            assert!((sample.recode)(&sample.bytes[..len]).is_err());
        }
        for byte in 0..=255 {
            let longer = [&sample.bytes[..], &[byte]].concat();
            assert!((sample.recode)(&longer).is_err());
        }
    }
}

#[test]
fn whatever_is_accepted_encodes_to_itself() {
    for sample in samples::all() {
        let mut accepted = 0;
        for at in 0..sample.bytes.len() {
            // Every byte of a short document, every single bit of a long one.
            let own = sample.bytes[at];
            let others: Vec<u8> = match sample.bytes.len() {
                0..1024 => (0..=255).collect(),
                _ => (0..8).map(|bit| own ^ 1 << bit).chain([own]).collect(),
            };
            for byte in others {
                let mut bytes = sample.bytes.clone();
                bytes[at] = byte;
                if let Ok(again) = (sample.recode)(&bytes) {
                    assert_eq!(again, bytes, "{} with {byte} at {at}", sample.name);
                    accepted += 1;
                }
            }
        }
        assert!(accepted > sample.bytes.len(), "{}: its own form is accepted", sample.name);
    }
}

#[test]
fn declared_lengths_take_no_memory() {
    // A map of one key whose byte string, text or array declares 2^63 bytes: an answer at once, not an allocation.
    for sample in samples::all() {
        let tree = tree::parse(&sample.bytes);
        for place in tree::places(&tree) {
            for major in [2, 3, 4, 5] {
                let form = Item::Raw(head_of(major, 1 << 63, 0));
                let bytes = write(&tree::replaced(&tree, &place, form));
                assert!((sample.recode)(&bytes).is_err());
            }
        }
    }
    // Nesting far deeper than any type is refused at its first wrong item.
    let deep = vec![0x81; 1 << 20];
    for sample in samples::all() {
        assert!((sample.recode)(&deep).is_err());
    }
}
