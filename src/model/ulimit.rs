//! Process limits as people write them: `nofile=1024:2048`.

/// Names of limits, without `RLIMIT_` (setrlimit(2)).
pub const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Why a limit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// No `=`.
    #[error("invalid ulimit argument: {0}: expected NAME=SOFT[:HARD]")]
    Form(String),
    /// A limit that Linux does not have.
    #[error("invalid ulimit type: {0}")]
    Name(String),
    /// Not a number, or below -1.
    #[error("invalid ulimit value {0:?}: expected a number, or -1 for no limit")]
    Value(String),
    /// The soft limit exceeds the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {0} > {1}")]
    SoftAboveHard(u64, u64),
}

/// Reads `NAME=SOFT[:HARD]` into name, soft and hard limit; -1 is no limit, [`u64::MAX`].
pub fn parse_ulimit(text: &str) -> Result<(String, u64, u64), UlimitError> {
    let (name, limits) = text.split_once('=').ok_or_else(|| UlimitError::Form(text.to_owned()))?;
    if !NAMES.contains(&name) {
        return Err(UlimitError::Name(name.to_owned()));
    }
    let value = |text: &str| match text {
        "-1" => Ok(u64::MAX),
        _ => text.parse::<u64>().map_err(|_| UlimitError::Value(text.to_owned())),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (value(soft)?, value(hard)?),
        None => (value(limits)?, value(limits)?),
    };
    if soft > hard {
        return Err(UlimitError::SoftAboveHard(soft, hard));
    }
    Ok((name.to_owned(), soft, hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_docker_writes_them() {
        assert_eq!(parse_ulimit("nofile=10:20"), Ok(("nofile".into(), 10, 20)));
        assert_eq!(parse_ulimit("core=0"), Ok(("core".into(), 0, 0)));
        assert_eq!(parse_ulimit("memlock=1:-1"), Ok(("memlock".into(), 1, u64::MAX)));
        for bad in ["", "nofile", "files=1", "nofile=", "nofile=x", "nofile=2:1", "nofile=-2", "nofile=1:2:3"] {
            assert!(parse_ulimit(bad).is_err(), "{bad:?}");
        }
    }
}
