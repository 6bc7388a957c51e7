//! Percent-decoding of paths and queries.
//!
//! Owns: the rules of `application/x-www-form-urlencoded` (WHATWG URL): `&` separates, the first
//! `=` splits, `+` is a space, a malformed escape stays as it is, bytes that are not UTF-8 become
//! U+FFFD. Absent: encoding.

/// Decoded pairs of a query, in their order; a part without `=` is a name with an empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name, true), decode(value, true))
    })
}

/// Decodes a path: as a query, but `+` stays.
#[must_use]
pub fn decode_path(path: &str) -> String {
    decode(path, false)
}

fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) if plus_is_space => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &[(&str, &str)]) {
        let decoded: Vec<_> = pairs(query).collect();
        let decoded: Vec<_> =
            decoded.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(decoded, expected, "{query}");
    }

    #[test]
    fn pairs_as_a_form_sends_them() {
        check("", &[]);
        check("a=1&b=2", &[("a", "1"), ("b", "2")]);
        check("&&a&=b&c==", &[("a", ""), ("", "b"), ("c", "=")]);
        check("q=a+b%20c%2B", &[("q", "a b c+")]);
        check("q=%C3%A4&r=%ff", &[("q", "\u{e4}"), ("r", "\u{fffd}")]);
        check("q=100%&r=%zz&s=%4", &[("q", "100%"), ("r", "%zz"), ("s", "%4")]);
    }

    #[test]
    fn plus_in_a_path_stays() {
        assert_eq!(decode_path("/a+b%2Fc"), "/a+b/c");
    }
}
