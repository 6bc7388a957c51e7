//! What the text of a setting means. Each function says what it would have taken when it refuses.
//!
//! A value comes as a TOML value from a file and as text from a variable or flag; both are read alike.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use talea_ledger::{NetworkId, PublicKey};
use toml::Value;

use super::{Forwarding, LogFormat};

type Parsed<T> = Result<T, &'static str>;

pub(super) fn text(value: &Value) -> Parsed<String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err("a text"),
    }
}

pub(super) fn path(value: &Value) -> Parsed<PathBuf> {
    text(value).map(PathBuf::from).map_err(|_| "a path")
}

pub(super) fn address(value: &Value) -> Parsed<SocketAddr> {
    const EXPECTED: &str = "an address and port such as 127.0.0.1:7600 or [::1]:7600";
    text(value).map_err(|_| EXPECTED)?.parse().map_err(|_| EXPECTED)
}

pub(super) fn switch(value: &Value) -> Parsed<bool> {
    match value {
        Value::Boolean(on) => Ok(*on),
        Value::String(text) => match text.as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err("true or false"),
        },
        _ => Err("true or false"),
    }
}

pub(super) fn count(value: &Value) -> Parsed<u64> {
    const EXPECTED: &str = "a whole number, such as 1000 or 1_000";
    match value {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| EXPECTED),
        Value::String(text) => text.replace('_', "").parse().map_err(|_| EXPECTED),
        _ => Err(EXPECTED),
    }
}

pub(super) fn size(value: &Value) -> Parsed<u64> {
    const EXPECTED: &str = "a size, such as 65536, 64 KiB or 16 MiB";
    let Value::String(text) = value else { return count(value).map_err(|_| EXPECTED) };
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(EXPECTED),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or(EXPECTED)
}

pub(super) fn duration(value: &Value) -> Parsed<Duration> {
    const EXPECTED: &str = "a time with its unit, such as 500ms, 10s, 5m, 12h or 7d";
    let text = text(value).map_err(|_| EXPECTED)?;
    let (number, unit) = split_unit(&text);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(EXPECTED),
    };
    let total = number.parse::<u64>().ok().and_then(|n| n.checked_mul(millis)).ok_or(EXPECTED)?;
    if total == 0 { Err("longer than nothing") } else { Ok(Duration::from_millis(total)) }
}

pub(super) fn log_format(value: &Value) -> Parsed<LogFormat> {
    match text(value).as_deref() {
        Ok("text") => Ok(LogFormat::Text),
        Ok("json") => Ok(LogFormat::Json),
        _ => Err("text or json"),
    }
}

pub(super) fn forwarding(value: &Value) -> Parsed<Forwarding> {
    const EXPECTED: &str = "never, missing, busy or always";
    let text = text(value).map_err(|_| EXPECTED)?;
    Forwarding::ALL.into_iter().find(|when| when.word() == text).ok_or(EXPECTED)
}

/// A list in a file; in a variable or flag the same keys with commas between them.
pub(super) fn keys(value: &Value) -> Parsed<Vec<PublicKey>> {
    const EXPECTED: &str = "a list of keys, each such as did:key:z6Mk...";
    let parse = |text: &str| text.trim().parse::<PublicKey>().map_err(|_| EXPECTED);
    match value {
        Value::Array(list) => {
            list.iter().map(|key| key.as_str().ok_or(EXPECTED).and_then(parse)).collect()
        }
        Value::String(text) if text.is_empty() || text == "[]" => Ok(Vec::new()),
        Value::String(text) => text.split(',').map(parse).collect(),
        _ => Err(EXPECTED),
    }
}

pub(super) fn network(value: &Value) -> Parsed<NetworkId> {
    const EXPECTED: &str = "a network's id: 64 hexadecimal digits";
    text(value).map_err(|_| EXPECTED)?.trim().parse().map_err(|_| EXPECTED)
}

/// Texts that have a multiaddress' shape. What their parts mean is known where they are used.
pub(super) fn multiaddrs(value: &Value) -> Parsed<Vec<String>> {
    const EXPECTED: &str =
        "a list of multiaddresses, each such as /ip4/192.0.2.1/tcp/7601/p2p/12D3Koo...";
    let read = |text: &str| {
        let text = text.trim();
        let is_one = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one { Ok(text.to_owned()) } else { Err(EXPECTED) }
    };
    match value {
        Value::Array(list) => {
            list.iter().map(|text| text.as_str().ok_or(EXPECTED).and_then(read)).collect()
        }
        Value::String(text) if text.is_empty() || text == "[]" => Ok(Vec::new()),
        Value::String(text) => text.split(',').map(read).collect(),
        _ => Err(EXPECTED),
    }
}

/// A size as `size` reads it, in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(factor, _)| bytes > 0 && bytes.is_multiple_of(*factor));
    unit.map_or_else(|| bytes.to_string(), |(factor, name)| format!("{} {name}", bytes / factor))
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}
