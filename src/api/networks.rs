//! `/networks`: bridge, host and none, to read.

use std::collections::HashMap;

use bollard_stubs::models::{EndpointResource, Ipam, IpamConfig, Network, NetworkInspect};
use hyper::StatusCode;

use super::Api;
use super::body::{Response, json};
use super::containers::endpoint_id;
use super::error::ApiError;
use super::filters::{Filters, invalid, pattern};
use super::query::Query;
use crate::containers::{Info, KnownNetwork};
use crate::model::NetworkOptions;

/// `GET /networks`.
pub(super) fn list(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let filters = Filters::parse(query, &["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    filters.boolean("dangling")?;
    if let Some(value) = filters.values("type").iter().find(|value| !matches!(value.as_str(), "builtin" | "custom")) {
        return Err(invalid("type", value));
    }
    let info = api.engine.info();
    let networks = api.engine.networks().into_iter().filter(|network| {
        filters.any("name", |wanted| pattern(wanted).is_match(network.name))
            && filters.any("id", |wanted| network.id(&info.id).starts_with(wanted))
            && filters.any("driver", |wanted| wanted == network.driver)
            && filters.any("scope", |wanted| wanted == "local")
            && filters.any("type", |wanted| wanted == "builtin")
            && filters.any("dangling", |wanted| matches!(wanted.as_str(), "false" | "0"))
            && !filters.has("label")
    });
    let networks: Vec<Network> = networks.map(|network| describe(api, &info, network)).collect();
    Ok(json(StatusCode::OK, &networks))
}

/// `GET /networks/{name or id}`.
pub(super) fn inspect(api: &Api, wanted: &str) -> Result<Response, ApiError> {
    let info = api.engine.info();
    let is_wanted = |network: &KnownNetwork| {
        network.name == wanted || (wanted.len() >= 4 && network.id(&info.id).starts_with(wanted))
    };
    let found = api.engine.networks().into_iter().find(is_wanted);
    let known = found.ok_or_else(|| ApiError::not_found(format!("network {wanted} not found")))?;
    let network = describe(api, &info, known);
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
        containers: Some(members(api, known)),
        ..NetworkInspect::default()
    };
    Ok(json(StatusCode::OK, &inspect))
}

fn describe(api: &Api, info: &Info, known: KnownNetwork) -> Network {
    let bridge = api.engine.network().filter(|_| known.name == "bridge");
    let pool = bridge.map(|options| IpamConfig {
        subnet: Some(subnet(options)),
        ip_range: options.fixed_cidr.map(|range| range.to_string()),
        gateway: Some(options.gateway().to_string()),
        ..IpamConfig::default()
    });
    Network {
        name: Some(known.name.to_owned()),
        id: Some(known.id(&info.id)),
        // As old as the daemon's data: they have always been there.
        created: Some(info.created.clone()),
        scope: Some("local".into()),
        driver: Some(known.driver.to_owned()),
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
fn members(api: &Api, network: KnownNetwork) -> HashMap<String, EndpointResource> {
    let running = api.engine.list().into_iter().filter(|container| container.state.status.is_running());
    let prefix = api.engine.network().map_or(0, |options| options.bip.prefix());
    running
        .filter(|container| KnownNetwork::of(&container.spec.network.mode) == Some(network))
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
