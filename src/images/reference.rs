//! Image references: `[registry/]name[:tag][@digest]`, normalised as Docker shows them (`busybox` is `busybox:latest`).

/// A name with a tag, in its familiar form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    text: String,
}

impl Reference {
    /// `name:tag`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
