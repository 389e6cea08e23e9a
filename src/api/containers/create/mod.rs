//! `POST /containers/create`: docker's wish list → a typed [`CreateRequest`], parsed once.
//!
//! What cannot be meant is a 400 in docker's words. What pontoon cannot do is a 501 that names it: a container that
//! silently lacks a limit or a wall that was asked for would be a lie. Values that clients send by default pass.

mod config;
mod host;
mod limits;
mod mounts;
mod network;
mod security;

pub(in crate::api) use config::{environment, no_nul, user, workdir};

use std::collections::BTreeMap;

use bollard_stubs::models::{ContainerCreateBody, ContainerCreateResponse};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::Value;

use crate::api::Api;
use crate::api::body::{self, Response};
use crate::api::error::ApiError;
use crate::api::hijack::to_the_end;
use crate::api::query::Query;
use crate::api::system::{architecture, cpus, has_cgroup_2};
use crate::containers::{CreateRequest, SpecRequest};
use crate::model::ContainerSpec;

/// What parsing needs to know of the daemon.
struct Daemon<'a> {
    /// CPUs of the machine.
    cpus: usize,
    /// Its cgroups are of version 2, with which each container has a namespace of them.
    cgroup_namespaces: bool,
    /// For containers that name no log driver.
    log_driver: &'a str,
    /// For containers that set no options.
    log_opts: &'a BTreeMap<String, String>,
}

/// A parsed request.
#[derive(Debug)]
struct Action {
    create: CreateRequest,
    /// To be shown to the user.
    warnings: Vec<String>,
    /// Rows and columns of the client's terminal.
    console: Option<(u16, u16)>,
}

/// Creates a container.
pub(in crate::api) async fn create(api: &Api, query: &Query, request: Request<Incoming>) -> Result<Response, ApiError> {
    let Action { create, mut warnings, console } = read_action(api, query, request).await?;
    let engine = api.engine.clone();
    let created = to_the_end(api, async move {
        let created = engine.create(create).await?;
        if let Some((rows, columns)) = console {
            // A wish: the client sends the size again once it has attached.
            let _ = engine.resize(created.id.as_str(), rows, columns).await;
        }
        Ok::<_, ApiError>(created)
    });
    let created = created.await??;
    warnings.extend(created.warnings);
    Ok(body::json(StatusCode::CREATED, &ContainerCreateResponse { id: created.id.to_string(), warnings }))
}

/// What a request asks for, and what to warn of; nothing is created.
pub(in crate::api) async fn read(
    api: &Api,
    query: &Query,
    request: Request<Incoming>,
) -> Result<(CreateRequest, Vec<String>), ApiError> {
    let Action { create, warnings, .. } = read_action(api, query, request).await?;
    Ok((create, warnings))
}

async fn read_action(api: &Api, query: &Query, request: Request<Incoming>) -> Result<Action, ApiError> {
    check_platform(query.get("platform"))?;
    let name = query.get("name").filter(|name| !name.is_empty()).map(str::to_owned);
    let body: Value = body::read_json(request).await?;
    let config = api.engine.config();
    let cgroup_namespaces = has_cgroup_2();
    let daemon = Daemon { cpus: cpus(), cgroup_namespaces, log_driver: &config.log_driver, log_opts: &config.log_opts };
    parse(name.as_deref(), body, &daemon)
}

/// `--platform`: only the machine's own.
fn check_platform(platform: Option<&str>) -> Result<(), ApiError> {
    let Some(platform) = platform else { return Ok(()) };
    let mut parts = platform.split('/');
    let os = parts.next().unwrap_or_default();
    let arch = parts.next().unwrap_or(architecture());
    if os == "linux" && (arch == architecture() || arch == std::env::consts::ARCH) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "platform {platform:?} cannot run here: this machine is linux/{}",
        architecture()
    )))
}

fn parse(name: Option<&str>, mut body: Value, daemon: &Daemon<'_>) -> Result<Action, ApiError> {
    let bad = |error: serde_json::Error| ApiError::bad_request(format!("invalid JSON: {error}"));
    let name = name.map(str::parse).transpose().map_err(|error| ApiError::bad_request(format!("{error}")))?;
    if !body.is_object() {
        return Err(ApiError::bad_request("config cannot be empty in order to create a container"));
    }
    lists_from_strings(&mut body);
    let request = without_ports(&mut body);
    let mac = body["MacAddress"].as_str().filter(|mac| !mac.is_empty()).map(str::to_owned);
    let mut config: ContainerCreateBody = serde_json::from_value(body).map_err(bad)?;
    let host = config.host_config.take().unwrap_or_default();
    let networks = config.networking_config.take();
    host::refuse_unserved(&config, &host, daemon)?;

    let mut warnings = Vec::new();
    let process = config::process(&config, &host)?;
    let network::Network { spec: network, links } = network::network(&config, &host, networks, mac)?;
    let mounts = mounts::mounts(&config, &host)?;
    let spec = ContainerSpec {
        runtime: host.runtime.clone().unwrap_or_default(),
        resources: limits::resources(&host, daemon.cpus, &mut warnings)?,
        security: security::security(&host)?,
        mounts: mounts.mounts,
        sysctls: limits::sysctls(&host, &network.mode)?,
        labels: config.labels.clone().unwrap_or_default().into_iter().collect(),
        restart: host::restart(&host)?,
        auto_remove: host.auto_remove.unwrap_or(false),
        log: host::log(&host, daemon)?,
        process,
        network,
    };
    let image = config.image.clone().filter(|image| !image.is_empty());
    let create = CreateRequest {
        name,
        image: image.ok_or_else(|| ApiError::bad_request("invalid reference format: no image was named"))?,
        spec: SpecRequest {
            spec,
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone().unwrap_or_default(),
            env: environment(config.env.as_deref().unwrap_or_default())?,
            stop_signal: config::stop_signal(config.stop_signal.as_deref())?,
            anonymous_volumes: mounts.anonymous,
            links,
        },
        request,
    };
    let console = console_size(host.console_size.as_deref()).filter(|_| config.tty == Some(true));
    Ok(Action { create, warnings, console })
}

/// The request as it is remembered: `inspect` gets the ports from the spec, where a thousand of them take little room.
fn without_ports(body: &mut Value) -> Value {
    let places = ["/ExposedPorts", "/HostConfig/PortBindings"];
    let ports = places.map(|place| body.pointer_mut(place).map(Value::take));
    let request = body.clone();
    for (place, ports) in places.into_iter().zip(ports) {
        if let (Some(at), Some(ports)) = (body.pointer_mut(place), ports) {
            *at = ports;
        }
    }
    request
}

/// Docker takes a string for a list of one in these two places.
fn lists_from_strings(body: &mut Value) {
    for key in ["Cmd", "Entrypoint"] {
        if let Some(text) = body.get_mut(key).filter(|value| value.is_string()) {
            *text = Value::Array(vec![text.take()]);
        }
    }
}

/// Rows and columns of a terminal; zeros are no size.
pub(in crate::api) fn console_size(size: Option<&[usize]>) -> Option<(u16, u16)> {
    match size? {
        [rows, columns] if *rows > 0 && *columns > 0 => {
            Some((u16::try_from(*rows).ok()?, u16::try_from(*columns).ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
