//! Errors of the configuration: one line each, naming the option.

use std::path::{Path, PathBuf};

/// Why the options make no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that `--config-file` names cannot be read.
    #[error("config-file: cannot read {path}: {source}; give --config-file the path of a readable JSON file")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is no JSON object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// Keys that dockerd's daemon.json does not have, or that Pontoon does not serve.
    #[error("the following directives don't match any configuration option: {0}")]
    UnknownKey(String),
    /// A key whose value has the wrong type.
    #[error("{key}: {reason}")]
    Type {
        /// The key in daemon.json.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// Options that flags and file both give, with different values.
    #[error("the following directives are specified both as a flag and in the configuration file: {0}")]
    Conflict(String),
    /// A value that the option cannot have.
    #[error("{option}: {reason}")]
    Invalid {
        /// The option, as its flag is called.
        option: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// `-b` with `--bip`: Docker's words, since scripts match on them.
    #[error("You specified -b & --bip, mutually exclusive options. Please specify only one")]
    BridgeAndBip,
    /// An error in what a file says.
    #[error("unable to configure the daemon with file {path}: {source}")]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong there.
        #[source]
        source: Box<ConfigError>,
    },
}

impl ConfigError {
    /// An option's value is wrong.
    pub(super) fn invalid(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { option, reason: reason.into() }
    }

    /// Adds the file's path where the file is at fault (or part of a conflict).
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Json(_) | Self::UnknownKey(_) | Self::Type { .. } | Self::Conflict(_) => {
                Self::InFile { path: path.to_owned(), source: Box::new(self) }
            }
            other => other,
        }
    }
}
