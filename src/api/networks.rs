//! `/networks`: bridge, host and none, to read.

use std::collections::HashMap;

use bollard_stubs::models::{EndpointResource, Ipam, IpamConfig, Network, NetworkInspect};
use hyper::StatusCode;

use super::Api;
use super::body::{Response, json};
use super::containers::{endpoint_id, network_id};
use super::error::ApiError;
use super::filters::{Filters, invalid, pattern};
use super::query::Query;
use crate::model::{NetworkMode, NetworkOptions};

/// Name and driver of each network.
const NETWORKS: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// `GET /networks`.
pub(super) fn list(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let filters = Filters::parse(query, &["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    filters.boolean("dangling")?;
    if let Some(value) = filters.values("type").iter().find(|value| !matches!(value.as_str(), "builtin" | "custom")) {
        return Err(invalid("type", value));
    }
    let daemon = api.engine.info().id;
    let networks = known(api).filter(|(name, driver)| {
        filters.any("name", |wanted| pattern(wanted).is_match(name))
            && filters.any("id", |wanted| network_id(&daemon, name).starts_with(wanted))
            && filters.any("driver", |wanted| wanted == driver)
            && filters.any("scope", |wanted| wanted == "local")
            && filters.any("type", |wanted| wanted == "builtin")
            && filters.any("dangling", |wanted| matches!(wanted.as_str(), "false" | "0"))
            && !filters.has("label")
    });
    let networks: Vec<Network> = networks.map(|(name, driver)| describe(api, &daemon, name, driver)).collect();
    Ok(json(StatusCode::OK, &networks))
}

/// With `-b none` there is no bridge.
fn known(api: &Api) -> impl Iterator<Item = (&'static str, &'static str)> {
    let bridged = api.engine.network().is_some();
    NETWORKS.into_iter().filter(move |(name, _)| *name != "bridge" || bridged)
}

/// `GET /networks/{name or id}`.
pub(super) fn inspect(api: &Api, wanted: &str) -> Result<Response, ApiError> {
    let daemon = api.engine.info().id;
    let is_wanted = |name: &str| name == wanted || (wanted.len() >= 4 && network_id(&daemon, name).starts_with(wanted));
    let found = known(api).find(|(name, _)| is_wanted(name));
    let (name, driver) = found.ok_or_else(|| ApiError::not_found(format!("network {wanted} not found")))?;
    let network = describe(api, &daemon, name, driver);
    let inspect = NetworkInspect {
        name: network.name,
        id: network.id,
        created: network.created,
        scope: network.scope,
        driver: network.driver,
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: network.ipam,
        internal: network.internal,
        attachable: network.attachable,
        ingress: network.ingress,
        config_from: network.config_from,
        config_only: network.config_only,
        options: network.options,
        labels: network.labels,
        containers: Some(members(api, name)),
        ..NetworkInspect::default()
    };
    Ok(json(StatusCode::OK, &inspect))
}

fn describe(api: &Api, daemon: &str, name: &str, driver: &str) -> Network {
    let bridge = api.engine.network().filter(|_| name == "bridge");
    let pool = bridge.map(|options| IpamConfig {
        subnet: Some(subnet(options)),
        ip_range: options.fixed_cidr.map(|range| range.to_string()),
        gateway: Some(options.gateway().to_string()),
        ..IpamConfig::default()
    });
    Network {
        name: Some(name.to_owned()),
        id: Some(network_id(daemon, name)),
        // The daemon keeps no date: these three have always been there.
        created: Some("1970-01-01T00:00:00Z".into()),
        scope: Some("local".into()),
        driver: Some(driver.to_owned()),
        enable_ipv4: Some(true),
        enable_ipv6: Some(false),
        ipam: Some(Ipam { driver: Some("default".into()), config: Some(pool.into_iter().collect()), options: None }),
        internal: Some(false),
        attachable: Some(false),
        ingress: Some(false),
        config_from: None,
        config_only: Some(false),
        options: Some(bridge.map(bridge_options).unwrap_or_default()),
        labels: Some(HashMap::new()),
        peers: None,
    }
}

fn subnet(options: &NetworkOptions) -> String {
    format!("{}/{}", options.bip.network(), options.bip.prefix())
}

/// The options of the bridge under docker's names.
fn bridge_options(options: &NetworkOptions) -> HashMap<String, String> {
    let pairs = [
        ("com.docker.network.bridge.default_bridge", "true".to_owned()),
        ("com.docker.network.bridge.enable_icc", options.icc.to_string()),
        ("com.docker.network.bridge.enable_ip_masquerade", options.ip_masq.to_string()),
        ("com.docker.network.bridge.host_binding_ipv4", options.default_ip.to_string()),
        ("com.docker.network.bridge.name", options.bridge.clone()),
        ("com.docker.network.driver.mtu", options.mtu.to_string()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Running containers on a network.
fn members(api: &Api, network: &str) -> HashMap<String, EndpointResource> {
    let on_it = |mode: &NetworkMode| {
        matches!(
            (mode, network),
            (NetworkMode::Bridge, "bridge") | (NetworkMode::Host, "host") | (NetworkMode::None, "none")
        )
    };
    let running = api.engine.list().into_iter().filter(|container| container.state.status.is_running());
    let prefix = api.engine.network().map_or(0, |options| options.bip.prefix());
    running
        .filter(|container| on_it(&container.spec.network.mode))
        .map(|container| {
            let attached = container.attached.as_ref();
            let resource = EndpointResource {
                name: Some(container.name.to_string()),
                endpoint_id: Some(endpoint_id(&container)),
                mac_address: Some(attached.map(|attached| attached.mac.to_string()).unwrap_or_default()),
                ipv4_address: Some(attached.map(|a| format!("{}/{prefix}", a.address)).unwrap_or_default()),
                ipv6_address: Some(String::new()),
            };
            (container.id.to_string(), resource)
        })
        .collect()
}
