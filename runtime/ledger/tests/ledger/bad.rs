//! The committed table of bytes that must be refused, for this decoder and for those of other languages.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::golden::{check, from_hex, hex, path};
use crate::mutation::illegal_forms;
use crate::samples;
use crate::tree::{self, Item, write};

/// Types in the table; the others differ only in their keys.
const TYPES: [&str; 17] = [
    "input",
    "run-paid",
    "receipt-paid",
    "batch",
    "sealed-run",
    "registration",
    "params",
    "voucher",
    "session",
    "block",
    "block-whole",
    "transaction-open",
    "transaction-deposit",
    "record-channel",
    "evidence-absence",
    "offer",
    "draw",
];

/// Values that have the right form and are still not allowed.
fn out_of_range(sample: &str) -> Vec<(&'static str, &'static str, Item)> {
    let key = |head: [u8; 2], key: [u8; 32]| Item::Bytes([&head[..], &key].concat());
    let pair = |class, code| Item::Array(vec![Item::Uint(class), Item::Uint(code)]);
    let text = |text: &str| Item::Text(text.into());
    let mut one = [0; 32];
    one[0] = 1;
    let mut above_prime = [0xff; 32];
    above_prime[31] = 0x7f;
    match sample {
        "input" => vec![
            ("/method", "empty method", text("")),
            ("/method", "blank in a method", text("GE T")),
            ("/path", "path without slash", text("x")),
            ("/path", "query in a path", text("/x?y")),
            ("/query", "fragment in a query", text("a#b")),
            ("/salt", "salt of 15 bytes", Item::Bytes(vec![0; 15])),
            ("/salt", "salt of 17 bytes", Item::Bytes(vec![0; 17])),
            ("/headers/0/0", "header name in capitals", text("Accept")),
            ("/headers/0/1", "line break in a header", text("a\r\nb")),
            ("/headers/0/1", "blank before a header value", text(" a")),
            ("/args/0", "NUL in an argument", Item::Bytes(vec![0])),
            ("/args/0", "argument not UTF-8", Item::Bytes(vec![0xc3])),
        ],
        "run-paid" => vec![
            ("/memmax", "pages above 32 bits", Item::Uint(1 << 32)),
            ("/cgi", "2 for a yes or no", Item::Uint(2)),
            ("/pay/ppm", "share above the whole", Item::Uint(1_000_001)),
            ("/seed", "seed of 31 bytes", Item::Bytes(vec![0; 31])),
            ("/pay/host", "weak key", key([0xed, 1], one)),
        ],
        "receipt-paid" => vec![
            ("/outcome", "unknown class", pair(5, 0)),
            ("/outcome", "ok with a code", pair(0, 1)),
            ("/outcome", "exit with code 0", pair(1, 0)),
            ("/outcome", "exit code above 32 bits", pair(1, 1 << 32)),
            ("/outcome", "trap 0", pair(2, 0)),
            ("/outcome", "unknown trap", pair(2, 9)),
            ("/outcome", "out of fuel with a code", pair(3, 1)),
            ("/outcome", "unknown limit", pair(4, 5)),
            ("/outcome", "one number", Item::Array(vec![Item::Uint(0)])),
            ("/by", "key of order 1", key([0xed, 1], one)),
            ("/by", "key of order 4", key([0xed, 1], [0; 32])),
            ("/by", "key above the prime", key([0xed, 1], above_prime)),
            ("/by", "key of another curve", key([0xe7, 1], [9; 32])),
            ("/by", "key without its codec", Item::Bytes(vec![9; 32])),
            ("/pay/payer", "weak payer", key([0xed, 1], one)),
        ],
        "batch" => vec![
            ("/count", "no receipts", Item::Uint(0)),
            ("/count", "too many receipts", Item::Uint(4097)),
            ("/root", "root of 31 bytes", Item::Bytes(vec![0; 31])),
            ("/net", "network of 33 bytes", Item::Bytes(vec![0; 33])),
        ],
        "sealed-run" => vec![
            ("/t", "a type that is never signed", text("application/vnd.talea.input.v1+dag-cbor")),
            ("/t", "unknown version", text("application/vnd.talea.run.v2+dag-cbor")),
            ("/s", "no signature", Item::Array(vec![])),
            ("/s/0/g", "signature of 63 bytes", Item::Bytes(vec![0; 63])),
            ("/p", "payload above 16 KiB", Item::Bytes(vec![0; 16_385])),
        ],
        "params" => vec![
            ("/name", "empty network name", text("")),
            ("/name", "network name with a dot", text("a.b")),
            ("/blocklen", "length above 32 bits", Item::Uint(1 << 32)),
            ("/authorities/0", "weak authority", key([0xed, 1], one)),
        ],
        "voucher" => vec![("/chan", "channel of 31 bytes", Item::Bytes(vec![0; 31]))],
        "session" => vec![
            ("/hosts", "33 hosts", Item::Array(vec![key([0xed, 1], [9; 32]); 33])),
            ("/payer", "weak payer", key([0xed, 1], one)),
        ],
        "block" => vec![
            ("/count", "count above 32 bits", Item::Uint(1 << 32)),
            ("/parent", "parent of 31 bytes", Item::Bytes(vec![0; 31])),
        ],
        "block-whole" => {
            vec![("/body", "4,097 transactions", Item::Array(vec![Item::Bytes(vec![]); 4097]))]
        }
        "transaction-open" => vec![
            ("/act", "no action", Item::Map(vec![])),
            ("/act", "unknown action", Item::Map(vec![(text("mint"), Item::Uint(1))])),
            ("/act", "an action as text", text("open")),
            ("/act/open/host", "weak host", key([0xed, 1], one)),
        ],
        "transaction-deposit" => {
            vec![("/act/deposit", "content above 1 KiB", Item::Bytes(vec![0; 1025]))]
        }
        "record-channel" => vec![
            ("/channel/used", "window of 127 bytes", Item::Bytes(vec![0; 127])),
            ("", "a record of another kind", Item::Map(vec![(text("totals"), Item::Uint(0))])),
        ],
        "evidence-absence" => vec![
            ("/of/state/path/bits", "257 branches", Item::Bytes(vec![0; 257])),
            ("/of/state/key", "a key of no kind", Item::Map(vec![(text("x"), Item::Uint(0))])),
        ],
        "offer" => vec![
            ("/by", "weak host", key([0xed, 1], one)),
            ("/endpoints", "nine endpoints", Item::Array(vec![text("x"); 9])),
            ("/endpoints/0", "blank in an endpoint", text("http://a b")),
            ("/profiles", "nine profiles", Item::Array(vec![Item::Uint(0); 9])),
            ("/max/mem", "pages above 32 bits", Item::Uint(1 << 32)),
        ],
        "draw" => vec![
            ("/drawn", "index above 32 bits", Item::Uint(1 << 32)),
            ("/offers", "65 candidates", Item::Array(vec![Item::Uint(0); 65])),
            ("/offers/0/host", "weak host", key([0xed, 1], one)),
            ("/offers/0/load", "load above 32 bits", Item::Uint(1 << 32)),
        ],
        _ => vec![
            ("/kind", "unknown kind", text("component")),
            ("/name", "name without a slash", text("markdown")),
            ("/name", "name in capitals", text("Demo/x")),
            ("/headers/0", "empty header name", text("")),
            ("/max/mem", "pages above 32 bits", Item::Uint(1 << 32)),
        ],
    }
}

fn table() -> String {
    let mut text = String::from(
        "# Bytes that must be refused: document type, hex, what is wrong with them.\n",
    );
    for sample in samples::all().into_iter().filter(|sample| TYPES.contains(&sample.name)) {
        let tree = tree::parse(&sample.bytes);
        let places: BTreeMap<String, Vec<usize>> = tree::places(&tree)
            .into_iter()
            .map(|place| (tree::name(&tree, &place), place))
            .collect();
        let mut line = |what: &str, name: &str, form: Item| {
            let bytes = write(&tree::replaced(&tree, &places[name], form));
            let at = if name.is_empty() { "" } else { " at " };
            writeln!(text, "{} {} {what}{at}{name}", sample.name, hex(&bytes)).unwrap();
        };
        // One place for each kind of wrong form: the first item that has it.
        let mut seen: Vec<&str> = Vec::new();
        for (name, place) in &places {
            for (what, form) in illegal_forms(tree::at(&tree, place)) {
                if !seen.contains(&what) {
                    seen.push(what);
                    line(what, name, form);
                }
            }
        }
        for (name, what, form) in out_of_range(sample.name) {
            line(what, name, form);
        }
        let (bytes, end) = (&sample.bytes, sample.bytes.len() - 1);
        writeln!(text, "{} {} trailing byte", sample.name, hex(&[&bytes[..], &[0]].concat()))
            .unwrap();
        writeln!(text, "{} {} last byte missing", sample.name, hex(&bytes[..end])).unwrap();
    }
    text
}

#[test]
fn the_table_is_refused() {
    check("bad.txt", &table());
    let text = std::fs::read_to_string(path("bad.txt")).unwrap();
    let samples = samples::all();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let (name, bytes, what) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let sample = samples.iter().find(|sample| sample.name == name).unwrap();
        let answer = (sample.recode)(&from_hex(bytes));
        assert!(answer.is_err(), "{name}: {what} was accepted");
        count += 1;
    }
    assert!(count >= 100, "{count} bad vectors");
}

#[test]
fn an_error_names_offset_and_reason() {
    let sample = samples::all().remove(0);
    let error = (sample.recode)(&[&sample.bytes[..], &[0]].concat()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("at byte {}: bytes follow after the end", sample.bytes.len())
    );
    // The map head says 8 keys; the first is `len`.
    let error = (sample.recode)(&[0xa8, 0x63, b'l', b'e', b'n', 0x18, 0x05]).unwrap_err();
    assert_eq!(error.to_string(), "at byte 5: an integer is not in its shortest form");
}
