//! `os/arch[/variant]`, in the words of Go and so of Docker.

use std::fmt;
use std::str::FromStr;

/// A platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) architecture: String,
    /// May be empty.
    pub(super) variant: String,
}

impl Platform {
    /// This machine's.
    pub(super) fn host() -> Self {
        let (architecture, variant) = normal(std::env::consts::ARCH, "");
        Self { os: "linux".to_owned(), architecture, variant }
    }

    /// How well a platform suits this one: 0 not at all, more is better. A missing variant suits any.
    pub(super) fn suits(&self, os: &str, architecture: &str, variant: &str) -> u8 {
        let (architecture, variant) = normal(architecture, variant);
        if self.os != os || self.architecture != architecture {
            return 0;
        }
        match (&*self.variant, &*variant) {
            (a, b) if a == b => 3,
            (_, "") | ("", _) => 2,
            // Newer processors run what is made for older ones, not the reverse (v6 on v7).
            (ours, theirs) if theirs < ours => 1,
            _ => 0,
        }
    }
}

/// Go's names, with the variants that are no variants left out.
fn normal(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
        ("aarch64", v) => ("arm64", v),
        ("i386" | "i686" | "x86", v) => ("386", v),
        ("armhf" | "arm", "" | "7") => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("powerpc64", v) => ("ppc64le", v),
        ("loongarch64", v) => ("loong64", v),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

impl FromStr for Platform {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let word =
            |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            ["linux"] => return Ok(Self::host()),
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] if word(variant) => (os, architecture, variant),
            _ => return Err(format!("invalid platform {text:?}: expected os/arch[/variant], e.g. linux/amd64")),
        };
        if !word(architecture) {
            return Err(format!("invalid platform {text:?}: expected os/arch[/variant], e.g. linux/amd64"));
        }
        if !os.eq_ignore_ascii_case("linux") {
            return Err(format!("invalid platform {text:?}: only linux is served"));
        }
        let (architecture, variant) = normal(&architecture.to_ascii_lowercase(), &variant.to_ascii_lowercase());
        Ok(Self { os: "linux".to_owned(), architecture, variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised() {
        for (text, shown) in
            [("linux/x86_64", "linux/amd64"), ("Linux/ARM64/v8", "linux/arm64"), ("linux/arm/v6", "linux/arm/v6")]
        {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::host());
        for bad in ["", "amd64", "linux/", "windows/amd64", "linux/a/b/c", "linux/a\n", "linux/arm/"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_exact_variant_suits_best() {
        let host: Platform = "linux/arm/v7".parse().unwrap();
        let score = |arch: &str, variant: &str| host.suits("linux", arch, variant);
        assert!(score("arm", "v7") > score("arm", "v6") && score("arm", "v6") > 0);
        assert_eq!((score("arm", "v8"), score("arm64", ""), host.suits("windows", "arm", "v7")), (0, 0, 0));
        let host: Platform = "linux/amd64".parse().unwrap();
        assert!(host.suits("linux", "amd64", "") > host.suits("linux", "amd64", "v3"));
    }
}
