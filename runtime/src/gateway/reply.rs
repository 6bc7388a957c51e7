//! What a run's caller gets: the guest's answer with our headers, or what ended it instead.
//!
//! Invariants: a guest sets no `talea-*`, hop-by-hop, length or cookie header and none that acts on the
//! whole origin, since all functions of a host share one. An answer that a browser could run as a document
//! is sandboxed. Every answer of a run names receipt, fuel, bill, function and outcome.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;
use talea_ledger::{Headers, LimitKind, Outcome, Receipt, ReceiptId};

use super::{ReplyBody, full};
use crate::limits::RECEIPT_HEADERS_LEN_MAX;

const RECEIPT: HeaderName = HeaderName::from_static("talea-receipt");
const FUEL: HeaderName = HeaderName::from_static("talea-fuel");
const BILL: HeaderName = HeaderName::from_static("talea-bill");
const FUNCTION: HeaderName = HeaderName::from_static("talea-function");
const OUTCOME: HeaderName = HeaderName::from_static("talea-outcome");
const VIA: HeaderName = HeaderName::from_static("talea-via");
const RECEIPT_PAYLOAD: HeaderName = HeaderName::from_static("talea-receipt-payload");
const RECEIPT_PROOF: HeaderName = HeaderName::from_static("talea-receipt-proof");
const RUN_PAYLOAD: HeaderName = HeaderName::from_static("talea-run-payload");
const INPUT_PAYLOAD: HeaderName = HeaderName::from_static("talea-input-payload");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Headers of ours that a page of another origin may read.
pub(super) const EXPOSED: &str = "talea-receipt, talea-fuel, talea-bill, talea-function, talea-outcome, talea-via, \
     talea-receipt-payload, talea-receipt-proof, talea-run-payload, talea-input-payload, \
     payment-required, preference-applied, retry-after, traceparent";

/// Room for a guest's few headers and ours: a map that grows is made again.
const HEADERS_USUAL: usize = 16;

/// Headers that are ours, the connection's or the whole origin's to set.
const NOT_A_GUESTS: [&str; 32] = [
    // Hop by hop (RFC 9110 section 7.6.1) and framing.
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "date",
    // Cookies, and what else acts on the origin that all functions share.
    "set-cookie",
    "set-cookie2",
    "cookie",
    "clear-site-data",
    "strict-transport-security",
    "public-key-pins",
    "expect-ct",
    "alt-svc",
    "nel",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "origin-agent-cluster",
    // Set by us.
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "x-content-type-options",
    "payment-required",
    "traceparent",
];

/// A run that is recorded, and what its guest said.
#[derive(Debug)]
pub(super) struct Recorded<'a> {
    pub(super) id: ReceiptId,
    pub(super) receipt: &'a Receipt,
    /// Status and headers that the guest set.
    pub(super) status: u16,
    pub(super) headers: &'a Headers,
    pub(super) body: Bytes,
}

/// Documents that `Prefer: return=receipt` asks for.
#[derive(Debug)]
pub(super) struct Papers {
    pub(super) receipt: Bytes,
    pub(super) proof: Vec<u8>,
    pub(super) run: Bytes,
    pub(super) input: Bytes,
}

/// The answer of a recorded run.
pub(super) fn reply(recorded: Recorded<'_>) -> Response<ReplyBody> {
    let mut response = match recorded.receipt.outcome {
        Outcome::Ok => of_guest(recorded.status, recorded.headers, recorded.body),
        Outcome::Exit(code) => of_exit(code.get(), recorded.headers, recorded.body),
        Outcome::Trap(_) | Outcome::OutOfFuel | Outcome::Limit(_) => {
            ended(&recorded.receipt.outcome)
        }
    };
    let headers = response.headers_mut();
    let receipt = recorded.receipt;
    headers.insert(RECEIPT, text(recorded.id));
    headers.insert(FUEL, HeaderValue::from(receipt.fuel.0));
    headers.insert(BILL, HeaderValue::from(receipt.bill.0));
    headers.insert(FUNCTION, text(receipt.function));
    headers.insert(OUTCOME, outcome(&receipt.outcome));
    if let Some(forwarded) = &receipt.forwarded {
        headers.insert(VIA, text(forwarded.receipt));
    }
    response
}

/// Adds the papers if together they fit into a head that common clients read.
pub(super) fn attach(headers: &mut HeaderMap, papers: &Papers) {
    let papers: [(HeaderName, &[u8]); 4] = [
        (RECEIPT_PAYLOAD, &papers.receipt),
        (RECEIPT_PROOF, &papers.proof),
        (RUN_PAYLOAD, &papers.run),
        (INPUT_PAYLOAD, &papers.input),
    ];
    let len: usize = papers.iter().map(|(_, bytes)| bytes.len().div_ceil(3) * 4).sum();
    if len > RECEIPT_HEADERS_LEN_MAX {
        return;
    }
    for (name, bytes) in papers {
        headers.insert(name, text(BASE64_URL_SAFE_NO_PAD.encode(bytes)));
    }
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("return=receipt"));
}

/// Status and code of a guest that ended otherwise than by itself.
fn ended(outcome: &Outcome) -> Response<ReplyBody> {
    let (code, message) = match outcome {
        // An `ok` has the guest's own answer and an exit its output; neither comes here.
        Outcome::Ok | Outcome::Exit(_) => ("guest_exit", "The guest ended itself."),
        Outcome::Trap(_) => ("guest_trap", "The guest trapped."),
        Outcome::OutOfFuel => ("out_of_fuel", "The run used up its fuel."),
        Outcome::Limit(LimitKind::Stack) => ("limit_stack", "The guest called too deeply."),
        Outcome::Limit(LimitKind::Memory) => {
            ("limit_memory", "The guest begins with more memory than the run allows.")
        }
        Outcome::Limit(LimitKind::Output) => {
            ("limit_output", "The guest wrote more output than the run allows.")
        }
        Outcome::Limit(LimitKind::Log) => {
            ("limit_log", "The guest wrote more log than the run allows.")
        }
    };
    let body = json!({ "error": {
        "code": code,
        "message": message,
        "detail": { "outcome": outcome.code_text() },
    }});
    super::respond::json_response(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

/// The codes that `ended` and `of_exit` give, for the OpenAPI document.
#[cfg(test)]
pub(super) const GUEST_CODES: [&str; 7] = [
    "guest_exit",
    "guest_trap",
    "out_of_fuel",
    "limit_stack",
    "limit_memory",
    "limit_output",
    "limit_log",
];

/// A guest that ended itself with a code other than 0: its output is its own, and so is its status if it
/// chose one; a guest that said nothing at all gets the error body.
fn of_exit(code: u32, headers: &Headers, body: Bytes) -> Response<ReplyBody> {
    if body.is_empty() && headers.is_empty() {
        return ended(&Outcome::exit(code));
    }
    of_guest(500, headers, body)
}

fn of_guest(status: u16, given: &Headers, body: Bytes) -> Response<ReplyBody> {
    // The ABI takes 200 to 599; anything else here would break the framing of the answer.
    let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let has_body = !matches!(status.as_u16(), 204 | 205 | 304);
    let mut response = Response::new(full(if has_body { body } else { Bytes::new() }));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS_USUAL);
    for (name, value) in given.iter() {
        if !is_a_guests(name) {
            continue;
        }
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            continue;
        };
        headers.append(name, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CONTENT_TYPE) {
        let bytes = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, bytes);
    } else if is_a_document(headers) {
        // Appended: a guest may be stricter about itself, never laxer.
        let sandbox = HeaderValue::from_static("sandbox");
        headers.append(header::CONTENT_SECURITY_POLICY, sandbox);
    }
    response
}

fn is_a_guests(name: &str) -> bool {
    let starts = |prefix: &str| {
        name.as_bytes()
            .get(..prefix.len())
            .is_some_and(|b| b.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    !starts("talea-") && !NOT_A_GUESTS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Whether a browser would run the answer as a document: HTML, and XML in all its kinds (SVG too).
fn is_a_document(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_TYPE).iter().any(|value| {
        let kind = value.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii().to_ascii_lowercase();
        kind.ends_with(b"html") || kind.ends_with(b"xml")
    })
}

fn outcome(outcome: &Outcome) -> HeaderValue {
    match outcome {
        Outcome::Ok => HeaderValue::from_static("ok"),
        Outcome::Exit(_) | Outcome::Trap(_) | Outcome::OutOfFuel | Outcome::Limit(_) => {
            text(outcome.code_text())
        }
    }
}

/// Text that is ASCII by its type as a header, without a second copy.
fn text(value: impl std::fmt::Display) -> HeaderValue {
    let bytes = Bytes::from(value.to_string());
    HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static("unprintable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> HeaderMap {
        let given = Headers::of(headers.iter().copied()).unwrap();
        of_guest(200, &given, Bytes::from_static(b"x")).headers().clone()
    }

    #[test]
    fn a_guest_sets_only_its_own_headers() {
        let given = [
            ("Talea-Receipt", "forged"),
            ("Set-Cookie", "a=b"),
            ("connection", "upgrade"),
            ("Content-Length", "1"),
            ("transfer-encoding", "chunked"),
            ("access-control-allow-origin", "https://evil"),
            ("service-worker-allowed", "/"),
            ("x-own", "kept"),
            ("x-own", "twice"),
            ("content-type", "text/plain"),
        ];
        let headers = answer(&given);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-content-type-options", "x-own"]);
        assert_eq!(headers.get_all("x-own").iter().count(), 2);
    }

    #[test]
    fn what_a_browser_would_run_is_sandboxed() {
        let policy = |kind| {
            let headers = answer(&[("content-type", kind)]);
            headers.get(header::CONTENT_SECURITY_POLICY).cloned()
        };
        for kind in
            ["text/html", "TEXT/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml"]
        {
            assert_eq!(policy(kind).unwrap(), "sandbox", "{kind}");
        }
        for kind in ["application/json", "image/png", "text/plain"] {
            assert_eq!(policy(kind), None, "{kind}");
        }
        let untyped = answer(&[]);
        assert_eq!(untyped[header::CONTENT_TYPE], "application/octet-stream");
        assert_eq!(untyped[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let stricter = answer(&[
            ("content-type", "text/html"),
            ("content-security-policy", "default-src 'none'"),
        ]);
        assert_eq!(stricter.get_all(header::CONTENT_SECURITY_POLICY).iter().count(), 2);
    }

    #[test]
    fn a_status_that_would_break_the_framing_is_ours() {
        let status =
            |status| of_guest(status, &Headers::none(), Bytes::from_static(b"x")).status().as_u16();
        assert_eq!([status(101), status(199), status(0), status(1000)], [500; 4]);
        assert_eq!([status(200), status(404), status(599)], [200, 404, 599]);
        let empty = of_guest(204, &Headers::none(), Bytes::from_static(b"x"));
        assert_eq!(hyper::body::Body::size_hint(empty.body()).exact(), Some(0));
    }

    #[test]
    fn papers_that_are_too_long_are_left_out() {
        let papers = |len| Papers {
            receipt: vec![1; len].into(),
            proof: vec![2; 10],
            run: vec![3; 10].into(),
            input: vec![4; 10].into(),
        };
        let mut headers = HeaderMap::new();
        attach(&mut headers, &papers(10_000));
        assert!(headers.is_empty());
        attach(&mut headers, &papers(100));
        assert_eq!(headers.len(), 5);
        assert_eq!(headers[PREFERENCE_APPLIED], "return=receipt");
    }
}
