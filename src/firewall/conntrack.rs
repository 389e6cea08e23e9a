//! Conntrack entries of what was closed. A rule judges a flow's first packet only; what it let through goes on until its
//! entry is gone.
//!
//! The kernel is asked for the entries of one address or port at a time and filters while it looks (Linux 5.8); older ones
//! answer with everything. So each answer is looked at here in any case.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use super::netfilter::{Netfilter, attribute, find, nest};
use crate::model::{Port, PortRange, Protocol};

/// More questions than this, and one look at the whole table is cheaper.
const QUESTIONS: usize = 16;
/// With fewer entries than this, one answer with all of them is cheaper than a second walk through the kernel's table,
/// whose buckets (hundreds of thousands) take a millisecond or two a walk, however empty they are.
const FEW: usize = 1000;

/// Published ports in a row, as a flow's entry shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// The original direction's destination; `None`: any address of the host.
    pub(super) host: Option<Ipv4Addr>,
    /// The original direction's destination ports.
    pub(super) ports: PortRange,
    /// The reply direction's source: the container.
    pub(super) to: Ipv4Addr,
    /// The container's port that the first of `ports` leads to; the others follow in step.
    pub(super) to_first: u16,
}

/// Something that a committed transaction has ended: the kernel no longer holds the elements, and no element lets the
/// same flows through in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closed {
    /// An endpoint: all flows from and to its address.
    Endpoint(Ipv4Addr),
    /// A link: flows that `source` opened to `target`'s ports.
    Link {
        /// Who opened them.
        source: Ipv4Addr,
        /// To whom.
        target: Ipv4Addr,
        /// To which ports.
        ports: PortRange,
    },
    /// A row of published ports: flows to the host's ports that lead to the container.
    Unpublished(Row),
    /// A row of published UDP ports that *came*: flows to the host's ports that do not lead to the container bypass it.
    Published(Row),
    /// Addresses of containers, from the first to the last, that nobody has: all flows from and to them.
    Vacant {
        /// The first.
        first: Ipv4Addr,
        /// The last.
        last: Ipv4Addr,
    },
}

impl Closed {
    /// Whether a row that came has anything to end: only UDP clients go on sending to who has gone.
    pub(super) fn by_coming(protocol: Protocol) -> bool {
        protocol == Protocol::Udp
    }
}

/// Ends the flows. Called after the commit, with at least one entry; best effort: what fails is logged.
pub(super) async fn forget(closed: Vec<Closed>) {
    let begun = std::time::Instant::now();
    match tokio::task::spawn_blocking(move || forget_now(&closed)).await {
        Ok(Ok(count)) => tracing::debug!(count, elapsed = ?begun.elapsed(), "ended flows of what was closed"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot end flows of what was closed: they go on until they end"),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn forget_now(closed: &[Closed]) -> io::Result<usize> {
    let questions = match entries() {
        Some(0) => return Ok(0),
        Some(few) if few < FEW => vec![Vec::new()],
        _ => questions(closed),
    };
    let mut kernel = Netfilter::open()?;
    let own = LazyCell::new(own_addresses);
    let mut ended = Vec::new();
    let mut note = |entry: &[u8]| {
        if let Some(flow) = Flow::read(entry)
            && closed.iter().any(|closed| closed.ends(&flow, |address| address.is_loopback() || own.contains(&address)))
        {
            ended.push(name(entry));
        }
    };
    for question in questions {
        if let Err(error) = kernel.dump(GET, libc::AF_INET as u8, &question, &mut note) {
            tracing::debug!(%error, "the kernel does not filter conntrack entries");
            // It does not know such questions: everything, then, once.
            kernel = Netfilter::open()?;
            kernel.dump(GET, libc::AF_INET as u8, &[], &mut note)?;
            break;
        }
    }
    ended.sort();
    ended.dedup();
    let count = ended.len();
    order_deletion(&mut kernel, &ended)?;
    Ok(count)
}

fn order_deletion(kernel: &mut Netfilter, entries: &[Vec<u8>]) -> io::Result<()> {
    for entry in entries {
        match kernel.order(DELETE, libc::AF_INET as u8, entry) {
            // It ended by itself.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Deletes entries by name.
pub(super) fn delete(entries: &[Vec<u8>]) -> io::Result<()> {
    order_deletion(&mut Netfilter::open()?, entries)
}

/// Each flow of IPv4 that has not ended: whether it came with another's (a helper's expectation), and its name.
pub(super) fn each(mut look: impl FnMut(&Flow, bool, Vec<u8>)) -> io::Result<()> {
    if entries() == Some(0) {
        return Ok(());
    }
    Netfilter::open()?.dump(GET, libc::AF_INET as u8, &[], |entry| {
        if let Some(flow) = Flow::read(entry).filter(|_| !has_ended(entry)) {
            look(&flow, find(entry, TUPLE_MASTER).is_some(), name(entry));
        }
    })
}

/// A TCP connection that both sides have closed, and that the kernel only remembers.
fn has_ended(entry: &[u8]) -> bool {
    /// `enum tcp_conntrack`.
    const TIME_WAIT: u8 = 7;
    const CLOSE: u8 = 8;
    let tcp = find(entry, PROTOCOL_INFO).and_then(|info| find(info, TCP_INFO));
    let state = tcp.and_then(|tcp| find(tcp, TCP_STATE)).and_then(|state| state.first());
    state.is_some_and(|state| [TIME_WAIT, CLOSE].contains(state))
}

/// How many flows the kernel knows in this network namespace.
fn entries() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").ok()?.trim().parse().ok()
}

/// The host's own addresses; 127/8 are more than it says.
fn own_addresses() -> BTreeSet<Ipv4Addr> {
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|it| it.address);
    addresses.filter_map(|address| Some(address.as_sockaddr_in()?.ip())).collect()
}

// linux/netfilter/nfnetlink_conntrack.h: subsystem 1, then the message's number.
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const PROTOCOL_INFO: u16 = 4;
/// In that, and in that.
const TCP_INFO: u16 = 1;
const TCP_STATE: u16 = 1;
const TUPLE_MASTER: u16 = 14;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// In a tuple.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// In a tuple's addresses.
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
/// In a tuple's protocol.
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// Which parts of a tuple a filter looks at (net/netfilter/nf_internals.h).
const BY_SOURCE: u32 = 1 << 0;
const BY_DESTINATION: u32 = 1 << 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;

/// What the kernel is asked: as few questions as find all that ends.
fn questions(closed: &[Closed]) -> Vec<Vec<u8>> {
    let mut questions: Vec<_> = closed.iter().flat_map(Closed::questions).collect();
    questions.sort();
    questions.dedup();
    if questions.len() > QUESTIONS { vec![Vec::new()] } else { questions }
}

/// The entry's name, by which it is deleted: the tuple, the zone, and the id, so that its successor is not meant.
fn name(entry: &[u8]) -> Vec<u8> {
    let tuple = find(entry, TUPLE_ORIG).map(|tuple| attribute(TUPLE_ORIG | 0x8000, tuple));
    let others = [ZONE, ID].map(|kind| find(entry, kind).map(|value| attribute(kind, value)));
    [tuple].into_iter().chain(others).flatten().flatten().collect()
}

impl Closed {
    fn questions(&self) -> Vec<Vec<u8>> {
        let by_source = |source: &Ipv4Addr| nest(TUPLE_IP, &[attribute(SOURCE, &source.octets())]);
        let protocol = |protocol, port: Option<u16>| {
            let number = attribute(NUMBER, &[number_of(protocol)]);
            let port = port.map(|port| attribute(DESTINATION_PORT, &port.to_be_bytes()));
            nest(TUPLE_PROTO, &[Some(number), port].into_iter().flatten().collect::<Vec<_>>())
        };
        match self {
            // What is sent to it, rewritten or not, it answers.
            Self::Endpoint(address) => {
                [TUPLE_ORIG, TUPLE_REPLY].map(|way| question(way, &[by_source(address)], BY_SOURCE)).into()
            }
            Self::Link { source, target, .. } => {
                let addresses = [attribute(SOURCE, &source.octets()), attribute(DESTINATION, &target.octets())];
                vec![question(TUPLE_ORIG, &[nest(TUPLE_IP, &addresses)], BY_SOURCE | BY_DESTINATION)]
            }
            Self::Unpublished(row) => vec![question(TUPLE_REPLY, &[by_source(&row.to)], BY_SOURCE)],
            Self::Published(Row { ports, .. }) if ports.first == ports.last => {
                let port = protocol(ports.protocol, Some(ports.first));
                vec![question(TUPLE_ORIG, &[port], BY_PROTOCOL | BY_DESTINATION_PORT)]
            }
            Self::Published(row) => {
                vec![question(TUPLE_ORIG, &[protocol(row.ports.protocol, None)], BY_PROTOCOL)]
            }
            Self::Vacant { .. } => vec![Vec::new()],
        }
    }

    /// Whether a flow is one of those that end.
    fn ends(&self, flow: &Flow, is_local: impl Fn(Ipv4Addr) -> bool) -> bool {
        match self {
            Self::Endpoint(address) => flow.parties().contains(address),
            Self::Vacant { first, last } => flow.parties().iter().any(|party| (first..=last).contains(&party)),
            Self::Link { source, target, ports } => {
                (flow.source, flow.destination) == (*source, *target) && flow.port.is_some_and(|it| ports.contains(it))
            }
            Self::Unpublished(row) => row.leads(flow) && flow.destination != row.to,
            Self::Published(row) => {
                row.is_for(flow) && !row.leads(flow) && (row.host.is_some() || is_local(flow.destination))
            }
        }
    }
}

impl Row {
    /// Whether a flow is to one of these ports of the host, if its destination is the host.
    fn is_for(&self, flow: &Flow) -> bool {
        self.host.is_none_or(|host| host == flow.destination) && flow.port.is_some_and(|port| self.ports.contains(port))
    }

    /// Whether it goes where the row leads.
    pub(super) fn leads(&self, flow: &Flow) -> bool {
        let step = |port: Port| port.number - self.ports.first;
        self.is_for(flow)
            && flow.answerer == self.to
            && flow.port.is_some_and(|port| flow.answerers_port == self.to_first + step(port))
    }
}

/// Entries that have these parts in a tuple of one of the two ways.
fn question(way: u16, parts: &[Vec<u8>], flags: u32) -> Vec<u8> {
    // The flags of the original way are the filter's first attribute, those of the reply's its second.
    let filter = nest(FILTER, &[attribute(way, &flags.to_ne_bytes())]);
    [nest(way, parts), filter].concat()
}

fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// What an entry says of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) source: Ipv4Addr,
    /// From which port, or 0.
    pub(super) source_port: u16,
    /// As the source sees it.
    pub(super) destination: Ipv4Addr,
    /// As the source sees it; `None` where the protocol has no ports.
    pub(super) port: Option<Port>,
    /// Who is really spoken to.
    pub(super) answerer: Ipv4Addr,
    /// On which port, or 0.
    pub(super) answerers_port: u16,
}

impl Flow {
    /// Who sends, to whom as it sees it, and to whom really.
    fn parties(&self) -> [Ipv4Addr; 3] {
        [self.source, self.destination, self.answerer]
    }

    fn read(entry: &[u8]) -> Option<Self> {
        let (original, reply) = (find(entry, TUPLE_ORIG)?, find(entry, TUPLE_REPLY)?);
        let address = |tuple, kind| -> Option<Ipv4Addr> {
            let octets: [u8; 4] = find(find(tuple, TUPLE_IP)?, kind)?.try_into().ok()?;
            Some(octets.into())
        };
        let port = |tuple, kind| -> Option<u16> {
            Some(u16::from_be_bytes(find(find(tuple, TUPLE_PROTO)?, kind)?.try_into().ok()?))
        };
        let number = find(find(original, TUPLE_PROTO)?, NUMBER)?.first().copied()?;
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|it| number_of(*it) == number);
        let to_port = port(original, DESTINATION_PORT);
        Some(Self {
            source: address(original, SOURCE)?,
            source_port: port(original, SOURCE_PORT).unwrap_or_default(),
            destination: address(original, DESTINATION)?,
            port: protocol.zip(to_port).map(|(protocol, number)| Port { protocol, number }),
            answerer: address(reply, SOURCE)?,
            answerers_port: port(reply, SOURCE_PORT).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: [u8; 4] = [192, 0, 2, 2];
    const HOST: [u8; 4] = [192, 0, 2, 1];
    const WEB: [u8; 4] = [172, 17, 0, 2];
    const APP: [u8; 4] = [172, 17, 0, 3];

    fn flow(source: [u8; 4], destination: [u8; 4], port: &str, answerer: [u8; 4], answerers_port: u16) -> Flow {
        let port = Some(port.parse().expect("port"));
        Flow {
            source: source.into(),
            source_port: 40_000,
            destination: destination.into(),
            port,
            answerer: answerer.into(),
            answerers_port,
        }
    }

    fn ends(closed: Closed, flow: Flow) -> bool {
        closed.ends(&flow, |address| [HOST, [172, 17, 0, 1]].contains(&address.octets()))
    }

    fn row(host: Option<[u8; 4]>, first: u16, last: u16, protocol: Protocol) -> Row {
        let ports = PortRange { protocol, first, last };
        Row { host: host.map(Into::into), ports, to: WEB.into(), to_first: 80 }
    }

    fn tuple(source: [u8; 4], destination: [u8; 4], protocol: u8, ports: (u16, u16)) -> [Vec<u8>; 2] {
        let (from, to) = (ports.0.to_be_bytes(), ports.1.to_be_bytes());
        [
            nest(TUPLE_IP, &[attribute(SOURCE, &source), attribute(DESTINATION, &destination)]),
            nest(
                TUPLE_PROTO,
                &[attribute(NUMBER, &[protocol]), attribute(SOURCE_PORT, &from), attribute(DESTINATION_PORT, &to)],
            ),
        ]
    }

    #[test]
    fn a_flow_is_read_from_its_entry_and_named_by_it() {
        let original = nest(TUPLE_ORIG, &tuple(LAN, HOST, 6, (40_000, 8080)));
        let reply = nest(TUPLE_REPLY, &tuple(WEB, LAN, 6, (80, 40_000)));
        let id = attribute(ID, &[1, 2, 3, 4]);
        let entry = [original.clone(), reply, attribute(3, &[0, 0, 0, 1]), id.clone()].concat();
        assert_eq!(Flow::read(&entry), Some(flow(LAN, HOST, "8080/tcp", WEB, 80)));
        assert_eq!(name(&entry), [original, id].concat());
        assert_eq!(Flow::read(&[]), None);
    }

    #[test]
    fn an_endpoint_ends_with_all_its_flows() {
        let gone = Closed::Endpoint(WEB.into());
        assert!(ends(gone, flow(WEB, LAN, "53/udp", LAN, 53)));
        assert!(ends(gone, flow(LAN, HOST, "8080/tcp", WEB, 80)));
        assert!(ends(gone, flow(APP, WEB, "80/tcp", WEB, 80)));
        assert!(!ends(gone, flow(APP, LAN, "80/tcp", LAN, 80)));
    }

    #[test]
    fn who_is_not_there_has_no_flows() {
        let gone = Closed::Vacant { first: Ipv4Addr::new(172, 17, 0, 3), last: Ipv4Addr::new(172, 17, 255, 255) };
        assert!(ends(gone, flow(APP, LAN, "80/tcp", LAN, 80)));
        assert!(ends(gone, flow(LAN, HOST, "8080/tcp", APP, 80)));
        assert!(!ends(gone, flow(LAN, HOST, "8080/tcp", WEB, 80)));
        assert!(!ends(gone, flow(LAN, HOST, "22/tcp", HOST, 22)));
    }

    #[test]
    fn a_link_ends_with_the_flows_that_it_opened() {
        let ports = PortRange { protocol: Protocol::Tcp, first: 80, last: 81 };
        let gone = Closed::Link { source: APP.into(), target: WEB.into(), ports };
        assert!(ends(gone, flow(APP, WEB, "81/tcp", WEB, 81)));
        assert!(!ends(gone, flow(APP, WEB, "82/tcp", WEB, 82)));
        assert!(!ends(gone, flow(APP, WEB, "80/udp", WEB, 80)));
        assert!(!ends(gone, flow(WEB, APP, "80/tcp", APP, 80)), "one that the target opened");
        assert!(!ends(gone, flow(APP, HOST, "80/tcp", WEB, 80)), "one by a published port");
    }

    #[test]
    fn a_published_row_ends_with_what_it_led() {
        let gone = Closed::Unpublished(row(None, 8080, 8081, Protocol::Tcp));
        assert!(ends(gone, flow(LAN, HOST, "8081/tcp", WEB, 81)));
        assert!(!ends(gone, flow(LAN, HOST, "8081/tcp", WEB, 80)), "by another row");
        assert!(!ends(gone, flow(LAN, HOST, "8082/tcp", WEB, 82)));
        assert!(!ends(gone, flow(LAN, HOST, "8080/tcp", APP, 80)));
        let on_address = Closed::Unpublished(row(Some(LAN), 8080, 8080, Protocol::Tcp));
        assert!(!ends(on_address, flow(LAN, HOST, "8080/tcp", WEB, 80)));
    }

    #[test]
    fn a_row_that_comes_ends_what_would_pass_it_by() {
        let came = Closed::Published(row(None, 8080, 8080, Protocol::Udp));
        assert!(ends(came, flow(LAN, HOST, "8080/udp", HOST, 8080)), "to the host itself");
        assert!(ends(came, flow(LAN, HOST, "8080/udp", APP, 80)), "to the container before");
        assert!(!ends(came, flow(LAN, HOST, "8080/udp", WEB, 80)), "as it should be");
        assert!(!ends(came, flow(APP, LAN, "8080/udp", LAN, 8080)), "through the host");
    }

    #[test]
    fn many_questions_are_one() {
        let gone = |number: u8| Closed::Endpoint([172, 17, 0, number].into());
        assert_eq!(questions(&[gone(2), gone(2)]).len(), 2);
        assert_eq!(questions(&(2..200).map(gone).collect::<Vec<_>>()), [Vec::<u8>::new()]);
    }
}
