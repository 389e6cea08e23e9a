//! Names that people give: containers and hosts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Docker's message, word for word: clients match on it.
    #[error("Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", .0.escape_debug())]
    Container(String),
    /// RFC 1123, section 2.1.
    #[error("invalid hostname {0:?}: use letters, digits, '-' and '.', at most 63 characters a label and 253 in all")]
    Hostname(String),
}

/// A container's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, without the leading slash of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

impl ContainerName {
    /// The name, without slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bare = text.strip_prefix('/').unwrap_or(text);
        let mut bytes = bare.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        // 255 is a file name's limit; a longer name would fail later and less clearly.
        if first && rest && (2..=255).contains(&bare.len()) {
            Ok(Self(bare.to_owned()))
        } else {
            Err(NameError::Container(bare.to_owned()))
        }
    }
}

impl TryFrom<String> for ContainerName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> String {
        name.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host or domain name safe to write into `/etc/hosts` and `/etc/hostname` (RFC 1123 plus `_`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let bare = text.strip_suffix('.').unwrap_or(text);
        if !bare.is_empty() && bare.len() <= 253 && bare.split('.').all(label_ok) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Hostname(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Hostname {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> String {
        name.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_names_follow_docker() {
        for good in ["web", "/web", "a1", "A_b.c-d"] {
            good.parse::<ContainerName>().expect(good);
        }
        for bad in ["", "a", "/", "-web", "_web", "we b", "web\n", "we*b", "w/eb", "wéb"] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hostnames_cannot_carry_a_second_line() {
        for good in ["web", "web.example.org", "a_b", "x."] {
            good.parse::<Hostname>().expect(good);
        }
        for bad in ["", ".", "a..b", "-a", "a-", "a b", "a\nb", "a\tb", "a*", &"x".repeat(64)] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
    }
}
