//! Query strings: percent-decoded pairs, read as docker reads them.

use std::str::FromStr;

use super::clock;
use super::error::ApiError;

/// The query of a request. A name may occur more than once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`; a pair that is not UTF-8 after decoding is an error.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    /// The first value of a name; an empty one counts as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Docker's booleans: everything is true but `0`, `no`, `false`, `none` and nothing.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
        })
    }

    /// A number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = |_| ApiError::bad_request(format!("invalid value {text:?} for {name}: expected a number"));
        text.parse().map(Some).map_err(bad)
    }

    /// A point in time, in nanoseconds since 1970: seconds with an optional fraction, or RFC 3339. `0` is none.
    pub(super) fn timestamp(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = || ApiError::bad_request(format!("invalid value for {name:?}: failed to parse {text:?} as a time"));
        clock::timestamp(text).ok_or_else(bad).map(|nanoseconds| (nanoseconds != 0).then_some(nanoseconds))
    }
}

/// Percent-decoding (RFC 3986, section 2.1).
pub(super) fn decode(text: &str) -> Result<String, ApiError> {
    let bad = || ApiError::bad_request(format!("invalid URL escape in {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let digits = tail.get(..2).ok_or_else(bad)?;
            let mut byte = [0u8];
            hex::decode_to_slice(digits, &mut byte).map_err(|_| bad())?;
            bytes.push(byte[0]);
            rest = &tail[2..];
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(Some(text)).expect("valid query")
    }

    #[test]
    fn pairs_are_decoded_and_may_repeat() {
        let q = query("changes=CMD+%5B%22sh%22%5D&changes=ENV%20A%3D1&flag&empty=");
        assert_eq!(q.all("changes").collect::<Vec<_>>(), ["CMD [\"sh\"]", "ENV A=1"]);
        assert_eq!((q.get("flag"), q.get("empty"), q.get("missing")), (None, None, None));
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff"] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn booleans_are_dockers() {
        for yes in ["1", "true", "True", "yes", "2"] {
            assert!(query(&format!("x={yes}")).flag("x"), "{yes}");
        }
        for no in ["", "0", "no", "false", "False", "none"] {
            assert!(!query(&format!("x={no}")).flag("x"), "{no}");
        }
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(query("t=-1").number::<i64>("t"), Ok(Some(-1)));
        assert!(query("t=x").number::<i64>("t").is_err());
        assert_eq!(query("since=0").timestamp("since"), Ok(None));
        assert_eq!(query("since=1.5").timestamp("since"), Ok(Some(1_500_000_000)));
        assert!(query("since=yesterday").timestamp("since").is_err());
    }
}
