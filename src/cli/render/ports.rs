//! The PORTS column of `ps`, as docker writes it: ports in a row that keep their number are joined to a range.

use bollard::models::{PortSummary, PortSummaryTypeEnum};

/// A row of container ports; published ones have the same numbers on the host.
struct Run<'a> {
    address: Option<&'a str>,
    protocol: &'static str,
    first: u16,
    last: u16,
}

impl Run<'_> {
    fn takes(&self, next: &Self) -> bool {
        (self.address, self.protocol) == (next.address, next.protocol) && self.last.checked_add(1) == Some(next.first)
    }

    fn show(&self) -> String {
        let range =
            if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) };
        match self.address {
            None => format!("{range}/{}", self.protocol),
            Some(address) => format!("{}:{range}->{range}/{}", bracketed(address), self.protocol),
        }
    }
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// `0.0.0.0:8000-8010->8000-8010/tcp, 443/tcp, 0.0.0.0:8080->80/tcp`: those with another number on the host stand at the
/// end, one by one.
pub(in crate::cli) fn show(ports: &[PortSummary]) -> String {
    let protocol = |port: &PortSummary| match port.typ {
        Some(PortSummaryTypeEnum::UDP) => "udp",
        Some(PortSummaryTypeEnum::SCTP) => "sctp",
        _ => "tcp",
    };
    let address = |port: &PortSummary| port.ip.clone().unwrap_or_default();
    let mut ports: Vec<&PortSummary> = ports.iter().collect();
    ports.sort_by_key(|port| (port.private_port, address(port), port.public_port, protocol(port)));
    // Ranges that are complete, then those that may still grow, in the order of their first ports.
    let (mut complete, mut growing, mut moved) = (Vec::new(), Vec::<Run<'_>>::new(), Vec::new());
    for port in ports {
        let address = port.ip.as_deref().filter(|ip| !ip.is_empty());
        if let Some(address) = address
            && port.public_port != Some(port.private_port)
        {
            let host = port.public_port.unwrap_or_default();
            moved.push(format!("{}:{host}->{}/{}", bracketed(address), port.private_port, protocol(port)));
            continue;
        }
        let next = Run { address, protocol: protocol(port), first: port.private_port, last: port.private_port };
        match growing.iter_mut().find(|run| (run.address, run.protocol) == (next.address, next.protocol)) {
            Some(run) if run.takes(&next) => run.last = next.last,
            Some(run) => complete.push(std::mem::replace(run, next).show()),
            None => growing.push(next),
        }
    }
    complete.extend(growing.iter().map(Run::show));
    complete.extend(moved);
    complete.join(", ")
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
    fn ports_in_a_row_are_joined_where_they_keep_their_number() {
        use PortSummaryTypeEnum::{SCTP, TCP, UDP};
        let ports = [
            port("", 0, 443, TCP),
            port("0.0.0.0", 8081, 8081, TCP),
            port("0.0.0.0", 8080, 8080, TCP),
            port("0.0.0.0", 9000, 82, TCP),
            port("0.0.0.0", 9001, 83, TCP),
            port("127.0.0.1", 8082, 8082, TCP),
            port("0.0.0.0", 8081, 8081, UDP),
            port("0.0.0.0", 9999, 9999, TCP),
            port("::", 53, 53, UDP),
            port("", 0, 444, TCP),
            port("0.0.0.0", 7, 7, SCTP),
        ];
        assert_eq!(
            show(&ports),
            "0.0.0.0:8080-8081->8080-8081/tcp, 0.0.0.0:7->7/sctp, [::]:53->53/udp, 443-444/tcp, 0.0.0.0:9999->9999/tcp, \
             0.0.0.0:8081->8081/udp, 127.0.0.1:8082->8082/tcp, 0.0.0.0:9000->82/tcp, 0.0.0.0:9001->83/tcp"
        );
        assert_eq!(show(&[]), "");
    }
}
