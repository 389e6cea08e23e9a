//! Paths of archive entries: relative, without `..`, and so unable to leave the directory they are opened in, but for
//! symbolic links, which are [`super::confined`]'s business.

/// A path inside a layer: `usr/bin/env`; empty for the layer's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryPath(Vec<u8>);

/// PATH_MAX without its NUL.
const MAX_PATH: usize = 4095;
/// NAME_MAX.
const MAX_NAME: usize = 255;

impl EntryPath {
    /// From an archive's bytes: `.` and empty components vanish, everything doubtful is refused with the reason.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.is_empty() {
            return Err("its path is empty");
        }
        if bytes.len() > MAX_PATH {
            return Err("its path is longer than 4095 bytes");
        }
        if bytes.contains(&0) {
            return Err("its path contains a NUL");
        }
        if bytes[0] == b'/' {
            return Err("its path is absolute: make the archive with relative paths (tar without -P)");
        }
        let mut path = Vec::with_capacity(bytes.len());
        for component in bytes.split(|&b| b == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err("its path contains \"..\""),
                _ if component.len() > MAX_NAME => return Err("its path has a component longer than 255 bytes"),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        Ok(Self(path))
    }

    /// Whether it is the root itself.
    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory (empty for the root) and the name in it (empty only for the root itself).
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|&b| b == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        }
    }
}

/// Whether a link's relative target, read from the directory it lies in, climbs above the root by its `..` alone. An absolute
/// target starts at the container's own root when the container follows it, and climbs nowhere.
pub(super) fn climbs_out(directory: &[u8], target: &[u8]) -> bool {
    let mut depth = match target.first() {
        Some(b'/') => 0,
        _ => components(directory).count(),
    };
    for component in components(target) {
        if component != b".." {
            depth += 1;
        } else if depth == 0 {
            return target.first() != Some(&b'/');
        } else {
            depth -= 1;
        }
    }
    false
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|c| !matches!(*c, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &[u8]) -> Result<Vec<u8>, &'static str> {
        EntryPath::parse(text).map(|p| p.0)
    }

    #[test]
    fn paths_are_cleaned_or_refused() {
        for (text, clean) in [
            (&b"./"[..], &b""[..]),
            (b".", b""),
            (b"./usr//bin/./env", b"usr/bin/env"),
            (b"a/", b"a"),
            (b"...", b"..."),
            (b"a\nb/\xff", b"a\nb/\xff"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(clean), "{text:?}");
        }
        for bad in [
            &b""[..],
            b"/",
            b"/etc",
            b"..",
            "a/../b".as_bytes(),
            b"a/..",
            b"./../a",
            b"a\0b",
            &[b'a'; 256],
            &b"a/".repeat(2048),
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn relative_links_may_climb_to_the_root_and_no_further() {
        for (directory, target, out) in [
            ("", "a", false),
            ("", "..", true),
            ("usr/bin", "../lib/x", false),
            ("usr/bin", "../..", false),
            ("usr/bin", "../../../etc", true),
            ("usr", "x/../../..", true),
            ("", "/etc/passwd", false),
            ("", "/../../etc", false),
        ] {
            assert_eq!(climbs_out(directory.as_bytes(), target.as_bytes()), out, "{directory} {target}");
        }
    }

    proptest! {
        #[test]
        fn a_parsed_path_stays_inside(text in proptest::collection::vec(prop_oneof![
            Just(b'/'), Just(b'.'), Just(b'a'), Just(0), any::<u8>()
        ], 0..40)) {
            if let Ok(path) = EntryPath::parse(&text) {
                prop_assert!(!path.0.starts_with(b"/") && !path.0.ends_with(b"/"));
                if !path.is_root() {
                    for component in path.0.split(|&b| b == b'/') {
                        prop_assert!(!matches!(component, b"" | b"." | b".."));
                        prop_assert!(!component.contains(&0));
                    }
                }
                prop_assert_eq!(EntryPath::parse(&[&b"./"[..], &path.0].concat()), Ok(path.clone()));
            }
        }
    }
}
