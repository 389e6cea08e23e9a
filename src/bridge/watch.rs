//! Hears what others change on the bridge and its ports (rtnetlink), looks at the kernel's parameters from time to time
//! (nobody tells of them), and has it put right.
//!
//! With a thousand containers there are bursts of messages about starts and ends. So most are judged by what they say, and
//! looks are for the few that say that something is wrong, once a subject and burst.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::neighbours::Neighbour;
use super::repair::Look;
use super::strangers::Entry;
use super::{Bridge, BridgeError, OpenPort, culprit, faults, interface_name, port, settings};
use crate::model::{MacAddr, Place, Process, Tampering};

/// Bytes that the kernel keeps until they are read.
const BUFFER: usize = 8 << 20;
/// What belongs together comes within this time, and is looked at once.
const GATHER: Duration = Duration::from_millis(20);
/// Before what could not be put right is tried again.
const RETRY: Duration = Duration::from_millis(300);
/// How often the kernel's parameters are looked at: about ten small files.
const SETTINGS: Duration = Duration::from_millis(250);

/// Listens from its making on, so that nothing is missed until it runs.
pub struct Watch {
    bridge: Bridge,
    messages: BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    /// Holds the conversation open.
    _listening: rtnetlink::Handle,
    suspects: Suspects,
    /// What could not be put right, and was said.
    complaint: Option<String>,
    /// The kernel's bridge filter was found on, and what is to be done about it was said.
    filter_was_on: bool,
    /// What others change is put right, or else only told of.
    repairs: bool,
    /// Parameters that were found to differ, and are left so.
    told: Vec<String>,
}

/// What is to be looked at.
#[derive(Debug, Default)]
struct Suspects {
    bridge: bool,
    /// By name; whether it is its entry in the forwarding table.
    ports: BTreeMap<String, bool>,
    /// Interfaces that are on our bridge, and may not belong there.
    strangers: BTreeSet<u32>,
    /// Entries of the forwarding table that may be nobody's.
    entries: BTreeSet<(u32, MacAddr)>,
    /// Open ports, by name, of whose endpoints the host may not know who they are.
    neighbours: BTreeSet<String>,
    /// Addresses that may be nobody's, and of which the host was told who has them.
    addresses: BTreeSet<Ipv4Addr>,
    everything: bool,
    /// The last message said something of this kind.
    heard: bool,
    /// Who changed what is suspect, where the kernel tells.
    culprit: Culprit,
    /// When.
    due: Option<Instant>,
}

/// Whom to name.
#[derive(Debug, Default)]
enum Culprit {
    #[default]
    Nobody,
    One(Process),
    Several,
}

impl Culprit {
    fn note(&mut self, process: Process) {
        *self = match std::mem::take(self) {
            Self::Nobody => Self::One(process),
            Self::One(before) if before == process => Self::One(before),
            _ => Self::Several,
        };
    }

    fn named(self) -> Option<Process> {
        match self {
            Self::One(process) => Some(process),
            Self::Nobody | Self::Several => None,
        }
    }
}

impl Suspects {
    fn by(&mut self, when: Instant) {
        self.due = Some(self.due.map_or(when, |due| due.min(when)));
    }

    fn port(&mut self, name: &str, entry: bool) {
        self.heard = true;
        *self.ports.entry(name.to_owned()).or_default() |= entry;
    }

    fn stranger(&mut self, index: u32) {
        self.heard = true;
        self.strangers.insert(index);
    }

    fn entry(&mut self, port: u32, mac: MacAddr) {
        self.heard = true;
        self.entries.insert((port, mac));
    }

    fn neighbour(&mut self, port: &str) {
        self.heard = true;
        self.neighbours.insert(port.to_owned());
    }

    fn address(&mut self, address: Ipv4Addr) {
        self.heard = true;
        self.addresses.insert(address);
    }

    fn bridge_if(&mut self, is_suspect: bool) {
        self.heard |= is_suspect;
        self.bridge |= is_suspect;
    }

    fn is_empty(&self) -> bool {
        let few = self.ports.is_empty() && self.strangers.is_empty() && self.entries.is_empty();
        let known = self.neighbours.is_empty() && self.addresses.is_empty();
        !self.bridge && !self.everything && few && known
    }
}

impl Bridge {
    /// Begins to listen. `repairs`: what others change is put right, and not only told of.
    pub fn watch(&self, repairs: bool) -> Result<Watch, BridgeError> {
        let groups =
            [MulticastGroup::Link, MulticastGroup::Neigh, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
        let (mut connection, handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(BridgeError::Socket)?;
        let socket = connection.socket_mut().socket_mut();
        // Without the right to, the system's limit holds; then more is lost, and everything is looked at.
        let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBufForce, &BUFFER);
        tokio::spawn(connection);
        Ok(Watch {
            bridge: self.clone(),
            messages: messages.boxed(),
            _listening: handle,
            suspects: Suspects { everything: repairs, due: repairs.then(Instant::now), ..Suspects::default() },
            complaint: None,
            filter_was_on: settings::bridge_filter_is_on(),
            repairs,
            told: Vec::new(),
        })
    }
}

impl Watch {
    /// Has put right what others change, and tells what it was, until nobody wants to hear it any more. It begins with a
    /// look at everything: somebody may have changed it while no daemon ran.
    pub async fn run(mut self, news: UnboundedSender<Tampering>) {
        let mut clock = interval(SETTINGS);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !news.is_closed() {
            let due = self.suspects.due;
            let (place, what, process) = tokio::select! {
                message = self.messages.next() => {
                    let Some((message, _from)) = message else {
                        tracing::error!("cannot hear of changes to the bridge by others any more");
                        break;
                    };
                    self.hear(&message).await;
                    continue;
                }
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    if !self.repairs {
                        self.suspects = Suspects::default();
                        let _ = news.send(heard(Place::Wire));
                        continue;
                    }
                    let (what, process) = self.look().await;
                    (Place::Wire, what, process)
                }
                _ = clock.tick() => {
                    if !self.repairs {
                        if self.settings_changed() {
                            let _ = news.send(heard(Place::Parameters));
                        }
                        continue;
                    }
                    (Place::Parameters, self.look_at_settings().await, None)
                }
            };
            if !what.is_empty() {
                self.complaint = None;
                let _ = news.send(Tampering { place, what, repaired: true, process });
            }
        }
    }

    /// Whether other parameters differ than when it was asked last.
    fn settings_changed(&mut self) -> bool {
        let differing = settings::differing(&self.bridge.parameters());
        let mut now: Vec<String> = differing.into_iter().map(|((name, _), now)| format!("{name}={now}")).collect();
        now.extend(settings::bridge_filter_is_on().then(|| "bridge filter".to_owned()));
        let changed = now != self.told;
        self.told = now;
        changed
    }

    async fn hear(&mut self, message: &NetlinkMessage<RouteNetlinkMessage>) {
        let suspects = &mut self.suspects;
        let bridge = &self.bridge;
        suspects.heard = false;
        match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                hear_link(suspects, bridge, link, false).await;
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                hear_link(suspects, bridge, link, true).await;
            }
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address),
            ) => suspects.bridge_if(bridge.own && address.header.index == bridge.index()),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) => {
                suspects.bridge_if(bridge.own && bridge.is_connected(route));
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry)) => {
                hear_entry(suspects, bridge, entry, false).await;
                hear_neighbour(suspects, bridge, entry, false).await;
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(entry)) => {
                hear_entry(suspects, bridge, entry, true).await;
                hear_neighbour(suspects, bridge, entry, true).await;
            }
            NetlinkPayload::Overrun(_) => suspects.everything = true,
            _ => {}
        }
        if suspects.heard
            && let Some(process) = culprit::process(message.header.port_number)
        {
            suspects.culprit.note(process);
        }
        if !suspects.is_empty() {
            suspects.by(Instant::now() + GATHER);
        }
    }

    /// Looks at what is suspect; what was wrong, in words, and who did it, if that is known.
    async fn look(&mut self) -> (Vec<String>, Option<Process>) {
        let mut suspects = std::mem::take(&mut self.suspects);
        let mut what = Vec::new();
        if suspects.bridge || suspects.everything {
            match self.bridge.repair().await {
                Ok(repaired) => what = repaired,
                Err(error) => self.later(&error, |again| again.bridge = true),
            }
        }
        // With its bridge, or its bridge's address, each entry goes by itself.
        let with_the_bridge = !what.is_empty();
        // A bridge that was made anew has none of its ports.
        if suspects.everything || !what.is_empty() {
            let open = self.bridge.open.lock().await;
            open.keys().for_each(|name| suspects.port(name, false));
            drop(open);
            match self.bridge.census().await {
                Ok(census) => {
                    suspects.strangers.extend(census.strangers);
                    suspects.entries.extend(census.entries);
                    census.misplaced.iter().for_each(|name| suspects.port(name, true));
                    suspects.neighbours.extend(census.unknown);
                    suspects.addresses.extend(census.known);
                }
                Err(error) => self.later(&error, |again| again.everything = true),
            }
        }
        for index in suspects.strangers {
            let looked = self.bridge.throw_out(index).await;
            self.judge(looked, &mut what, |again| again.stranger(index));
        }
        for (name, entry) in suspects.ports {
            let looked = self.bridge.repair_port(&name, entry).await;
            self.judge(looked, &mut what, |again| again.port(&name, entry));
        }
        let mut by_itself = Vec::new();
        for name in suspects.neighbours {
            let looked = self.bridge.repair_neighbour(&name).await;
            let what = if with_the_bridge { &mut by_itself } else { &mut what };
            self.judge(looked, what, |again| again.neighbour(&name));
        }
        for address in suspects.addresses {
            let looked = self.bridge.forget_neighbour(address).await;
            self.judge(looked, &mut what, |again| again.address(address));
        }
        for (port, mac) in suspects.entries {
            let looked = self.bridge.forget_entry(port, mac).await;
            self.judge(looked, &mut what, |again| again.entry(port, mac));
        }
        (what, suspects.culprit.named())
    }

    fn judge(&mut self, looked: Result<Look, BridgeError>, what: &mut Vec<String>, again: impl FnOnce(&mut Suspects)) {
        match looked {
            Ok(Look::Fine) => {}
            Ok(Look::Repaired(repaired)) => what.extend(repaired),
            Ok(Look::Busy) => {
                again(&mut self.suspects);
                self.suspects.by(Instant::now() + GATHER);
            }
            Err(error) => self.later(&error, again),
        }
    }

    async fn look_at_settings(&mut self) -> Vec<String> {
        let mut what = self.bridge.repair_settings().await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot restore a parameter of the kernel");
            Vec::new()
        });
        let on = settings::bridge_filter_is_on();
        if on && !self.filter_was_on && self.bridge.own {
            // It stays on where there are others' bridges.
            match self.bridge.switch_bridge_filter_off().await {
                Ok(()) if !settings::bridge_filter_is_on() => {
                    what.push("set net.bridge.bridge-nf-call-iptables to 1".to_owned());
                }
                Ok(()) => self.filter_was_on = true,
                Err(error) => tracing::error!(%error, "cannot switch the kernel's bridge filter off"),
            }
        }
        what
    }

    fn later(&mut self, error: &BridgeError, note: impl FnOnce(&mut Suspects)) {
        let complaint = error.to_string();
        if self.complaint.as_ref() != Some(&complaint) {
            tracing::error!(error = complaint, "cannot restore the bridge; trying again");
            self.complaint = Some(complaint);
        }
        note(&mut self.suspects);
        self.suspects.by(Instant::now() + RETRY);
    }
}

/// Something may have changed.
fn heard(place: Place) -> Tampering {
    Tampering { place, what: Vec::new(), repaired: false, process: None }
}

async fn hear_link(suspects: &mut Suspects, bridge: &Bridge, link: &LinkMessage, deleted: bool) {
    let index = link.header.index;
    let name = interface_name(link).unwrap_or_default();
    let of_bridges = link.header.interface_family == AddressFamily::Bridge;
    if name == bridge.options.bridge || index == bridge.index() {
        let other = index != bridge.index() || name != bridge.options.bridge;
        let wrong = || bridge.own && !of_bridges && !faults::of_bridge(link, &bridge.options).is_empty();
        suspects.bridge_if(deleted && !of_bridges || other || wrong());
        return;
    }
    let joined = !deleted && port::controller(link) == Some(bridge.index());
    if joined && bridge.is_stranger(index) && !bridge.members.is_making(name) {
        suspects.stranger(index);
    }
    let open = bridge.open.lock().await;
    let Some(port) = open.get(name) else {
        // One of ours under another name?
        let renamed = open.iter().filter(|(_, port)| port.index == index);
        return renamed.for_each(|(name, _)| suspects.port(name, false));
    };
    if deleted && port.index != index {
        return;
    }
    // What the bridge itself says of a port does not tell its flags in a form that can be read here.
    let wrong = || !bridge.port_faults(link, port.mtu).is_empty();
    if deleted || of_bridges || port.index != index || wrong() {
        suspects.port(name, false);
    }
}

/// Entries of the forwarding table: of a container's address, somewhere else or otherwise than we wrote it; and on our own
/// bridge those of anybody else.
async fn hear_entry(suspects: &mut Suspects, bridge: &Bridge, message: &NeighbourMessage, deleted: bool) {
    let Some(entry) = Entry::of(message) else { return };
    if !deleted && entry.bridge == Some(bridge.index()) && bridge.is_stranger(entry.port) {
        suspects.stranger(entry.port);
    }
    if !deleted && bridge.is_foreign(&entry) {
        suspects.entry(entry.port, entry.mac);
    }
    let changed = |port: &OpenPort| {
        let here = entry.port == port.index;
        if deleted { here } else { !here || !entry.is_fixed }
    };
    let open = bridge.open.lock().await;
    let meant = open.values().filter(|port| port.endpoint.mac == entry.mac && changed(port));
    meant.for_each(|port| suspects.port(&port.endpoint.port, true));
}

/// What the host knows of who has an endpoint's address, otherwise than we told it; and on our own bridge what it was told of
/// anybody else.
async fn hear_neighbour(suspects: &mut Suspects, bridge: &Bridge, message: &NeighbourMessage, deleted: bool) {
    let Some(neighbour) = Neighbour::of(message, bridge.index()) else { return };
    if !deleted && bridge.is_strange(&neighbour).await {
        return suspects.address(neighbour.address);
    }
    let open = bridge.open.lock().await;
    let meant = open.values().filter(|port| port.endpoint.address == neighbour.address);
    let wrong = meant.filter(|port| deleted || !neighbour.is_of(&port.endpoint));
    wrong.for_each(|port| suspects.neighbour(&port.endpoint.port));
}
