//! The CGI header block at the beginning of a command's output.
//!
//! Honoured only when the run says so. Lines `Name: value` ended by LF or CRLF, at least one, then an
//! empty line. `Status: 404 Not Found` sets the status, reserved headers are dropped. A block that is
//! malformed, breaks a bound of the ABI or is not closed in time is no block: all of it is body.

use talea_host_api as api;

use super::headers::{HeaderFault, Headers};

/// Takes a block off the output: what it says, and how many bytes it takes. `None` if there is none.
pub(in crate::executor) fn split(output: &[u8]) -> Option<(Headers, usize)> {
    let mut headers = Headers::default();
    let window = output.get(..api::CGI_BLOCK_LEN_MAX).unwrap_or(output);
    let mut at = 0;
    loop {
        let rest = window.get(at..)?;
        let len = rest.iter().position(|&byte| byte == b'\n')?;
        let line = rest[..len].strip_suffix(b"\r").unwrap_or(&rest[..len]);
        let is_first = at == 0;
        at += len + 1;
        if line.is_empty() {
            return (!is_first).then_some((headers, at));
        }
        take_line(&mut headers, line)?;
    }
}

fn take_line(headers: &mut Headers, line: &[u8]) -> Option<()> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"status") {
        return headers.set_status(status(value)?).then_some(());
    }
    match headers.add(name, value) {
        Ok(()) | Err(HeaderFault::Reserved) => Some(()),
        Err(HeaderFault::Malformed | HeaderFault::TooLarge) => None,
    }
}

/// Three digits, then nothing or a space and words for people.
fn status(value: &[u8]) -> Option<i32> {
    let (digits, words) = value.split_at_checked(3)?;
    let has_end = words.is_empty() || words.starts_with(b" ");
    let is_number = digits.iter().all(u8::is_ascii_digit);
    (has_end && is_number).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, headers and the body that follows.
    type Split<'a> = (u16, &'a [(&'a str, &'a str)], &'a [u8]);

    fn check(output: &[u8], expected: Option<Split<'_>>) {
        let found = split(output).map(|(headers, at)| {
            let status = headers.status().get();
            let list: Vec<(String, String)> = headers
                .into_document()
                .unwrap()
                .iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect();
            (status, list, output[at..].to_vec())
        });
        let expected = expected.map(|(status, list, body)| {
            let list = list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            (status, list, body.to_vec())
        });
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(output));
    }

    #[test]
    fn a_block_is_taken_off() {
        let list: &[_] = &[("content-type", "text/html")];
        check(b"Content-Type: text/html\n\n<p>", Some((200, list, b"<p>")));
        check(b"Content-Type:text/html \r\n\r\n", Some((200, list, b"")));
        check(b"Status: 404 Not Found\nContent-Type: text/html\n\n\n", Some((404, list, b"\n")));
        check(b"status: 201\nSet-Cookie: a=b\n\nx", Some((201, &[], b"x")));
    }

    #[test]
    fn what_is_no_block_is_body() {
        for output in [
            &b""[..],
            b"\nbody",
            b"body",
            b"Content-Type: text/html\n",
            b"no colon\n\n",
            b"Status: 99\n\n",
            b"Status: 600\n\n",
            b"Status: 2000\n\n",
            b"Status: abc\n\n",
            b"A B: c\n\n",
            b"A: \x01\n\n",
        ] {
            check(output, None);
        }
        let long = [&vec![b'a'; api::HEADER_NAME_LEN_MAX + 1][..], b": v\n\n"].concat();
        check(&long, None);
        let many = [&b"a: b\n".repeat(api::HEADER_COUNT_MAX + 1)[..], b"\n"].concat();
        check(&many, None);
    }

    #[test]
    fn the_largest_block_is_one_and_a_longer_one_is_not() {
        let line =
            |name: u8, len: usize| [&[name, b':', b' '][..], &vec![b'v'; len], b"\r\n"].concat();
        let mut block = Vec::new();
        for name in b"abcd" {
            block.extend(line(*name, 4095));
        }
        let with = |extra: &[u8]| [&block[..], extra, b"\r\n"].concat();
        assert!(split(&with(b"")).is_some());
        assert!(split(&with(b"e:\r\n")).is_none());
    }
}
