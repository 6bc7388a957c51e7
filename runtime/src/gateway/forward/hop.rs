//! HTTP to another host, in its payer's name: one call, papers of a receipt, a list, a voucher.
//!
//! Invariants: every request ends within its time; no answer is read beyond its bound; a base is a plain `http` address
//! from a signed offer, and where this node serves others than its own machine, none that leads back into it.
//! Absent: redirects, TLS (a node listens behind a proxy that ends it), and belief: what comes is checked by the caller.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use talea_ledger::{
    BodyId, Bundle, ChannelId, Document as _, Domain, DrawId, Input, Offer, ReceiptId, Sealed,
    Sequence, Tal, UnixNanos,
};

use crate::call::{ARGS, FORWARDED, REQUEST, RUN, SALT};
use crate::limits::{BODY_LEN_MAX, MIB};
use crate::purse::Purse;
use crate::registry::Order;

/// A host on the same continent accepts within this; longer means that nobody is there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// What is not a call is answered at once.
const ASK_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest answer that is no body of a run: a page of receipts, a refusal.
const VIEW_LEN_MAX: usize = MIB as usize;
/// What papers hold besides the bodies.
const PAPERS_LEN_MAX: u64 = MIB;
/// What a host sees as the software of who asks; a call has the caller's headers and no others.
const AGENT: &str = concat!("talea/", env!("CARGO_PKG_VERSION"));
/// Longest stable code of a refusal that is passed on.
const CODE_LEN_MAX: usize = 64;

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    authority: Authority,
    /// A path put before every other, without a slash at its end.
    prefix: String,
}

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HopError {
    /// No connection could be made: nothing was sent.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended in the middle.
    #[error("it broke off: {0}")]
    Broken(String),
    /// The time passed.
    #[error("it did not answer in time")]
    Late,
    /// More bytes than such an answer has.
    #[error("its answer is too long")]
    TooLong,
    /// The request cannot be written as HTTP.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// It said no to what is not a call.
    #[error("it refused: {0} {1}")]
    Refused(StatusCode, String),
    /// It said something that is not understood.
    #[error("its answer is not understood: {0}")]
    Meaning(String),
}

/// What became of a call.
#[derive(Debug)]
pub(super) enum Answered {
    /// It was run, and this is its receipt.
    Receipt(ReceiptId),
    /// It was not.
    Refused { status: StatusCode, code: String },
}

/// What became of a voucher.
#[derive(Debug)]
pub(super) enum Given {
    /// The host has it.
    Taken,
    /// One redeem lists no more than this.
    AtMost(Tal, Sequence),
}

/// A part of a channel's receipts.
#[derive(Debug)]
pub(super) struct Page {
    /// Their names and what was owed after each.
    pub(super) receipts: Vec<(ReceiptId, Tal)>,
    /// The position of the last one.
    pub(super) upto: Option<u64>,
    /// Where it goes on.
    pub(super) next: Option<u64>,
}

/// The client. Connections are kept open between calls.
#[derive(Debug)]
pub(super) struct Hop {
    pool: Client<HttpConnector, Full<Bytes>>,
    time_max: Duration,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

// === impl Base ===

impl Base {
    /// The first endpoint of an offer that can be used.
    pub(super) fn of(offer: &Offer, is_local: bool) -> Option<Self> {
        offer.endpoints.iter().find_map(|endpoint| Self::parse(endpoint, is_local))
    }

    fn parse(text: &str, is_local: bool) -> Option<Self> {
        let parts = text.parse::<Uri>().ok()?.into_parts();
        if parts.scheme?.as_str() != "http" {
            return None;
        }
        // Credentials in an address have no meaning here.
        let authority =
            parts.authority.filter(|it| !it.host().is_empty() && !it.as_str().contains('@'))?;
        let path = parts.path_and_query?;
        if path.query().is_some() || (!is_local && leads_home(authority.host())) {
            return None;
        }
        Some(Self { authority, prefix: path.path().trim_end_matches('/').to_owned() })
    }

    fn join(&self, path_and_query: &str) -> String {
        format!("http://{}{}{path_and_query}", self.authority, self.prefix)
    }
}

/// Whether an address leads to this machine or its own link: an offer must not make a gateway talk to those.
fn leads_home(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_unspecified() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            let mapped = ip
                .to_ipv4_mapped()
                .is_some_and(|ip| ip.is_loopback() || ip.is_unspecified() || ip.is_link_local());
            ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || mapped
        }
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

// === impl Hop ===

impl Hop {
    pub(super) fn new(time_max: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME_MAX.min(time_max)));
        connector.set_nodelay(true);
        let pool =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { pool, time_max }
    }

    /// Orders a run. What the guest said is read from the papers; the answer's own body is not needed.
    pub(super) async fn call(
        &self,
        base: &Base,
        order: &Order,
        run: &Sealed,
        draw: &DrawId,
    ) -> Result<Answered, HopError> {
        let (input, function) = (order.input(), order.run().function);
        let query = match input.query.is_empty() {
            true => String::new(),
            false => format!("?{}", &*input.query),
        };
        let target = format!("/f/{function}{}{query}", &*input.path);
        let mut request = Request::builder().method(input.method.as_str()).uri(base.join(&target));
        for (name, value) in input.headers.iter() {
            request = request.header(name, value);
        }
        request = request.header(RUN, base64url(&run.encode())).header(FORWARDED, draw.to_string());
        if !input.args.is_empty() {
            request = request.header(ARGS, words(input));
        }
        if let Some(salt) = &input.salt {
            request = request.header(SALT, hex(salt));
        }
        let request = request.body(Full::new(order.body().clone()));
        let request = request.map_err(|error| HopError::Request(error.to_string()))?;
        let most = usize::try_from(order.run().output_limit).unwrap_or(usize::MAX);
        let most = most.saturating_add(VIEW_LEN_MAX);
        let answer = self.exchange(request, most, self.time_max).await?;
        let receipt = answer.headers.get("talea-receipt").and_then(|value| value.to_str().ok());
        match receipt {
            Some(text) => text
                .parse()
                .map(Answered::Receipt)
                .map_err(|_| HopError::Meaning("the receipt's name".to_owned())),
            None => Ok(Answered::Refused { status: answer.status, code: code_of(&answer.body) }),
        }
    }

    /// A receipt with its papers and bodies, asked for as its payer.
    pub(super) async fn papers(
        &self,
        base: &Base,
        purse: &Purse,
        receipt: ReceiptId,
        now: UnixNanos,
    ) -> Result<Bundle, HopError> {
        let path = format!("/receipts/{receipt}");
        let accept = Domain::Bundle.media_type();
        // Two bodies, each as long as one may be.
        let most = BODY_LEN_MAX.saturating_mul(2).saturating_add(PAPERS_LEN_MAX);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let answer = self.ask(base, purse, (&path, accept), most, now).await?;
        Bundle::decode(&answer.body).map_err(|error| HopError::Meaning(error.to_string()))
    }

    /// Receipts of a channel, from a position on.
    pub(super) async fn list(
        &self,
        base: &Base,
        purse: &Purse,
        channel: ChannelId,
        after: Option<u64>,
        now: UnixNanos,
    ) -> Result<Page, HopError> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let path = format!("/receipts?channel={channel}&limit=200{after}");
        let answer = self.ask(base, purse, (&path, "application/json"), VIEW_LEN_MAX, now).await?;
        let meaning = |what: &str| HopError::Meaning(what.to_owned());
        let view: Value =
            serde_json::from_slice(&answer.body).map_err(|error| meaning(&error.to_string()))?;
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        let mut page = Page { receipts: Vec::new(), upto: None, next: number(&view["next"]) };
        for listed in view["receipts"].as_array().ok_or_else(|| meaning("a list"))? {
            let id = listed["id"].as_str().and_then(|text| text.parse().ok());
            let id = id.ok_or_else(|| meaning("a receipt's name"))?;
            let owed = number(&listed["payment"]["owed"]).ok_or_else(|| meaning("a sum"))?;
            page.receipts.push((id, Tal(owed)));
            page.upto = number(&listed["position"]);
        }
        Ok(page)
    }

    /// Gives a voucher.
    pub(super) async fn give(&self, base: &Base, voucher: &Sealed) -> Result<Given, HopError> {
        let request = Request::post(base.join("/vouchers"))
            .header(header::CONTENT_TYPE, Domain::Voucher.media_type())
            .header(header::USER_AGENT, AGENT)
            .body(Full::new(Bytes::from(voucher.encode())))
            .map_err(|error| HopError::Request(error.to_string()))?;
        let answer = self.exchange(request, VIEW_LEN_MAX, ASK_TIME_MAX).await?;
        if answer.status.is_success() {
            return Ok(Given::Taken);
        }
        let code = code_of(&answer.body);
        match at_most(&answer.body).filter(|_| code == "voucher_parts") {
            Some((owed, settled)) => Ok(Given::AtMost(owed, settled)),
            None => Err(HopError::Refused(answer.status, code)),
        }
    }

    /// A read that only some may make, signed.
    async fn ask(
        &self,
        base: &Base,
        purse: &Purse,
        (path, accept): (&str, &str),
        most: usize,
        now: UnixNanos,
    ) -> Result<Answer, HopError> {
        let unsendable = |error: &dyn std::fmt::Display| HopError::Request(error.to_string());
        let document = talea_ledger::Request {
            at: now,
            network: purse.network(),
            body: BodyId::of(&[]),
            path_and_query: path.try_into().map_err(|error| unsendable(&error))?,
            method: "GET".try_into().map_err(|error| unsendable(&error))?,
        };
        let request = Request::get(base.join(path))
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, AGENT)
            .header(REQUEST, base64url(&purse.sign(&document).encode()))
            .body(Full::new(Bytes::new()))
            .map_err(|error| unsendable(&error))?;
        let answer = self.exchange(request, most, ASK_TIME_MAX).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(HopError::Refused(answer.status, code_of(&answer.body)))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
        time_max: Duration,
    ) -> Result<Answer, HopError> {
        let exchanged = async {
            let response = self.pool.request(request).await.map_err(|error| {
                let reason = innermost(&error);
                match error.is_connect() {
                    true => HopError::Unreachable(reason),
                    false => HopError::Broken(reason),
                }
            })?;
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, most).collect().await.map_err(|error| match error
                    .is::<LengthLimitError>(
                ) {
                    true => HopError::TooLong,
                    false => HopError::Broken(error.to_string()),
                })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(time_max, exchanged).await.unwrap_or(Err(HopError::Late))
    }
}

/// The stable code of a refusal.
fn code_of(body: &[u8]) -> String {
    let view: Option<Value> = serde_json::from_slice(body).ok();
    let code = view.as_ref().and_then(|view| view["error"]["code"].as_str());
    let is_code = |code: &&str| {
        code.len() <= CODE_LEN_MAX
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    code.filter(is_code).unwrap_or("unknown").to_owned()
}

/// How far a voucher may go, when the host says that one redeem lists no more.
fn at_most(body: &[u8]) -> Option<(Tal, Sequence)> {
    let view: Value = serde_json::from_slice(body).ok()?;
    let number = |name: &str| {
        view["error"]["detail"][name].as_str().and_then(|text| text.parse::<u64>().ok())
    };
    Some((Tal(number("owed")?), Sequence(number("settled")?)))
}

fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Arguments as a header carries them: percent-encoded, one space between them.
fn words(input: &Input) -> String {
    let mut text = String::new();
    for (at, argument) in input.args.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        for byte in argument.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// The last cause of an error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_leads_to_no_address_of_this_machine() {
        let joined =
            |text: &str, is_local| Base::parse(text, is_local).map(|base| base.join("/f/x"));
        for (text, expected) in [
            ("http://192.0.2.1:7600", Some("http://192.0.2.1:7600/f/x")),
            ("http://host.example/talea/", Some("http://host.example/talea/f/x")),
            ("http://[2001:db8::1]:7600", Some("http://[2001:db8::1]:7600/f/x")),
            ("https://host.example", None),
            ("http://host.example/?q=1", None),
            ("http://user:secret@host.example", None),
            ("/ip4/192.0.2.1/tcp/7600", None),
            ("host.example:7600", None),
            ("", None),
        ] {
            assert_eq!(joined(text, false).as_deref(), expected, "{text}");
        }
        for text in [
            "http://127.0.0.1:7600",
            "http://[::1]:7600",
            "http://0.0.0.0:7600",
            "http://169.254.169.254",
            "http://[::ffff:127.0.0.1]:7600",
            "http://localhost:7600",
        ] {
            assert_eq!(joined(text, false), None, "{text}");
            assert!(joined(text, true).is_some(), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_passed_on_by_its_code_alone() {
        for (body, code) in [
            (r#"{"error":{"code":"escrow_low","message":"<b>"}}"#, "escrow_low"),
            (r#"{"error":{"code":"<script>"}}"#, "unknown"),
            (r#"{"error":7}"#, "unknown"),
            ("busy", "unknown"),
        ] {
            assert_eq!(code_of(body.as_bytes()), code);
        }
        let parts = br#"{"error":{"detail":{"owed":"7","settled":"2"}}}"#;
        assert_eq!(at_most(parts), Some((Tal(7), Sequence(2))));
        assert_eq!(at_most(b"{}"), None);
    }
}
