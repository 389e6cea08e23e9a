//! The network: archetype, names, DNS, ports and links, and which of them exclude each other.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use bollard_stubs::models::{ContainerCreateBody, EndpointSettings, HostConfig, NetworkingConfig};

use crate::api::error::ApiError;
use crate::model::net::parse_port_number;
use crate::model::{
    ContainerId, ContainerName, HostBinding, Hostname, MacAddr, NetworkMode, NetworkSpec, Port, Protocol,
};

/// `__NEW_UTS_LEN` of the kernel (uname(2)).
const UTS_NAME_MAX: usize = 64;

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(message)
}

/// What a request says of the network.
pub(super) struct Network {
    /// Without its links: their targets are for the engine to find.
    pub(super) spec: NetworkSpec,
    /// `--link`: target, as the user named it, and alias.
    pub(super) links: Vec<(String, String)>,
}

/// Reads everything about the network; `mac` is the top-level MacAddress of older clients.
pub(super) fn network(
    config: &ContainerCreateBody,
    host: &HostConfig,
    networks: Option<NetworkingConfig>,
    mac: Option<String>,
) -> Result<Network, ApiError> {
    // Not a 404: clients take that for a missing image and pull.
    let mode = host.network_mode.as_deref().unwrap_or_default();
    let mode: NetworkMode = mode.parse().map_err(|error| bad(format!("{error}")))?;
    if let NetworkMode::Container(who) = &mode {
        // Looked for at the start, and named in errors and logs until then.
        container(who.strip_prefix('/').unwrap_or(who))
            .ok_or_else(|| bad(format!("invalid container to join: {who:?}: expected a name or an id")))?;
    }
    let endpoint_mac = endpoint(&mode, networks)?;
    let mac = match (mac, endpoint_mac) {
        (Some(a), Some(b)) if !a.eq_ignore_ascii_case(&b) => {
            return Err(bad("conflicting MAC addresses: the container's and its endpoint's must be the same"));
        }
        (a, b) => a.or(b).map(|text| text.parse::<MacAddr>()).transpose().map_err(|error| bad(format!("{error}")))?,
    };
    let publish = bindings(host)?;
    let exposed = exposed_ports(config)?;
    let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let host_text = |what, value: &Option<String>| text(value).map(|text| uts_name(what, &text)).transpose();
    let spec = NetworkSpec {
        mode,
        hostname: host_text("hostname", &config.hostname)?,
        domainname: host_text("domainname", &config.domainname)?,
        mac,
        publish_all: host.publish_all_ports.unwrap_or(false),
        expose: exposed.iter().copied().chain(publish.iter().map(|binding| binding.container)).collect(),
        publish,
        dns: host.dns.iter().flatten().map(|text| address(text)).collect::<Result<_, _>>()?,
        dns_search: host.dns_search.iter().flatten().map(|text| search_domain(text)).collect::<Result<_, _>>()?,
        dns_options: host
            .dns_options
            .iter()
            .flatten()
            .map(|text| word("dns option", text))
            .collect::<Result<_, _>>()?,
        extra_hosts: host.extra_hosts.iter().flatten().map(|text| extra_host(text)).collect::<Result<_, _>>()?,
        links: Vec::new(),
    };
    let links: Vec<_> = host.links.iter().flatten().map(|text| link(text)).collect::<Result<_, _>>()?;
    check_conflicts(&spec, !exposed.is_empty(), !links.is_empty())?;
    Ok(Network { spec, links })
}

/// Docker's table of what excludes what.
fn check_conflicts(spec: &NetworkSpec, exposes: bool, links: bool) -> Result<(), ApiError> {
    let joined = matches!(spec.mode, NetworkMode::Container(_));
    let open = spec.mode == NetworkMode::Host;
    let publishes = !spec.publish.is_empty() || spec.publish_all;
    let undefined = "This would result in undefined behavior";
    for (conflict, message) in [
        (joined && spec.hostname.is_some(), "hostname and the network mode".to_owned()),
        (joined && links, format!("container type network can't be used with links. {undefined}")),
        (open && links, format!("host type networking can't be used with links. {undefined}")),
        (joined && !spec.dns.is_empty(), "dns and the network mode".into()),
        (joined && !spec.extra_hosts.is_empty(), "custom host-to-IP mapping and the network mode".into()),
        ((joined || open) && spec.mac.is_some(), "mac-address and the network mode".into()),
        (joined && publishes, "port publishing and the container type network mode".into()),
        (joined && exposes, "port exposing and the container type network mode".into()),
    ] {
        if conflict {
            return Err(bad(format!("conflicting options: {message}")));
        }
    }
    let ipv6 = spec.publish.iter().filter_map(|binding| binding.host_ip).find(IpAddr::is_ipv6);
    if let (Some(address), NetworkMode::Bridge) = (ipv6, &spec.mode) {
        return Err(bad(format!(
            "cannot publish on {address}: containers have IPv4 only; publish on an IPv4 address of the host"
        )));
    }
    if links && spec.mode == NetworkMode::None {
        return Err(bad("conflicting options: links need the default network, not none"));
    }
    Ok(())
}

/// The endpoint that newer clients send along: its MAC address; anything else belongs to networks of the user's own.
fn endpoint(mode: &NetworkMode, networks: Option<NetworkingConfig>) -> Result<Option<String>, ApiError> {
    let endpoints: HashMap<String, EndpointSettings> = networks.and_then(|n| n.endpoints_config).unwrap_or_default();
    let mut mac = None;
    for (name, endpoint) in endpoints {
        let named: NetworkMode = name.parse().map_err(|error| bad(format!("{error}")))?;
        if named != *mode {
            return Err(ApiError::not_served(format!(
                "pontoon does not connect a container to two networks: {mode} and {name}"
            )));
        }
        let ipam = endpoint.ipam_config.unwrap_or_default();
        let asks = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if asks(&ipam.ipv4_address) || asks(&ipam.ipv6_address) || some(&ipam.link_local_ips) {
            return Err(bad("user-specified IP address is supported on user-defined networks only"));
        }
        if some(&endpoint.aliases) {
            return Err(bad("network-scoped aliases are only supported for user-defined networks"));
        }
        if some(&endpoint.links) {
            return Err(bad("links of an endpoint are supported on user-defined networks only: use HostConfig.Links"));
        }
        if endpoint.driver_opts.is_some_and(|options| !options.is_empty()) {
            return Err(ApiError::not_served("pontoon does not support driver options of an endpoint"));
        }
        mac = mac.or(endpoint.mac_address.filter(|mac| !mac.is_empty()));
    }
    Ok(mac)
}

/// `80/tcp`, `80`, `8000-8005/tcp`.
fn port_range(text: &str) -> Result<(u16, u16, Protocol), ApiError> {
    let invalid = |_| bad(format!("invalid port specification: {text:?}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.parse().map_err(|error| bad(format!("{error}")))?;
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (parse_port_number(first).map_err(invalid)?, parse_port_number(last).map_err(invalid)?);
    if first > last {
        return Err(bad(format!("invalid port specification: {text:?}: the range ends before it begins")));
    }
    Ok((first, last, protocol))
}

/// EXPOSE of the request, ranges spelled out.
fn exposed_ports(config: &ContainerCreateBody) -> Result<BTreeSet<Port>, ApiError> {
    let mut ports = BTreeSet::new();
    for text in config.exposed_ports.iter().flatten() {
        let (first, last, protocol) = port_range(text)?;
        ports.extend((first..=last).map(|number| Port { protocol, number }));
    }
    Ok(ports)
}

/// `-p`, one entry a container port and host binding, ordered by container port.
fn bindings(host: &HostConfig) -> Result<Vec<HostBinding>, ApiError> {
    let mut bindings = Vec::new();
    for (ports, wanted) in host.port_bindings.iter().flatten() {
        let (first, last, protocol) = port_range(ports)?;
        let anywhere = [Default::default()];
        let wanted = match wanted.as_deref() {
            None | Some([]) => &anywhere[..],
            Some(wanted) => wanted,
        };
        for binding in wanted {
            let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
            let host_ip = text(&binding.host_ip).map(|ip| host_address(&ip)).transpose()?;
            let host_ports = host_ports(text(&binding.host_port).as_deref().unwrap_or_default())?;
            for number in first..=last {
                let host_ports = match host_ports {
                    // A range of container ports takes as many host ports, in step.
                    Some((from, to)) if first != last => Some(in_step(ports, (first, last), (from, to), number)?),
                    other => other,
                };
                bindings.push(HostBinding { container: Port { protocol, number }, host_ip, host_ports });
            }
        }
    }
    bindings.sort_by_key(|binding| (binding.container, binding.host_ip, binding.host_ports));
    Ok(bindings)
}

fn in_step(text: &str, inside: (u16, u16), outside: (u16, u16), number: u16) -> Result<(u16, u16), ApiError> {
    if inside.1 - inside.0 != outside.1 - outside.0 {
        let outside = format!("{}-{}", outside.0, outside.1);
        return Err(bad(format!("invalid ranges specified for container and host Ports: {text} and {outside}")));
    }
    let port = outside.0 + (number - inside.0);
    Ok((port, port))
}

/// Nothing and `0` are an ephemeral port; `8000-8010` is the first free one of these.
fn host_ports(text: &str) -> Result<Option<(u16, u16)>, ApiError> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let invalid = || bad(format!("invalid port specification: {text:?}"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| parse_port_number(text).map_err(|_| invalid());
    let (first, last) = (number(first)?, number(last)?);
    if first > last { Err(invalid()) } else { Ok(Some((first, last))) }
}

fn host_address(text: &str) -> Result<IpAddr, ApiError> {
    // Clients put brackets around IPv6 addresses.
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| bad(format!("invalid IP address: {}", text.escape_debug())))
}

fn address(text: &str) -> Result<IpAddr, ApiError> {
    text.trim_matches(' ').parse().map_err(|_| bad(format!("{} is not an ip address", text.escape_debug())))
}

fn hostname(text: &str) -> Result<String, ApiError> {
    let parsed: Hostname = text.parse().map_err(|error| bad(format!("{error}")))?;
    Ok(parsed.as_str().to_owned())
}

/// A name that the kernel holds: of the host, or of its domain.
fn uts_name(what: &str, text: &str) -> Result<String, ApiError> {
    if text.len() > UTS_NAME_MAX {
        let length = text.len();
        return Err(bad(format!(
            "invalid {what} {text:?}: {length} bytes, and the kernel holds {UTS_NAME_MAX} at most"
        )));
    }
    let parsed: Result<Hostname, _> = text.parse();
    // The same letters for both; which of them was wrong is the option's to say.
    parsed.map(|name| name.as_str().to_owned()).map_err(|e| bad(e.to_string().replacen("hostname", what, 1)))
}

/// A domain, or `.` for none.
fn search_domain(text: &str) -> Result<String, ApiError> {
    if text == "." {
        return Ok(text.to_owned());
    }
    hostname(text).map_err(|_| bad(format!("{text:?} is not a valid domain")))
}

/// Text that stands between blanks in a line of a file.
fn word(what: &str, text: &str) -> Result<String, ApiError> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':')) {
        return Ok(text.to_owned());
    }
    Err(bad(format!("invalid {what}: {text:?}")))
}

/// What may be a container's name, or the beginning of its id.
fn container(text: &str) -> Option<String> {
    let id = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    (id || text.parse::<ContainerName>().is_ok()).then(|| text.to_owned())
}

/// `name:address`, also `name=address`; the address may be `host-gateway`.
fn extra_host(text: &str) -> Result<(String, String), ApiError> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = split.ok_or_else(|| bad(format!("bad format for add-host: {text:?}")))?;
    let name = hostname(name).map_err(|_| bad(format!("bad format for add-host: {text:?}")))?;
    if address == "host-gateway" {
        return Ok((name, address.to_owned()));
    }
    let parsed = host_address(address).map_err(|_| bad(format!("invalid IP address in add-host: {address:?}")))?;
    Ok((name, parsed.to_string()))
}

/// `target[:alias]`; `/target:/source/alias`, as inspect shows links, since some clients send that back.
fn link(text: &str) -> Result<(String, String), ApiError> {
    if text.is_empty() {
        return Err(bad("empty string specified for links"));
    }
    let invalid = |why: String| bad(format!("bad format for links: {}: {why}", text.escape_debug()));
    let (target, alias) = text.split_once(':').unwrap_or((text, text));
    let (target, alias) = match target.strip_prefix('/') {
        Some(target) => (target, alias.rsplit('/').next().unwrap_or_default()),
        None => (target, alias),
    };
    // A whole id is too long for a host name, and what `--link $(docker run -d …)` says.
    if alias.parse::<ContainerId>().is_err() {
        hostname(alias).map_err(|_| {
            invalid(format!("the alias {alias:?} is no host name: use letters, digits, '-', '_' and '.'"))
        })?;
    }
    let target = container(target).ok_or_else(|| invalid("a container's name or id comes first".to_owned()))?;
    Ok((target, alias.to_owned()))
}
