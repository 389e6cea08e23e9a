//! One run of probes, from the opening of sockets to their end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::flow::{Aim, Outcome};
use super::free_address;
use super::plan::{Plan, Planned};
use super::program::nobodys;
use super::station::{Site, Station, link};
use super::stray::{Lay, Stray};
use super::token::Run;
use super::volley::{Load, Record, Shot, Stage};
use crate::model::NetworkOptions;
use crate::model::audit::{Sent, Verdict};
use crate::netns::NetNs;
use crate::sys::bpf;

/// What has not arrived by then does not.
const PATIENCE: Duration = Duration::from_millis(300);
/// For those that should have arrived and did not, once more.
const MORE_PATIENCE: Duration = Duration::from_secs(1);

/// Numbers of probes: flows, flows that are asked again, frames. Marks are above.
const AGAIN: u16 = 20_000;
/// From here on nobody answers.
pub(super) const STRAYS: u16 = 40_000;
/// Frames of a run.
const MOST_STRAYS: usize = 20_000;

/// Whose frames are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// Everybody's.
    All,
    /// One site's.
    Of(usize),
    /// Nobody's.
    None,
}

/// What a run has to know of where it is.
pub(super) struct Setting<'a> {
    /// The bridge's options.
    pub(super) network: Option<&'a NetworkOptions>,
    /// Somebody else's rules may change the ports that packets come from.
    pub(super) rewritten: bool,
}

/// One run.
pub(super) struct Round<'a> {
    stage: Stage<'a>,
    /// Sites that cannot be probed, and why.
    gone: Vec<String>,
}

impl<'a> Round<'a> {
    /// Opens the sockets of each site.
    pub(super) fn open(sites: &'a [Site], plan: &Plan) -> Self {
        // Neither half of it may be a number that is everywhere.
        let run = Run::of((rand::random::<u32>() | 0x0100_0001) & !0x8000_0000);
        let (mut taken, mut gone) = (BTreeSet::new(), Vec::new());
        let mut open = |(place, site): (usize, &Site)| match Station::open(site, run, plan.ports_of(place), &mut taken)
        {
            Ok(station) => Some(station),
            Err(error) => {
                gone.push(format!("{}: {error}", site.name));
                None
            }
        };
        let stations = sites.iter().enumerate().map(&mut open).collect();
        Self { stage: Stage { sites, stations, run }, gone }
    }

    /// Sends all of it. Answers also what was not tried after all.
    pub(super) fn go(mut self, plan: &Plan, frames: Frames, setting: &Setting<'_>) -> (Vec<Sent>, Vec<String>) {
        let network = setting.network;
        let mut untried = std::mem::take(&mut self.gone);
        let unsheltered = self.shelter(plan, setting);
        let (flows, left_out): (Vec<_>, Vec<_>) = plan.flows.iter().partition(|it| self.is_harmless(it, &unsheltered));
        untried.extend(left_out.iter().map(|it| {
            let to = &self.stage.sites[it.flow.to].name;
            format!("{} ({to}): a program has the port open, and {}", it.flow.aim, unsheltered[&it.flow.to])
        }));
        let strays =
            network.and_then(|options| self.lay(options)).map(|lay| self.strays(&lay, frames)).unwrap_or_default();

        let mut sent = self.first(&flows, &strays);
        self.again(&flows, &mut sent);
        self.close();
        (sent, untried)
    }

    /// Keeps datagrams of probes from programs; answers the sites where that cannot be done, and why.
    fn shelter(&mut self, plan: &Plan, setting: &Setting<'_>) -> BTreeMap<usize, String> {
        let targets: BTreeSet<_> =
            plan.flows.iter().filter(|it| matches!(it.flow.aim, Aim::Udp(_))).map(|it| it.flow.to).collect();
        let ports: Vec<_> =
            self.stage.stations.iter().flatten().flat_map(|station| station.udp_ports.clone()).collect();
        let containers = bpf::load_socket_lookup(&nobodys(ports.iter().copied(), None));
        // The host has other clients, that may have the same ports: only what comes from containers.
        let host = bpf::load_socket_lookup(&nobodys(ports, setting.network.map(|options| options.bip)));
        let mut unsheltered = BTreeMap::new();
        for place in targets {
            if setting.rewritten {
                unsheltered
                    .insert(place, "others' rules may change the ports by which it would be kept from it".to_owned());
            }
            let Some(station) = &mut self.stage.stations[place] else { continue };
            let program = if self.stage.sites[place].netns.is_none() { &host } else { &containers };
            let attached = program.as_ref().map_err(|error| io::Error::from(error.kind()));
            match attached.and_then(|program| attach(&self.stage.sites[place], program)) {
                Ok(shelter) => station.shelter = Some(shelter),
                Err(error) => {
                    unsheltered.insert(place, format!("this kernel cannot keep it from it: {error}"));
                }
            }
        }
        unsheltered
    }

    fn is_harmless(&self, planned: &Planned, unsheltered: &BTreeMap<usize, String>) -> bool {
        let flow = &planned.flow;
        let open = self.stage.stations[flow.to].as_ref().is_some_and(|station| station.open.udp.contains(&flow.port));
        !(matches!(flow.aim, Aim::Udp(_)) && unsheltered.contains_key(&flow.to) && open)
    }

    /// What frames are to be made of; `None` where there is no bridge to send them at.
    fn lay(&self, options: &NetworkOptions) -> Option<Lay> {
        let present = |place: usize| self.stage.stations[place].as_ref().is_some_and(|it| it.wire.is_some());
        let sites = self.stage.sites.iter().enumerate().filter(|(place, _)| present(*place));
        let seats: Vec<_> =
            sites.filter_map(|(place, site)| Some((place, site.name.clone(), site.seat.clone()?))).collect();
        let (_, gateway) = link(&options.bridge).ok()?;
        let open = |port: &u16| self.stage.stations.iter().flatten().any(|station| station.open.udp.contains(port));
        let port = std::iter::once(9).chain((1024..65_000).rev()).find(|port| !open(port))?;
        let free = free_address(options.bip, |it| seats.iter().any(|(.., seat)| seat.address == it));
        Some(Lay { bip: options.bip, gateway, icc: options.icc, free, port, seats })
    }

    fn strays(&self, lay: &Lay, frames: Frames) -> Vec<Stray> {
        let wanted = |stray: &Stray| match frames {
            Frames::All => true,
            Frames::Of(place) => stray.from == place,
            Frames::None => false,
        };
        let ports = |place: usize| self.stage.stations[place].as_ref().map_or(0, |station| station.udp_ports[0]);
        let all = (0..lay.seats.len()).flat_map(|at| Stray::of(lay, at, ports(lay.seats[at].0)));
        all.filter(wanted).take(MOST_STRAYS).collect()
    }

    fn first(&mut self, flows: &[&Planned], strays: &[Stray]) -> Vec<Sent> {
        let mut shots = Vec::new();
        let mut aimless = BTreeSet::new();
        for (number, planned) in (0..).zip(flows) {
            shots.extend(self.shot(planned, number).or_else(|| {
                aimless.insert(number);
                None
            }));
        }
        for (number, stray) in (STRAYS..).zip(strays) {
            let own = self.stage.stations[stray.from].as_ref().and_then(|it| it.wire.as_ref()).map(|wire| wire.mac);
            let token = self.stage.run.token(number);
            shots.extend(own.map(|own| Shot {
                from: stray.from,
                number,
                load: Load::Frame(stray.frame(own, token)),
                ends: None,
            }));
        }
        let begun = Instant::now();
        let complete = |record: &Record| {
            let told = |(number, it): (u16, &&Planned)| it.flow.is_complete(&record.of(number));
            strays.is_empty() && aimless.is_empty() && (0..).zip(flows).all(told)
        };
        let record = self.stage.volley(&shots, PATIENCE, complete);
        let waited = begun.elapsed();
        let flows = (0..).zip(flows).map(|(number, it)| self.told(it, &record, number, waited));
        let mut sent: Vec<_> = flows.collect();
        sent.extend((STRAYS..).zip(strays).map(|(number, stray)| self.told_of_stray(stray, &record, number, waited)));
        sent
    }

    /// Asks again for what should have come about and did not: a packet may be lost on a busy machine.
    fn again(&mut self, flows: &[&Planned], sent: &mut [Sent]) {
        let lost: Vec<_> = (0..).zip(flows).filter(|(at, _)| !sent[usize::from(*at)].agrees()).collect();
        let shots: Vec<_> = lost.iter().filter_map(|(at, planned)| self.shot(planned, AGAIN + at)).collect();
        if shots.is_empty() {
            return;
        }
        let begun = Instant::now();
        let complete =
            |record: &Record| lost.iter().all(|(at, planned)| planned.flow.is_complete(&record.of(AGAIN + at)));
        let record = self.stage.volley(&shots, MORE_PATIENCE, complete);
        for (at, planned) in lost {
            let told = self.told(planned, &record, AGAIN + at, begun.elapsed());
            let before = &mut sent[usize::from(at)];
            *before = Sent { packets: before.packets + told.packets, ..told };
        }
    }

    fn shot(&mut self, planned: &Planned, number: u16) -> Option<Shot> {
        let token = self.stage.run.token(number);
        let source = self.stage.stations[planned.flow.from].as_mut()?;
        planned.flow.shot(source, token)
    }

    fn told(&self, planned: &Planned, record: &Record, number: u16, waited: Duration) -> Sent {
        let flow = &planned.flow;
        let (from, to) = (&self.stage.sites[flow.from].name, &self.stage.sites[flow.to].name);
        let station = |place: usize| self.stage.stations[place].as_ref();
        let (packets, outcome) = match (station(flow.from), station(flow.to)) {
            (Some(source), Some(target)) if source.knows_way_to(flow.aim.address()) => {
                let packets = u32::from(!record.unsent.contains_key(&number));
                (packets, flow.judge(record, number, self.stage.sites, &target.open, waited))
            }
            (Some(_), Some(_)) => {
                let seen = format!("{from}'s own kernel has no way there");
                (0, Outcome { verdict: Verdict::Deny, seen })
            }
            _ => (0, Outcome { verdict: Verdict::Unknown, seen: "its namespace cannot be entered".to_owned() }),
        };
        Sent {
            from: from.clone(),
            to: to.clone(),
            cell: planned.cell.clone().map(|cell| crate::model::audit::Cell { probe: Some(outcome.verdict), ..cell }),
            what: flow.aim.to_string(),
            packets,
            expected: planned.expected,
            found: outcome.verdict,
            seen: outcome.seen,
        }
    }

    fn told_of_stray(&self, stray: &Stray, record: &Record, number: u16, waited: Duration) -> Sent {
        let sites = self.stage.sites;
        let names: Vec<_> = sites.iter().map(|site| site.name.clone()).collect();
        let present = (0..sites.len()).filter(|place| self.stage.stations[*place].is_some() && *place != stray.from);
        let deaf = present.filter(|place| sites[*place].seat.is_some() && !record.could_hear(*place));
        let deaf: Vec<_> = deaf.map(|place| names[place].as_str()).collect();
        let (found, seen) = match record.unsent.get(&number) {
            Some(error) => (Verdict::Unknown, format!("it could not be sent: {error}")),
            None => stray.judge(&record.of(number), &names, &deaf, waited.as_millis()),
        };
        Sent {
            from: names[stray.from].clone(),
            to: stray.to.clone(),
            cell: None,
            what: stray.what.clone(),
            packets: u32::from(!record.unsent.contains_key(&number)),
            expected: Verdict::Deny,
            found,
            seen,
        }
    }

    /// Closes the sockets. Each packet socket's end waits for the kernel, so that they end side by side.
    fn close(self) {
        let mut stations = self.stage.stations;
        std::thread::scope(|scope| {
            while !stations.is_empty() {
                let some = stations.split_off(stations.len().saturating_sub(16));
                scope.spawn(move || drop(some));
            }
        });
    }
}

/// Has the program be asked in a site's namespace, unless somebody else's is asked there: then it would not be alone to
/// decide.
fn attach(site: &Site, program: &std::os::fd::OwnedFd) -> io::Result<std::os::fd::OwnedFd> {
    let namespace = match &site.netns {
        Some(pin) => NetNs::open(pin).and_then(|it| it.file()).map_err(io::Error::other)?,
        None => File::open("/proc/thread-self/ns/net")?,
    };
    match bpf::socket_lookups(&namespace)? {
        0 => bpf::attach_socket_lookup(&namespace, program),
        _ => Err(io::Error::new(io::ErrorKind::AlreadyExists, "another program is asked for sockets there")),
    }
}
