//! What the caller sent.
//!
//! Owns: the input document as a handler sees it. Invariants: a field is fetched when it is first
//! asked for, and once; what was fetched stays. Absent: everything else of HTTP; of the caller's
//! headers only those the registration names are here.

use std::cell::OnceCell;
use std::io;
use std::str::Utf8Error;

use talea_host_api::Field;

use crate::{host, query};

/// The request of one call.
#[derive(Debug, Default)]
pub struct Request {
    method: OnceCell<String>,
    path: OnceCell<String>,
    query: OnceCell<String>,
    headers: OnceCell<Vec<(String, String)>>,
    arguments: OnceCell<Vec<String>>,
    body: OnceCell<Vec<u8>>,
}

impl Request {
    /// A request made by hand, for tests. `target` is a path with an optional query.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request {
            method: filled(method.to_owned()),
            path: filled(path.to_owned()),
            query: filled(query.to_owned()),
            headers: filled(Vec::new()),
            arguments: filled(Vec::new()),
            body: filled(Vec::new()),
        }
    }

    /// A `GET` made by hand.
    #[must_use]
    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// A `POST` made by hand.
    #[must_use]
    pub fn post(target: &str) -> Request {
        Request::new("POST", target)
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = filled(body.into());
        self
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Request {
        let mut headers = self.headers.take().unwrap_or_default();
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self.headers = filled(headers);
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn with_argument(mut self, argument: &str) -> Request {
        let mut arguments = self.arguments.take().unwrap_or_default();
        arguments.push(argument.to_owned());
        self.arguments = filled(arguments);
        self
    }

    /// The request that the host holds.
    pub(crate) fn from_host() -> Request {
        Request::default()
    }

    /// The method, in capitals as sent.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method.get_or_init(|| text(Field::Method))
    }

    /// The path below the function, empty or beginning with `/`, not decoded; see
    /// [`query::decode_path`].
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.get_or_init(|| text(Field::Path))
    }

    /// The query without its `?`, not decoded.
    #[must_use]
    pub fn query(&self) -> &str {
        self.query.get_or_init(|| text(Field::Query))
    }

    /// Decoded pairs of the query.
    pub fn query_pairs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        query::pairs(self.query())
    }

    /// The decoded value of the first pair with this name.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_pairs().find(|(candidate, _)| candidate == name).map(|(_, value)| value)
    }

    /// Headers in the order of the input document, names in lower case.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        self.headers.get_or_init(|| {
            text(Field::Headers)
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        })
    }

    /// The first header with this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .iter()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Arguments of the input.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.arguments.get_or_init(|| {
            text(Field::Arguments).split_terminator('\0').map(str::to_owned).collect()
        })
    }

    /// Length of the body, without fetching it.
    #[must_use]
    pub fn body_len(&self) -> usize {
        match self.body.get() {
            Some(body) => body.len(),
            None => host::input_len(Field::Body),
        }
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.get_or_init(|| host::input(Field::Body))
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.body())
    }

    /// The body, taken out.
    #[must_use]
    pub fn into_body(mut self) -> Vec<u8> {
        match self.body.take() {
            Some(body) => body,
            None => host::input(Field::Body),
        }
    }

    /// Reads the body piece by piece, for one larger than the memory it should take. Put a
    /// [`io::BufReader`] around it when reading in small pieces: each read is a host call.
    #[must_use]
    pub fn body_reader(&self) -> BodyReader<'_> {
        BodyReader { request: self, position: 0 }
    }
}

/// A reader over the body of a [`Request`].
#[derive(Debug)]
pub struct BodyReader<'a> {
    request: &'a Request,
    position: usize,
}

impl io::Read for BodyReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match self.request.body.get() {
            Some(body) => {
                let rest = body.get(self.position..).unwrap_or_default();
                let len = rest.len().min(into.len());
                into[..len].copy_from_slice(&rest[..len]);
                len
            }
            None => host::input_read(Field::Body, self.position, into),
        };
        self.position += read;
        Ok(read)
    }
}

fn filled<T>(value: T) -> OnceCell<T> {
    OnceCell::from(value)
}

/// The node checks that these fields are visible ASCII; a lossy reading keeps that its business.
fn text(field: Field) -> String {
    String::from_utf8(host::input(field))
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn made_by_hand() {
        let request = Request::post("/a/b?x=1&x=2&y=%2f")
            .with_header("Content-Type", "text/plain")
            .with_argument("-v")
            .with_body("body");
        assert_eq!(request.method(), "POST");
        assert_eq!(request.path(), "/a/b");
        assert_eq!(request.query_value("x").as_deref(), Some("1"));
        assert_eq!(request.query_value("y").as_deref(), Some("/"));
        assert_eq!(request.query_value("z"), None);
        assert_eq!(request.header("CONTENT-type"), Some("text/plain"));
        assert_eq!(request.arguments(), ["-v"]);
        assert_eq!(request.body_len(), 4);
        assert_eq!(request.text(), Ok("body"));
    }

    #[test]
    fn body_in_pieces() {
        let request = Request::post("/").with_body("0123456789");
        let mut reader = request.body_reader();
        let mut piece = [0; 4];
        let mut all = Vec::new();
        loop {
            match reader.read(&mut piece).unwrap() {
                0 => break,
                read => all.extend_from_slice(&piece[..read]),
            }
        }
        assert_eq!(all, b"0123456789");
        assert_eq!(request.into_body(), b"0123456789");
    }
}
