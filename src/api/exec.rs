//! `exec`: create, start, resize, inspect.

use bollard_stubs::models::{ExecConfig, ExecInspectResponse, ExecStartConfig, ProcessConfig};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::Api;
use super::body::{self, Response, json};
use super::containers::create::{console_size, environment, no_nul, user, workdir};
use super::containers::lifecycle::size;
use super::detach::DetachKeys;
use super::error::ApiError;
use super::hijack::{Door, Session, hijack, to_the_end};
use super::query::Query;
use super::router::Version;
use crate::containers::ExecSpec;
use crate::containers::{Attachment, EngineError, ErrorKind, ExecRequest};
use crate::model::EnvVar;

/// `POST /containers/{name}/exec`.
pub(super) async fn create(api: &Api, name: String, request: Request<Incoming>) -> Result<Response, ApiError> {
    let action = parse(body::read_json(request).await?)?;
    let engine = api.engine.clone();
    let id = to_the_end(api, async move { engine.exec_create(&name, action).await }).await??;
    // Not the stubs' IdResponse: it writes `id`, where Docker writes `Id`, and other clients than Go's care.
    Ok(json(StatusCode::CREATED, &serde_json::json!({ "Id": id.to_string() })))
}

fn parse(config: ExecConfig) -> Result<ExecRequest, ApiError> {
    let args = config.cmd.filter(|cmd| !cmd.is_empty());
    let args = args.ok_or_else(|| ApiError::bad_request("No exec command specified"))?;
    for arg in &args {
        no_nul("argument", arg)?;
    }
    DetachKeys::parse(config.detach_keys.as_deref())?;
    let env = environment(&config.env.unwrap_or_default())?;
    let text = |value: Option<String>| value.filter(|value| !value.is_empty());
    Ok(ExecRequest {
        exec: ExecSpec {
            args,
            env: env.iter().map(|variable| pair(variable)).collect(),
            user: text(config.user).map(|text| user(&text)).transpose()?,
            workdir: text(config.working_dir).map(|text| workdir(&text)).transpose()?,
            tty: config.tty.unwrap_or(false),
            privileged: config.privileged.unwrap_or(false),
        },
        stdin: config.attach_stdin.unwrap_or(false),
        stdout: config.attach_stdout.unwrap_or(false),
        stderr: config.attach_stderr.unwrap_or(false),
        detach_keys: text(config.detach_keys),
    })
}

/// `NAME=value`; a bare name has an empty value, as docker gives it.
fn pair(variable: &str) -> EnvVar {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    EnvVar { name: name.to_owned(), value: value.to_owned() }
}

/// `POST /exec/{id}/start`. What keeps the process from starting is told on the hijacked stream, where docker tells it.
pub(super) async fn start(
    api: &Api,
    version: Version,
    id: String,
    mut request: Request<Incoming>,
) -> Result<Response, ApiError> {
    let door = Door::of(&mut request);
    let config: ExecStartConfig = body::read_json(request).await?;
    let asked = api.engine.exec_inspect(&id).await?.request;
    let detach = config.detach.unwrap_or(false);
    let engine = api.engine.clone();
    let console = console_size(config.console_size.as_deref());
    let started = to_the_end(api, async move { engine.exec_start(&id, detach, console).await }).await?;
    let attachment = match started {
        Ok(Some(attachment)) => attachment,
        Ok(None) => return Ok(body::empty(StatusCode::OK)),
        Err(error) if detach || matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => {
            return Err(error.into());
        }
        Err(error) => stillborn(asked.exec.tty, error),
    };
    let keys = DetachKeys::parse(asked.detach_keys.as_deref())?;
    let stdin = asked.stdin && attachment.stdin;
    hijack(api, version, door, Session { attachment, stdin, keys, before: Vec::new() })
}

/// A process that did not start: its session says so and ends.
fn stillborn(tty: bool, error: EngineError) -> Attachment {
    Attachment { tty, stdin: false, stream: Box::pin(std::future::ready(Err(error))) }
}

/// `POST /exec/{id}/resize`.
pub(super) async fn resize(api: &Api, id: &str, query: &Query) -> Result<Response, ApiError> {
    let (rows, columns) = size(query)?;
    api.engine.exec_resize(id, rows, columns).await?;
    Ok(body::empty(StatusCode::OK))
}

/// `GET /exec/{id}/json`.
pub(super) async fn inspect(api: &Api, id: &str) -> Result<Response, ApiError> {
    let state = api.engine.exec_inspect(id).await?;
    let (request, exec) = (state.request, state.id.to_string());
    let response = ExecInspectResponse {
        can_remove: Some(!state.running && state.exit_code.is_some()),
        detach_keys: Some(request.detach_keys.unwrap_or_default()),
        id: Some(exec),
        running: Some(state.running),
        exit_code: state.exit_code,
        process_config: Some(ProcessConfig {
            privileged: Some(request.exec.privileged),
            user: request.exec.user,
            tty: Some(request.exec.tty),
            entrypoint: request.exec.args.first().cloned(),
            arguments: Some(request.exec.args.into_iter().skip(1).collect()),
        }),
        open_stdin: Some(request.stdin),
        open_stderr: Some(request.stderr),
        open_stdout: Some(request.stdout),
        container_id: Some(state.container.to_string()),
        pid: Some(state.pid.into()),
    };
    Ok(json(StatusCode::OK, &response))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<ExecRequest, String> {
        parse(serde_json::from_str(json).expect("JSON")).map_err(|error| error.message)
    }

    #[test]
    fn an_exec_as_the_docker_cli_sends_it() {
        let request = parsed(
            r#"{"User":"nobody","Privileged":false,"Tty":true,"ConsoleSize":[24,80],"AttachStdin":true,
               "AttachStderr":true,"AttachStdout":true,"DetachKeys":"","Env":["A=1","B"],"WorkingDir":"/tmp",
               "Cmd":["sh","-c","true"]}"#,
        );
        let request = request.expect("valid");
        assert_eq!(request.exec.args, ["sh", "-c", "true"]);
        assert_eq!(request.exec.env[0], EnvVar { name: "A".into(), value: "1".into() });
        assert_eq!((request.exec.user.as_deref(), request.exec.workdir.as_deref()), (Some("nobody"), Some("/tmp")));
        assert!(request.stdin && request.stdout && request.stderr && request.exec.tty);
        assert_eq!(request.detach_keys, None);
    }

    #[test]
    fn bad_execs() {
        for (json, message) in [
            (r#"{}"#, "No exec command specified"),
            (r#"{"Cmd":["a"],"Env":["=x"]}"#, "invalid environment variable: =x"),
            (r#"{"Cmd":["a"],"DetachKeys":"ctrl-"}"#, "Invalid detach keys (ctrl-) provided"),
            (
                r#"{"Cmd":["a"],"WorkingDir":"tmp"}"#,
                "the working directory 'tmp' is invalid, it needs to be an absolute path",
            ),
        ] {
            assert_eq!(parsed(json).err().as_deref(), Some(message), "{json}");
        }
    }
}
