//! Times as docker's clients write and read them. The clock itself comes in as an argument.

use jiff::Timestamp;

/// Nanoseconds since 1970 from `1700000000`, `1700000000.123456789` or RFC 3339 (without a zone: UTC).
pub(super) fn timestamp(text: &str) -> Option<i64> {
    seconds_and_fraction(text).or_else(|| {
        let time: Timestamp = text.parse().or_else(|_| format!("{text}Z").parse()).ok().or_else(|| {
            let date: jiff::civil::Date = text.parse().ok()?;
            Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        })?;
        i64::try_from(time.as_nanosecond()).ok()
    })
}

fn seconds_and_fraction(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// A time like [`timestamp`]'s, or so long before `now` as a Go duration says (`24h`, `1h30m`); nanoseconds since 1970.
pub(super) fn moment(text: &str, now: i64) -> Option<i64> {
    timestamp(text).or_else(|| now.checked_sub(duration(text)?))
}

/// Nanoseconds of a Go duration: `1h30m`, `1.5s`, `100ms`.
pub(super) fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut sum = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|digits| *digits > 0)?;
        let unit_and_rest = &rest[digits..];
        let unit_end = unit_and_rest.find(|c: char| c.is_ascii_digit()).unwrap_or(unit_and_rest.len());
        let unit = match &unit_and_rest[..unit_end] {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        sum += rest[..digits].parse::<f64>().ok()? * unit;
        rest = &unit_and_rest[unit_end..];
    }
    // Go's own durations end at 292 years.
    (!text.is_empty() && sum < 9e18).then_some(sum as i64)
}

/// An RFC 3339 time with all nine digits of its fraction, as docker prints a log's times; what is none stays as it is.
pub(super) fn nine_digits(rfc3339: &str) -> String {
    rfc3339.parse::<Timestamp>().map_or_else(|_| rfc3339.to_owned(), |at| format!("{at:.9}"))
}

/// Seconds since 1970 of an RFC 3339 time; 0 for the zero time and for what is none.
pub(super) fn unix_seconds(rfc3339: &str) -> i64 {
    if is_zero(rfc3339) { 0 } else { rfc3339.parse().map_or(0, Timestamp::as_second) }
}

/// Go's zero time, which stands for never.
pub(super) fn is_zero(rfc3339: &str) -> bool {
    rfc3339.is_empty() || rfc3339.starts_with("0001-01-01")
}

/// A duration for people, in docker's words.
pub(super) fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24;
    // Hours are rounded, everything else is cut.
    let hours = (seconds + HOUR / 2) / HOUR;
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..MINUTE => format!("{seconds} seconds"),
        _ if seconds / MINUTE == 1 => "About a minute".into(),
        _ if seconds / MINUTE < 60 => format!("{} minutes", seconds / MINUTE),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 14 * DAY => format!("{} days", hours / DAY),
        _ if hours < 60 * DAY => format!("{} weeks", hours / DAY / 7),
        _ if hours < 730 * DAY => format!("{} months", hours / DAY / 30),
        _ => format!("{} years", seconds / HOUR / DAY / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_timestamp() {
        let second = 1_000_000_000;
        for (text, nanoseconds) in [
            ("0", 0),
            ("1700000000", 1_700_000_000 * second),
            ("1700000000.000000001", 1_700_000_000 * second + 1),
            ("1700000000.5", 1_700_000_000 * second + 500_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000 * second),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000 * second),
            ("2023-11-14T22:13:20", 1_700_000_000 * second),
            ("2023-11-14", 1_699_920_000 * second),
        ] {
            assert_eq!(timestamp(text), Some(nanoseconds), "{text}");
        }
        for bad in ["", "x", "1.x", "1.0000000001", "99999999999999"] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_in_dockers_words() {
        let (minute, hour, day) = (60, 3600, 86_400);
        for (seconds, words) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (minute, "About a minute"),
            (2 * minute, "2 minutes"),
            (59 * minute + 59, "59 minutes"),
            (hour, "About an hour"),
            (hour + 40 * minute, "2 hours"),
            (47 * hour, "47 hours"),
            (2 * day, "2 days"),
            (13 * day, "13 days"),
            (14 * day, "2 weeks"),
            (60 * day, "2 months"),
            (730 * day, "2 years"),
        ] {
            assert_eq!(human(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_moment_may_be_a_duration_ago() {
        let now = 10_000_000_000_000;
        assert_eq!(moment("1h30m", now), Some(now - 5_400_000_000_000));
        assert_eq!(moment("1.5s", now), Some(now - 1_500_000_000));
        assert_eq!(moment("1700000000", now), Some(1_700_000_000_000_000_000));
        for bad in ["", "h", "1x", "1h2", "..s", "99999999999999999999h"] {
            assert_eq!(moment(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn the_zero_time_is_no_time() {
        assert_eq!(unix_seconds("0001-01-01T00:00:00Z"), 0);
        assert_eq!(unix_seconds("1970-01-01T00:00:07.9Z"), 7);
    }
}
