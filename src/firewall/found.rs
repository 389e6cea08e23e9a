//! What has become of the daemon's tables, and of the flows that they let through, while no daemon ran: by what the last one
//! wrote, and not by what this one will. Nothing is changed.

use std::io;

use super::elements::Elements;
use super::strays::Admission;
use super::{compare, held};
use crate::model::audit::{Difference, Subject};
use crate::model::{Intent, NetworkOptions};

/// The rules that follow from options, for who keeps them until the next daemon asks.
pub fn plan(options: &NetworkOptions) -> Option<String> {
    held::plan(options)
}

/// What differs from a plan, and from what the containers need that ran. `in_flux`: whether an address or a port is of those
/// whose start or end was cut short: there may be something of them.
pub async fn found(plan: String, before: &Intent, in_flux: impl Fn(&str) -> bool) -> io::Result<Vec<Difference>> {
    let options = &before.options;
    let elements = Elements::of(options, &before.endpoints).map_err(io::Error::other)?;
    let planned = held::listed(options, plan).await;
    let planned = planned.ok_or_else(|| io::Error::other("the last plan cannot be tried in a network namespace"))?;
    let mut differences = compare::differences(options, &planned, &elements).await?;
    let of_theirs = |what: &str| what.split_whitespace().any(&in_flux);
    differences.retain(|it| it.subject != Subject::Element || !of_theirs(&it.what));

    let endpoints: Vec<_> = before.endpoints.iter().collect();
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|it| it.address);
    let local = addresses.filter_map(|address| Some(address.as_sockaddr_in()?.ip()));
    let admission = Admission::of(options, options.own_bridge, &endpoints, local);
    let strays = tokio::task::spawn_blocking(move || admission.strays_of_known()).await;
    differences.extend(strays.map_err(io::Error::other)??.into_iter().map(|stray| Difference {
        subject: Subject::Flow,
        kind: "flow-unadmitted".to_owned(),
        what: stray.what,
        containers: stray.containers,
        since: None,
        by: None,
        repaired: false,
        remedy: None,
    }));
    Ok(differences)
}
