//! Where one HTTP/1.1 answer ends.
//!
//! Owns just enough of HTTP to keep a connection alive: the status and the length of an answer at
//! the front of a buffer. Stateless: a short buffer is parsed again when more has come, since
//! answers of a bench nearly always come whole. Absent: trailers, 1xx answers, answers that end with
//! the connection.

use std::str;

/// What stands at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// More bytes are needed.
    Short,
    /// One whole answer.
    Whole(Answer),
    /// Not an answer this generator can follow; the text says why.
    Broken(&'static str),
}

/// One whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Bytes of status line and headers.
    pub head: usize,
    /// Bytes of the whole answer.
    pub len: usize,
    /// Whether the server means to close the connection.
    pub closes: bool,
}

/// Reads the answer at the front of `bytes`.
#[must_use]
pub fn front(bytes: &[u8]) -> Front {
    let Some(status) = status(bytes) else {
        return if bytes.len() < 12 { Front::Short } else { Front::Broken("no status line") };
    };
    let mut length = None;
    let mut chunked = false;
    let mut closes = false;
    let mut at = 0;
    loop {
        let Some(end) = line_end(&bytes[at..]) else { return Front::Short };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            break;
        }
        if let Some(value) = header(line, b"content-length") {
            let Some(value) = decimal(value) else { return Front::Broken("content-length") };
            length = Some(value);
        } else if let Some(value) = header(line, b"transfer-encoding") {
            chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if let Some(value) = header(line, b"connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    let head = at;
    let body = if chunked {
        chunks(&bytes[head..])
    } else {
        match length {
            Some(length) if bytes.len() - head >= length => Body::Whole(length),
            Some(_) => Body::Short,
            None => Body::Broken("neither a length nor chunks"),
        }
    };
    match body {
        Body::Whole(len) => Front::Whole(Answer { status, head, len: head + len, closes }),
        Body::Short => Front::Short,
        Body::Broken(why) => Front::Broken(why),
    }
}

/// The value of the first header called `name` (lower case) in the head of an answer.
#[must_use]
pub fn header_of<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        str::from_utf8(header(line, name)?).ok()
    })
}

enum Body {
    Short,
    Whole(usize),
    Broken(&'static str),
}

fn chunks(bytes: &[u8]) -> Body {
    let mut at = 0;
    loop {
        let Some(end) = line_end(&bytes[at..]) else { return Body::Short };
        let size = str::from_utf8(&bytes[at..at + end]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return Body::Broken("chunk size");
        };
        at += end + 2 + size + 2;
        if bytes.len() < at {
            return Body::Short;
        }
        if size == 0 {
            return Body::Whole(at);
        }
    }
}

fn status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ")?;
    u16::try_from(decimal(rest.get(..3)?)?).ok()
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    (end > 0 && bytes[end - 1] == b'\r').then(|| end - 1)
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // The length and the first letter sort out nearly every line before its letters are compared.
    let rest = line.get(name.len()..)?;
    if rest.first() != Some(&b':') || !line[..name.len()].eq_ignore_ascii_case(name) {
        return None;
    }
    Some(rest[1..].trim_ascii())
}

fn decimal(bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() || bytes.len() > 12 {
        return None;
    }
    bytes.iter().try_fold(0, |sum: usize, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + usize::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str, status: u16, closes: bool) {
        let bytes = text.as_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(front(&bytes[..cut]), Front::Short, "cut at {cut}");
        }
        let mut more = bytes.to_vec();
        more.extend_from_slice(b"HTTP/1.1 500 next");
        let head = text.find("\r\n\r\n").unwrap() + 4;
        let answer = Answer { status, head, len: bytes.len(), closes };
        assert_eq!(front(&more), Front::Whole(answer));
    }

    #[test]
    fn answers_end_where_they_end() {
        whole("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, false);
        whole("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length:0\r\n\r\n", 503, true);
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        whole(chunked, 200, false);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(matches!(front(b"SSH-2.0-something"), Front::Broken(_)));
        assert!(matches!(front(b"HTTP/1.1 200 OK\r\n\r\n"), Front::Broken(_)));
        assert!(matches!(front(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), Front::Broken(_)));
    }

    #[test]
    fn headers_are_found_by_name() {
        let head = b"HTTP/1.1 200 OK\r\nTalea-Receipt: bafy\r\nx: y\r\n\r\n";
        assert_eq!(header_of(head, b"talea-receipt"), Some("bafy"));
        assert_eq!(header_of(head, b"talea"), None);
    }
}
