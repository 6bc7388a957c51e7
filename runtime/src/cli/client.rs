//! A small HTTP/1.1 client for one node.
//!
//! Owns: the node's address, time limits, the bound on an answer's size, and how a node's refusal becomes a
//! sentence, a stable code and an exit code. Invariants: every request ends within its time limit; no answer is
//! read beyond [`ANSWER_LEN_MAX`]; a status outside 2xx is an error, except where a command asks for the raw
//! answer. Absent: TLS (a node listens on loopback or behind a proxy), redirects, retries: a command that may
//! safely repeat says so itself.

mod address;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use talea_ledger::PublicKey;

pub(super) use address::{NodeAddress, encode_query};

use super::exit::{Exit, Failure};

/// The longest answer read: the largest module or body a node hands out (64 MiB) and room for a bundle's rest.
const ANSWER_LEN_MAX: usize = 80 * 1024 * 1024;

/// A node on the same machine or continent accepts within this; longer means that nobody is there.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A client of one node.
#[derive(Clone, Debug)]
pub(super) struct Client {
    address: NodeAddress,
    pool: Pool<HttpConnector, Full<Bytes>>,
    time_max: Duration,
}

/// What a node answered, read to its end.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// No connection could be made.
    #[error("cannot reach the node at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    /// The connection ended in the middle.
    #[error("the node at {address} broke off its answer: {reason}")]
    Broken { address: String, reason: String },
    /// The time limit passed.
    #[error("the node at {address} did not answer within {} s", time_max.as_secs_f32())]
    Late { address: String, time_max: Duration },
    /// More bytes than any answer of a node has.
    #[error("the answer is longer than {ANSWER_LEN_MAX} bytes")]
    TooLong,
    /// The request itself cannot be written as HTTP.
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
    /// The node said no.
    #[error("the node refused: {message} ({status}{})", code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        status: StatusCode,
        code: Option<String>,
        message: String,
        retry_after: Option<String>,
    },
    /// The node said yes, in words that are not ours.
    #[error("the node's answer to {path} is not understood: {reason}")]
    Unintelligible { path: String, reason: String },
}

// === impl Client ===

impl Client {
    /// A client of the node at `address` that gives each request `time_max`.
    pub(super) fn new(address: NodeAddress, time_max: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX.min(time_max)));
        connector.set_nodelay(true);
        let pool =
            Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { address, pool, time_max }
    }

    /// Where the node is.
    pub(super) fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// A client of a node that this one is connected with, by its host key; none if this one does not say where that
    /// is, or another answers there.
    pub(super) async fn of_peer(&self, host: &PublicKey) -> Option<Self> {
        let host = host.to_string();
        let shown = self.get_json("/peers").await.ok()?;
        let peer = shown["peers"].as_array()?.iter().find(|peer| peer["host"] == host.as_str())?;
        let theirs = Self::new(peer["endpoint"].as_str()?.parse().ok()?, self.time_max);
        let says = theirs.get_json("/.well-known/talea/info").await.ok()?;
        (says["host"] == host.as_str()).then_some(theirs)
    }

    /// Gets a JSON document.
    pub(super) async fn get_json(&self, path: &str) -> Result<serde_json::Value, ClientError> {
        let answer = self.get(path, "application/json").await?;
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::Unintelligible {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Gets what lies at `path`, as `accept`.
    pub(super) async fn get(&self, path: &str, accept: &str) -> Result<Answer, ClientError> {
        self.expect(
            Request::get(self.address.join(path))
                .header(header::ACCEPT, accept)
                .body(Bytes::new())?,
        )
        .await
    }

    /// Sends a request and demands a 2xx answer.
    pub(super) async fn expect(&self, request: Request<Bytes>) -> Result<Answer, ClientError> {
        self.send(request).await?.successful()
    }

    /// Sends a request and returns whatever comes back.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Answer, ClientError> {
        let late =
            || ClientError::Late { address: self.address.to_string(), time_max: self.time_max };
        tokio::time::timeout(self.time_max, self.exchange(request)).await.map_err(|_| late())?
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Answer, ClientError> {
        let mut request = request.map(Full::new);
        request
            .headers_mut()
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("talea/", env!("CARGO_PKG_VERSION"))));
        let response = self.pool.request(request).await.map_err(|error| {
            let (address, reason) = (self.address.to_string(), innermost(&error));
            if error.is_connect() {
                ClientError::Unreachable { address, reason }
            } else {
                ClientError::Broken { address, reason }
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_LEN_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                ClientError::TooLong
            } else {
                ClientError::Broken { address: self.address.to_string(), reason: error.to_string() }
            }
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

// === impl Answer ===

impl Answer {
    /// A header as text, when it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The answer itself if its status is 2xx, otherwise the refusal it carries.
    pub(super) fn successful(self) -> Result<Self, ClientError> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal()) }
    }

    /// Reads the refusal out of an answer: `{code, message}`, or else the bare text.
    pub(super) fn refusal(&self) -> ClientError {
        let view: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let view = view
            .as_ref()
            .map(|view| view.get("error").filter(|inner| inner.is_object()).unwrap_or(view));
        let text =
            |field: &str| view.and_then(|view| view.get(field)).and_then(|value| value.as_str());
        let message =
            text("message").or_else(|| text("detail")).map(str::to_owned).unwrap_or_else(|| {
                let plain = String::from_utf8_lossy(&self.body);
                let line = plain
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .chars()
                    .take(200)
                    .collect::<String>();
                if line.is_empty() || view.is_some() {
                    self.status.canonical_reason().unwrap_or("no reason given").to_lowercase()
                } else {
                    line
                }
            });
        ClientError::Refused {
            status: self.status,
            code: text("code").map(str::to_owned),
            message,
            retry_after: self.header("retry-after").map(str::to_owned),
        }
    }
}

// === impl ClientError ===

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let is_ledgers = |code: &Option<String>| code.as_deref() == Some("transaction_refused");
        let (exit, advice) = match &error {
            ClientError::Unreachable { .. } => (
                Exit::Unavailable,
                Some(
                    "start one with `talea node`, or name another with --node URL or TALEA_NODE"
                        .to_owned(),
                ),
            ),
            ClientError::Broken { .. } => (Exit::Unavailable, None),
            ClientError::Late { .. } => (
                Exit::Unavailable,
                Some("give it longer with --timeout, or ask `talea doctor`".to_owned()),
            ),
            ClientError::TooLong | ClientError::Request(_) | ClientError::Unintelligible { .. } => {
                (Exit::Failed, None)
            }
            ClientError::Refused { status, code, retry_after, .. } if is_ledgers(code) => {
                (Exit::Denied, advice(*status, code.as_deref(), retry_after.as_deref()))
            }
            ClientError::Refused { status, code, retry_after, .. } => {
                (refused(*status), advice(*status, code.as_deref(), retry_after.as_deref()))
            }
        };
        let code = match &error {
            ClientError::Refused { code, .. } => code.clone(),
            _ => None,
        };
        let mut failure = Failure::new(exit, error);
        if let Some(advice) = advice {
            failure = failure.advise(advice);
        }
        if let Some(code) = code {
            failure = failure.coded(code);
        }
        failure
    }
}

/// The exit code of a refusal, by its status.
fn refused(status: StatusCode) -> Exit {
    match status.as_u16() {
        401..=403 => Exit::Denied,
        413 | 422 => Exit::Data,
        429 | 502..=504 => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

/// What to try after a refusal, by the node's code where we know it.
fn advice(status: StatusCode, code: Option<&str>, retry_after: Option<&str>) -> Option<String> {
    let known = match code {
        Some("payment_required") => "pay with `talea invoke --pay`",
        Some("payer_unknown") => {
            "ask the host to take your key as a payer: `talea wallet show` prints it, `talea node --payers` takes it"
        }
        Some("cap_low" | "credit_spent") => {
            "ask for less: --max-fuel and --max-output bound what a run can cost"
        }
        Some("transaction_refused") => {
            "`talea ledger balance` shows what the key has; `talea wallet fund` gives it money on a development network"
        }
        Some("price_low") => "the host's price has risen since it was asked: try again",
        Some("limit_high") => "ask for less with --max-fuel or --max-output",
        Some("run_clock" | "run_expired" | "signature_stale") => {
            "compare the clocks with `talea doctor`"
        }
        Some("sequence_used" | "sequence_beyond") => {
            "`talea receipt list --payer me` shows the sequences this host has; set the wallet's counter above them"
        }
        Some("name_taken" | "function_taken" | "not_permitted") => {
            "`talea wallet show` prints the key that signed; use the owner's with --key"
        }
        Some("not_in_step") => {
            "`talea peers` shows whom it is connected with, and how far they are"
        }
        Some("function_unknown" | "name_unknown") => "`talea deploy` puts a function on the node",
        _ => {
            let seconds = retry_after.filter(|_| refused(status) == Exit::Unavailable)?;
            return Some(format!("try again in {seconds} s"));
        }
    };
    Some(known.to_owned())
}

/// The last cause of an error: the one that says "connection refused" instead of "client error (Connect)".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A request of `method` for `path` at this node.
pub(super) fn request(client: &Client, method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(client.address().join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> String {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        answer.refusal().to_string()
    }

    #[test]
    fn a_refusal_is_told_in_the_nodes_own_words() {
        let cases = [
            (
                404,
                r#"{"code":"function_unknown","message":"no such function"}"#,
                "the node refused: no such function (404 Not Found, function_unknown)",
            ),
            (
                404,
                r#"{"error":{"code":"c","message":"m"}}"#,
                "the node refused: m (404 Not Found, c)",
            ),
            (
                502,
                "<html>bad gateway</html>",
                "the node refused: <html>bad gateway</html> (502 Bad Gateway)",
            ),
            (503, "", "the node refused: service unavailable (503 Service Unavailable)"),
            (500, "{}", "the node refused: internal server error (500 Internal Server Error)"),
        ];
        for (status, body, sentence) in cases {
            assert_eq!(refusal(status, body), sentence);
        }
    }

    #[test]
    fn a_status_becomes_an_exit_code() {
        let cases = [
            (401, Exit::Denied),
            (402, Exit::Denied),
            (404, Exit::Failed),
            (422, Exit::Data),
            (429, Exit::Unavailable),
            (503, Exit::Unavailable),
        ];
        for (status, exit) in cases {
            assert_eq!(refused(StatusCode::from_u16(status).unwrap()), exit, "{status}");
        }
    }

    #[tokio::test]
    async fn nobody_listening_is_unavailable() {
        // Port 1 (tcpmux) is served by nobody on a machine of this century.
        let client = Client::new("127.0.0.1:1".parse().unwrap(), Duration::from_secs(5));
        let failure = Failure::from(client.get_json("/health").await.unwrap_err());
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(
            failure.sentence().contains("cannot reach the node at http://127.0.0.1:1"),
            "{}",
            failure.sentence()
        );
        assert!(failure.advice().is_some());
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_is_late() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let client = Client::new(address, Duration::from_millis(50));
        assert!(matches!(client.get_json("/health").await, Err(ClientError::Late { .. })));
    }
}
