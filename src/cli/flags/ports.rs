//! `-p` and `--expose`: docker's grammar of ports, and its error words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bollard::models::PortBinding;

use super::invalid;
use crate::cli::error::CliError;

/// Container port (`80/tcp`) to its host ports.
pub(super) type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// First and last port of a range; a single port is a range of one.
type Range = (u16, u16);

/// Reads all `-p` values: `[[ip:][host[-end]]:]port[-end][/proto]`.
pub(super) fn bindings(specs: &[String]) -> Result<Bindings, CliError> {
    let mut bindings = Bindings::new();
    for spec in specs {
        let spec = if spec.contains('=') { long_form(spec)? } else { spec.clone() };
        for (port, binding) in publish(&spec)? {
            bindings.entry(port).or_default().push(binding);
        }
    }
    Ok(bindings)
}

/// Reads all `--expose` values: `port[-end][/proto]`.
pub(super) fn exposed(specs: &[String]) -> Result<BTreeSet<String>, CliError> {
    let mut ports = BTreeSet::new();
    for spec in specs {
        if spec.contains(':') {
            return Err(invalid(format!("invalid port format for --expose: {spec}")));
        }
        let (range, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
        let (first, last) = parse_range(range).ok_or_else(|| {
            invalid(format!("invalid range format for --expose: {spec}: expected PORT[-END][/PROTOCOL]"))
        })?;
        let protocol = parse_protocol(protocol)?;
        ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(ports)
}

/// One `-p` value, one entry a container port.
fn publish(spec: &str) -> Result<Vec<(String, PortBinding)>, CliError> {
    let (rest, protocol) = spec.rsplit_once('/').unwrap_or((spec, "tcp"));
    let (rest, container) = rest.rsplit_once(':').map_or(("", rest), |(rest, port)| (rest, port));
    let (address, host) = match rest.rsplit_once(':') {
        // `[::1]` alone ends in a bracket: it is an address without a port.
        Some((address, host)) if !host.ends_with(']') => (address, host),
        _ if rest.ends_with(']') => (rest, ""),
        _ => ("", rest),
    };
    if container.is_empty() {
        return Err(invalid(format!("no port specified: {spec}<empty>")));
    }
    let containers = parse_range(container).ok_or_else(|| invalid(format!("invalid containerPort: {container}")))?;
    let protocol = parse_protocol(protocol)?;
    let hosts = match host {
        "" => None,
        _ => Some(parse_host_range(host).ok_or_else(|| invalid(format!("invalid hostPort: {host}")))?),
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(invalid(format!("invalid IP address: {address}")));
    }
    let length = |(first, last): Range| last - first;
    let single = length(containers) == 0;
    if hosts.is_some_and(|hosts| length(hosts) != length(containers) && !single) {
        return Err(invalid(format!("invalid ranges specified for container and host Ports: {container} and {host}")));
    }
    let host_port = |offset: u16| match hosts {
        None => String::new(),
        // One container port takes any free port of a host range.
        Some((first, last)) if single && first != last => format!("{first}-{last}"),
        Some((first, _)) => (first + offset).to_string(),
    };
    let entry = |port: u16| {
        let binding =
            PortBinding { host_ip: Some(address.to_owned()), host_port: Some(host_port(port - containers.0)) };
        (format!("{port}/{protocol}"), binding)
    };
    Ok((containers.0..=containers.1).map(entry).collect())
}

/// `target=80,published=8080,protocol=tcp` → `8080:80/tcp`.
fn long_form(spec: &str) -> Result<String, CliError> {
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for field in spec.split(',') {
        match field.split_once('=') {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            Some(("mode", "host" | "ingress")) => {}
            _ => return Err(invalid(format!("invalid field in -p {spec:?}: {field}"))),
        }
    }
    Ok(if published.is_empty() { format!("{target}/{protocol}") } else { format!("{published}:{target}/{protocol}") })
}

/// A port, or `first-last` in that order.
fn parse_range(text: &str) -> Option<Range> {
    let range = parse_host_range(text)?;
    (range.0 > 0).then_some(range)
}

/// Like [`parse_range`]; host port 0 is an ephemeral one.
fn parse_host_range(text: &str) -> Option<Range> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (number(first)?, number(last)?);
    (range.0 <= range.1).then_some(range)
}

fn parse_protocol(text: &str) -> Result<String, CliError> {
    match text.to_ascii_lowercase().as_str() {
        protocol @ ("tcp" | "udp" | "sctp") => Ok(protocol.to_owned()),
        _ => Err(invalid(format!("invalid proto: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `container>ip|host` for each binding.
    fn read(spec: &str) -> Result<Vec<String>, String> {
        let bindings = bindings(&[spec.to_owned()]).map_err(|error| error.to_string())?;
        let show = |(port, bindings): (String, Vec<PortBinding>)| {
            let binding = &bindings[0];
            format!(
                "{port}>{}|{}",
                binding.host_ip.as_deref().unwrap_or_default(),
                binding.host_port.as_deref().unwrap_or_default()
            )
        };
        Ok(bindings.into_iter().map(show).collect())
    }

    #[test]
    fn the_forms_of_a_publication() {
        for (spec, expected) in [
            ("80", &["80/tcp>|"][..]),
            ("53/UDP", &["53/udp>|"]),
            ("8080:80", &["80/tcp>|8080"]),
            ("0:80", &["80/tcp>|0"]),
            ("127.0.0.1:8080:80/sctp", &["80/sctp>127.0.0.1|8080"]),
            ("127.0.0.1::80", &["80/tcp>127.0.0.1|"]),
            ("[::1]:8080:80", &["80/tcp>::1|8080"]),
            ("[::1]::80", &["80/tcp>::1|"]),
            ("8000-8001:80-81", &["80/tcp>|8000", "81/tcp>|8001"]),
            ("8000-8010:80", &["80/tcp>|8000-8010"]),
            ("80-81", &["80/tcp>|", "81/tcp>|"]),
            ("target=80,published=8080,protocol=udp", &["80/udp>|8080"]),
        ] {
            assert_eq!(read(spec).as_deref(), Ok(&*expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn refusals_in_docker_s_words() {
        for (spec, words) in [
            ("8000-8010:80-85", "invalid ranges specified for container and host Ports: 80-85 and 8000-8010"),
            ("8000:80-85", "invalid ranges specified for container and host Ports: 80-85 and 8000"),
            ("8080:abc", "invalid containerPort: abc"),
            ("0", "invalid containerPort: 0"),
            ("65536", "invalid containerPort: 65536"),
            ("81-80", "invalid containerPort: 81-80"),
            ("+80", "invalid containerPort: +80"),
            ("x:80", "invalid hostPort: x"),
            ("8080:", "no port specified: 8080:<empty>"),
            ("300.0.0.1:80:80", "invalid IP address: 300.0.0.1"),
            ("80/icmp", "invalid proto: icmp"),
        ] {
            assert_eq!(read(spec), Err(words.to_owned()), "{spec}");
        }
    }

    #[test]
    fn exposed_ranges() {
        let ports = exposed(&["80".into(), "53-54/udp".into()]).expect("ports");
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), ["53/udp", "54/udp", "80/tcp"]);
        for bad in ["80:80", "x", "2-1", "80/x", "0"] {
            assert!(exposed(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
    }
}
