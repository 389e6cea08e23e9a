//! The PORTS column of `ps`: neighbouring ports joined to ranges.

use bollard::models::{PortSummary, PortSummaryTypeEnum};

/// Ports that lie side by side, with the same protocol and address and at the same distance from their host ports.
struct Run {
    protocol: &'static str,
    address: String,
    host: Option<(u16, u16)>,
    container: (u16, u16),
}

impl Run {
    fn takes(&self, next: &Run) -> bool {
        let side_by_side = |a: (u16, u16), b: (u16, u16)| a.1.checked_add(1) == Some(b.0);
        self.protocol == next.protocol
            && self.address == next.address
            && side_by_side(self.container, next.container)
            && match (self.host, next.host) {
                (None, None) => true,
                (Some(ours), Some(theirs)) => side_by_side(ours, theirs),
                _ => false,
            }
    }

    fn show(&self) -> String {
        let range = |(first, last): (u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        let container = format!("{}/{}", range(self.container), self.protocol);
        match self.host {
            None => container,
            Some(host) if self.address.contains(':') => format!("[{}]:{}->{container}", self.address, range(host)),
            Some(host) => format!("{}:{}->{container}", self.address, range(host)),
        }
    }
}

/// `0.0.0.0:8000-8010->80-90/tcp, 443/tcp`.
pub(in crate::cli) fn show(ports: &[PortSummary]) -> String {
    let mut runs: Vec<Run> = ports
        .iter()
        .map(|port| Run {
            protocol: match port.typ {
                Some(PortSummaryTypeEnum::UDP) => "udp",
                Some(PortSummaryTypeEnum::SCTP) => "sctp",
                _ => "tcp",
            },
            address: port.ip.clone().unwrap_or_default(),
            host: port.public_port.filter(|port| *port != 0).map(|port| (port, port)),
            container: (port.private_port, port.private_port),
        })
        .collect();
    // Published ports first, as docker has them.
    runs.sort_by_key(|run| (run.host.is_none(), run.protocol, run.address.clone(), run.container, run.host));
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.takes(&run) => {
                last.container.1 = run.container.1;
                last.host = last.host.zip(run.host).map(|(ours, theirs)| (ours.0, theirs.1));
            }
            _ => joined.push(run),
        }
    }
    joined.iter().map(Run::show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, public: u16, private: u16, typ: PortSummaryTypeEnum) -> PortSummary {
        PortSummary {
            ip: (!ip.is_empty()).then(|| ip.to_owned()),
            private_port: private,
            public_port: (public != 0).then_some(public),
            typ: Some(typ),
        }
    }

    #[test]
    fn neighbours_are_joined() {
        use PortSummaryTypeEnum::{TCP, UDP};
        let ports = [
            port("", 0, 443, TCP),
            port("0.0.0.0", 8081, 81, TCP),
            port("0.0.0.0", 8080, 80, TCP),
            port("0.0.0.0", 9000, 82, TCP),
            port("::", 53, 53, UDP),
            port("", 0, 444, TCP),
        ];
        assert_eq!(show(&ports), "0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:9000->82/tcp, [::]:53->53/udp, 443-444/tcp");
        assert_eq!(show(&[]), "");
    }
}
