//! Names that speak about the layers below (OCI image-spec, layer.md, "Whiteouts").

use super::super::entry_path::EntryPath;

/// What an entry's name says about layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// What it holds is this layer's.
    Content,
    /// Hides what is called so in the layers below.
    Whiteout(&'a [u8]),
    /// Hides all that is in its directory in the layers below.
    Opaque,
    /// Bookkeeping of aufs.
    Ignored,
}

/// The prefix of names that are about the layers below.
const WHITEOUT: &[u8] = b".wh.";

/// Reads it off the name.
///
/// # Errors
///
/// Why a name with the prefix is refused.
pub(super) fn meaning(path: &EntryPath) -> Result<Meaning<'_>, &'static str> {
    let (directory, name) = path.split();
    if directory.split(|&b| b == b'/').any(|c| c.starts_with(WHITEOUT)) {
        return Err("it is inside a whiteout");
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Content),
        Some(b".wh..opq") => Ok(Meaning::Opaque),
        Some(rest) if rest.starts_with(WHITEOUT) => Ok(Meaning::Ignored),
        Some(b"" | b"." | b"..") => Err("a whiteout of nothing, or of the directory itself"),
        Some(hidden) => Ok(Meaning::Whiteout(hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_of_others_can_be_hidden() {
        let of = |text: &str| {
            let path = EntryPath::parse(text.as_bytes()).unwrap();
            meaning(&path).map(|meaning| format!("{meaning:?}"))
        };
        let hides = |name: &str| Ok(format!("{:?}", Meaning::Whiteout(name.as_bytes())));
        assert_eq!(of("a/wh.b"), Ok("Content".to_owned()));
        assert_eq!(of("a/.wh.b"), hides("b"));
        assert_eq!(of("a/.wh....b"), hides("...b"));
        assert_eq!(of(".wh..wh..opq"), Ok("Opaque".to_owned()));
        for ignored in [".wh..wh.", ".wh..wh.plnk", ".wh..wh..opq.x", ".wh..wh..."] {
            assert_eq!(of(ignored), Ok("Ignored".to_owned()), "{ignored}");
        }
        for refused in [".wh.", ".wh..", "a/.wh...", ".wh.a/b", ".wh..wh..opq/.wh.x"] {
            assert!(of(refused).is_err(), "{refused}");
        }
    }
}
