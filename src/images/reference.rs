//! Image references: `[registry/]name[:tag][@digest]`, normalised as Docker shows them (`busybox` is `busybox:latest`).
//!
//! The grammar is the one of the `distribution/reference` specification, and so are the error words: clients and people
//! match on them. Pure text; nothing is looked up.

use std::fmt;
use std::str::FromStr;

/// Why text is no reference. Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not `[host[:port]/]path[:tag][@digest]`.
    #[error("invalid reference format")]
    Format,
    /// Capitals in the repository's path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It would be taken for an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Hexadecimal(String),
    /// More than 255 characters.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// Only a registry gives references by digest.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
}

/// A name with a tag (or a digest), in its familiar form: without `docker.io/` and `library/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    text: String,
    /// Bytes of `text` that are the repository's name.
    name_len: usize,
}

/// The registry that a name without one belongs to.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The longest repository name, registry included.
const MAX_NAME: usize = 255;

impl Reference {
    /// `name:tag`, or `name@sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The repository: `busybox`, `registry.example:5000/team/app`.
    pub fn name(&self) -> &str {
        &self.text[..self.name_len]
    }

    /// The tag; a reference by digest has none.
    pub fn tag(&self) -> Option<&str> {
        self.text[self.name_len..].strip_prefix(':')
    }

    /// The digest, if it is a reference by digest.
    pub fn digest(&self) -> Option<&str> {
        self.text[self.name_len..].strip_prefix('@')
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Parses and normalises. Where both a tag and a digest are given the digest wins, as in Docker.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if is_hex(text, 64) {
            return Err(ReferenceError::Hexadecimal(text.to_owned()));
        }
        let (domain, rest) = split_domain(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let path =
            if domain == DEFAULT_REGISTRY && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        if path.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(path));
        }
        let valid = is_domain(domain)
            && path.split('/').all(is_path_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if !valid {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        let name = familiar(domain, &path);
        let text = match (digest, tag) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, tag) => format!("{name}:{}", tag.unwrap_or("latest")),
        };
        Ok(Self { text, name_len: name.len() })
    }
}

/// The registry and the rest. The first component is a registry only if it cannot be a path component of a user's name.
fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase) =>
        {
            (if first == "index.docker.io" { DEFAULT_REGISTRY } else { first }, rest)
        }
        _ => (DEFAULT_REGISTRY, text),
    }
}

fn familiar(domain: &str, path: &str) -> String {
    if domain != DEFAULT_REGISTRY {
        return format!("{domain}/{path}");
    }
    match path.strip_prefix("library/") {
        Some(short) if !short.contains('/') => short.to_owned(),
        _ => path.to_owned(),
    }
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `host[:port]`, the host by name, IPv4 or `[IPv6]`.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    host_ok && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case words joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_ok = text.bytes().next().is_some_and(word) && text.bytes().next_back().is_some_and(word);
    ends_ok
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|join| matches!(join, "" | "." | "_" | "__") || join.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// Only SHA-256: it is the only algorithm that images here are named by.
fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| is_hex(hex, 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<String, String> {
        text.parse::<Reference>().map(|r| r.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_shown_in_their_familiar_form() {
        for (text, shown) in [
            ("busybox", "busybox:latest"),
            ("busybox:1.36", "busybox:1.36"),
            ("docker.io/busybox", "busybox:latest"),
            ("docker.io/library/busybox:1", "busybox:1"),
            ("index.docker.io/library/busybox", "busybox:latest"),
            ("library/busybox", "busybox:latest"),
            ("library/a/b", "library/a/b:latest"),
            ("team/app", "team/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("registry.example/a/b/c:x", "registry.example/a/b/c:x"),
            ("[fd00::1]:5000/app", "[fd00::1]:5000/app:latest"),
            ("Registry/app", "Registry/app:latest"),
            ("a__b/c.d-e--f", "a__b/c.d-e--f:latest"),
            ("x:V_1.0-rc", "x:V_1.0-rc"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let reference: Reference = format!("busybox:1@{digest}").parse().unwrap();
        assert_eq!(reference.as_str(), format!("busybox@{digest}"));
        assert_eq!((reference.name(), reference.tag(), reference.digest()), ("busybox", None, Some(&*digest)));
        let tagged: Reference = "localhost:5000/a:b".parse().unwrap();
        assert_eq!((tagged.name(), tagged.tag(), tagged.digest()), ("localhost:5000/a", Some("b"), None));
    }

    #[test]
    fn bad_input_has_dockers_words() {
        for text in [
            "",
            ":",
            "a:",
            "/a",
            "a/",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a b",
            "a:b c",
            "a:-x",
            "a\n",
            "a:b\n",
            "é",
            "a@sha256:12",
            "a@md5:00",
            "host:port/a",
            "a.b:/x",
            "*",
            "a*",
            "../a",
            "a:b:c",
            "http://a/b",
        ] {
            assert_eq!(parse(text), Err("invalid reference format".to_owned()), "{text:?}");
        }
        assert_eq!(
            parse("Busybox").unwrap_err(),
            "invalid reference format: repository name (library/Busybox) must be lowercase"
        );
        let hex = "ab".repeat(32);
        assert_eq!(
            parse(&hex).unwrap_err(),
            format!("invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings")
        );
        assert_eq!(parse(&"a".repeat(300)).unwrap_err(), "repository name must not be more than 255 characters");
        assert!(parse(&format!("a:{}", "t".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in "[a-zA-Z0-9./:@_\\-\\[\\]é ]{0,40}") {
            if let Ok(shown) = parse(&text) {
                prop_assert_eq!(parse(&shown), Ok(shown.clone()));
            }
        }
    }
}
