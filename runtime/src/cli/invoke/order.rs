//! From the words of the command line to one HTTP request, and to the input document that it makes.
//!
//! Invariant: the document made here is the one the node makes of the request; a paid run is signed over it, and
//! a node refuses a run whose input is another.

use std::io::Read as _;
use std::path::Path as FilePath;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use talea_ledger::message::{Headers, arguments};
use talea_ledger::{BodyId, FunctionId, Input};

use super::RequestArgs;
use crate::cli::client::{Client, encode_query};
use crate::cli::exit::{Exit, Failure, OrExit as _};

/// The longest body read; a node takes no longer one.
const BODY_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What the user wants to call.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    function: String,
    path: String,
    query: String,
    method: Method,
    headers: HeaderMap,
    args: Vec<String>,
    salt: Option<[u8; 16]>,
    body: Bytes,
}

// === impl Wanted ===

impl Wanted {
    /// Reads the words; the body is read here too.
    pub(super) fn new(function: &str, path: &str, args: &RequestArgs) -> Result<Self, Failure> {
        let (path, inline) = path.split_once('?').unwrap_or((path, ""));
        let path = if path.is_empty() || path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let method = match (&args.method, &args.data) {
            (Some(method), _) => method.to_ascii_uppercase().parse().ok(),
            (None, Some(_)) => Some(Method::POST),
            (None, None) => Some(Method::GET),
        };
        let method = method.ok_or_else(|| Failure::said(Exit::Usage, "that is not a method"))?;
        let salt = if args.salt {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt)
                .map_err(|error| Failure::said(Exit::Failed, error.to_string()))?;
            Some(salt)
        } else {
            None
        };
        Ok(Self {
            function: named(function)?,
            path,
            query: query(inline, &args.query)?,
            method,
            headers: headers(&args.headers)?,
            args: args.args.clone(),
            salt,
            body: body(args.data.as_deref())?,
        })
    }

    /// The function as it stands in the address.
    pub(super) fn function(&self) -> &str {
        &self.function
    }

    /// The body.
    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The method.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query on the node.
    pub(super) fn target(&self) -> String {
        let Self { function, path, query, .. } = self;
        if query.is_empty() {
            format!("/f/{function}{path}")
        } else {
            format!("/f/{function}{path}?{query}")
        }
    }

    /// Every header that is sent, but for those of the connection.
    pub(super) fn all_headers(&self) -> Result<HeaderMap, Failure> {
        let mut all = self.headers.clone();
        all.insert("prefer", HeaderValue::from_static("return=receipt"));
        if let Some(salt) = self.salt {
            let hex: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
            all.insert(
                "talea-salt",
                HeaderValue::try_from(hex).or_exit(Exit::Failed, || "hex digits are text")?,
            );
        }
        if !self.args.is_empty() {
            let words: Vec<String> = self.args.iter().map(|word| percent_encoded(word)).collect();
            let words = HeaderValue::try_from(words.join(" "))
                .or_exit(Exit::Usage, || "the arguments are too long")?;
            all.insert("talea-args", words);
        }
        Ok(all)
    }

    /// The request of a free call.
    pub(super) fn request(&self, client: &Client) -> Result<Request<Bytes>, Failure> {
        request(client, &self.method, &self.target(), self.all_headers()?, self.body.clone())
    }

    /// The input document that a node makes of the request, for a function that sees headers of these names.
    pub(super) fn input(&self, names: &[String]) -> Result<Input, Failure> {
        let unfit = || "the request does not fit an input document";
        let mut shown = Vec::new();
        for name in names {
            let lines: Vec<&str> = self
                .headers
                .get_all(name.as_str())
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect();
            if !lines.is_empty() {
                shown.push((name.as_str(), lines.join(", ")));
            }
        }
        Ok(Input {
            body_len: u64::try_from(self.body.len()).unwrap_or(u64::MAX),
            args: arguments(self.args.iter().map(String::as_str)).or_exit(Exit::Usage, unfit)?,
            body: BodyId::of(&self.body),
            path: self.path.as_str().try_into().or_exit(Exit::Usage, unfit)?,
            salt: self.salt,
            query: self.query.as_str().try_into().or_exit(Exit::Usage, unfit)?,
            method: self.method.as_str().try_into().or_exit(Exit::Usage, unfit)?,
            headers: Headers::of(shown.iter().map(|(name, value)| (*name, value.as_str())))
                .or_exit(Exit::Usage, unfit)?,
        })
    }
}

/// Puts a request together.
pub(super) fn request(
    client: &Client,
    method: &Method,
    target: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Bytes>, Failure> {
    let uri: http::Uri = client
        .address()
        .join(target)
        .parse()
        .or_exit(Exit::Usage, || format!("`{target}` is not a path"))?;
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// An id, a name, or the id of a file's bytes.
fn named(function: &str) -> Result<String, Failure> {
    let path = FilePath::new(function);
    if function.ends_with(".wasm") && path.is_file() {
        let wasm =
            std::fs::read(path).or_exit(Exit::NoInput, || format!("cannot read {function}"))?;
        return Ok(FunctionId::of(&wasm).to_string());
    }
    let is_name = function.parse::<talea_ledger::message::FunctionName>().is_ok();
    if is_name || function.parse::<FunctionId>().is_ok() {
        return Ok(function.to_owned());
    }
    Err(Failure::said(Exit::Usage, format!("`{function}` is neither a function's id nor a name"))
        .advise("ids begin with bafkrei or sha256:, names look like me/hello, files end in .wasm"))
}

fn query(inline: &str, pairs: &[String]) -> Result<String, Failure> {
    let mut split = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let parts = pair.split_once('=');
        split.push(parts.ok_or_else(|| {
            Failure::said(Exit::Usage, format!("--query {pair}: expected name=value"))
        })?);
    }
    let encoded = encode_query(split);
    Ok(match (inline.is_empty(), encoded.strip_prefix('?')) {
        (_, None) => inline.to_owned(),
        (true, Some(encoded)) => encoded.to_owned(),
        (false, Some(encoded)) => format!("{inline}&{encoded}"),
    })
}

fn headers(lines: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    // Sent whatever the function sees; one that asks for it is shown exactly this.
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("talea/", env!("CARGO_PKG_VERSION"))),
    );
    for line in lines {
        let wrong = || format!("--header '{line}': expected 'name: value'");
        let (name, value) =
            line.split_once(':').ok_or_else(|| Failure::said(Exit::Usage, wrong()))?;
        let name = HeaderName::try_from(name.trim()).or_exit(Exit::Usage, wrong)?;
        let value = HeaderValue::try_from(value.trim()).or_exit(Exit::Usage, wrong)?;
        if name == header::USER_AGENT {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

fn body(data: Option<&str>) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    match data {
        None => {}
        Some("-") => {
            let limited = std::io::stdin()
                .lock()
                .take(BODY_LEN_MAX.saturating_add(1))
                .read_to_end(&mut bytes);
            limited.or_exit(Exit::NoInput, || "cannot read standard input")?;
        }
        Some(data) => match data.strip_prefix('@') {
            Some(path) => {
                bytes =
                    std::fs::read(path).or_exit(Exit::NoInput, || format!("cannot read {path}"))?;
            }
            None => bytes = data.as_bytes().to_vec(),
        },
    }
    if bytes.len() as u64 > BODY_LEN_MAX {
        return Err(Failure::said(Exit::Data, "the body is longer than any node takes (64 MiB)"));
    }
    Ok(bytes.into())
}

fn percent_encoded(word: &str) -> String {
    // What `encode_query` writes for a name, without its question mark and equals sign.
    let pair = encode_query([(word, "")]);
    pair.trim_start_matches('?').trim_end_matches('=').to_owned()
}

/// Reads a sealed document out of a header, base64url without padding.
pub(super) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> RequestArgs {
        RequestArgs {
            data: None,
            method: None,
            headers: vec![],
            query: vec![],
            args: vec![],
            salt: false,
        }
    }

    #[test]
    fn what_is_typed_is_what_is_asked_for() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("", &[], "/f/me/f"),
            ("/", &[], "/f/me/f/"),
            ("greet", &[], "/f/me/f/greet"),
            ("/greet?x=1", &[], "/f/me/f/greet?x=1"),
            ("/greet?x=1", &["name=A n", "q=a&b"], "/f/me/f/greet?x=1&name=A%20n&q=a%26b"),
            ("", &["a=b=c"], "/f/me/f?a=b%3Dc"),
        ];
        for (path, query, target) in cases {
            let query = query.iter().map(|pair| (*pair).to_owned()).collect();
            let wanted = Wanted::new("me/f", path, &RequestArgs { query, ..args() }).unwrap();
            assert_eq!(wanted.target(), *target);
        }
        assert_eq!(
            Wanted::new("me/f", "", &RequestArgs { query: vec!["x".into()], ..args() })
                .unwrap_err()
                .exit(),
            Exit::Usage
        );
    }

    #[test]
    fn the_method_follows_the_body_unless_it_is_said() {
        let method = |data: Option<&str>, method: Option<&str>| {
            let args = RequestArgs {
                data: data.map(Into::into),
                method: method.map(Into::into),
                ..args()
            };
            Wanted::new("me/f", "", &args).unwrap().method
        };
        assert_eq!(method(None, None), Method::GET);
        assert_eq!(method(Some("x"), None), Method::POST);
        assert_eq!(method(Some("x"), Some("put")), Method::PUT);
    }

    #[test]
    fn functions_are_ids_names_or_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.wasm");
        std::fs::write(&file, b"wasm").unwrap();
        let id = FunctionId::of(b"wasm");
        assert_eq!(named(file.to_str().unwrap()).unwrap(), id.to_string());
        assert_eq!(named(&id.to_string()).unwrap(), id.to_string());
        let hex = format!("sha256:{}", id.digest());
        assert_eq!(named(&hex).unwrap(), hex);
        for wrong in ["hello", "a/b/c", "absent.wasm", "", "bafkrei"] {
            assert_eq!(named(wrong).unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn the_input_holds_only_the_headers_the_function_sees() {
        let headers = vec![
            "Content-Type: text/plain".into(),
            "x-secret: 1".into(),
            "accept: a".into(),
            "Accept: b".into(),
        ];
        let args =
            RequestArgs { headers, data: Some("body".into()), args: vec!["a b".into()], ..args() };
        let wanted = Wanted::new("me/f", "/p", &args).unwrap();
        let input =
            wanted.input(&["accept".into(), "content-type".into(), "absent".into()]).unwrap();
        let seen: Vec<_> = input.headers.iter().collect();
        assert_eq!(seen, [("accept", "a, b"), ("content-type", "text/plain")]);
        assert_eq!((input.path.as_str(), input.body_len), ("/p", 4));
        assert_eq!(wanted.all_headers().unwrap()["talea-args"], "a%20b");
    }

    #[test]
    fn headers_are_checked_before_anything_is_sent() {
        for wrong in ["no colon", ": x", "a b: c", "a: b\u{1}c"] {
            assert_eq!(headers(&[wrong.to_owned()]).unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
    }
}
