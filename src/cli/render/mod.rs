//! What answers look like to a person: tables, durations, sizes, templates. Pure.

pub(super) mod human;
pub(super) mod json;
pub(super) mod list;
pub(super) mod ports;
pub(super) mod table;
pub(super) mod template;
