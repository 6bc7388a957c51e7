//! A second, separate reading of CBOR: any document as a tree, so that tests can write it back changed.

/// An item. `Raw` is written as it is: any bytes at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    Map(Vec<(Item, Item)>),
    Link(Vec<u8>),
    Raw(Vec<u8>),
}

pub(crate) fn parse(bytes: &[u8]) -> Item {
    let mut rest = bytes;
    let item = take(&mut rest);
    assert!(rest.is_empty(), "a document is one item");
    item
}

fn head(rest: &mut &[u8]) -> (u8, u64) {
    let first = rest[0];
    *rest = &rest[1..];
    let width = match first & 31 {
        short @ 0..24 => return (first >> 5, u64::from(short)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => panic!("no such head in a valid document"),
    };
    let (value, after) = rest.split_at(width);
    *rest = after;
    let value = value.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    (first >> 5, value)
}

fn take(rest: &mut &[u8]) -> Item {
    let (major, value) = head(rest);
    let len = value as usize;
    let mut cut = |len: usize| {
        let (now, after) = rest.split_at(len);
        *rest = after;
        now.to_vec()
    };
    match major {
        0 => Item::Uint(value),
        2 => Item::Bytes(cut(len)),
        3 => Item::Text(String::from_utf8(cut(len)).unwrap()),
        4 => Item::Array((0..len).map(|_| take(rest)).collect()),
        5 => Item::Map((0..len).map(|_| (take(rest), take(rest))).collect()),
        6 => {
            assert_eq!(value, 42);
            match take(rest) {
                Item::Bytes(link) => Item::Link(link),
                other => panic!("{other:?} in a link"),
            }
        }
        _ => panic!("major type {major} in a valid document"),
    }
}

/// A head in the form of `width` bytes (0: the shortest).
pub(crate) fn head_of(major: u8, value: u64, width: usize) -> Vec<u8> {
    let least = match value {
        0..24 => 0,
        24..256 => 1,
        256..65_536 => 2,
        65_536..4_294_967_296 => 4,
        _ => 8,
    };
    let width = width.max(least);
    let form = match width {
        0 => return vec![major << 5 | value as u8],
        1 => 24,
        2 => 25,
        4 => 26,
        _ => 27,
    };
    let mut out = vec![major << 5 | form];
    out.extend_from_slice(&value.to_be_bytes()[8 - width..]);
    out
}

pub(crate) fn write(item: &Item) -> Vec<u8> {
    let (mut out, parts): (Vec<u8>, Vec<&Item>) = match item {
        Item::Uint(value) => (head_of(0, *value, 0), vec![]),
        Item::Bytes(bytes) => ([head_of(2, bytes.len() as u64, 0), bytes.clone()].concat(), vec![]),
        Item::Text(text) => {
            ([head_of(3, text.len() as u64, 0), text.clone().into_bytes()].concat(), vec![])
        }
        Item::Array(items) => (head_of(4, items.len() as u64, 0), items.iter().collect()),
        Item::Map(pairs) => (
            head_of(5, pairs.len() as u64, 0),
            pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
        ),
        Item::Link(link) => {
            ([vec![0xd8, 42], head_of(2, link.len() as u64, 0), link.clone()].concat(), vec![])
        }
        Item::Raw(bytes) => (bytes.clone(), vec![]),
    };
    for part in parts {
        out.extend_from_slice(&write(part));
    }
    out
}

/// Every way down into the tree: keys' and values' places, the root first.
pub(crate) fn places(item: &Item) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for (at, child) in children(item).into_iter().enumerate() {
        for mut place in places(child) {
            place.insert(0, at);
            all.push(place);
        }
    }
    all
}

fn children(item: &Item) -> Vec<&Item> {
    match item {
        Item::Array(items) => items.iter().collect(),
        // Keys are changed by changing their map.
        Item::Map(pairs) => pairs.iter().map(|(_, value)| value).collect(),
        _ => vec![],
    }
}

pub(crate) fn at<'a>(item: &'a Item, place: &[usize]) -> &'a Item {
    place.iter().fold(item, |item, step| children(item)[*step])
}

/// The tree with another item at `place`.
pub(crate) fn replaced(item: &Item, place: &[usize], by: Item) -> Item {
    let Some((step, rest)) = place.split_first() else {
        return by;
    };
    match item {
        Item::Array(items) => {
            let mut items = items.clone();
            items[*step] = replaced(&items[*step], rest, by);
            Item::Array(items)
        }
        Item::Map(pairs) => {
            let mut pairs = pairs.clone();
            pairs[*step].1 = replaced(&pairs[*step].1, rest, by);
            Item::Map(pairs)
        }
        other => panic!("{other:?} has no parts"),
    }
}

/// The key names and indices that lead to `place`, for messages.
pub(crate) fn name(item: &Item, place: &[usize]) -> String {
    let Some((step, rest)) = place.split_first() else {
        return String::new();
    };
    let (label, child) = match item {
        Item::Map(pairs) => match &pairs[*step] {
            (Item::Text(key), value) => (key.clone(), value),
            (key, value) => (format!("{key:?}"), value),
        },
        Item::Array(items) => (step.to_string(), &items[*step]),
        other => panic!("{other:?} has no parts"),
    };
    format!("/{label}{}", name(child, rest))
}
