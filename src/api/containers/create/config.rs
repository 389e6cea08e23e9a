//! The process: arguments, environment, user, terminal.

use bollard_stubs::models::{ContainerCreateBody, HostConfig};

use crate::api::error::ApiError;
use crate::containers::signal;
use crate::model::ProcessSpec;

const SIGTERM: i32 = 15;

/// What the request says of the process; the image's defaults are merged in later.
pub(super) fn process(config: &ContainerCreateBody, host: &HostConfig) -> Result<ProcessSpec, ApiError> {
    for text in config.cmd.iter().chain(&config.entrypoint).flatten() {
        no_nul("argument", text)?;
    }
    Ok(ProcessSpec {
        args: Vec::new(),
        entrypoint_len: 0,
        env: Vec::new(),
        user: user(config.user.as_deref().unwrap_or_default())?,
        group_add: host.group_add.clone().unwrap_or_default(),
        workdir: workdir(config.working_dir.as_deref().unwrap_or_default())?,
        tty: config.tty.unwrap_or(false),
        open_stdin: config.open_stdin.unwrap_or(false),
        stdin_once: config.stdin_once.unwrap_or(false),
        init: false,
        stop_signal: SIGTERM,
        stop_timeout: config.stop_timeout,
    })
}

/// A user, group or name that goes into a line of its own nowhere.
pub(in crate::api) fn user(text: &str) -> Result<String, ApiError> {
    if text.chars().any(char::is_control) || text.matches(':').count() > 1 {
        return Err(ApiError::bad_request(format!("invalid user {text:?}: expected user[:group]")));
    }
    Ok(text.to_owned())
}

/// An absolute path, or nothing.
pub(in crate::api) fn workdir(text: &str) -> Result<String, ApiError> {
    no_nul("working directory", text)?;
    if text.is_empty() || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err(ApiError::bad_request(format!("the working directory '{text}' is invalid, it needs to be an absolute path")))
}

/// `NAME=value`, or a bare `NAME` that unsets.
pub(in crate::api) fn environment(env: &[String]) -> Result<Vec<String>, ApiError> {
    for variable in env {
        no_nul("environment variable", variable)?;
        if variable.is_empty() || variable.starts_with('=') {
            return Err(ApiError::bad_request(format!("invalid environment variable: {variable}")));
        }
    }
    Ok(env.to_vec())
}

/// A signal by name or number, as it was written.
pub(super) fn stop_signal(text: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    signal::parse(text)?;
    Ok(Some(text.to_owned()))
}

/// The kernel ends arguments, names and paths at NUL.
pub(in crate::api) fn no_nul(what: &str, text: &str) -> Result<(), ApiError> {
    if text.contains('\0') {
        return Err(ApiError::bad_request(format!("invalid {what} {text:?}: it contains a NUL character")));
    }
    Ok(())
}
