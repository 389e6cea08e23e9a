//! `network ls`.

use bollard::models::Network;
use bollard::query_parameters::ListNetworksOptionsBuilder;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::filters;
use crate::cli::client::Client;
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::render::list::{self, Headings};

/// `network ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Fields of --format: .ID .Name .Driver .Scope .IPv4 .IPv6 .Internal .Labels .CreatedAt")]
pub(in crate::cli) struct Networks {
    /// Only those that match: name=, id=, driver=, scope=, type=; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// A Go template, `table` and a template, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not cut anything off
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
}

const HEADINGS: Headings = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

impl Networks {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let filters = filters(&self.filter)?;
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let mut networks = client.docker().list_networks(Some(options)).await?;
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None | Some("table")) => "{{.ID}}",
            (false, None | Some("table")) => TABLE,
            (_, Some(format)) => format,
        };
        let rows: Vec<Value> = networks.iter().map(|network| row(network, self.no_trunc)).collect();
        print(&list::show(&rows, HEADINGS, format).map_err(|error| CliError::new(error.to_string()))?)?;
        Ok(0)
    }
}

fn row(network: &Network, no_trunc: bool) -> Value {
    let id = network.id.as_deref().unwrap_or_default();
    let labels = network.labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let mut labels: Vec<String> = labels.collect();
    labels.sort();
    let yes = |flag: Option<bool>| flag.unwrap_or_default().to_string();
    json!({
        "ID": if no_trunc { id } else { id.get(..12).unwrap_or(id) },
        "Name": network.name,
        "Driver": network.driver,
        "Scope": network.scope,
        "IPv4": yes(network.enable_ipv4),
        "IPv6": yes(network.enable_ipv6),
        "Internal": yes(network.internal),
        "Labels": labels.join(","),
        "CreatedAt": created_at(network.created.as_deref().unwrap_or_default()),
    })
}

/// RFC 3339 → `2026-01-02 15:04:05.123456789 +0000 UTC`, as Go writes a time.
fn created_at(time: &str) -> String {
    time.parse::<Timestamp>()
        .map_or_else(|_| time.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_docker_s() {
        let network = Network {
            id: Some("ab".repeat(32)),
            name: Some("bridge".into()),
            driver: Some("bridge".into()),
            scope: Some("local".into()),
            created: Some("2026-01-02T15:04:05.120000000Z".into()),
            enable_ipv4: Some(true),
            ..Network::default()
        };
        insta::assert_snapshot!(list::show(&[row(&network, false)], HEADINGS, TABLE).expect("a table"), @r"
        NETWORK ID     NAME      DRIVER    SCOPE
        abababababab   bridge    bridge    local
        ");
        let row = row(&network, true);
        assert_eq!(row["ID"], "ab".repeat(32));
        assert_eq!((&row["IPv4"], &row["IPv6"], &row["Internal"]), (&"true".into(), &"false".into(), &"false".into()));
        assert_eq!(row["CreatedAt"], "2026-01-02 15:04:05.12 +0000 UTC");
        assert_eq!(created_at("never"), "never");
    }
}
