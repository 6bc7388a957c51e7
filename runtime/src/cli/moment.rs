//! Points in time as people write them: RFC 3339 in UTC out, an HTTP date in.
//!
//! The calendar is the proleptic Gregorian one, by days since 1970-03-01 shifted to years that begin in March, so
//! that the leap day is a year's last. Absent: time zones, leap seconds, local time.

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;
/// Days in 400 years: 97 of them are leap.
const DAYS_IN_ERA: u64 = 146_097;
const DAY_S: u64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `2026-11-22T07:30:00.123Z` from nanoseconds since 1970.
pub(super) fn rfc3339(nanos: u64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (year, month, day) = date(seconds / DAY_S);
    let (hour, minute, second) = (seconds % DAY_S / 3600, seconds % 3600 / 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        rest / 1_000_000
    )
}

/// Seconds since 1970 from `Sun, 22 Nov 2026 07:30:00 GMT` (the one form RFC 9110 lets a server send).
pub(super) fn from_http_date(text: &str) -> Option<u64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let in_range =
        (1970..10_000).contains(&year) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if words.next() != Some("GMT") || !in_range || second > 60 {
        return None;
    }
    Some(days(year, month, day)? * DAY_S + hour * 3600 + minute * 60 + second)
}

/// Year, month and day of a day counted from 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + DAYS_TO_1970;
    let (era, of_era) = (shifted / DAYS_IN_ERA, shifted % DAYS_IN_ERA);
    // Takes out the leap days: one in 1,460 days, none in 36,524, one again in 146,096.
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March run 31, 30, 31, 30, 31 twice over: 153 days in five.
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The inverse of [`date`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * DAYS_IN_ERA + of_era).checked_sub(DAYS_TO_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_795_332_600, "2026-11-22T07:30:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000_000), text);
        }
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709Z");
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for day in 0..=150_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn http_dates() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 22 Nov 2026 07:30:00 GMT", Some(1_795_332_600)),
            ("Sun, 22 Nov 2026 07:30:00 CET", None),
            ("Sun, 22 Nov 2026 25:30:00 GMT", None),
            ("Sun, 22 Nov 1969 07:30:00 GMT", None),
            ("Sunday, 22-Nov-26 07:30:00 GMT", None),
            ("", None),
        ] {
            assert_eq!(from_http_date(text), seconds, "{text}");
        }
    }
}
