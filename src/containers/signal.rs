//! Signals by name or number, as `docker kill -s` and STOPSIGNAL take them.

use std::str::FromStr;

use nix::sys::signal::Signal;

use super::error::EngineError;

/// Reads `SIGTERM`, `term`, `15` or `SIGRTMIN+3`; the number.
pub fn parse(text: &str) -> Result<i32, EngineError> {
    let invalid = || EngineError::invalid(format!("Invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    // glibc keeps the first two real-time signals to itself: RTMIN is 34.
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() { Some(0) } else { offset.strip_prefix('+').and_then(|n| n.parse().ok()) };
        return offset.filter(|n| (0..=30).contains(n)).map(|n: i32| 34 + n).ok_or_else(invalid);
    }
    if let Some(offset) = bare.strip_prefix("RTMAX") {
        let offset = if offset.is_empty() { Some(0) } else { offset.strip_prefix('-').and_then(|n| n.parse().ok()) };
        return offset.filter(|n| (0..=30).contains(n)).map(|n: i32| 64 - n).ok_or_else(invalid);
    }
    Signal::from_str(&format!("SIG{bare}")).map(|signal| signal as i32).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [("SIGTERM", 15), ("kill", 9), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX", 64)] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in ["", "0", "65", "SIGNOPE", "RTMIN+31", "RTMIN+x"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
