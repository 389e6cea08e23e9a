//! What the intent says of containers' services: pure functions of options, links and exposed ports.

use std::net::Ipv4Addr;

use super::flows::DOMAIN;
use crate::model::audit::{Intended, PartyPort, Reason, Service, Way};
use crate::model::{ContainerId, Endpoint, NetworkOptions, PortRange, Protocol, Published};

/// What should be, why, and by which way it goes.
pub(super) type Should = (Intended, Reason, Way);

/// From container to container, to its own address.
pub(super) fn neighbours(
    options: &NetworkOptions,
    from: &Endpoint,
    target: &ContainerId,
    port: Option<&PartyPort>,
) -> Should {
    if options.icc {
        return (Intended::Allow, Reason::Icc, Way::Direct);
    }
    let Some(link) = from.links.iter().find(|link| link.target == *target) else {
        return (Intended::Deny, Reason::NoLink, Way::Direct);
    };
    let alias = link.alias.clone();
    match port {
        Some(port) if port.exposed => (Intended::Allow, Reason::Link { alias: alias.clone() }, Way::Link { alias }),
        _ => (Intended::Deny, Reason::NotExposed { alias }, Way::Direct),
    }
}

/// From the LAN or the outside to a container's own address: only what is published is reached, and not here.
pub(super) fn from_beyond(port: Option<&PartyPort>) -> Should {
    let only = port.and_then(|port| port.published.first().filter(|_| port.published.iter().all(on_loopback)));
    let reason = match only {
        Some(row) => Reason::PublishedElsewhere { row: row_text(row) },
        None => Reason::NotPublished,
    };
    (Intended::Deny, reason, Way::Direct)
}

/// From a container to what listens on this machine.
pub(super) fn to_host(options: &NetworkOptions, service: Service, address: Ipv4Addr) -> Should {
    // Names are asked for at the usual port, which leads to where the daemon answers.
    let names = options.dns_port.is_some_and(|dns| match service {
        Service::Ports(PortRange { protocol: Protocol::Tcp | Protocol::Udp, first, last }) => {
            first == last && [dns, DOMAIN].contains(&first) && address == options.gateway()
        }
        Service::Ports(_) | Service::Echo => false,
    });
    match options.host_access {
        _ if names || service == Service::Echo => (Intended::Allow, Reason::HostAlways, Way::Direct),
        true => (Intended::Allow, Reason::HostAccess, Way::Direct),
        false => (Intended::Deny, Reason::NoHostAccess, Way::Direct),
    }
}

/// What must be forwarded comes about only where somebody forwards.
pub(super) fn forwarded(should: Should, forwards: bool) -> Should {
    match should {
        (Intended::Allow, _, way) if !forwards => (Intended::Deny, Reason::NoForwarding, way),
        other => other,
    }
}

/// Ports on 127/8 are the host's alone.
pub(super) fn on_loopback(row: &Published) -> bool {
    row.host_ip.is_loopback()
}

/// As `-p` would say it: `0.0.0.0:8080->80/tcp`.
pub(super) fn row_text(row: &Published) -> String {
    let ports = |first: u16| match row.count {
        1 => first.to_string(),
        more => format!("{first}-{}", first + (more - 1)),
    };
    let (host, inside) = (ports(row.host_port), ports(row.container.number));
    format!("{}:{host}->{inside}/{}", row.host_ip, row.container.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Link, MacAddr, Names};

    fn endpoint(links: &[(&ContainerId, &str)]) -> Endpoint {
        Endpoint {
            name: "web".parse().expect("name"),
            address: Ipv4Addr::new(172, 17, 0, 2),
            mac: MacAddr([2; 6]),
            port: "veth".to_owned(),
            published: vec![],
            exposed: vec![],
            links: links
                .iter()
                .map(|(target, alias)| Link { target: (*target).clone(), alias: (*alias).to_owned() })
                .collect(),
            names: Names::default(),
        }
    }

    fn port(exposed: bool, published: Vec<Published>) -> PartyPort {
        let Service::Ports(ports) = service("80/tcp") else { panic!("ports") };
        PartyPort { ports: PortRange { ..ports }, exposed, published, listeners: vec![] }
    }

    fn service(text: &str) -> Service {
        text.parse().expect("service")
    }

    #[test]
    fn links_open_what_is_exposed_where_neighbours_are_apart() {
        let (db, other) = (ContainerId::from_bytes([1; 32]), ContainerId::from_bytes([2; 32]));
        let web = endpoint(&[(&db, "database")]);
        let closed = NetworkOptions { icc: false, ..NetworkOptions::usual() };
        let alias = || "database".to_owned();
        let asked = |options, target, exposed| neighbours(options, &web, target, Some(&port(exposed, vec![])));
        let link = (Intended::Allow, Reason::Link { alias: alias() }, Way::Link { alias: alias() });
        assert_eq!(asked(&closed, &db, true), link);
        assert_eq!(asked(&closed, &db, false), (Intended::Deny, Reason::NotExposed { alias: alias() }, Way::Direct));
        assert_eq!(neighbours(&closed, &web, &db, None).0, Intended::Deny, "no link opens echo requests");
        assert_eq!(asked(&closed, &other, true), (Intended::Deny, Reason::NoLink, Way::Direct));
        assert_eq!(asked(&NetworkOptions::usual(), &other, false), (Intended::Allow, Reason::Icc, Way::Direct));
    }

    #[test]
    fn published_on_loopback_is_published_elsewhere() {
        let row = |ip: &str| Published {
            host_ip: ip.parse().expect("address"),
            host_port: 8080,
            container: "80".parse().expect("port"),
            count: 2,
        };
        let reason = |rows| from_beyond(Some(&port(true, rows))).1;
        let text = "127.0.0.1:8080-8081->80-81/tcp".to_owned();
        assert_eq!(reason(vec![row("127.0.0.1")]), Reason::PublishedElsewhere { row: text });
        assert_eq!(reason(vec![row("127.0.0.1"), row("0.0.0.0")]), Reason::NotPublished);
        assert_eq!(reason(vec![]), Reason::NotPublished);
    }

    #[test]
    fn the_host_answers_names_and_echoes_in_any_case() {
        let options = NetworkOptions { host_access: false, dns_port: Some(61053), ..NetworkOptions::usual() };
        let gateway = options.gateway();
        let asked = |text: &str, address| to_host(&options, service(text), address).1;
        assert_eq!(asked("61053/udp", gateway), Reason::HostAlways);
        assert_eq!(asked("53/udp", gateway), Reason::HostAlways);
        assert_eq!(asked("53/tcp", gateway), Reason::HostAlways);
        assert_eq!(asked("53-54/udp", gateway), Reason::NoHostAccess);
        assert_eq!(asked("53/udp", Ipv4Addr::new(192, 0, 2, 1)), Reason::NoHostAccess);
        assert_eq!(asked("61053/udp", Ipv4Addr::new(192, 0, 2, 1)), Reason::NoHostAccess);
        assert_eq!(asked("icmp", gateway), Reason::HostAlways);
        assert_eq!(asked("22/tcp", gateway), Reason::NoHostAccess);
        assert_eq!(to_host(&NetworkOptions::usual(), service("22/tcp"), gateway).1, Reason::HostAccess);
    }
}
