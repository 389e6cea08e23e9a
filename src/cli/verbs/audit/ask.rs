//! The daemon's answers.

use serde::de::DeserializeOwned;

use crate::cli::error::CliError;

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(answer).map_err(|error| CliError::new(format!("cannot read the daemon's answer: {error}")))
}
