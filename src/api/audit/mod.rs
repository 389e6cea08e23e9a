//! `/pontoon/v1/audit/…`: the audit over HTTP. A file a verb; the work is done by [`crate::audit`].

pub(super) mod assert;
pub(super) mod drift;
pub(super) mod explain;
pub(super) mod history;
pub(super) mod lint;
pub(super) mod log;
pub(super) mod matrix;
pub(super) mod preview;
pub(super) mod probe;
pub(super) mod why;
