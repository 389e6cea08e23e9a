//! Points in time, as people write them and as docker shows them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use crate::cli::error::CliError;

/// `--since` and `--until` → seconds since 1970 with a fraction, as the API takes them. A duration (`10m`, `1h30m`) is
/// that long before `now`; a date without a zone is local.
pub(super) fn api_time(text: &str, now: Timestamp) -> Result<String, CliError> {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    if !text.is_empty() && text.chars().all(number) && text.matches('.').count() <= 1 {
        return Ok(text.to_owned());
    }
    let wrong = || {
        CliError::new(format!(
            "invalid time {text:?}: expected a duration (10m), a date (2026-01-02T15:04:05) or seconds since 1970"
        ))
    };
    let time = match go_duration(text) {
        Some(ago) => now.checked_sub(ago).map_err(|_| wrong())?,
        None => date(text).ok_or_else(wrong)?,
    };
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    Ok(if nanos == 0 { seconds.to_string() } else { format!("{seconds}.{nanos:09}") })
}

/// With a zone or without; a date alone is its midnight.
fn date(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = text.parse::<civil::DateTime>().ok()?;
    Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
}

/// Go's `time.ParseDuration`, of what people write: `1h30m`, `1.5s`, `300ms`.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let factor = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    if text.is_empty() { None } else { SignedDuration::try_from_secs_f64(total).ok() }
}

/// Seconds since 1970 → how long before `now`.
pub(super) fn seconds_ago(created: i64, now: Timestamp) -> i64 {
    now.as_second() - created
}

/// Seconds since 1970 → `2026-01-02 15:04:05 +0100 CET`.
pub(super) fn date_time(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// Nanoseconds since 1970 → RFC 3339 with nanoseconds, local.
pub(super) fn rfc3339_nano(nanos: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_for_the_api() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        for (text, expected) in [
            ("42", "42"),
            ("42.5", "42.5"),
            ("10m", "999400"),
            ("1h30m", "994600"),
            ("1.5s", "999998.500000000"),
            ("1970-01-02T00:00:00Z", "86400"),
            ("1970-01-02T01:00:00+01:00", "86400"),
        ] {
            assert_eq!(api_time(text, now).expect("a time"), expected, "{text}");
        }
        for bad in ["", "yesterday", "10x", "1.2.3", "10", "-5m"].iter().filter(|text| **text != "10") {
            assert!(api_time(bad, now).is_err(), "{bad:?}");
        }
    }
}
