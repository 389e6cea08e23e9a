//! The rule that decides about a packet, as an operator would look it up; the packet as a question to `audit explain`.
//! Pure.

use super::cast::Cast;
use super::deciders::{Decides, Rule, Whose, kernel_of};
use super::reading::Reading;
use crate::firewall::audit::listing::Listing;
use crate::firewall::audit::{Content, Entry, Packet, Step, Transport};
use crate::model::audit::Decider;

/// The rule or policy, with its counter and the element that matched.
pub(super) fn decider(
    reading: &Reading,
    cast: &Cast,
    decides: &Decides,
    packet: Option<&Packet>,
    listing: &Listing,
) -> Option<Decider> {
    let rule = decides.rule()?;
    let (whose, place) = rule;
    let named = kernel_of(reading, cast, whose).0.named(place);
    let on_host = whose == Whose::Host;
    let own = reading.intent.as_ref().map(|intent| format!("pontoon-{}", intent.options.bridge));
    let listed = named.handle.filter(|_| on_host);
    let listed = listed.and_then(|handle| listing.rule(named.family.word(), named.table, handle));
    let seen = packet.filter(|_| on_host).and_then(|packet| seen(reading, packet, rule));
    let (verdict, element) = seen.unwrap_or_default();
    let (element, hits) = element.map_or((None, None), |(element, hits)| (Some(element), hits));
    let usual = match decides {
        Decides::Passes(_) => "accept",
        Decides::Elsewhere(..) => "dnat",
        _ => "drop",
    };
    Some(Decider {
        family: named.family.word().to_owned(),
        table: named.table.to_owned(),
        chain: named.chain.to_owned(),
        handle: named.handle,
        comment: named.comment.map(str::to_owned),
        verdict: verdict.unwrap_or_else(|| usual.to_owned()),
        rule: listed.map(|listed| listed.text.clone()),
        packets: listed.and_then(|listed| listed.packets),
        element,
        hits,
        own: on_host && Some(named.table) == own.as_deref(),
    })
}

/// An element in nft's words, and what it has counted, where it counts.
type Matched = (String, Option<u64>);

/// What the rule said of the packet, and the element that it matched by: its own or, where that only says that the
/// container is there or that somebody was led to it, that of the published port: of its two, the one that counts.
fn seen(reading: &Reading, packet: &Packet, (_, place): Rule) -> Option<(Option<String>, Option<Matched>)> {
    let named = reading.kernel.named(place);
    let explanation = reading.kernel.explain(packet);
    let way = explanation.ways.first()?;
    let is_it = |step: &Step| match step {
        Step::Rule { family, table, handle, matched: true, .. } => {
            (*family, table.as_str(), Some(*handle)) == (named.family.word(), named.table, named.handle)
        }
        _ => false,
    };
    let at = way.steps.iter().position(is_it)?;
    let Step::Rule { verdict, .. } = &way.steps[at] else { return None };
    let own = way.steps[..at].last().and_then(element);
    let published = || {
        let mut all = way.steps[..at].iter().filter_map(element);
        all.find(|(set, ..)| set.starts_with("published"))
    };
    let leads = ["endpoints", "published", "admitted"];
    let there = own.is_none_or(|(set, ..)| leads.iter().any(|lead| set.starts_with(lead)));
    let accepts = verdict.as_deref() == Some("accept");
    let element = published().filter(|_| accepts && there).or(own);
    Some((verdict.clone(), element.map(|(set, key, packets)| (format!("@{set} {{ {key} }}"), packets))))
}

/// Its set, its key, and what it has counted.
fn element(step: &Step) -> Option<(&str, &str, Option<u64>)> {
    match step {
        Step::Element { set, key, packets } => Some((set, key, *packets)),
        _ => None,
    }
}

/// In the words of `audit explain`.
pub(super) fn question(reading: &Reading, packet: &Packet) -> String {
    let Content::Ip { source, destination, transport } = packet.content else { return String::new() };
    // Who sends from any address, or to any, sends no packet yet: nobody could ask about it.
    if source.is_unspecified() || destination.is_unspecified() {
        return String::new();
    }
    let entry = match packet.entry {
        Entry::Local => "local".to_owned(),
        Entry::Interface(index) => {
            reading.kernel.network().interface(index).map_or_else(|| index.to_string(), |i| i.name.clone())
        }
    };
    let transport = match transport {
        Transport::Tcp { destination, .. } => format!("proto=tcp{}", port(destination)),
        Transport::Udp { destination, .. } => format!("proto=udp{}", port(destination)),
        Transport::Icmp { .. } => "proto=icmp".to_owned(),
        Transport::Other(number) => format!("proto={number}"),
    };
    format!("src={source} dst={destination} {transport} iif={entry}")
}

fn port(port: Option<u16>) -> String {
    port.map(|port| format!(" dport={port}")).unwrap_or_default()
}
