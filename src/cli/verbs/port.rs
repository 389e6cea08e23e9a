//! `port`.

use serde_json::Value;

use super::start;
use crate::cli::client::{self, Client};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::model::Port as ContainerPort;

/// `port`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Port {
    /// Name or id
    container: String,
    /// Only this port of the container: PORT[/tcp|udp|sctp]
    port: Option<String>,
}

impl Port {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let wanted = self.port.as_deref().map(str::parse::<ContainerPort>).transpose();
        let wanted = wanted.map_err(|error| CliError::new(error.to_string()))?;
        let container = start::inspect(client, &client::container(&self.container)?).await?;
        let lines = lines(&container["NetworkSettings"]["Ports"], wanted);
        match &self.port {
            Some(port) if lines.is_empty() => {
                Err(CliError::new(format!("No public port '{port}' published for {}", self.container)))
            }
            _ => {
                print(&lines.concat())?;
                Ok(0)
            }
        }
    }
}

/// `80/tcp -> 0.0.0.0:8080`, or the right half only for one port; by number, as docker has them.
fn lines(ports: &Value, wanted: Option<ContainerPort>) -> Vec<String> {
    let mut found: Vec<(ContainerPort, String)> = Vec::new();
    for (port, bindings) in ports.as_object().into_iter().flatten() {
        let Ok(port) = port.parse::<ContainerPort>() else { continue };
        for binding in bindings.as_array().into_iter().flatten() {
            let (address, host) = (&binding["HostIp"], &binding["HostPort"]);
            let (address, host) = (address.as_str().unwrap_or_default(), host.as_str().unwrap_or_default());
            let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            found.push((port, format!("{address}:{host}")));
        }
    }
    found.sort_by(|(a, at), (b, bt)| (a.number, a.protocol, at).cmp(&(b.number, b.protocol, bt)));
    let shown = found.into_iter().filter(|(port, _)| wanted.is_none_or(|wanted| wanted == *port));
    shown
        .map(|(port, host)| if wanted.is_some() { format!("{host}\n") } else { format!("{port} -> {host}\n") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn published_ports_in_order() {
        let ports = json!({
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            "9/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9"}],
            "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "5353"}],
            "443/tcp": null
        });
        assert_eq!(
            lines(&ports, None),
            ["9/tcp -> 127.0.0.1:9\n", "53/udp -> 0.0.0.0:5353\n", "80/tcp -> 0.0.0.0:8080\n", "80/tcp -> [::]:8080\n"]
        );
        assert_eq!(lines(&ports, "9".parse().ok()), ["127.0.0.1:9\n"]);
        assert!(lines(&Value::Null, None).is_empty());
    }
}
