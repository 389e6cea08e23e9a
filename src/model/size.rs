//! Sizes in bytes as people write them: `64m`.

/// Text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid size: '{0}': expected a number with b, k, m, g, t or p behind it")]
pub struct SizeError(pub String);

/// Reads a size in bytes: a decimal number, then nothing or one of `b k m g t p`, which may be followed by `b` or `ib`,
/// in either case. Units are powers of 1024, as for Docker's `--memory`.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let wrong = || SizeError(text.to_owned());
    let lower = text.to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let power: i32 = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << (10 * power)).ok_or_else(wrong);
    }
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * 1024f64.powi(power);
    // Above 2^53 a fraction means nothing any more; far above any machine's memory.
    if bytes.is_finite() && bytes < 9_007_199_254_740_992.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_docker_writes_them() {
        for (text, bytes) in [
            ("0", 0),
            ("42", 42),
            ("42b", 42),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5k", 1536),
            ("2 gb", 2 << 30),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text:?}");
        }
        for bad in ["", "m", "-1", "1x", "1.2.3", "1e3", "99999999999p", "64 m m", "∞"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }
}
