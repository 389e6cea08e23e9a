//! Metrics for Prometheus: on the API's sockets, and where `--metrics-addr` says.
//!
//! Numbers live where they are made; here they are asked for, and written down.

mod exposition;
mod families;
mod server;

use std::collections::BTreeMap;

use hyper::StatusCode;

use super::body::{self, Response};
use crate::containers::engine::Network;
use crate::containers::{Engine, Status};
use crate::firewall::{self, Firewall};
use crate::model::Outcomes;
use crate::model::audit::Subject;
use exposition::{CONTENT_TYPE, Page, Samples};
pub use server::serve;

const STATES: [Status; 7] = [
    Status::Created,
    Status::Running,
    Status::Paused,
    Status::Restarting,
    Status::Removing,
    Status::Exited,
    Status::Dead,
];

/// `GET /metrics`.
pub(super) async fn metrics(engine: &Engine) -> Response {
    body::full(StatusCode::OK, CONTENT_TYPE, page(engine).await)
}

async fn page(engine: &Engine) -> String {
    let mut page = Page::default();
    let commit = option_env!("PONTOON_COMMIT").unwrap_or("unknown");
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", commit)];
    page.family(&families::BUILD).number(&labels, 1);
    containers(&mut page, engine);
    let outcomes = |mut samples: Samples<'_>, outcomes: Option<&Outcomes>| {
        for (result, durations) in
            outcomes.into_iter().flat_map(|of| [("success", &of.succeeded), ("failure", &of.failed)])
        {
            samples.distribution(&[("result", result)], &durations.now());
        }
    };
    outcomes(page.family(&families::STARTS), Some(engine.starts()));
    let network = engine.default_network();
    endpoints(&mut page, engine);
    outcomes(page.family(&families::COMMITS), network.map(|network| network.firewall.commits()));
    if let Some(network) = network {
        denied(&mut page, &network.firewall).await;
    }
    drift(&mut page, engine);
    if let Some(network) = network {
        names(&mut page, network);
    }
    page.text()
}

fn containers(page: &mut Page, engine: &Engine) {
    let all = engine.list();
    let mut samples = page.family(&families::CONTAINERS);
    for state in STATES {
        let number = all.iter().filter(|container| container.state.status == state).count();
        samples.number(&[("state", state.as_str())], number as u64);
    }
}

fn endpoints(page: &mut Page, engine: &Engine) {
    let all = engine.list();
    let attached = all.iter().filter_map(|container| Some((container.id.clone(), container.attached.clone()?)));
    let endpoints: BTreeMap<_, _> = attached.collect();
    page.family(&families::ENDPOINTS).number(&[], endpoints.len() as u64);
    let counts = engine.network().map(|options| firewall::count_elements(options, &endpoints));
    let mut samples = page.family(&families::ELEMENTS);
    // Two containers may have one port for the moment in which one ends and the next begins: no numbers are better then.
    for ((family, set), number) in counts.and_then(Result::ok).unwrap_or_default() {
        samples.number(&[("family", &family), ("set", set)], number as u64);
    }
}

async fn denied(page: &mut Page, firewall: &Firewall) {
    let now = firewall.denials().counts().await;
    let mut samples = page.family(&families::DENIED);
    for cause in &now.causes {
        samples.number(&[("cause", &cause.cause)], cause.counts.denied);
    }
    // A container may have had the name of another before.
    let mut by_name: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for counts in &now.containers {
        *by_name.entry((&counts.name, &counts.cause)).or_default() += counts.denied;
    }
    let mut samples = page.family(&families::DENIED_OF);
    for ((container, cause), denied) in by_name {
        samples.number(&[("container", container), ("cause", cause)], denied);
    }
    page.family(&families::LOGGED).number(&[], now.total.shown + now.total.forgotten);
    page.family(&families::LOST).number(&[], now.total.lost);
    page.family(&families::LISTENS).number(&[], now.listens.into());
}

fn drift(page: &mut Page, engine: &Engine) {
    let ledger = engine.ledger();
    for (family, counts) in [(&families::FOUND, ledger.found()), (&families::REPAIRED, ledger.counts())] {
        let mut samples = page.family(family);
        for subject in Subject::ALL {
            samples.number(&[("subject", subject.as_str())], counts.get(&subject).copied().unwrap_or(0));
        }
    }
}

fn names(page: &mut Page, network: &Network) {
    let counters = network.names.counters();
    page.family(&families::QUERIES).number(&[], counters.queries.get());
    let mut samples = page.family(&families::ANSWERS);
    for (source, counter) in
        [("local", &counters.local), ("cache", &counters.cached), ("upstream", &counters.forwarded)]
    {
        samples.number(&[("source", source)], counter.get());
    }
    let mut samples = page.family(&families::DNS_FAILURES);
    for (reason, counter) in [
        ("refused", &counters.refused),
        ("malformed", &counters.malformed),
        ("dropped", &counters.dropped),
        ("timeout", &counters.timeouts),
        ("failed", &counters.failed),
    ] {
        samples.number(&[("reason", reason)], counter.get());
    }
}
