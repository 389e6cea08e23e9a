//! The report's sources, asked of the daemon.

use serde::de::DeserializeOwned;

use super::ask::read;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::model::audit::{Linted, Matrix};
use crate::report::{Data, Sources};

/// All that the report shows.
pub(super) async fn gather(client: &Client) -> Result<Data, CliError> {
    let matrix: Matrix = ask(client, "matrix").await?;
    about(client, matrix).await
}

/// The same, about a matrix.
pub(super) async fn about(client: &Client, matrix: Matrix) -> Result<Data, CliError> {
    // Without a bridge there is nothing to drift and nobody to deny.
    let bridged = matrix.bridge.is_some();
    let drift = async || if bridged { ask(client, "drift").await.map(Some) } else { Ok(None) };
    let denied = async || if bridged { ask(client, "log").await.map(Some) } else { Ok(None) };
    let (lint, history) = (ask::<Linted>(client, "lint"), ask(client, "history"));
    let (lint, drift, denied, history) = tokio::try_join!(lint, drift(), denied(), history)?;
    let history = Some(history);
    Ok(Data::of(&Sources { matrix, lint: lint.findings, drift, denied, history }))
}

/// One answer of the audit.
pub(super) async fn ask<T: DeserializeOwned>(client: &Client, what: &str) -> Result<T, CliError> {
    read(&client.get(&format!("/pontoon/v1/audit/{what}"), &[]).await?)
}
