//! Where a node is, as the user writes it.
//!
//! Accepts `http://host:port`, `http://host:port/prefix`, and `host:port`. `https` is refused with a reason
//! rather than failing in the handshake.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

/// A node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct NodeAddress {
    authority: Authority,
    /// A path put before every other, without a slash at its end.
    prefix: String,
}

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum AddressError {
    /// It has no host, or characters that no address has.
    #[error("not an address of a node: expected something like http://127.0.0.1:7600")]
    Malformed,
    /// Only plain http is spoken here.
    #[error("{0}:// is not spoken: a node serves plain http on loopback or behind a proxy")]
    Scheme(String),
    /// A query has no meaning in it.
    #[error("an address of a node has no query")]
    Query,
}

// === impl NodeAddress ===

impl NodeAddress {
    /// The whole address of `path_and_query`, which starts with a slash.
    pub(in crate::cli) fn join(&self, path_and_query: &str) -> String {
        format!("{self}{path_and_query}")
    }
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| AddressError::Malformed)?;
        let parts = uri.into_parts();
        match parts.scheme.as_ref().map(|scheme| scheme.as_str()) {
            Some("http") => {}
            Some(other) => return Err(AddressError::Scheme(other.to_owned())),
            None => return Err(AddressError::Malformed),
        }
        let authority =
            parts.authority.filter(|a| !a.host().is_empty()).ok_or(AddressError::Malformed)?;
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(AddressError::Query);
        }
        let prefix =
            path.map(|path| path.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        Ok(Self { authority, prefix })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

/// Writes pairs as a query, percent-encoding all but the unreserved characters of RFC 3986.
pub(in crate::cli) fn encode_query<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        percent_encode(name, &mut query);
        query.push('=');
        percent_encode(value, &mut query);
    }
    query
}

fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let cases = [
            ("127.0.0.1:7600", Ok("http://127.0.0.1:7600/x")),
            ("http://127.0.0.1:7600/", Ok("http://127.0.0.1:7600/x")),
            ("http://node.example/talea/", Ok("http://node.example/talea/x")),
            ("[::1]:7600", Ok("http://[::1]:7600/x")),
            ("localhost", Ok("http://localhost/x")),
            ("https://node.example", Err("https:// is not spoken")),
            ("http://", Err("not an address")),
            ("", Err("not an address")),
            ("http://a b", Err("not an address")),
            ("http://a?b=c", Err("no query")),
        ];
        for (text, expected) in cases {
            match (text.parse::<NodeAddress>(), expected) {
                (Ok(address), Ok(joined)) => assert_eq!(address.join("/x"), joined),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{text}: {error}")
                }
                (got, expected) => panic!("{text}: {got:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_query_survives_its_own_delimiters() {
        assert_eq!(encode_query([]), "");
        assert_eq!(encode_query([("a", "1 & 2"), ("b=", "\u{fc}")]), "?a=1%20%26%202&b%3D=%C3%BC");
    }
}
