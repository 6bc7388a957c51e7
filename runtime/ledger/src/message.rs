//! The parts of a request or response that a guest sees, each of its own form: method, path, query, headers,
//! arguments, status.
//!
//! Invariant: what holds a value of these types holds one that can be written into a document, so documents
//! encode without failing. All text is ASCII; an argument is UTF-8 without NUL and is written as a byte string.

use core::fmt;
use core::ops::Deref;
use core::str::FromStr;

use crate::codec::{DecodeError, DecodeReason, Decoder, Encoder, Field, List};

/// Why a text or list is not the part of a message it was given as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than it may be.
    #[error("{what} of {found} bytes, at most {max} are allowed")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// Of another form.
    #[error("{what} is not of its form: {form}")]
    Form {
        /// Which part.
        what: &'static str,
        /// The form it must have.
        form: &'static str,
    },
    /// Too many of them.
    #[error("{found} {what}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// The most that is allowed.
        max: usize,
    },
}

macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $what:literal, $max:expr, $form:literal, $is:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The greatest length in bytes.
            pub const LEN_MAX: usize = $max;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn check(text: &str) -> Result<(), MessageError> {
                if text.len() > Self::LEN_MAX {
                    return Err(MessageError::TooLong {
                        what: $what,
                        found: text.len(),
                        max: Self::LEN_MAX,
                    });
                }
                let is: fn(&str) -> bool = $is;
                if !text.is_ascii() || !is(text) {
                    return Err(MessageError::Form { what: $what, form: $form });
                }
                Ok(())
            }
        }

        impl TryFrom<String> for $name {
            type Error = MessageError;

            fn try_from(text: String) -> Result<Self, MessageError> {
                Self::check(&text)?;
                Ok(Self(text))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = MessageError;

            fn try_from(text: &str) -> Result<Self, MessageError> {
                Self::check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl FromStr for $name {
            type Err = MessageError;

            fn from_str(text: &str) -> Result<Self, MessageError> {
                Self::try_from(text)
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Field for $name {
            const LEN_MAX: usize = 3 + $max;

            fn put(&self, out: &mut Encoder) {
                out.text(&self.0);
            }

            fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                let offset = input.offset();
                let text = input.text(Self::LEN_MAX)?;
                Self::try_from(text).map_err(|_| {
                    DecodeError::new(offset, DecodeReason::Value(concat!($what, ": ", $form)))
                })
            }
        }
    };
}

/// A character of an HTTP token (RFC 9110, section 5.6.2).
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

text!(
    /// A request method. The longest registered one, `UPDATEREDIRECTREF`, has 17 characters.
    Method,
    "a method",
    32,
    "a token of 1 to 32 characters",
    |text| !text.is_empty() && text.bytes().all(is_token_char)
);

text!(
    /// The path below the function: empty, or beginning with a slash; as it was sent, percent-encoding included.
    Path,
    "a path",
    4096,
    "empty or `/` and visible ASCII without `?` and `#`",
    |text| (text.is_empty() || text.starts_with('/'))
        && is_visible(text)
        && !text.contains(['?', '#'])
);

text!(
    /// What stands after the question mark, as it was sent; empty when there is none.
    Query,
    "a query",
    8192,
    "visible ASCII without `#`",
    |text| is_visible(text) && !text.contains('#')
);

text!(
    /// Path and query of a request to a node.
    PathAndQuery,
    "a path and query",
    12_289,
    "`/` and visible ASCII without `#`",
    |text| text.starts_with('/') && is_visible(text) && !text.contains('#')
);
// A path, a question mark, a query.
const _: () = assert!(PathAndQuery::LEN_MAX == Path::LEN_MAX + 1 + Query::LEN_MAX);

text!(
    /// The name of a header, in lower case.
    HeaderName,
    "a header name",
    128,
    "a lower-case token of 1 to 128 characters",
    |text| !text.is_empty()
        && text
            .bytes()
            .all(|byte| is_token_char(byte) && !byte.is_ascii_uppercase())
);

text!(
    /// The value of a header: no control characters but the tab, no blanks around it.
    HeaderValue,
    "a header value",
    4096,
    "printable ASCII and tabs, without blanks around it",
    |text| text
        .bytes()
        .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        && text.trim_matches([' ', '\t']).len() == text.len()
);

text!(
    /// The name of a function, `namespace/name`.
    FunctionName,
    "a function name",
    129,
    "`namespace/name` of lower-case letters, digits, `-` and `_`, 1 to 64 each",
    |text| text
        .split_once('/')
        .is_some_and(|(space, name)| [space, name].into_iter().all(is_label))
);
// Two labels of 64 and the slash.
const _: () = assert!(FunctionName::LEN_MAX == 64 + 1 + 64);

impl FunctionName {
    /// What stands before the slash.
    pub fn namespace(&self) -> Namespace {
        let end = self.0.find('/').unwrap_or(self.0.len());
        Namespace(self.0[..end].to_owned())
    }
}

text!(
    /// The part of names that one owner gives out.
    Namespace,
    "a namespace",
    64,
    "1 to 64 lower-case letters, digits, `-` and `_`",
    is_label
);

text!(
    /// The name of a network.
    NetworkName,
    "a network name",
    64,
    "1 to 64 lower-case letters, digits, `-` and `_`",
    is_label
);

text!(
    /// Where a host is reached: a multiaddress or a URL, as the host writes it.
    Endpoint,
    "an endpoint",
    256,
    "1 to 256 visible ASCII characters",
    |text| !text.is_empty() && is_visible(text)
);

fn is_label(text: &str) -> bool {
    let is_inner =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=64).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with(['-', '_'])
        && !text.ends_with(['-', '_'])
}

// === Headers ===

/// Most headers of one message: a browser sends about 20, a registration names those that a guest sees.
pub const HEADERS_MAX: usize = 64;

/// Most bytes of names and values together; servers commonly stop between 8 and 16 KiB.
pub const HEADERS_LEN_MAX: usize = 16 * 1024;

/// The headers of a message, in the order they were given; a name may stand more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// No headers.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Headers of which there are few enough and which are short enough in sum.
    pub fn new(headers: Vec<(HeaderName, HeaderValue)>) -> Result<Self, MessageError> {
        if headers.len() > HEADERS_MAX {
            return Err(MessageError::TooMany {
                what: "headers",
                found: headers.len(),
                max: HEADERS_MAX,
            });
        }
        let found = headers.iter().fold(0_usize, |sum, (name, value)| {
            sum.saturating_add(name.len()).saturating_add(value.len())
        });
        if found > HEADERS_LEN_MAX {
            return Err(MessageError::TooLong { what: "headers", found, max: HEADERS_LEN_MAX });
        }
        Ok(Self(headers))
    }

    /// From plain texts; names are lowered, blanks around values are dropped.
    pub fn of<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, MessageError> {
        let mut list = Vec::new();
        for (name, value) in headers {
            list.push((
                HeaderName::try_from(name.to_ascii_lowercase())?,
                HeaderValue::try_from(value.trim_matches([' ', '\t']))?,
            ));
        }
        Self::new(list)
    }

    /// The first value under `name` (lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Field for Headers {
    // Array head; per header an array head, a name with a head of at most 2 and a value with one of at most 3;
    // then the bytes of all names and values.
    const LEN_MAX: usize = 2 + HEADERS_MAX * (1 + 2 + 3) + HEADERS_LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.array(self.0.len() as u64);
        for (name, value) in &self.0 {
            out.array(2);
            name.put(out);
            value.put(out);
        }
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let count = input.array(HEADERS_MAX)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            input.array_exact(2)?;
            headers.push((HeaderName::take(input)?, HeaderValue::take(input)?));
        }
        Self::new(headers)
            .map_err(|_| DecodeError::new(offset, DecodeReason::Value("headers: too long in sum")))
    }
}

// === Arguments ===

/// Most arguments of a call, and most bytes of one.
pub const ARGUMENTS_MAX: usize = 64;
/// Most bytes of one argument.
pub const ARGUMENT_LEN_MAX: usize = 1024;

/// Arguments of a call.
pub type Arguments = List<Argument, ARGUMENTS_MAX>;

/// One argument: UTF-8 without NUL, written as a byte string because text in documents is ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Argument(String);

impl Argument {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Argument {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Argument {
    type Error = MessageError;

    fn try_from(text: String) -> Result<Self, MessageError> {
        if text.len() > ARGUMENT_LEN_MAX {
            return Err(MessageError::TooLong {
                what: "an argument",
                found: text.len(),
                max: ARGUMENT_LEN_MAX,
            });
        }
        if text.contains('\0') {
            return Err(MessageError::Form { what: "an argument", form: "UTF-8 without NUL" });
        }
        Ok(Self(text))
    }
}

impl TryFrom<&str> for Argument {
    type Error = MessageError;

    fn try_from(text: &str) -> Result<Self, MessageError> {
        Self::try_from(text.to_owned())
    }
}

impl Field for Argument {
    const LEN_MAX: usize = 3 + ARGUMENT_LEN_MAX;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self.0.as_bytes());
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        core::str::from_utf8(input.bytes(ARGUMENT_LEN_MAX)?)
            .ok()
            .and_then(|text| Self::try_from(text).ok())
            .ok_or(DecodeError::new(offset, DecodeReason::Value("an argument: UTF-8 without NUL")))
    }
}

/// From plain texts.
pub fn arguments<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Arguments, MessageError> {
    let arguments: Vec<Argument> =
        texts.into_iter().map(Argument::try_from).collect::<Result<_, _>>()?;
    Arguments::try_from(arguments).map_err(|error| MessageError::TooMany {
        what: "arguments",
        found: error.found,
        max: error.max,
    })
}

// === Status ===

/// A final HTTP status, 200 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(u16);

impl Status {
    /// 200, which a guest answers with unless it says otherwise.
    pub const OK: Self = Self(200);
    /// 500, the status of an output that the guest did not get to make.
    pub const FAILED: Self = Self(500);

    /// A final status. Interim ones (1xx) are not answers.
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Field for Status {
    const LEN_MAX: usize = 3;

    fn put(&self, out: &mut Encoder) {
        out.uint(u64::from(self.0));
    }

    fn take(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        // Bounded by the maximum, so the narrowing loses nothing.
        let code = input.uint_max(599)? as u16;
        Self::new(code)
            .ok_or(DecodeError::new(offset, DecodeReason::Value("a status from 200 to 599")))
    }
}
