//! Flows that conntrack knows and that nothing admits: let through while rules were away, or written there by somebody. The
//! audit tells of them, and after each repair of the tables they are ended ([`Firewall::turn_out`]).
//!
//! The rules of what is admitted are the intent's, in the words of `inet`: replies aside, whoever begins a flow.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use tokio::task::spawn_blocking;

use super::audit::sockets::{self, Connection};
use super::committer::Command;
use super::conntrack::{self, Flow, Row};
use super::{Firewall, facts};
use crate::model::{ContainerId, Endpoint, NetworkOptions, PortRange, Protocol};

/// Looks that follow the first, which may have come before an answer that was under way.
const AGAIN: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(150), Duration::from_millis(300), Duration::from_millis(500)];

/// What may be, for who has to judge a flow.
pub struct Admission {
    options: NetworkOptions,
    /// On an operator's bridge there may be others than containers.
    own: bool,
    names: BTreeMap<Ipv4Addr, String>,
    /// Source, target, ports.
    links: Vec<(Ipv4Addr, Ipv4Addr, PortRange)>,
    published: Vec<Row>,
    /// The host's own addresses.
    local: BTreeSet<Ipv4Addr>,
    /// Where somebody on the host waits to be spoken to: it does not begin flows from there, but answers.
    answering: BTreeSet<(Protocol, u16)>,
}

/// A flow that nothing admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// In words.
    pub what: String,
    /// The containers that it is of.
    pub containers: Vec<String>,
    /// Its name in conntrack.
    entry: Vec<u8>,
    /// Of TCP to the host: the host's end of it.
    connection: Option<Connection>,
}

impl Admission {
    /// What follows from the endpoints that are there; `own`: no others are on the bridge; `local` are the host's own addresses, but for 127/8.
    pub fn of(
        options: &NetworkOptions,
        own: bool,
        endpoints: &[(&ContainerId, &Endpoint)],
        local: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Self {
        let by_id: BTreeMap<&ContainerId, &Endpoint> = endpoints.iter().copied().collect();
        let mut links = Vec::new();
        for (_, source) in endpoints {
            for target in source.links.iter().filter_map(|link| by_id.get(&link.target)) {
                links.extend(target.exposed.iter().map(|ports| (source.address, target.address, *ports)));
            }
        }
        let rows = |endpoint: &&Endpoint| {
            let address = endpoint.address;
            endpoint.published.iter().map(move |row| facts::row(row, address)).collect::<Vec<_>>()
        };
        Self {
            options: options.clone(),
            own,
            names: endpoints.iter().map(|(_, it)| (it.address, it.name.to_string())).collect(),
            links,
            published: endpoints.iter().map(|(_, it)| it).flat_map(rows).collect(),
            local: local.into_iter().collect(),
            answering: BTreeSet::new(),
        }
    }

    /// All strays. Blocking.
    pub fn strays(&self) -> io::Result<Vec<Stray>> {
        let known = known(self.options.bip)?;
        Ok(known.into_iter().filter_map(|(flow, entry)| self.stray(&flow, entry)).collect())
    }

    /// Those of which both ends are known: others may be what is left of containers that ended just now. Blocking.
    pub(super) fn strays_of_known(&self) -> io::Result<Vec<Stray>> {
        let subnet = self.options.bip;
        let known_end = |end: Ipv4Addr| !subnet.contains(end) || end == subnet.ip() || self.names.contains_key(&end);
        let flows = known(subnet)?.into_iter();
        let of_known =
            flows.filter(|(flow, _)| [flow.source, flow.destination, flow.answerer].into_iter().all(known_end));
        Ok(of_known.filter_map(|(flow, entry)| self.stray(&flow, entry)).collect())
    }

    /// The flow, if nothing admits it.
    fn stray(&self, flow: &Flow, entry: Vec<u8>) -> Option<Stray> {
        let why = self.refusal(flow)?;
        let ends = [flow.source, flow.destination, flow.answerer];
        let containers: BTreeSet<String> = ends.iter().filter_map(|end| self.names.get(end).cloned()).collect();
        let what = format!("{}: {why}", self.words(flow));
        Some(Stray { what, containers: containers.into_iter().collect(), entry, connection: self.connection(flow) })
    }

    /// The host's end of a flow.
    fn connection(&self, flow: &Flow) -> Option<Connection> {
        flow.port.filter(|port| port.protocol == Protocol::Tcp)?;
        let (from, to) = ((flow.source, flow.source_port), (flow.answerer, flow.answerers_port));
        match (self.is_local(from.0), self.is_local(to.0)) {
            (false, true) => Some(Connection { own: to, peer: from }),
            (true, false) => Some(Connection { own: from, peer: to }),
            _ => None,
        }
    }

    fn is_local(&self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.local.contains(&address) || address == self.options.gateway()
    }

    /// Why nothing admits a flow; `None`: something does, or it is none of ours to judge.
    fn refusal(&self, flow: &Flow) -> Option<&'static str> {
        let subnet = self.options.bip;
        let inside = |address: Ipv4Addr| subnet.contains(address) && address != subnet.ip();
        let one_of_many =
            |address: Ipv4Addr| address.is_multicast() || address.is_broadcast() || address == subnet.broadcast();
        if one_of_many(flow.destination) {
            return None;
        }
        let from_inside = inside(flow.source);
        if from_inside && self.own && !self.names.contains_key(&flow.source) {
            return Some("it comes from an address of no container");
        }
        if inside(flow.answerer) {
            return self.to_container(flow, from_inside);
        }
        if inside(flow.destination) {
            return Some("it is led away from a container's address");
        }
        let of_names = flow.answerer == subnet.ip() && Some(flow.answerers_port) == self.options.dns_port;
        if of_names && !from_inside && !self.is_local(flow.source) {
            return Some("names are for containers");
        }
        // To the host, or out of it: what containers send elsewhere is not ours to judge.
        let closed = from_inside && self.is_local(flow.answerer) && !self.options.host_access;
        let asks =
            flow.port.is_some_and(|port| port.number == 53) && Some(flow.answerers_port) == self.options.dns_port;
        (closed && flow.port.is_some() && !asks).then_some("containers do not reach the host (--host-access=false)")
    }

    fn to_container(&self, flow: &Flow, from_inside: bool) -> Option<&'static str> {
        let rewritten =
            flow.destination != flow.answerer || flow.port.is_some_and(|port| port.number != flow.answerers_port);
        if !self.names.contains_key(&flow.answerer) {
            // The kernel remembers also whom the host itself called, and nobody heard.
            let heard = self.own && !self.is_local(flow.source);
            return heard.then_some("it goes to an address of no container");
        }
        if rewritten {
            // What is published on 127/8 is the host's alone.
            let reaches = !flow.destination.is_loopback() || self.is_local(flow.source);
            let published = reaches && self.published.iter().any(|row| row.leads(flow));
            return (!published).then_some("no published port leads there");
        }
        if self.is_local(flow.source) {
            let answers = flow.port.is_some_and(|port| self.answering.contains(&(port.protocol, flow.source_port)));
            return (answers && !self.options.host_access)
                .then_some("the host answers a container that does not reach it (--host-access=false)");
        }
        if !from_inside {
            return Some("nothing lets in what comes from outside, but published ports");
        }
        let linked = |(source, target, ports): &(Ipv4Addr, Ipv4Addr, PortRange)| {
            (*source, *target) == (flow.source, flow.answerer) && flow.port.is_some_and(|port| ports.contains(port))
        };
        (!self.options.icc && flow.source != flow.answerer && !self.links.iter().any(linked))
            .then_some("no link opens it (--icc=false)")
    }

    fn words(&self, flow: &Flow) -> String {
        let call = |address: Ipv4Addr| match self.names.get(&address) {
            Some(name) => format!("{name} ({address})"),
            None => address.to_string(),
        };
        let port = flow.port.map(|port| format!(" on {port}")).unwrap_or_default();
        let to = match flow.destination == flow.answerer {
            true => call(flow.destination),
            false => {
                format!("{}, led to {} port {},", call(flow.destination), call(flow.answerer), flow.answerers_port)
            }
        };
        format!("a flow from {} to {to}{port} is in conntrack", call(flow.source))
    }
}

impl Firewall {
    /// Ends the flows that nothing in force admits, and those that come of what was under way: whoever was let in while
    /// rules were away is answered a moment later, and the answer is a flow of the host's by which more comes in.
    pub async fn turn_out(&self, options: &NetworkOptions) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
        self.turn_out_once(options).await;
        let (firewall, options) = (self.clone(), options.clone());
        tokio::spawn(async move {
            for pause in AGAIN {
                tokio::time::sleep(pause).await;
                // Whoever came after looks for longer.
                if firewall.turns.load(Ordering::Relaxed) != turn {
                    return;
                }
                firewall.turn_out_once(&options).await;
            }
        });
    }

    async fn turn_out_once(&self, options: &NetworkOptions) {
        match self.end_strays(options).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "ended flows that nothing admits"),
            Err(error) => tracing::warn!(%error, "cannot end flows that nothing admits: they go on until they end"),
        }
    }

    /// How many there were.
    async fn end_strays(&self, options: &NetworkOptions) -> io::Result<usize> {
        let bip = options.bip;
        // The flows first, and then what is in force: a flow is never older than what admits it.
        let flows = blocking(move || known(bip)).await?;
        if flows.is_empty() {
            return Ok(0);
        }
        let admission = self.ask(Command::Admission).await.map_err(io::Error::other)?;
        blocking(move || {
            let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|it| it.address);
            let local = addresses.filter_map(|address| Some(address.as_sockaddr_in()?.ip())).collect();
            let admission = Admission { local, answering: answering()?, ..admission };
            let strays: Vec<Stray> =
                flows.into_iter().filter_map(|(flow, entry)| admission.stray(&flow, entry)).collect();
            let count = strays.len();
            end(strays)?;
            Ok(count)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(action: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match spawn_blocking(action).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Flows that have an end among the containers' addresses, with their names in conntrack. Those that came with another's (a
/// helper's expectation) are judged by that one. Blocking.
fn known(subnet: Ipv4Network) -> io::Result<Vec<(Flow, Vec<u8>)>> {
    let mut flows = Vec::new();
    conntrack::each(|flow, related, entry| {
        let ends = [flow.source, flow.destination, flow.answerer];
        if !related && ends.iter().any(|end| subnet.contains(*end)) {
            flows.push((*flow, entry));
        }
    })?;
    Ok(flows)
}

/// Where somebody on the host waits to be spoken to.
fn answering() -> io::Result<BTreeSet<(Protocol, u16)>> {
    let sockets = sockets::listening()?.into_iter().filter(|socket| socket.takes_v4().is_some());
    Ok(sockets.map(|it| (if it.tcp { Protocol::Tcp } else { Protocol::Udp }, it.port)).collect())
}

/// Ends flows. Those that ended by themselves are no error. Connections of the host's end as well: else what it sends again
/// would begin the flow anew.
pub fn end(strays: Vec<Stray>) -> io::Result<()> {
    let connections: BTreeSet<Connection> = strays.iter().filter_map(|stray| stray.connection).collect();
    if let Err(error) = sockets::reset(&connections) {
        tracing::debug!(%error, "the kernel does not end connections by order");
    }
    let entries: Vec<Vec<u8>> = strays.into_iter().map(|stray| stray.entry).collect();
    conntrack::delete(&entries)
}

#[cfg(test)]
mod tests {
    use super::super::elements::tests::{endpoint, exposing, id, linked, publish};
    use super::*;

    const HOST: [u8; 4] = [192, 0, 2, 1];
    const LAN: [u8; 4] = [192, 0, 2, 2];

    fn container(n: u8) -> [u8; 4] {
        [172, 17, 0, n]
    }

    /// 2 is linked to 3, which exposes 80/tcp; 2 has 8080 published to 80.
    fn refusal(icc: bool, from: [u8; 4], to: [u8; 4], port: &str, answerer: [u8; 4], on: u16) -> Option<&'static str> {
        let options = NetworkOptions { icc, host_access: false, dns_port: Some(61_053), ..NetworkOptions::usual() };
        let endpoints = [
            linked(endpoint(2, vec![publish([0; 4], 8080, "80")]), &[3]),
            exposing(endpoint(3, vec![]), &["80-80/tcp"]),
        ];
        let ids = [id(2), id(3)];
        let endpoints: Vec<_> = ids.iter().zip(&endpoints).collect();
        let admission = Admission::of(&options, true, &endpoints, [HOST.into()]);
        let port = (on != 0).then(|| port.parse().expect("port"));
        admission.refusal(&Flow {
            source: from.into(),
            source_port: 40_000,
            destination: to.into(),
            port,
            answerer: answerer.into(),
            answerers_port: on,
        })
    }

    #[test]
    fn what_the_intent_admits_is_no_stray() {
        let (web, db, gateway) = (container(2), container(3), container(1));
        for (from, to, port, answerer, on) in [
            (web, db, "80", db, 80),
            (LAN, HOST, "8080", web, 80),
            (db, HOST, "8080", web, 80),
            (HOST, db, "22", db, 22),
            (HOST, container(9), "22", container(9), 22),
            (gateway, db, "22", db, 22),
            ([127, 0, 0, 1], [127, 0, 0, 1], "8080", web, 80),
            (web, LAN, "443", LAN, 443),
            (web, gateway, "53/udp", gateway, 61_053),
            (web, gateway, "0", gateway, 0),
            (LAN, HOST, "22", HOST, 22),
            (web, [255; 4], "67/udp", [255; 4], 67),
        ] {
            assert_eq!(refusal(false, from, to, port, answerer, on), None, "{from:?} to {to:?} on {port}");
        }
        assert_eq!(refusal(true, db, web, "22", web, 22), None);
    }

    #[test]
    fn what_is_published_on_loopback_is_the_hosts_alone() {
        let options = NetworkOptions { host_access: false, dns_port: Some(61_053), ..NetworkOptions::usual() };
        let (id, endpoint) = (id(2), endpoint(2, vec![publish([127, 0, 0, 1], 7070, "70")]));
        let admission = Admission::of(&options, true, &[(&id, &endpoint)], [HOST.into()]);
        let answering = [(Protocol::Udp, 9999)].into();
        let admission = Admission { answering, ..admission };
        let flow =
            |source: [u8; 4], source_port, destination: [u8; 4], port: &str, answerer: [u8; 4], answerers_port| {
                let port = Some(port.parse().expect("port"));
                let (source, destination, answerer) = (source.into(), destination.into(), answerer.into());
                Flow { source, source_port, destination, port, answerer, answerers_port }
            };
        let (loopback, web, gateway) = ([127, 0, 0, 1], container(2), container(1));
        let published = |from| admission.refusal(&flow(from, 40_000, loopback, "7070", web, 70));
        assert_eq!(published(loopback), None);
        assert!(published(LAN).is_some());
        // Names are asked by containers, and by the port that everybody knows.
        assert!(admission.refusal(&flow(LAN, 40_000, gateway, "61053/udp", gateway, 61_053)).is_some());
        assert_eq!(admission.refusal(&flow(gateway, 40_000, gateway, "61053/udp", gateway, 61_053)), None);
        // The host begins flows from anywhere but where it answers.
        assert_eq!(admission.refusal(&flow(gateway, 40_000, web, "40000/udp", web, 40_000)), None);
        assert_eq!(admission.refusal(&flow(gateway, 9999, web, "40000", web, 40_000)), None);
        let answer = flow(gateway, 9999, web, "40000/udp", web, 40_000);
        assert!(admission.refusal(&answer).is_some());
        let open = NetworkOptions { host_access: true, ..options };
        assert_eq!(Admission { options: open, ..admission }.refusal(&answer), None);
    }

    #[test]
    fn what_it_does_not_is() {
        let (web, db, gone, gateway) = (container(2), container(3), container(9), container(1));
        for (from, to, port, answerer, on, why) in [
            (db, web, "80", web, 80, "link"),
            (web, db, "22", db, 22, "link"),
            (LAN, web, "80", web, 80, "outside"),
            (LAN, HOST, "8081", web, 80, "published"),
            (LAN, HOST, "8080", web, 22, "published"),
            (LAN, HOST, "8080", gone, 80, "no container"),
            (gone, LAN, "443", LAN, 443, "no container"),
            (web, db, "80", LAN, 80, "led away"),
            (web, gateway, "22", gateway, 22, "--host-access"),
        ] {
            let refused = refusal(false, from, to, port, answerer, on);
            assert!(refused.is_some_and(|it| it.contains(why)), "{from:?} to {to:?} on {port}: {refused:?}, not {why}");
        }
    }
}
