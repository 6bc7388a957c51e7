//! What the caller gets.
//!
//! Owns: status, headers and body until the handler returns. Invariant: nothing reaches the host
//! before then, so a handler that fails half-way answers nothing half. Absent: checks of header
//! names and values; the host makes them and the run ends with `exit(2)` and a line in the log.

/// The response of one call: status 200, no headers and no body until said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Default for Response {
    fn default() -> Response {
        Response::new(200)
    }
}

impl Response {
    /// An empty response with this status, 200 to 599.
    #[must_use]
    pub fn new(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Text in UTF-8.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Response {
        Response::bytes("text/plain; charset=utf-8", body.into())
    }

    /// HTML in UTF-8.
    #[must_use]
    pub fn html(body: impl Into<String>) -> Response {
        Response::bytes("text/html; charset=utf-8", body.into())
    }

    /// JSON, written by the caller or by a crate of its choice.
    #[must_use]
    pub fn json(body: impl Into<String>) -> Response {
        Response::bytes("application/json", body.into())
    }

    /// Bytes of this media type.
    #[must_use]
    pub fn bytes(content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        Response::default().with_header("content-type", content_type).with_body(body)
    }

    /// With this status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// With one more header; a name may come more than once.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Response {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Response {
        self.body = body.into();
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers in the order they were added.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}
