//! Query parameters of the control plane, read strictly: a misspelt one is an error, not ignored.

use std::str::FromStr;

use super::ControlError;
use crate::limits::{PAGE_LEN, PAGE_LEN_MAX};

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query whose parameters must be among `known`, each at most once.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, ControlError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&name.as_str()) {
                return Err(ControlError::Query { name, fault: "is not known here" });
            }
            if pairs.iter().any(|(given, _)| *given == name) {
                return Err(ControlError::Query { name, fault: "is given twice" });
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A parameter as what it should be.
    pub(super) fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, ControlError> {
        let fault = || ControlError::Query { name: name.to_owned(), fault: "cannot be read" };
        self.text(name).map(|text| text.parse().map_err(|_| fault())).transpose()
    }

    /// How many entries a page shall have.
    pub(super) fn limit(&self) -> Result<usize, ControlError> {
        let fault = |fault| ControlError::Query { name: "limit".to_owned(), fault };
        match self.get::<usize>("limit")? {
            None => Ok(PAGE_LEN),
            Some(0) => Err(fault("must be at least 1")),
            Some(limit) if limit > PAGE_LEN_MAX => Err(fault("must be at most 200")),
            Some(limit) => Ok(limit),
        }
    }
}

const _: () = assert!(PAGE_LEN_MAX == 200);

/// Undoes percent-encoding. A plus stays one: keys and ids have none, and this is not a form.
fn decoded(text: &str) -> Result<String, ControlError> {
    let fault = || ControlError::Query {
        name: text.chars().take(40).collect(),
        fault: "is not percent-encoded text",
    };
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(fault()) };
        decoded.push(u8::try_from(high * 16 + low).map_err(|_| fault())?);
    }
    String::from_utf8(decoded).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Query, String> {
        Query::read(Some(query), &["limit", "payer"]).map_err(|fault| fault.to_string())
    }

    #[test]
    fn parameters_are_read_strictly() {
        let query = read("payer=did%3Akey%3Az6&limit=7").unwrap();
        assert_eq!((query.text("payer"), query.limit().unwrap()), (Some("did:key:z6"), 7));
        assert_eq!(read("").unwrap().limit().unwrap(), PAGE_LEN);
        let faults = [
            ("limt=1", "the query parameter `limt` is not known here"),
            ("limit=1&limit=2", "the query parameter `limit` is given twice"),
            ("payer=%zz", "the query parameter `%zz` is not percent-encoded text"),
        ];
        for (query, fault) in faults {
            assert_eq!(read(query).unwrap_err(), fault);
        }
        for query in ["limit=0", "limit=201", "limit=x", "limit=-1"] {
            assert!(read(query).unwrap().limit().is_err(), "{query}");
        }
    }
}
