//! `ps`.

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{filters, time};
use crate::cli::client::Client;
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::render::list::{self, Headings};
use crate::cli::render::{human, ports, table};

/// `ps`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon ps -a                                   all containers, also those that have ended
  pontoon ps -aq --filter status=exited           ids of those that have ended
  pontoon ps --format 'table {{.Names}}\\t{{.Ports}}'

Fields of --format: .ID .Image .Command .CreatedAt .RunningFor .Ports .State .Status .Size .Names .Labels
.Label \"name\" .Mounts .LocalVolumes .Networks")]
pub(in crate::cli) struct Ps {
    /// Those that do not run too
    #[arg(short, long)]
    all: bool,
    /// Only those that match: status=, name=, id=, label=, ancestor=, …; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// A Go template, `table` and a template, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The last so many, whatever their state
    #[arg(short = 'n', long, value_name = "COUNT", allow_negative_numbers = true)]
    last: Option<i32>,
    /// The last one, whatever its state
    #[arg(short, long)]
    latest: bool,
    /// Do not cut anything off
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Sizes too
    #[arg(short, long)]
    size: bool,
}

const HEADINGS: Headings = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

impl Ps {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let last = if self.latest { Some(1) } else { self.last.filter(|count| *count > 0) };
        let format = self.format.as_deref();
        let size = self.size || format.is_some_and(|format| format.contains(".Size"));
        let mut options = ListContainersOptionsBuilder::default()
            .all(self.all || last.is_some())
            .size(size)
            .filters(&filters(&self.filter)?);
        if let Some(last) = last {
            options = options.limit(last);
        }
        let containers = client.docker().list_containers(Some(options.build())).await?;
        let format = match (self.quiet, format) {
            (true, None) => "{{.ID}}".to_owned(),
            (_, None | Some("table")) if self.size => format!("{TABLE}\t{{{{.Size}}}}"),
            (_, None | Some("table")) => TABLE.to_owned(),
            (_, Some(format)) => format.to_owned(),
        };
        let now = Timestamp::now();
        let rows: Vec<Value> = containers.iter().map(|container| row(container, self.no_trunc, now)).collect();
        let text = list::show(&rows, HEADINGS, &format).map_err(|error| CliError::new(error.to_string()))?;
        print(&text)?;
        Ok(0)
    }
}

/// What templates see of a container.
fn row(container: &ContainerSummary, no_trunc: bool, now: Timestamp) -> Value {
    let cut = |text: &str, width: usize| if no_trunc { text.to_owned() } else { table::ellipsis(text, width) };
    let id = container.id.as_deref().unwrap_or_default();
    let image = container.image.as_deref().unwrap_or_default();
    let command = container.command.as_deref().unwrap_or_default();
    let created = container.created.unwrap_or_default();
    let mounts = container.mounts.as_deref().unwrap_or_default();
    let mount_names: Vec<String> = mounts
        .iter()
        .map(|mount| {
            let name = mount.name.as_deref().filter(|name| !name.is_empty());
            cut(name.or(mount.source.as_deref()).unwrap_or_default(), 15)
        })
        .collect();
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let mut networks: Vec<&str> = networks.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    networks.sort_unstable();
    json!({
        "ID": if no_trunc { id } else { id.get(..12).unwrap_or(id) },
        "Image": image_name(image, no_trunc),
        "Command": Value::String(cut(command, 20)).to_string(),
        "CreatedAt": time::date_time(created),
        "RunningFor": format!("{} ago", human::duration(time::seconds_ago(created, now))),
        "Ports": ports::show(container.ports.as_deref().unwrap_or_default()),
        "State": container.state.map(|state| state.to_string()).unwrap_or_default(),
        "Status": container.status.as_deref().unwrap_or_default(),
        "Size": size(container),
        "Names": names(container.names.as_deref().unwrap_or_default(), no_trunc),
        "Labels": labels(container),
        "Mounts": mount_names.join(","),
        "LocalVolumes": mounts.iter().filter(|m| m.driver.as_deref() == Some("local")).count().to_string(),
        "Networks": networks.join(","),
        "Platform": Value::Null,
    })
}

/// An image known by its id only is shown like any id.
fn image_name(image: &str, no_trunc: bool) -> &str {
    match image.strip_prefix("sha256:") {
        Some(hex) if !no_trunc => hex.get(..12).unwrap_or(hex),
        _ if image.is_empty() => "<no image>",
        _ => image,
    }
}

/// Without their slashes; names that links give (`/source/alias`) only where nothing is cut off.
fn names(names: &[String], no_trunc: bool) -> String {
    let names = names.iter().map(|name| name.trim_start_matches('/'));
    names.filter(|name| no_trunc || !name.contains('/')).collect::<Vec<_>>().join(",")
}

fn labels(container: &ContainerSummary) -> String {
    let mut labels: Vec<String> =
        container.labels.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    labels.sort_unstable();
    labels.join(",")
}

fn size(container: &ContainerSummary) -> String {
    let own = human::size(container.size_rw.unwrap_or_default());
    match container.size_root_fs.filter(|bytes| *bytes > 0) {
        Some(whole) => format!("{own} (virtual {})", human::size(whole)),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_docker_s() {
        let container = ContainerSummary {
            id: Some("0123456789abcdef".repeat(4)),
            names: Some(vec!["/web".into(), "/app/www".into()]),
            image: Some("busybox:latest".into()),
            command: Some("httpd -f -p 80 -h /srv/www".into()),
            created: Some(1_000_000),
            status: Some("Up 2 minutes".into()),
            ..ContainerSummary::default()
        };
        let now = Timestamp::from_second(1_000_120).expect("a time");
        let rows = [row(&container, false, now)];
        insta::assert_snapshot!(list::show(&rows, HEADINGS, TABLE).expect("a table"), @r#"
        CONTAINER ID   IMAGE            COMMAND                  CREATED         STATUS         PORTS     NAMES
        0123456789ab   busybox:latest   "httpd -f -p 80 -h /…"   2 minutes ago   Up 2 minutes             web
        "#);
        assert_eq!(row(&container, true, now)["Names"], "web,app/www");
        assert_eq!(row(&container, true, now)["Command"], "\"httpd -f -p 80 -h /srv/www\"");
    }
}
