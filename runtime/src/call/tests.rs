//! Heads as data: which are calls, and what the others are told.

use std::net::Ipv4Addr;

use expect_test::{Expect, expect};
use http::Request;

use super::*;

fn id() -> FunctionId {
    FunctionId::of(b"module")
}

fn call(target: &str, headers: &[(&str, &str)]) -> Result<Call, CallError> {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Call::new(Head {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        peer: Ipv4Addr::LOCALHOST.into(),
        at: UnixNanos(7),
    })
}

fn check_fault(target: &str, headers: &[(&str, &str)], expected: Expect) {
    match call(target, headers) {
        Ok(call) => panic!("was taken: {call:?}"),
        Err(fault) => expected.assert_eq(&fault.to_string()),
    }
}

#[test]
fn a_function_is_named_in_three_ways() {
    let by_cid = call(&format!("/f/{}/a/b?c=d", id()), &[]).unwrap();
    assert_eq!(by_cid.target(), &Target::Function(id()));
    assert_eq!((by_cid.path(), by_cid.query()), ("/a/b", "c=d"));

    let hex = id().digest().to_string();
    let by_hash = call(&format!("/f/sha256:{hex}"), &[]).unwrap();
    assert_eq!(by_hash.target(), &Target::Function(id()));
    assert_eq!((by_hash.path(), by_hash.query()), ("", ""));

    let by_name = call("/f/acme/resize/x%20y", &[]).unwrap();
    assert_eq!(by_name.target(), &Target::Name("acme/resize".parse().unwrap()));
    assert_eq!(by_name.path(), "/x%20y");
    assert_eq!(Target::parse("acme/resize").as_ref(), Some(by_name.target()));
}

#[test]
fn what_is_no_call_is_told_why() {
    check_fault(
        "/f/",
        &[],
        expect![
            "`` is neither a function id (CIDv1 or sha256:<hex>) nor the start of namespace/name"
        ],
    );
    check_fault(
        "/f/acme",
        &[],
        expect![
            "`acme` is neither a function id (CIDv1 or sha256:<hex>) nor the start of namespace/name"
        ],
    );
    check_fault(
        "/f/Acme/resize",
        &[],
        expect![
            "`Acme/resize` is neither a function id (CIDv1 or sha256:<hex>) nor the start of namespace/name"
        ],
    );
    check_fault(
        "/f/-a/resize",
        &[],
        expect![
            "`-a/resize` is neither a function id (CIDv1 or sha256:<hex>) nor the start of namespace/name"
        ],
    );
    check_fault(
        &format!("/f/{}x/", id()),
        &[],
        expect![
            "`bafkreiasbfynqeudn4myrbrflb5embvfvur454y4q2comalxcvjfjd6gxex/` is neither a function id (CIDv1 or sha256:<hex>) nor the start of namespace/name"
        ],
    );
    check_fault(
        &format!("/f/a/b?{}", "q".repeat(9000)),
        &[],
        expect!["the request target has 9007 bytes; 8192 are taken"],
    );
    check_fault(
        "/f/a/b",
        &[("talea-run", "!")],
        expect!["the header talea-run is not base64url without padding"],
    );
    check_fault(
        "/f/a/b",
        &[("talea-run", "AAAA"), ("talea-run", "AAAA")],
        expect!["the header talea-run is given more than once"],
    );
    check_fault(
        "/f/a/b",
        &[("talea-run", &"A".repeat(13_000))],
        expect!["the header talea-run is too long"],
    );
    check_fault(
        "/f/a/b",
        &[("talea-salt", "abc")],
        expect!["the header talea-salt must be 32 hex digits, or `random` on a free call"],
    );
    check_fault(
        "/f/a/b",
        &[("talea-args", "a%0")],
        expect![
            "the header talea-args must be percent-encoded UTF-8 words without NUL, one space between them"
        ],
    );
    check_fault(
        "/f/a/b",
        &[("talea-args", "a%00")],
        expect![
            "the header talea-args must be percent-encoded UTF-8 words without NUL, one space between them"
        ],
    );
    check_fault(
        "/f/a/b",
        &[("talea-args", "%ff")],
        expect![
            "the header talea-args must be percent-encoded UTF-8 words without NUL, one space between them"
        ],
    );
}

#[test]
fn wishes_are_read() {
    let headers = [
        ("talea-run", "AAEC"),
        ("talea-salt", "000102030405060708090A0b0c0d0e0f"),
        ("talea-args", "-n a%20b %25%C3%A9"),
        ("prefer", "wait=3, return=receipt"),
    ];
    let call = call("/f/a/b", &headers).unwrap();
    assert_eq!(call.run(), Some(&[0, 1, 2][..]));
    assert_eq!(
        call.salt(),
        SaltWish::Given([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    );
    assert_eq!(call.args(), ["-n", "a b", "%\u{e9}"]);
    assert!(call.wants_receipt());
}

#[test]
fn a_receipt_is_sent_only_when_preferred() {
    assert!(!call("/f/a/b", &[]).unwrap().wants_receipt());
    assert!(!call("/f/a/b", &[("prefer", "return=minimal")]).unwrap().wants_receipt());
    assert_eq!(call("/f/a/b", &[("talea-salt", "random")]).unwrap().salt(), SaltWish::Random);
}
