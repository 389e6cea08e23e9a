//! The filters of `ps`.

use std::sync::Arc;

use regex_lite::Regex;

use crate::api::clock;
use crate::api::error::ApiError;
use crate::api::filters::{Filters, invalid, label_matches, pattern};
use crate::api::query::Query;
use crate::containers::{Container, KnownNetwork, Status};
use crate::model::image::Image;
use crate::model::{Digest, MountKind, Port, Protocol};

const KNOWN: [&str; 14] = [
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name", "network", "publish",
    "since", "status", "volume",
];

/// Which containers a client wants to see: every filter must be met, by one of its values.
pub(super) struct Selection {
    filters: Filters,
    names: Vec<Regex>,
    ids: Vec<Regex>,
    exited: Vec<i64>,
    ancestors: Vec<Digest>,
    before: Option<i64>,
    since: Option<i64>,
    expose: Vec<PortRange>,
    publish: Vec<PortRange>,
}

/// Ports of a filter, `80`, `80/udp` or `8000-8010/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PortRange {
    first: u16,
    last: u16,
    protocol: Protocol,
}

impl PortRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()?, protocol: protocol.parse().ok()? })
    }

    fn contains(&self, number: u16, protocol: Protocol) -> bool {
        self.protocol == protocol && (self.first..=self.last).contains(&number)
    }
}

impl Selection {
    /// Reads the filters; `containers` and `images` are what their names are looked up in.
    pub(super) fn parse<'a>(
        query: &Query,
        containers: &[Arc<Container>],
        images: impl Iterator<Item = &'a Image>,
    ) -> Result<Self, ApiError> {
        let filters = Filters::parse(query, &KNOWN)?;
        let patterns = |name: &str| filters.values(name).iter().map(|text| pattern(text)).collect();
        let ports = |name: &str| {
            let parse = |text: &String| PortRange::parse(text).ok_or_else(|| invalid(name, text));
            filters.values(name).iter().map(parse).collect::<Result<Vec<_>, _>>()
        };
        let created = |name: &str| {
            let found = filters.values(name).first().map(|who| {
                let container = containers.iter().find(|container| is_called(container, who));
                container.ok_or_else(|| ApiError::not_found(format!("No such container: {who}")))
            });
            Ok::<_, ApiError>(found.transpose()?.and_then(|container| clock::timestamp(&container.created)))
        };
        check_states(&filters)?;
        filters.boolean("is-task")?;
        let exited = filters.values("exited").iter().map(|text| text.parse().map_err(|_| invalid("exited", text)));
        Ok(Self {
            names: patterns("name"),
            ids: patterns("id"),
            exited: exited.collect::<Result<_, _>>()?,
            ancestors: ancestors(filters.values("ancestor"), images),
            before: created("before")?,
            since: created("since")?,
            expose: ports("expose")?,
            publish: ports("publish")?,
            filters,
        })
    }

    /// A status was asked for: `ps` shows stopped containers without `-a` then.
    pub(super) fn asks_for_stopped(&self) -> bool {
        self.filters.has("status")
    }

    /// Whether a container is wanted.
    pub(super) fn admits(&self, container: &Container) -> bool {
        self.admits_identity(container) && self.admits_state(container) && self.admits_network(container)
    }

    fn admits_identity(&self, container: &Container) -> bool {
        let name = container.name.as_str();
        let slashed = format!("/{name}");
        let labels = &container.spec.labels;
        let ancestor = !self.filters.has("ancestor") || self.ancestors.contains(&container.image);
        (self.names.is_empty() || self.names.iter().any(|re| re.is_match(name) || re.is_match(&slashed)))
            && (self.ids.is_empty() || self.ids.iter().any(|re| re.is_match(container.id.as_str())))
            && self.filters.values("label").iter().all(|wanted| label_matches(labels, wanted))
            && ancestor
    }

    fn admits_state(&self, container: &Container) -> bool {
        let created = clock::timestamp(&container.created).unwrap_or(0);
        let ended = matches!(container.state.status, Status::Exited | Status::Dead);
        self.filters.any("status", |status| status == container.state.status.as_str())
            // Nothing runs health checks, and nothing is a swarm task.
            && self.filters.any("health", |health| health == "none")
            && self.filters.any("is-task", |task| matches!(task.as_str(), "false" | "0"))
            && (self.exited.is_empty() || (ended && self.exited.contains(&container.state.exit_code)))
            && self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
            && self.filters.any("volume", |wanted| has_volume(container, wanted))
    }

    fn admits_network(&self, container: &Container) -> bool {
        let exposes = |range: &PortRange| {
            container.spec.network.expose.iter().any(|Port { protocol, number }| range.contains(*number, *protocol))
        };
        let publishes = |range: &PortRange| {
            let rows = container.attached.iter().flat_map(|attached| &attached.published);
            let mut published = rows.flat_map(|row| row.each());
            published.any(|published| range.contains(published.host_port, published.container.protocol))
        };
        let network = KnownNetwork::of(&container.spec.network.mode);
        self.filters.any("network", |wanted| network.is_some_and(|network| network.name == wanted))
            && (self.expose.is_empty() || self.expose.iter().any(exposes))
            && (self.publish.is_empty() || self.publish.iter().any(publishes))
    }
}

fn check_states(filters: &Filters) -> Result<(), ApiError> {
    let states = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
    for (filter, known) in [("status", &states[..]), ("health", &["none", "starting", "healthy", "unhealthy"])] {
        if let Some(value) = filters.values(filter).iter().find(|value| !known.contains(&value.as_str())) {
            return Err(invalid(filter, value));
        }
    }
    Ok(())
}

fn is_called(container: &Container, who: &str) -> bool {
    container.name.as_str() == who.trim_start_matches('/') || container.id.as_str().starts_with(who)
}

/// Images by reference, id or id prefix. Names that no image has match nothing.
fn ancestors<'a>(wanted: &[String], images: impl Iterator<Item = &'a Image>) -> Vec<Digest> {
    let is_wanted = |image: &&Image| {
        wanted.iter().any(|name| {
            let with_tag = format!("{name}:latest");
            let by_id = name.trim_start_matches("sha256:");
            image.references.iter().any(|known| known == name || *known == with_tag)
                || (!by_id.is_empty() && image.id.hex().starts_with(by_id))
        })
    };
    images.filter(is_wanted).map(|image| image.id.clone()).collect()
}

fn has_volume(container: &Container, wanted: &str) -> bool {
    container.spec.mounts.iter().any(|mount| {
        let source = match &mount.kind {
            MountKind::Bind { source, .. } => source.to_str() == Some(wanted),
            MountKind::Volume { name, .. } => name == wanted,
            MountKind::Tmpfs { .. } => false,
        };
        source || mount.target == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::containers::tests::container;

    fn selected(filters: &str) -> Result<Vec<String>, String> {
        let encoded: String = filters.bytes().map(|b| format!("%{b:02x}")).collect();
        let query = Query::parse(Some(&format!("filters={encoded}"))).expect("query");
        let all: Vec<Arc<Container>> = [
            container("db", Status::Running, 1),
            container("web", Status::Exited, 2),
            container("webshop", Status::Created, 3),
        ]
        .map(Arc::new)
        .into();
        let selection = Selection::parse(&query, &all, std::iter::empty()).map_err(|error| error.message)?;
        Ok(all.iter().filter(|c| selection.admits(c)).map(|c| c.name.to_string()).collect())
    }

    #[test]
    fn filters_select() {
        for (filters, names) in [
            ("{}", &["db", "web", "webshop"][..]),
            (r#"{"name":["web"]}"#, &["web", "webshop"]),
            (r#"{"name":["^/web$"]}"#, &["web"]),
            (r#"{"name":["web","db"]}"#, &["db", "web", "webshop"]),
            (r#"{"status":["exited","created"]}"#, &["web", "webshop"]),
            (r#"{"exited":["3"]}"#, &["web"]),
            (r#"{"exited":["0"]}"#, &[]),
            (r#"{"label":["tier=web"]}"#, &["web"]),
            (r#"{"label":["tier"],"name":["db"]}"#, &["db"]),
            (r#"{"before":["web"]}"#, &["db"]),
            (r#"{"since":["web"]}"#, &["webshop"]),
            (r#"{"network":["bridge"]}"#, &["db", "web", "webshop"]),
            (r#"{"network":["host"]}"#, &[]),
            (r#"{"expose":["79-81"]}"#, &["db", "web", "webshop"]),
            (r#"{"publish":["80"]}"#, &[]),
            (r#"{"ancestor":["nope"]}"#, &[]),
            (r#"{"volume":["/data"]}"#, &["db", "web", "webshop"]),
        ] {
            assert_eq!(
                selected(filters).as_deref(),
                Ok(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..]),
                "{filters}"
            );
        }
    }

    #[test]
    fn what_no_filter_can_take_is_named() {
        for (filters, message) in [
            (r#"{"colour":["red"]}"#, "invalid filter 'colour'"),
            (r#"{"status":["odd"]}"#, "invalid filter 'status=odd'"),
            (r#"{"exited":["x"]}"#, "invalid filter 'exited=x'"),
            (r#"{"publish":["80/icmp"]}"#, "invalid filter 'publish=80/icmp'"),
            (r#"{"before":["nobody"]}"#, "No such container: nobody"),
        ] {
            assert_eq!(selected(filters), Err(message.to_owned()), "{filters}");
        }
    }
}
