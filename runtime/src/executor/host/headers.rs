//! Status and headers that a guest gives its answer, within the bounds of the ABI.

use talea_host_api as api;
use talea_ledger::message::{self, MessageError, Status};

/// Why a header was not taken. The order of the checks is part of the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Not what HTTP allows in a name or a value.
    Malformed,
    /// The node's own.
    Reserved,
    /// Above a bound.
    TooLarge,
}

/// The head of an answer.
#[derive(Debug, Default)]
pub(in crate::executor) struct Headers {
    status: Option<Status>,
    list: Vec<(String, String)>,
    len: usize,
}

impl Headers {
    /// The status, 200 if none was set.
    pub(in crate::executor) fn status(&self) -> Status {
        self.status.unwrap_or(Status::OK)
    }

    /// The headers as they stand in the output document, in the order they were added. What was
    /// checked here fits there; a test holds the two sets of bounds together.
    pub(in crate::executor) fn into_document(self) -> Result<message::Headers, MessageError> {
        message::Headers::of(self.list.iter().map(|(name, value)| (&name[..], &value[..])))
    }

    /// These and then those of a CGI block, whose status counts if it has one. A block that breaks
    /// a bound together with what stands here already adds what still fits.
    pub(in crate::executor) fn then(mut self, block: Self) -> Self {
        self.status = block.status.or(self.status);
        for (name, value) in block.list {
            let _ = self.add(name.as_bytes(), value.as_bytes());
        }
        self
    }

    /// Sets the status; false if it is out of range.
    pub(super) fn set_status(&mut self, code: i32) -> bool {
        let status = u16::try_from(code).ok().and_then(Status::new);
        self.status = status.or(self.status);
        status.is_some()
    }

    /// Whether a header could be added.
    pub(super) fn check(&self, name: &[u8], value: &[u8]) -> Result<(), HeaderFault> {
        let (Some(name), Some(value)) = (token(name), text(value)) else {
            return Err(HeaderFault::Malformed);
        };
        if api::is_reserved_header(name) {
            return Err(HeaderFault::Reserved);
        }
        let len = self.len.saturating_add(name.len()).saturating_add(value.len());
        if self.list.len() >= api::HEADER_COUNT_MAX
            || name.len() > api::HEADER_NAME_LEN_MAX
            || value.len() > api::HEADER_VALUE_LEN_MAX
            || len > api::HEADERS_LEN_MAX
        {
            return Err(HeaderFault::TooLarge);
        }
        Ok(())
    }

    /// Adds a header that passes the check; any other is left out.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeaderFault> {
        self.check(name, value)?;
        self.len = self.len.saturating_add(name.len()).saturating_add(value.len());
        let ascii = |bytes: &[u8]| bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
        // Blanks around a value mean nothing in HTTP, and the document does not carry them.
        self.list.push((ascii(name).to_ascii_lowercase(), ascii(value.trim_ascii())));
        Ok(())
    }
}

/// A token of RFC 9110: one or more visible characters that delimit nothing.
fn token(name: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (!name.is_empty() && name.iter().all(allowed)).then(|| std::str::from_utf8(name).ok())?
}

/// A value: tab and the printable characters of ASCII.
fn text(value: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    value.iter().all(allowed).then(|| std::str::from_utf8(value).ok())?
}

const _: () = assert!(api::HEADER_COUNT_MAX <= message::HEADERS_MAX);
const _: () = assert!(api::HEADERS_LEN_MAX <= message::HEADERS_LEN_MAX);
const _: () = assert!(api::HEADER_NAME_LEN_MAX <= message::HeaderName::LEN_MAX);
const _: () = assert!(api::HEADER_VALUE_LEN_MAX <= message::HeaderValue::LEN_MAX);
const _: () = assert!(Status::new(api::STATUS_MIN as u16).is_some());
const _: () = assert!(Status::new(api::STATUS_MAX as u16).is_some());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_taken_up_to_their_bounds() {
        let mut headers = Headers::default();
        let name = vec![b'N'; api::HEADER_NAME_LEN_MAX];
        let value = vec![b'v'; api::HEADER_VALUE_LEN_MAX];
        assert_eq!(headers.add(&name, &value), Ok(()));
        assert_eq!(headers.add(&[&name[..], b"n"].concat(), b""), Err(HeaderFault::TooLarge));
        assert_eq!(headers.add(b"a", &[&value[..], b"v"].concat()), Err(HeaderFault::TooLarge));
        assert_eq!(headers.list[0].0, "n".repeat(api::HEADER_NAME_LEN_MAX));
        let mut many = Headers::default();
        for _ in 0..api::HEADER_COUNT_MAX {
            assert_eq!(many.add(b"X-A", b"1"), Ok(()));
        }
        assert_eq!(many.add(b"X-A", b"1"), Err(HeaderFault::TooLarge));
        let mut long = Headers::default();
        for _ in 0..4 {
            assert_eq!(long.add(b"", b""), Err(HeaderFault::Malformed));
            assert_eq!(long.add(b"a", &value[..4095]), Ok(()));
        }
        assert_eq!(long.len, api::HEADERS_LEN_MAX);
        assert_eq!(long.add(b"b", b""), Err(HeaderFault::TooLarge));
    }

    #[test]
    fn what_http_does_not_allow_and_what_the_node_keeps_is_refused() {
        let mut headers = Headers::default();
        for (name, value) in [("a b", "v"), ("a:", "v"), ("a", "v\r\nx: y"), ("a", "\u{e4}")] {
            assert_eq!(headers.add(name.as_bytes(), value.as_bytes()), Err(HeaderFault::Malformed));
        }
        for name in ["Talea-Receipt", "set-cookie", "Content-Length", "TE"] {
            assert_eq!(headers.add(name.as_bytes(), b"v"), Err(HeaderFault::Reserved));
        }
        assert!(!headers.set_status(199) && !headers.set_status(600) && !headers.set_status(-1));
        assert_eq!(headers.status(), Status::OK);
        assert!(headers.set_status(599));
        assert_eq!(headers.status().get(), 599);
    }
}
