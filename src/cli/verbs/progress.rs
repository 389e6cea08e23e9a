//! What the daemon tells while it works on an image: JSON lines, shown as docker shows them off a terminal.

use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use serde_json::Value;

use crate::cli::client::{Client, Payload, lines};
use crate::cli::eprint;
use crate::cli::error::CliError;

/// Shows each message by `show`; a message that is an error ends it.
pub(super) async fn follow(
    response: Response<Incoming>,
    mut show: impl FnMut(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut lines = lines(response.into_body());
    while let Some(line) = lines.next().await {
        let line = line?;
        let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
        if let Some(text) = text(&message)? {
            show(&text)?;
        }
    }
    Ok(())
}

/// One message as text with its newline; `None` where it only moves a progress bar.
fn text(message: &Value) -> Result<Option<String>, CliError> {
    let field = |name: &str| message[name].as_str();
    if let Some(error) = message["errorDetail"]["message"].as_str().or(field("error")) {
        return Err(CliError::new(error));
    }
    if message["progressDetail"].as_object().is_some_and(|detail| !detail.is_empty()) {
        return Ok(None);
    }
    Ok(match (field("stream"), field("id"), field("status")) {
        (Some(text), ..) => Some(text.to_owned()),
        (None, Some(id), Some(status)) => Some(format!("{id}: {status}\n")),
        (None, None, Some(status)) => Some(format!("{status}\n")),
        _ => None,
    })
}

/// Asks the daemon to fetch an image.
pub(super) async fn pull(client: &Client, image: &str, platform: Option<&str>) -> Result<(), CliError> {
    let mut query = vec![("fromImage", image)];
    query.extend(platform.map(|platform| ("platform", platform)));
    let response = client.open(Method::POST, "/images/create", &query, Payload::Empty).await?;
    follow(response, |text| {
        eprint(text);
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages() {
        let show = |message: Value| text(&message).map_err(|error| error.message);
        assert_eq!(show(json!({"stream": "Loaded image: a:b\n"})), Ok(Some("Loaded image: a:b\n".into())));
        assert_eq!(show(json!({"status": "Pulling", "id": "x"})), Ok(Some("x: Pulling\n".into())));
        assert_eq!(show(json!({"status": "sha256:00", "progressDetail": {}})), Ok(Some("sha256:00\n".into())));
        assert_eq!(show(json!({"status": "Extracting", "progressDetail": {"current": 1}})), Ok(None));
        assert_eq!(show(json!({"error": "no", "errorDetail": {"message": "no, because"}})), Err("no, because".into()));
    }
}
