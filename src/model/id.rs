//! Identifiers: 64 lower-case hexadecimal digits, of which people see the first twelve.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a string is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not 64 characters of `[0-9a-f]`.
    #[error("{0:?} is not an id: expected 64 lower-case hexadecimal digits")]
    NotHex(String),
    /// A digest of another algorithm than sha256, or without one.
    #[error("{0:?} is not a digest: expected sha256: and 64 lower-case hexadecimal digits")]
    NotDigest(String),
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// From 32 random (or hashed) bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(hex::encode(bytes))
            }

            /// All 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve digits: what people are shown.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if is_hex64(text) { Ok(Self(text.to_owned())) } else { Err(ParseIdError::NotHex(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;
            fn try_from(text: String) -> Result<Self, ParseIdError> {
                if is_hex64(&text) { Ok(Self(text)) } else { Err(ParseIdError::NotHex(text)) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short())
            }
        }
    };
}

hex_id! {
    /// A container.
    ContainerId
}
hex_id! {
    /// One `exec` session in a container.
    ExecId
}

/// A SHA-256 digest in the OCI notation, `sha256:<64 hex>` (OCI image-spec, descriptor.md).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// An image is named by the digest of its configuration.
pub type ImageId = Digest;

impl Digest {
    /// From the 32 bytes of a SHA-256.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(bytes)))
    }

    /// With the `sha256:` prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits without the algorithm: a safe file name.
    pub fn hex(&self) -> &str {
        &self.0[7..]
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }
}

impl FromStr for Digest {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        match text.strip_prefix("sha256:") {
            Some(hex) if is_hex64(hex) => Ok(Self(text)),
            _ => Err(ParseIdError::NotDigest(text)),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_exactly_64_lower_case_hex_digits() {
        let text = "0123456789abcdef".repeat(4);
        let id: ContainerId = text.parse().expect("valid");
        assert_eq!(id.short(), "0123456789ab");
        assert_eq!(id.as_str(), text);
        for bad in ["", "abc", &text[1..], &text.to_uppercase(), &format!("{}g", &text[1..])] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_needs_its_algorithm() {
        let hex = "ab".repeat(32);
        assert_eq!(format!("sha256:{hex}").parse::<Digest>().expect("valid").hex(), hex);
        assert!(hex.parse::<Digest>().is_err());
        assert!(format!("sha512:{hex}").parse::<Digest>().is_err());
    }
}
