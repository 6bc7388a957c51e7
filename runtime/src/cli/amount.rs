//! Amounts as people type them: times, counts, sizes.
//!
//! Invariant: a number is taken exactly or refused; there is no rounding. Absent: floats.

use std::time::Duration;

/// `500ms`, `30s`, `5m`, `2h`; a bare number is seconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let number: u64 =
        digits.parse().map_err(|_| expected(text, "a time such as 500ms, 30s or 5m"))?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    match milliseconds {
        Some(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(expected(text, "a time such as 500ms, 30s or 5m")),
    }
}

/// `1000`, `1_000_000`, `20k`, `5M`, `2G`: powers of a thousand.
pub(super) fn count(text: &str) -> Result<u64, String> {
    scaled(text, &[("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)])
        .ok_or_else(|| expected(text, "a whole number such as 1_000_000, 20k or 5M"))
}

/// `4096`, `64KiB`, `16MiB`, `1GiB`: bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    scaled(text, &[("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
        .ok_or_else(|| expected(text, "a size such as 4096, 64KiB or 16MiB"))
}

/// Bytes as people read them.
pub(super) fn show_size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor {
            let tenths = u128::from(bytes) * 10 / u128::from(factor);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = split(text);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    if digits.starts_with('_') || digits.ends_with('_') {
        return None;
    }
    digits.replace('_', "").parse::<u64>().ok()?.checked_mul(*factor)
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

fn expected(text: &str, what: &str) -> String {
    format!("`{text}` is not {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, milliseconds) in
            [("1", 1000), ("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in ["", "0", "0ms", "s", "1d", "-1", "1.5s", "99999999999999999999s"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_and_sizes() {
        for (text, number) in [("0", 0), ("1_000", 1000), ("20k", 20_000), ("5M", 5_000_000)] {
            assert_eq!(count(text), Ok(number));
        }
        for (text, number) in [("0", 0), ("64KiB", 65_536), ("16MiB", 16 << 20)] {
            assert_eq!(size(text), Ok(number));
        }
        for text in [
            "",
            "_",
            "1_",
            "k",
            "1K",
            "1kk",
            "1e3",
            "18446744073709551616",
            "18446744073709551615k",
        ] {
            assert!(count(text).is_err(), "{text}");
        }
        assert!(size("1MB").is_err());
    }

    #[test]
    fn sizes_shown() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_600_000, "1.5 MiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }
}
