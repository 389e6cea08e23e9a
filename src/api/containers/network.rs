//! A container's network as `inspect`, `ps` and `network inspect` show it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard_stubs::models::{EndpointSettings, PortBinding, PortMap, PortSummary, PortSummaryTypeEnum};
use sha2::{Digest, Sha256};

use crate::containers::{Container, KnownNetwork};
use crate::model::{NetworkOptions, Port, Protocol};

/// The id of a container's endpoint.
pub(in crate::api) fn endpoint_id(container: &Container) -> String {
    let mut hash = Sha256::new();
    for part in [container.id.as_str(), "endpoint"] {
        hash.update(part);
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

/// `Networks`: the one that the container is on, with its addresses while it runs.
pub(in crate::api) fn endpoint_settings(
    container: &Container,
    network: Option<&NetworkOptions>,
    daemon: &str,
) -> HashMap<String, EndpointSettings> {
    let Some(on) = KnownNetwork::of(&container.spec.network.mode) else { return HashMap::new() };
    let running = container.state.status.is_running();
    let empty = || Some(String::new());
    let mut settings = EndpointSettings {
        network_id: Some(if running { on.id(daemon) } else { String::new() }),
        endpoint_id: Some(if running { endpoint_id(container) } else { String::new() }),
        mac_address: Some(container.spec.network.mac.map(|mac| mac.to_string()).unwrap_or_default()),
        gateway: empty(),
        ip_address: empty(),
        ip_prefix_len: Some(0),
        ipv6_gateway: empty(),
        global_ipv6_address: empty(),
        global_ipv6_prefix_len: Some(0),
        gw_priority: Some(0),
        ..EndpointSettings::default()
    };
    if let (Some(attached), Some(network)) = (&container.attached, network) {
        settings.mac_address = Some(attached.mac.to_string());
        settings.ip_address = Some(attached.address.to_string());
        settings.gateway = Some(network.gateway().to_string());
        settings.ip_prefix_len = Some(network.bip.prefix().into());
    }
    HashMap::from([(on.name.to_owned(), settings)])
}

/// `Ports` of `inspect`: every exposed port of a running bridged container, with the host ports that lead to it.
pub(super) fn port_map(container: &Container) -> PortMap {
    let Some(attached) = &container.attached else { return PortMap::new() };
    let mut ports: BTreeMap<Port, Option<Vec<PortBinding>>> =
        container.spec.network.expose.iter().map(|port| (*port, None)).collect();
    for published in attached.published.iter().flat_map(|row| row.each()) {
        let binding = PortBinding {
            host_ip: Some(published.host_ip.to_string()),
            host_port: Some(published.host_port.to_string()),
        };
        ports.entry(published.container).or_default().get_or_insert_default().push(binding);
    }
    ports.into_iter().map(|(port, bindings)| (port.to_string(), bindings)).collect()
}

/// The PORTS column of `ps`.
pub(super) fn port_list(container: &Container) -> Vec<PortSummary> {
    let Some(attached) = &container.attached else { return Vec::new() };
    let published = attached.published.iter().flat_map(|row| row.each()).map(|published| PortSummary {
        ip: Some(published.host_ip.to_string()),
        private_port: published.container.number,
        public_port: Some(published.host_port),
        typ: Some(protocol(published.container.protocol)),
    });
    let leads_here: BTreeSet<Port> =
        attached.published.iter().flat_map(|row| row.each()).map(|published| published.container).collect();
    let unpublished = container.spec.network.expose.difference(&leads_here);
    let unpublished = unpublished.map(|port| PortSummary {
        ip: None,
        private_port: port.number,
        public_port: None,
        typ: Some(protocol(port.protocol)),
    });
    published.chain(unpublished).collect()
}

fn protocol(protocol: Protocol) -> PortSummaryTypeEnum {
    match protocol {
        Protocol::Tcp => PortSummaryTypeEnum::TCP,
        Protocol::Udp => PortSummaryTypeEnum::UDP,
        Protocol::Sctp => PortSummaryTypeEnum::SCTP,
    }
}
