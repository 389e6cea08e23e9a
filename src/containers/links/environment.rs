//! The environment variables of a link, as Docker has made them since its first links. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::model::{EnvVar, Port, PortRange, Protocol};

/// Of the target's own environment, what says nothing to another container.
const PRIVATE: [&str; 2] = ["HOME", "PATH"];

/// What the variables of a link begin with.
pub(super) fn prefix(alias: &str) -> String {
    alias.to_uppercase().replace('-', "_")
}

/// The variables of one link: its first port (TCP first, then by number), every port, every run of consecutive ports, the
/// link's name, and the target's own environment.
pub(super) fn variables(
    source: &str,
    alias: &str,
    address: Ipv4Addr,
    exposed: &BTreeSet<Port>,
    target_env: &[EnvVar],
) -> Vec<EnvVar> {
    let prefix = prefix(alias);
    let mut vars = Vec::with_capacity(2 + 4 * exposed.len() + target_env.len());
    let mut add = |suffix: &str, value: String| vars.push(EnvVar { name: format!("{prefix}_{suffix}"), value });
    let url = |protocol: Protocol, number: u16| format!("{protocol}://{address}:{number}");

    let mut runs = PortRange::runs(exposed);
    runs.sort_by_key(|run| (run.protocol != Protocol::Tcp, run.protocol.as_str(), run.first));
    if let Some(first) = runs.first() {
        add("PORT", url(first.protocol, first.first));
    }
    for run in runs {
        let key = |number: u16| format!("PORT_{number}_{}", run.protocol.as_str().to_uppercase());
        for Port { protocol, number } in run.ports() {
            let key = key(number);
            add(&key, url(protocol, number));
            add(&format!("{key}_ADDR"), address.to_string());
            add(&format!("{key}_PORT"), number.to_string());
            add(&format!("{key}_PROTO"), protocol.to_string());
        }
        if run.last > run.first {
            let key = key(run.first);
            add(&format!("{key}_START"), url(run.protocol, run.first));
            add(&format!("{key}_PORT_START"), run.first.to_string());
            add(&format!("{key}_END"), url(run.protocol, run.last));
            add(&format!("{key}_PORT_END"), run.last.to_string());
        }
    }
    add("NAME", format!("/{source}/{alias}"));
    for EnvVar { name, value } in target_env.iter().filter(|var| !PRIVATE.contains(&var.name.as_str())) {
        add(&format!("ENV_{name}"), value.clone());
    }
    vars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(alias: &str, ports: &[&str], env: &[(&str, &str)]) -> Vec<String> {
        let ports = ports.iter().map(|port| port.parse().expect("port")).collect();
        let env: Vec<_> =
            env.iter().map(|(name, value)| EnvVar { name: (*name).into(), value: (*value).into() }).collect();
        let vars = variables("web", alias, Ipv4Addr::new(172, 17, 0, 2), &ports, &env);
        vars.into_iter().map(|EnvVar { name, value }| format!("{name}={value}")).collect()
    }

    #[test]
    fn one_port() {
        let env = [("PATH", "/bin"), ("PASSWORD", "a=b c"), ("HOME", "/root"), ("EMPTY", ""), ("HOMEPAGE", "x")];
        let expected = [
            "DB_PORT=tcp://172.17.0.2:2222",
            "DB_PORT_2222_TCP=tcp://172.17.0.2:2222",
            "DB_PORT_2222_TCP_ADDR=172.17.0.2",
            "DB_PORT_2222_TCP_PORT=2222",
            "DB_PORT_2222_TCP_PROTO=tcp",
            "DB_NAME=/web/db",
            "DB_ENV_PASSWORD=a=b c",
            "DB_ENV_EMPTY=",
            "DB_ENV_HOMEPAGE=x",
        ];
        assert_eq!(text("db", &["2222/tcp"], &env), expected);
    }

    #[test]
    fn no_port_at_all() {
        assert_eq!(
            text("my-db.Local", &[], &[("A", "1")]),
            ["MY_DB.LOCAL_NAME=/web/my-db.Local", "MY_DB.LOCAL_ENV_A=1"]
        );
    }

    #[test]
    fn tcp_comes_first_and_runs_are_told() {
        let expected = [
            "DB_PORT=tcp://172.17.0.2:80",
            "DB_PORT_80_TCP=tcp://172.17.0.2:80",
            "DB_PORT_80_TCP_ADDR=172.17.0.2",
            "DB_PORT_80_TCP_PORT=80",
            "DB_PORT_80_TCP_PROTO=tcp",
            "DB_PORT_6379_TCP=tcp://172.17.0.2:6379",
            "DB_PORT_6379_TCP_ADDR=172.17.0.2",
            "DB_PORT_6379_TCP_PORT=6379",
            "DB_PORT_6379_TCP_PROTO=tcp",
            "DB_PORT_6380_TCP=tcp://172.17.0.2:6380",
            "DB_PORT_6380_TCP_ADDR=172.17.0.2",
            "DB_PORT_6380_TCP_PORT=6380",
            "DB_PORT_6380_TCP_PROTO=tcp",
            "DB_PORT_6381_TCP=tcp://172.17.0.2:6381",
            "DB_PORT_6381_TCP_ADDR=172.17.0.2",
            "DB_PORT_6381_TCP_PORT=6381",
            "DB_PORT_6381_TCP_PROTO=tcp",
            "DB_PORT_6379_TCP_START=tcp://172.17.0.2:6379",
            "DB_PORT_6379_TCP_PORT_START=6379",
            "DB_PORT_6379_TCP_END=tcp://172.17.0.2:6381",
            "DB_PORT_6379_TCP_PORT_END=6381",
            "DB_PORT_132_SCTP=sctp://172.17.0.2:132",
            "DB_PORT_132_SCTP_ADDR=172.17.0.2",
            "DB_PORT_132_SCTP_PORT=132",
            "DB_PORT_132_SCTP_PROTO=sctp",
            "DB_PORT_53_UDP=udp://172.17.0.2:53",
            "DB_PORT_53_UDP_ADDR=172.17.0.2",
            "DB_PORT_53_UDP_PORT=53",
            "DB_PORT_53_UDP_PROTO=udp",
            "DB_NAME=/web/db",
        ];
        let ports = ["53/udp", "6381/tcp", "132/sctp", "80/tcp", "6379/tcp", "6380/tcp"];
        assert_eq!(text("db", &ports, &[]), expected);
        assert_eq!(text("db", &["53/udp"], &[])[0], "DB_PORT=udp://172.17.0.2:53");
    }

    #[test]
    fn the_highest_port_ends_a_run() {
        let all = text("db", &["65534/udp", "65535/udp"], &[]);
        assert_eq!(
            all[9..],
            [
                "DB_PORT_65534_UDP_START=udp://172.17.0.2:65534",
                "DB_PORT_65534_UDP_PORT_START=65534",
                "DB_PORT_65534_UDP_END=udp://172.17.0.2:65535",
                "DB_PORT_65534_UDP_PORT_END=65535",
                "DB_NAME=/web/db",
            ]
        );
    }
}
