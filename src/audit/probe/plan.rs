//! Which of the matrix's flows are tried, and which are not, and why. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::flow::{Aim, Flow};
use crate::model::audit::{Cell, Intended, Matrix, Party, PartyKind, Service, Verdict, Way};
use crate::model::{PortRange, Protocol};

/// What is going to be tried.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Flows.
    pub(super) flows: Vec<Planned>,
    /// What is not tried, and why.
    pub(super) untried: Vec<String>,
}

/// A flow to try.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// The flow.
    pub(super) flow: Flow,
    /// The matrix's cell.
    pub(super) cell: Option<Cell>,
    /// What should come of it.
    pub(super) expected: Verdict,
}

/// Where the matrix's parties are.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// The site of each party, where it has one.
    pub(super) places: Vec<Option<usize>>,
    /// Where containers speak to the host.
    pub(super) gateway: Option<Ipv4Addr>,
}

/// How much is tried at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Flows.
    pub(super) flows: usize,
    /// Pairs of parties. Each may cost two entries of the kernel's table of neighbours, of which all namespaces have one
    /// together, and which go by themselves only after a while.
    pub(super) pairs: usize,
}

impl Budget {
    /// A quarter of what is free of the table of neighbours.
    pub(super) fn of_this_host() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let most = read("/proc/sys/net/ipv4/neigh/default/gc_thresh3").trim().parse().unwrap_or(1024);
        // The first column of the second line, in hexadecimal digits, is how many there are.
        let table = read("/proc/net/stat/arp_cache");
        let entries = table.lines().nth(1).and_then(|line| line.split_ascii_whitespace().next());
        let entries = entries.and_then(|entries| usize::from_str_radix(entries, 16).ok()).unwrap_or_default();
        Self::with_neighbours(most, entries)
    }

    fn with_neighbours(most: usize, entries: usize) -> Self {
        Self { flows: 4000, pairs: (most.saturating_sub(entries) / 4).clamp(32, 1000) }
    }
}

impl Plan {
    /// How many flows go at most from a site to one port.
    pub(super) fn ports_of(&self, site: usize) -> usize {
        self.flows.iter().filter(|it| it.flow.from == site).map(|it| it.flow.nth + 1).max().unwrap_or(1)
    }

    /// Chooses among a matrix's cells.
    pub(super) fn of(matrix: &Matrix, ground: &Ground, budget: Budget) -> Self {
        let mut choice = Choice { matrix, ground, untried: BTreeMap::new() };
        let mut candidates: Vec<_> = matrix.cells.iter().flat_map(|cell| choice.flows(cell)).collect();
        let parties = matrix.parties.len();
        // First where verdicts differ; then what should pass; then by steps, so that each party has its turn.
        candidates.sort_by_key(|it| {
            let cell = it.cell.as_ref();
            let doubtful = cell.is_some_and(|cell| !cell.agrees() || cell.kernel == Verdict::Unknown);
            let step = cell.map_or(0, |cell| (cell.to + parties - cell.from) % parties);
            (!doubtful, it.expected != Verdict::Allow, step)
        });
        let all = candidates.len();
        let flows = counted(within(budget, candidates));
        let mut untried = choice.words();
        if flows.len() < all {
            untried.push(format!(
                "{} of {all} flows, most of which are denied: so that hosts do not run out of neighbours; ask for one \
                 party with --from or --to",
                all - flows.len()
            ));
        }
        Self { flows, untried }
    }
}

fn within(budget: Budget, candidates: Vec<Planned>) -> Vec<Planned> {
    let mut pairs = BTreeSet::new();
    let mut chosen = Vec::new();
    for planned in candidates {
        let pair = (planned.flow.from, planned.flow.to);
        if chosen.len() == budget.flows || !pairs.contains(&pair) && pairs.len() == budget.pairs {
            continue;
        }
        pairs.insert(pair);
        chosen.push(planned);
    }
    chosen
}

fn v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

/// Tells flows apart that come from one source to one port.
fn counted(mut flows: Vec<Planned>) -> Vec<Planned> {
    let mut before = BTreeMap::new();
    for Planned { flow, .. } in &mut flows {
        let count = before.entry((flow.from, flow.to, flow.port)).or_default();
        flow.nth = *count;
        *count += 1;
    }
    flows
}

struct Choice<'a> {
    matrix: &'a Matrix,
    ground: &'a Ground,
    /// Reasons, and who it is about.
    untried: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Choice<'_> {
    fn place(&self, party: usize) -> Option<usize> {
        self.ground.places.get(party).copied().flatten()
    }

    fn not(&mut self, reason: &'static str, who: impl Into<String>) -> Vec<Planned> {
        self.untried.entry(reason).or_default().insert(who.into());
        Vec::new()
    }

    fn flows(&mut self, cell: &Cell) -> Vec<Planned> {
        let party = |place: usize| &self.matrix.parties[place];
        let (from, to) = (party(cell.from), party(cell.to));
        if matches!(from.kind, PartyKind::Lan | PartyKind::Bridge | PartyKind::Outside) {
            return self.not("nobody of ours is there to send from it", &from.name);
        }
        if matches!(to.kind, PartyKind::Lan | PartyKind::Bridge | PartyKind::Outside) {
            return self.not("it is others', and nothing is sent there", &to.name);
        }
        if cell.by == Way::Shared {
            return Vec::new();
        }
        let (Some(source), Some(target)) = (self.place(cell.from), self.place(cell.to)) else {
            let gone = if self.place(cell.from).is_none() { from } else { to };
            return self.not("it has no network namespace that could be entered", &gone.name);
        };
        let Some((address, first)) = self.spoken_to(cell, to) else {
            return self.not("it has no address that could be spoken to", &to.name);
        };
        if address.is_loopback() && source != 0 {
            return self
                .not("it listens on the host's loopback only, which is tried by a frame", cell.service.to_string());
        }
        let expected = match cell.intent {
            Intended::Allow => Verdict::Allow,
            Intended::Deny => Verdict::Deny,
            Intended::Silent => cell.kernel,
        };
        let planned = |aim, port| {
            let flow = Flow { from: source, to: target, aim, port, nth: 0 };
            Planned { flow, cell: Some(cell.clone()), expected }
        };
        match cell.service {
            Service::Echo => vec![planned(Aim::Echo(address), 0)],
            Service::Ports(PortRange { protocol: Protocol::Sctp, .. }) => {
                self.not("SCTP is not probed", cell.service.to_string())
            }
            // Of a range its ends.
            Service::Ports(range) => BTreeSet::from([0, range.last - range.first])
                .into_iter()
                .map(|step| {
                    let at = SocketAddrV4::new(address, first + step);
                    let aim = if range.protocol == Protocol::Tcp { Aim::Tcp(at) } else { Aim::Udp(at) };
                    planned(aim, range.first + step)
                })
                .collect(),
        }
    }

    /// The address and first port that the source speaks to.
    fn spoken_to(&self, cell: &Cell, to: &Party) -> Option<(Ipv4Addr, u16)> {
        let first = match cell.service {
            Service::Ports(ports) => ports.first,
            Service::Echo => 0,
        };
        match &cell.by {
            Way::Publish { host } | Way::Hairpin { host } => Some((v4(&host.0)?, host.1)),
            _ if to.kind == PartyKind::Host => Some((self.at_host(cell, to)?, first)),
            _ => Some((to.addresses.iter().find_map(v4)?, first)),
        }
    }

    /// Where a service of the host is spoken to by containers: at the gateway if it listens there, else where it does.
    fn at_host(&self, cell: &Cell, host: &Party) -> Option<Ipv4Addr> {
        let gateway = self.ground.gateway?;
        let Service::Ports(ports) = cell.service else { return Some(gateway) };
        let within = |range: PortRange| {
            range.protocol == ports.protocol && range.first <= ports.first && ports.last <= range.last
        };
        let here = host.ports.iter().find(|port| within(port.ports));
        let listeners: BTreeSet<_> =
            here.into_iter().flat_map(|it| &it.listeners).map(|it| it.address.to_canonical()).collect();
        let everywhere = |it: &IpAddr| it.is_unspecified() || *it == IpAddr::V4(gateway);
        if listeners.is_empty() || listeners.iter().any(everywhere) {
            return Some(gateway);
        }
        listeners.iter().find_map(v4)
    }

    fn words(self) -> Vec<String> {
        let words = |(reason, who): (&str, BTreeSet<String>)| {
            let count = who.len();
            let mut names: Vec<_> = who.into_iter().take(5).collect();
            if count > names.len() {
                names.push(format!("and {} more", count - names.len()));
            }
            format!("{}: {reason}", names.join(", "))
        };
        self.untried.into_iter().map(words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::{Listener, PartyPort, Reason};

    fn party(name: &str, kind: PartyKind, address: &str) -> Party {
        Party {
            name: name.to_owned(),
            kind,
            id: None,
            mode: None,
            addresses: vec![address.parse().unwrap()],
            shares: None,
            labels: BTreeMap::new(),
            ports: Vec::new(),
        }
    }

    /// So many containers, the host, and the LAN.
    fn parties(containers: u8) -> Vec<Party> {
        let container = |at: u8| party(&format!("c{at}"), PartyKind::Container, &format!("172.17.0.{}", at + 2));
        let host = party("host", PartyKind::Host, "192.0.2.1");
        (0..containers).map(container).chain([host, party("lan", PartyKind::Lan, "192.0.2.2")]).collect()
    }

    fn cell((from, to): (usize, usize), service: &str, by: Way, intent: Intended, kernel: Verdict) -> Cell {
        let service = service.parse().unwrap();
        Cell {
            from,
            to,
            service,
            by,
            intent,
            reason: 0,
            kernel,
            decider: None,
            probe: None,
            listening: None,
            hits: None,
        }
    }

    fn ground(containers: usize) -> Ground {
        let places = (1..=containers).map(Some).chain([Some(0), None]).collect();
        Ground { places, gateway: Some([172, 17, 0, 1].into()) }
    }

    fn planned(cells: Vec<Cell>, budget: Budget) -> Plan {
        let matrix = Matrix { parties: parties(3), cells, reasons: vec![Reason::Icc], ..Matrix::empty() };
        Plan::of(&matrix, &ground(3), budget)
    }

    fn words(plan: &Plan) -> Vec<String> {
        let word = |it: &Planned| format!("{}>{} {}: {:?}", it.flow.from, it.flow.to, it.flow.aim, it.expected);
        plan.flows.iter().map(word).collect()
    }

    const ALL: Budget = Budget { flows: 100, pairs: 100 };

    #[test]
    fn where_flows_are_aimed() {
        let host = |ip: &str| (ip.parse().unwrap(), 8080);
        let cells = vec![
            cell((0, 1), "80/tcp", Way::Direct, Intended::Allow, Verdict::Allow),
            cell((0, 1), "90-99/udp", Way::Hairpin { host: host("172.17.0.1") }, Intended::Allow, Verdict::Allow),
            cell((3, 1), "80/tcp", Way::Publish { host: host("127.0.0.1") }, Intended::Allow, Verdict::Allow),
            cell((0, 3), "icmp", Way::Direct, Intended::Silent, Verdict::Deny),
            cell((4, 1), "80/tcp", Way::Direct, Intended::Deny, Verdict::Deny),
            cell((0, 4), "1-65535/tcp", Way::Direct, Intended::Allow, Verdict::Allow),
            cell((0, 1), "7/sctp", Way::Direct, Intended::Allow, Verdict::Allow),
            cell((0, 2), "80/tcp", Way::Shared, Intended::Allow, Verdict::Allow),
        ];
        let plan = planned(cells, ALL);
        let mut flows = words(&plan);
        flows.sort();
        assert_eq!(
            flows,
            [
                "0>2 TCP SYN to 127.0.0.1:8080: Allow",
                "1>0 ICMP echo to 172.17.0.1: Deny",
                "1>2 TCP SYN to 172.17.0.3:80: Allow",
                "1>2 UDP to 172.17.0.1:8080, with a receiver: Allow",
                "1>2 UDP to 172.17.0.1:8089, with a receiver: Allow",
            ]
        );
        assert_eq!(
            plan.untried,
            [
                "7/sctp: SCTP is not probed",
                "lan: it is others', and nothing is sent there",
                "lan: nobody of ours is there to send from it",
            ]
        );
        assert_eq!(plan.flows.iter().find(|it| it.flow.aim.to_string().contains("8089")).unwrap().flow.port, 99);
        assert_eq!((plan.ports_of(1), plan.ports_of(2)), (1, 1));
    }

    #[test]
    fn services_of_the_host_are_spoken_to_where_they_listen() {
        let at = |address: &str| {
            let Service::Ports(ports) = "53/udp".parse().unwrap() else { panic!() };
            let listeners = vec![Listener { address: address.parse().unwrap(), process: None }];
            let mut parties = parties(1);
            parties[1].ports = vec![PartyPort { ports, exposed: false, published: vec![], listeners }];
            let cells = vec![cell((0, 1), "53/udp", Way::Direct, Intended::Allow, Verdict::Allow)];
            let matrix = Matrix { parties, cells, ..Matrix::empty() };
            words(&Plan::of(&matrix, &ground(1), ALL)).join(" ")
        };
        assert_eq!(at("::"), "1>0 UDP to 172.17.0.1:53, with a receiver: Allow");
        assert_eq!(at("192.0.2.1"), "1>0 UDP to 192.0.2.1:53, with a receiver: Allow");
    }

    #[test]
    fn what_is_too_much_is_said() {
        let deny = |from, to| cell((from, to), "80/tcp", Way::Direct, Intended::Deny, Verdict::Deny);
        let mut cells = vec![deny(0, 1), deny(0, 2), deny(1, 2), deny(1, 0), deny(2, 0), deny(2, 1)];
        cells[1].kernel = Verdict::Allow;
        let plan = planned(cells.clone(), Budget { flows: 100, pairs: 4 });
        // The one that is doubtful, then everybody once.
        let tried: Vec<_> = plan.flows.iter().map(|it| (it.flow.from, it.flow.to)).collect();
        assert_eq!(tried, [(1, 3), (1, 2), (2, 3), (3, 1)]);
        assert!(plan.untried[0].starts_with("2 of 6 flows"), "{:?}", plan.untried);
        let plan = planned(cells, ALL);
        assert!(plan.flows.len() == 6 && plan.untried.is_empty());
    }

    #[test]
    fn two_ways_to_one_port_come_from_two() {
        let hairpin = Way::Hairpin { host: ("172.17.0.1".parse().unwrap(), 8080) };
        let to = |by, service| cell((0, 1), service, by, Intended::Allow, Verdict::Allow);
        let cells = vec![to(Way::Direct, "80/udp"), to(hairpin, "80/udp"), to(Way::Direct, "81/udp")];
        let plan = planned(cells, ALL);
        let mut counted: Vec<_> = plan.flows.iter().map(|it| (it.flow.port, it.flow.nth)).collect();
        counted.sort_unstable();
        assert_eq!((counted, plan.ports_of(1)), (vec![(80, 0), (80, 1), (81, 0)], 2));
    }

    #[test]
    fn budgets_leave_room_for_others() {
        assert_eq!(Budget::with_neighbours(1024, 24).pairs, 250);
        assert_eq!(Budget::with_neighbours(1024, 1024).pairs, 32);
        assert_eq!(Budget::with_neighbours(1 << 20, 0).pairs, 1000);
    }
}
