//! The parts of the input that a guest reads by number, and the environment of a command.
//!
//! Invariant: everything is made from the input document, in an order that the ABI page fixes. It is
//! made when it is first asked for: most runs ask for little.

use std::cell::OnceCell;

use talea_host_api as api;
use talea_ledger::input::Input;

/// Texts made from the input.
#[derive(Debug, Default)]
pub(super) struct Fields {
    headers: OnceCell<Vec<u8>>,
    arguments: OnceCell<Vec<u8>>,
    argv: OnceCell<Strings>,
    environ: OnceCell<Strings>,
}

/// A list of strings as preview 1 hands them over: each followed by a NUL, back to back.
#[derive(Debug, Default)]
pub(super) struct Strings {
    /// All strings with their NULs.
    pub(super) bytes: Vec<u8>,
    /// Where each begins.
    pub(super) starts: Vec<u32>,
}

impl Strings {
    fn push(&mut self, parts: &[&[u8]]) {
        self.starts.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
    }
}

impl Fields {
    /// Lines `name: value\n`.
    pub(super) fn headers(&self, input: &Input) -> &[u8] {
        self.headers.get_or_init(|| {
            let mut lines = Vec::new();
            for (name, value) in input.headers.iter() {
                lines.extend_from_slice(name.as_bytes());
                lines.extend_from_slice(b": ");
                lines.extend_from_slice(value.as_bytes());
                lines.push(b'\n');
            }
            lines
        })
    }

    /// Arguments, each followed by a NUL.
    pub(super) fn arguments(&self, input: &Input) -> &[u8] {
        self.arguments.get_or_init(|| {
            let mut bytes = Vec::new();
            for argument in input.args.iter() {
                bytes.extend_from_slice(argument.as_bytes());
                bytes.push(0);
            }
            bytes
        })
    }

    /// `argv` of a command: the fixed program name, then the arguments.
    pub(super) fn argv(&self, input: &Input) -> &Strings {
        self.argv.get_or_init(|| {
            let mut strings = Strings::default();
            strings.push(&[api::PROGRAM_NAME.as_bytes()]);
            for argument in input.args.iter() {
                strings.push(&[argument.as_bytes()]);
            }
            strings
        })
    }

    /// The environment: RFC 3875's variables, in the order of the ABI page.
    pub(super) fn environ(&self, input: &Input) -> &Strings {
        self.environ.get_or_init(|| environment(input))
    }
}

fn environment(input: &Input) -> Strings {
    let mut strings = Strings::default();
    let mut set = |name: &str, value: &[u8]| strings.push(&[name.as_bytes(), b"=", value]);
    for (name, value) in api::CGI_FIXED {
        set(name, value.as_bytes());
    }
    set("REQUEST_METHOD", input.method.as_bytes());
    set("PATH_INFO", &decoded(input.path.as_bytes()));
    set("QUERY_STRING", input.query.as_bytes());
    set("CONTENT_LENGTH", input.body_len.to_string().as_bytes());
    if let Some(kind) = joined(input, "content-type") {
        set("CONTENT_TYPE", kind.as_bytes());
    }
    let mut seen: Vec<&str> = vec!["content-type", "content-length"];
    for (name, _) in input.headers.iter() {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let variable = name.to_ascii_uppercase().replace('-', "_");
        if let Some(values) = joined(input, name) {
            set(&format!("HTTP_{variable}"), values.as_bytes());
        }
    }
    strings
}

/// The values of all headers of one name, as HTTP joins them.
fn joined(input: &Input, name: &str) -> Option<String> {
    let values: Vec<&str> =
        input.headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| value).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// A path with its percent signs resolved; as it was if that gives no UTF-8 text or one with a NUL.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%');
        match digits.and_then(|d| Some((hex(d[0])?, hex(d[1])?))) {
            Some((high, low)) => {
                plain.push(high * 16 + low);
                rest = &after[2..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    if plain.contains(&0) || std::str::from_utf8(&plain).is_err() { path.to_vec() } else { plain }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_only_into_text() {
        for (path, plain) in [
            ("/a%20b", "/a b"),
            ("/%C3%A4", "/\u{e4}"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%zz%41", "/%zzA"),
            ("/%ff%41", "/%ff%41"),
            ("/%00%41", "/%00%41"),
            ("", ""),
        ] {
            assert_eq!(decoded(path.as_bytes()), plain.as_bytes(), "{path}");
        }
    }
}
