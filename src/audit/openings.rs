//! Who asked for what opens a flow, and when: from the history, or else from the container that has the link or the
//! published port. Pure.

use super::cast::{Cast, Seat};
use super::flows::Flow;
use super::reading::Reading;
use crate::model::Published;
use crate::model::audit::{Asked, By, Edge, End, Entry, PartyKind, Reason, Service, Way, opening};

/// Of a flow that something of ours opens. `history` is the newest first.
pub(super) fn asked(reading: &Reading, cast: &Cast, flow: &Flow, history: &[Entry]) -> Option<Asked> {
    let edge = edge(reading, cast, flow)?;
    if let Some(opening) = opening(history, &edge) {
        let entry = opening.opened.entry;
        return Some(opening.wanted.map_or(opening.opened, |wanted| Asked { entry, ..wanted }));
    }
    let holder = match &flow.reason {
        Reason::Link { .. } => flow.from,
        Reason::Published { .. } => flow.to,
        _ => return None,
    };
    let id = cast.parties[holder].id.as_ref()?;
    let container = reading.containers.iter().find(|container| container.id == *id)?;
    Some(Asked {
        when: container.created.clone(),
        request: format!("POST /containers/create?name={}", container.name),
        by: "not known: the history does not go back so far".to_owned(),
        entry: None,
    })
}

/// The edge that a flow is part of.
fn edge(reading: &Reading, cast: &Cast, flow: &Flow) -> Option<Edge> {
    let options = &reading.intent.as_ref()?.options;
    let by = match (&flow.reason, &flow.by) {
        (Reason::Link { alias }, _) => By::Link { alias: alias.clone() },
        (Reason::Published { .. }, _) => {
            let row = row(cast, flow)?;
            By::Publish { address: row.host_ip, port: row.host_port }
        }
        (Reason::Icc | Reason::Host | Reason::HostAccess, Way::Direct) => By::Bridge,
        (Reason::HostAlways, _) if flow.service == Service::Echo => By::Bridge,
        (Reason::HostAlways, _) => By::Names,
        (Reason::Outbound, _) => By::Routed { masqueraded: options.ip_masq },
        _ => return None,
    };
    let service = match by {
        By::Names => None,
        _ => Some(flow.service),
    };
    Some(Edge { from: end(cast, flow.from)?, to: end(cast, flow.to)?, service, by })
}

fn end(cast: &Cast, place: usize) -> Option<End> {
    let party = &cast.parties[place];
    Some(match party.kind {
        PartyKind::Container => End::Container(party.id.clone()?),
        PartyKind::Host => End::Host,
        PartyKind::Lan | PartyKind::Bridge | PartyKind::Outside => End::Outside,
    })
}

/// The published row, whole, that a flow goes by.
fn row(cast: &Cast, flow: &Flow) -> Option<Published> {
    let (Seat::Bridged { endpoint, .. }, Service::Ports(ports)) = (&cast.seats[flow.to], flow.service) else {
        return None;
    };
    let leads_there = |row: &&Published| {
        row.container.protocol == ports.protocol
            && (row.host_port..=row.last_host_port()).contains(&flow.port)
            && ports.first.checked_sub(row.container.number) == flow.port.checked_sub(row.host_port)
    };
    endpoint.published.iter().find(leads_there).copied()
}
