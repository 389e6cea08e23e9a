//! Ports as they are written down: runs, so that a thousand in a row take no more room than one.
//!
//! What was written port by port is read as well.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::net::parse_port_number;
use super::{HostBinding, Port, PortError, PortRange};

/// `["80/tcp", "8000-8999/tcp"]`.
pub(super) mod ports {
    use super::*;

    pub(in crate::model) fn serialize<S: Serializer>(ports: &BTreeSet<Port>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(PortRange::runs(ports).into_iter().map(|run| match run.first == run.last {
            true => format!("{}/{}", run.first, run.protocol),
            false => format!("{}-{}/{}", run.first, run.last, run.protocol),
        }))
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Port>, D::Error> {
        let mut ports = BTreeSet::new();
        for text in Vec::<String>::deserialize(from)? {
            ports.extend(run(&text).map_err(serde::de::Error::custom)?.ports());
        }
        Ok(ports)
    }

    fn run(text: &str) -> Result<PortRange, PortError> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (parse_port_number(first)?, parse_port_number(last)?);
        Ok(PortRange { protocol: protocol.parse()?, first, last })
    }
}

/// Bindings, those that follow one another in step as one with a `count`.
pub(super) mod bindings {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Row {
        #[serde(flatten)]
        first: HostBinding,
        #[serde(default = "one", skip_serializing_if = "is_one")]
        count: u16,
    }

    fn one() -> u16 {
        1
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_one(count: &u16) -> bool {
        *count == 1
    }

    pub(in crate::model) fn serialize<S: Serializer>(bindings: &[HostBinding], to: S) -> Result<S::Ok, S::Error> {
        let mut rows: Vec<Row> = Vec::new();
        for binding in bindings {
            match rows.last_mut() {
                Some(row) if step(&row.first, row.count).as_ref() == Some(binding) => row.count += 1,
                _ => rows.push(Row { first: binding.clone(), count: 1 }),
            }
        }
        to.collect_seq(rows)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<HostBinding>, D::Error> {
        let mut bindings = Vec::new();
        for Row { first, count } in Vec::<Row>::deserialize(from)? {
            for steps in 0..count {
                let beyond = || serde::de::Error::custom("a row of ports goes beyond 65535");
                bindings.push(step(&first, steps).ok_or_else(beyond)?);
            }
        }
        Ok(bindings)
    }

    /// The binding so many steps further. One that may take any port of a range is the same only with itself.
    fn step(binding: &HostBinding, steps: u16) -> Option<HostBinding> {
        let number = binding.container.number.checked_add(steps)?;
        let host_ports = match binding.host_ports {
            None => None,
            Some((first, last)) if first == last => {
                let port = first.checked_add(steps)?;
                Some((port, port))
            }
            range if steps == 0 => range,
            Some(_) => return None,
        };
        Some(HostBinding { container: Port { number, ..binding.container }, host_ip: binding.host_ip, host_ports })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::model::{HostBinding, NetworkSpec, Port, Protocol};

    fn binding(container: u16, host: Option<(u16, u16)>) -> HostBinding {
        let container = Port { protocol: Protocol::Tcp, number: container };
        HostBinding { container, host_ip: None, host_ports: host }
    }

    fn written(publish: Vec<HostBinding>) -> serde_json::Value {
        let expose = publish.iter().map(|binding| binding.container).collect();
        serde_json::to_value(NetworkSpec { publish, expose, ..NetworkSpec::default() }).expect("plain data")
    }

    #[test]
    fn a_thousand_in_a_row_are_written_as_one() {
        let spec = written((8000..9000).map(|port| binding(port, Some((port, port)))).collect());
        assert_eq!(spec["expose"], json!(["8000-8999/tcp"]));
        let row = json!({ "container": "8000/tcp", "host_ip": null, "host_ports": [8000, 8000], "count": 1000 });
        assert_eq!(spec["publish"], json!([row]));
    }

    #[test]
    fn what_was_written_port_by_port_is_read() {
        let mut old = written(vec![]);
        old["expose"] = json!(["80/tcp", "81/tcp"]);
        old["publish"] = json!([{ "container": "80/tcp", "host_ip": "127.0.0.1", "host_ports": [8080, 8090] }]);
        let spec: NetworkSpec = serde_json::from_value(old).expect("valid");
        assert_eq!((spec.expose.len(), spec.publish.len(), spec.publish[0].host_ports), (2, 1, Some((8080, 8090))));
    }

    proptest! {
        /// Whatever is written is read again, to the letter and in order.
        #[test]
        fn nothing_is_lost(rows in proptest::collection::vec((0..4u16, 0..4u16, 0..3u16, 1..5u16, any::<bool>()), 0..8)) {
            let mut publish = Vec::new();
            for (container, host, width, count, any_port) in rows {
                for step in 0..count {
                    let port = 65_530 + host.saturating_add(step).min(5);
                    let host = (!any_port).then_some((port, port + width.min(65_535 - port)));
                    publish.push(binding(65_530 + (container + step).min(5), host));
                }
            }
            let value = written(publish.clone());
            let read: NetworkSpec = serde_json::from_value(value).expect("valid");
            prop_assert_eq!(read.expose, publish.iter().map(|binding| binding.container).collect());
            prop_assert_eq!(read.publish, publish);
        }
    }
}
