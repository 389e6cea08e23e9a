//! What differs between what should be and what is, and what was put right.
//!
//! Each file looks at one thing: a pure function of what the intent says and of what the kernel holds. What only passes by
//! (a start or an end under way) is not told: a difference is one that two looks see, and containers that somebody changes
//! at this moment are left out.
//!
//! | file | looks at |
//! |---|---|
//! | [`crate::firewall`] (`compare`) | the daemon's tables, rule by rule and element by element |
//! | `wire` | the bridge, its ports, its forwarding table, who has which hardware address |
//! | `parameters` | kernel parameters |
//! | `programs` | programs and queues at interfaces |
//! | `routes`, `foreign` | what others' routes and rules do to containers' traffic |
//! | `namespaces`, `inside` | pins of network namespaces, and what is in these |
//! | [`crate::firewall::strays`] | flows in conntrack |
//! | `found` | what was changed while no daemon ran |
//! | `difference` | how a difference is written down |
//! | `keep` | what is looked at from time to time, and put right without being asked |
//!
//! Since when, and by whom: [`follow`] looks as soon as the guard hears that somebody changed something that it does not
//! put right, and [`crate::containers::Ledger`] keeps what was seen first.

mod difference;
mod foreign;
mod found;
mod inside;
mod keep;
mod namespaces;
mod parameters;
mod programs;
mod routes;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::neighbourhood::{self, Stranger};
use crate::containers::engine::Network;
use crate::containers::{Beginning, Container, Engine};
use crate::firewall::audit::network::Network as Links;
use crate::firewall::audit::{Kernel, snapshot};
use crate::firewall::strays::Admission;
use crate::model::audit::{Difference, Drift, Subject, VERSION};
use crate::model::{ContainerId, Endpoint, Intent, NetworkMode};
pub use keep::keep;
use wire::Wire;

pub use found::Before;

/// Between the two looks.
const TWICE: Duration = Duration::from_millis(150);
/// Before a third one, where there are flows: those of a container that has ended end behind its back.
const FLOWS_END: Duration = Duration::from_millis(600);
/// What is changed together is looked at once.
const GATHER: Duration = Duration::from_millis(200);
/// Between two looks because of what others change.
const PAUSE: Duration = Duration::from_secs(1);

/// What went wrong while looking.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The kernel's network or rules cannot be read.
    #[error(transparent)]
    Snapshot(#[from] snapshot::SnapshotError),
    /// The daemon's tables cannot be compared, or written.
    #[error(transparent)]
    Firewall(#[from] crate::firewall::FirewallError),
    /// The bridge cannot be put right.
    #[error(transparent)]
    Bridge(#[from] crate::bridge::BridgeError),
    /// There is nothing to compare.
    #[error("there is no default network: the daemon runs with --bridge=none")]
    NoNetwork,
    /// A thread of ours ended early.
    #[error("the look at the network was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What was found by one look.
#[derive(Debug, Default)]
struct Found {
    differences: Vec<Difference>,
    own_doing: Vec<Difference>,
    unchecked: Vec<String>,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// What the kernel tells of when it changes: rules, links, parameters.
    Host,
    /// All.
    Whole,
}

impl Depth {
    fn subjects(self) -> BTreeSet<Subject> {
        use Subject::{Bridge, Element, Flow, Foreign, Forwarding, Inside, Namespace, Port, Rule, Sysctl};
        let mut subjects: BTreeSet<_> = [Rule, Element, Bridge, Port, Forwarding, Sysctl, Foreign].into();
        if self == Self::Whole {
            subjects.extend([Namespace, Inside, Flow]);
        }
        subjects
    }
}

/// What differs now.
pub async fn drift(engine: &Engine) -> Result<Drift, DriftError> {
    let drift = each(engine).await?;
    Ok(Drift { differences: difference::gathered(drift.differences), ..drift })
}

/// The same, flow by flow.
async fn each(engine: &Engine) -> Result<Drift, DriftError> {
    let taken = format!("{:.3}", jiff::Timestamp::now());
    let found = look_twice(engine, Depth::Whole).await?;
    let Found { differences, own_doing, unchecked } = found;
    Ok(Drift { version: VERSION, taken, differences, own_doing, repaired: engine.ledger().repaired(), unchecked })
}

/// Puts right what is ours, and answers what differs then; what was put right is among the repaired.
pub async fn repair(engine: &Engine) -> Result<Drift, DriftError> {
    let network = engine.default_network().ok_or(DriftError::NoNetwork)?;
    let before = look_twice(engine, Depth::Whole).await?;
    cure(engine, network, &before.differences).await?;
    let after = each(engine).await?;
    let key = |it: &Difference| (it.kind.clone(), it.what.clone());
    let left: BTreeSet<_> = after.differences.iter().map(key).collect();
    let gone = before.differences.into_iter().filter(|it| !left.contains(&key(it)));
    for difference in difference::gathered(gone.collect()) {
        tracing::info!(what = %difference.what, "put right by order");
        engine.ledger().put_right(difference);
    }
    let differences = difference::gathered(after.differences);
    Ok(Drift { differences, repaired: engine.ledger().repaired(), ..after })
}

async fn cure(engine: &Engine, network: &Network, differences: &[Difference]) -> Result<(), DriftError> {
    let any = |subjects: &[Subject]| differences.iter().any(|it| it.remedy.is_none() && subjects.contains(&it.subject));
    if any(&[Subject::Rule, Subject::Element]) {
        network.firewall.restore(&network.options).await?;
    }
    if any(&[Subject::Sysctl]) {
        // What cannot be written is told by the look that follows.
        parameters::write(&parameters::cure(&network.options, &engine.ledger().beginning().parameters));
    }
    if any(&[Subject::Namespace]) {
        keep::repin(engine, engine.settled().0.iter().map(|it| it.id.clone()).collect()).await;
    }
    if any(&[Subject::Flow]) {
        network.firewall.turn_out(&network.options).await;
    }
    if any(&[Subject::Bridge, Subject::Port, Subject::Forwarding, Subject::Sysctl]) {
        network.bridge.restore().await?;
        let (containers, in_flux) = engine.settled();
        let kernel: Kernel = tokio::task::spawn_blocking(super::read_kernel).await??;
        let open = network.bridge.open_ports().await;
        let endpoints = endpoints(&containers, &open);
        let wire = wire(engine, network, endpoints, &in_flux);
        for cure in wire.cures(kernel.network()) {
            if let Err(error) = network.bridge.expel(&cure).await {
                tracing::warn!(%error, "cannot put right a bridge's stranger");
            }
        }
    }
    Ok(())
}

/// Writes down how things are when the daemon begins to watch, and tells what was otherwise before it did anything.
pub async fn begin(engine: &Engine, before: &Before) {
    let Some(network) = engine.default_network() else { return };
    let kernel = tokio::task::spawn_blocking(super::read_kernel).await;
    let Ok(Ok(kernel)) = kernel else {
        tracing::warn!("cannot read the network as it is at the beginning: changes to it are not found");
        return;
    };
    let links = kernel.network();
    let now = parameters::read(&network.options, &elsewhere(links, &network.options.bridge));
    let parameters = before.began(&network.options, &network.bridge.parameters(), now);
    engine.ledger().begin(Beginning {
        parameters: parameters.clone(),
        bridge_mac: links.named(&network.options.bridge).and_then(|bridge| bridge.mac),
        unmodelled: links.unmodelled.clone(),
        default_route: routes::has_default(links),
    });
    found::settle(engine, before, links, &parameters);
}

/// Interfaces that lead elsewhere: with addresses, and none of ours.
fn elsewhere(links: &Links, bridge: &str) -> Vec<String> {
    let leads = |it: &&crate::firewall::audit::network::Interface| !it.loopback && it.name != bridge;
    let with_address = links.interfaces.iter().filter(leads).filter(|it| it.addresses.iter().any(|a| a.is_ipv4()));
    with_address.map(|it| it.name.clone()).collect()
}

/// Looks whenever somebody changed something that is not put right by itself, so that it is known since when it is so and
/// by whom; and says it, once each.
pub async fn follow(engine: Engine) {
    let mut told: BTreeSet<String> = BTreeSet::new();
    loop {
        engine.ledger().news().await;
        tokio::time::sleep(GATHER).await;
        match look_twice(&engine, Depth::Host).await {
            Ok(found) => {
                let now: BTreeSet<String> = found.differences.iter().map(|it| it.what.clone()).collect();
                for difference in found.differences.iter().filter(|it| !told.contains(&it.what)) {
                    let by = difference.by.as_deref().unwrap_or("somebody");
                    tracing::warn!(%by, "the network is not as it should be: {}", difference.what);
                }
                told = now;
            }
            Err(error) => tracing::warn!(%error, "cannot compare the network with what it should be"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What two looks see, stamped with since when and by whom.
async fn look_twice(engine: &Engine, depth: Depth) -> Result<Found, DriftError> {
    let began = std::time::Instant::now();
    let mut found = look(engine, depth).await?;
    for pause in [TWICE, FLOWS_END] {
        let of_flows = found.differences.iter().any(|it| it.subject == Subject::Flow);
        if found.differences.is_empty() && found.own_doing.is_empty() || pause == FLOWS_END && !of_flows {
            break;
        }
        tokio::time::sleep(pause).await;
        let again = look(engine, depth).await?;
        let both = |before: Vec<Difference>, after: &[Difference]| {
            let key = |it: &Difference| (it.kind.clone(), it.what.clone());
            let still: BTreeSet<_> = after.iter().map(key).collect();
            before.into_iter().filter(|it| still.contains(&key(it))).collect()
        };
        found.differences = both(found.differences, &again.differences);
        found.own_doing = both(found.own_doing, &again.own_doing);
    }
    engine.ledger().stamp(&mut found.differences, &depth.subjects(), began);
    Ok(found)
}

async fn look(engine: &Engine, depth: Depth) -> Result<Found, DriftError> {
    let network = engine.default_network().ok_or(DriftError::NoNetwork)?;
    // The order matters: who has settled by now has its place in the kernel for longer.
    let (containers, in_flux) = engine.settled();
    let open = network.bridge.open_ports().await;
    let running: Vec<&Arc<Container>> = containers.iter().filter(|it| it.state.status.is_running()).collect();
    let kernel: Kernel = tokio::task::spawn_blocking(super::read_kernel).await??;
    let mut found = Found::default();

    let wire = wire(engine, network, endpoints(&containers, &open), &in_flux);
    found.differences.extend(wire.differences(kernel.network()));
    let ports = running.iter().filter_map(|it| it.attached.as_ref()).map(|it| it.port.as_str()).collect();
    let beginning = engine.ledger().beginning();
    let (new, before) = programs::differences(&network.options, kernel.network(), &ports, &beginning.unmodelled);
    found.differences.extend(new);
    found.unchecked.extend(before.into_iter().map(|what| was_there(&what)));
    let began = &beginning.parameters;
    let kept = network.bridge.parameters();
    found.differences.extend(parameters::differences(&network.options, &kept, began, parameters::now));
    found.differences.extend(network.firewall.differences().await?);
    found.differences.extend(routes::differences(&network.options, kernel.network()));
    found.differences.extend(routes::no_default(kernel.network(), beginning.default_route));
    let (new, before) = unmodelled(&beginning.unmodelled, kernel.network());
    found.differences.extend(new);
    found.unchecked.extend(before);
    let known: Vec<_> = running.iter().filter_map(|it| it.attached.as_ref()).collect();
    let hosts: Vec<_> = known.iter().map(|it| (it.address.into(), it.mac.0, it.port.as_str())).collect();
    let intent = Intent {
        options: network.options.clone(),
        endpoints: running.iter().filter_map(|it| Some((it.id.clone(), it.attached.clone()?))).collect(),
    };
    let guests = neighbourhood::at_bridge(kernel.network(), &intent);
    let hosts = hosts.into_iter().chain(guests.iter().filter_map(Stranger::host));
    let kernel = kernel.knowing(&network.options.bridge, hosts);
    let (running, options) = (running.into_iter().cloned().collect::<Vec<_>>(), network.options.clone());
    let judged = tokio::task::spawn_blocking({
        let running = running.clone();
        move || {
            let running: Vec<&Container> = running.iter().map(AsRef::as_ref).collect();
            foreign::differences(&options, &running, &guests, &kernel)
        }
    });
    let (differences, unchecked) = judged.await?;
    found.differences.extend(differences);
    found.unchecked.extend(unchecked);
    if depth == Depth::Whole {
        look_deeper(engine, network, running, &mut found).await?;
        // A port whose other end is down passes nothing either, and is none the worse for it.
        let down: BTreeSet<String> = found
            .differences
            .iter()
            .chain(&found.own_doing)
            .filter(|it| it.kind == "inside-down")
            .flat_map(|it| it.containers.iter().cloned())
            .collect();
        found.differences.retain(|it| it.kind != "port-blocked" || !it.containers.iter().any(|of| down.contains(of)));
    }
    Ok(found)
}

/// Namespaces, what is in them, and flows.
async fn look_deeper(
    engine: &Engine,
    network: &Network,
    running: Vec<Arc<Container>>,
    found: &mut Found,
) -> Result<(), DriftError> {
    let options = network.options.clone();
    // Who is in a namespace may change it, whoever's it is.
    let joined = joined_by_the_mighty(&running);
    let inside = tokio::task::spawn_blocking(move || {
        let fresh = inside::Fresh::made();
        let mut found = Found::default();
        found.differences.extend(running.iter().filter_map(|it| namespaces::left_behind(it)));
        for container in running.iter().filter(|it| has_own_namespace(it)) {
            let Some(namespace) = namespaces::of_process(container) else { continue };
            found.differences.extend(namespaces::difference(container, &namespace));
            match inside::read(&namespace) {
                Ok(inside) => {
                    let differences = match &container.attached {
                        Some(endpoint) => {
                            inside::differences(endpoint, &options, &inside, &container.spec.sysctls, &fresh)
                        }
                        None if container.spec.network.mode == NetworkMode::None => {
                            inside::closed(container.name.as_str(), &inside)
                        }
                        None => continue,
                    };
                    let own = inside::may_itself(container) || joined.contains(&container.sandbox);
                    let place = if own { &mut found.own_doing } else { &mut found.differences };
                    place.extend(differences);
                }
                Err(error) => found.unchecked.push(format!("what is inside of {}: {error}", container.name)),
            }
        }
        found
    });
    let inside = inside.await?;
    found.differences.extend(inside.differences);
    found.own_doing.extend(inside.own_doing);
    found.unchecked.extend(inside.unchecked);
    let admission = admission(engine, network);
    match tokio::task::spawn_blocking(move || admission.strays()).await? {
        Ok(strays) => found.differences.extend(strays.into_iter().map(|stray| Difference {
            containers: stray.containers,
            ..difference::ours(Subject::Flow, "flow-unadmitted", stray.what)
        })),
        Err(error) => found.unchecked.push(format!("flows in conntrack: {error}")),
    }
    Ok(())
}

/// Made for it, and not joined.
fn has_own_namespace(container: &Container) -> bool {
    let own = matches!(container.spec.network.mode, NetworkMode::Bridge | NetworkMode::None);
    own && container.state.status.is_running() && !container.sandbox.is_empty()
}

/// Pins of namespaces that a container has joined which may change them.
fn joined_by_the_mighty(running: &[Arc<Container>]) -> BTreeSet<String> {
    let mighty = running.iter().filter(|it| inside::may_itself(it));
    mighty.map(|it| it.sandbox.clone()).filter(|pin| !pin.is_empty()).collect()
}

/// What the intent admits, of all containers that have a place in the network: those that are on their way, too.
fn admission(engine: &Engine, network: &Network) -> Admission {
    let containers = engine.list();
    let endpoints: Vec<_> = containers.iter().filter_map(|it| Some((&it.id, it.attached.as_ref()?))).collect();
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|it| it.address);
    let local = addresses.filter_map(|address| Some(address.as_sockaddr_in()?.ip()));
    Admission::of(&network.options, network.bridge.is_own(), &endpoints, local)
}

/// What cannot be looked into: what was not there when the daemon began, and lines about what was. What is at one interface
/// `programs` tells, and what rules for ARP do `foreign`.
fn unmodelled(began: &[String], links: &Links) -> (Vec<Difference>, Vec<String>) {
    const KINDS: [(&str, &str, &str); 3] = [
        (
            "tables of the legacy",
            "legacy-tables",
            "look at them with iptables-legacy-save, ip6tables-legacy-save or arptables-legacy-save",
        ),
        ("an IPsec policy", "ipsec-policy", "look at it with `ip xfrm policy`"),
        ("a BPF program", "bpf-program", "look at it with `bpftool link`, and end the program that holds it"),
    ];
    let kind = |what: &String| KINDS.iter().find(|(begins, ..)| what.starts_with(begins));
    let (before, new): (Vec<_>, Vec<_>) =
        links.unmodelled.iter().filter(|what| kind(what).is_some()).partition(|what| began.contains(what));
    let tell = |what: &&String| {
        let (_, kind, remedy) = kind(what)?;
        let are = if what.starts_with("tables") { "are" } else { "is" };
        let what = format!("there {are} {what}, which came since the daemon began");
        Some(difference::theirs(Subject::Foreign, kind, what, *remedy))
    };
    (new.iter().filter_map(tell).collect(), before.into_iter().map(|what| was_there(what)).collect())
}

/// A line about what is not looked into, and is no difference.
fn was_there(what: &str) -> String {
    let (it, does) = if what.starts_with("tables") { ("they were", "do") } else { ("it was", "does") };
    format!("what {what} {does}: {it} there when the daemon began")
}

/// Those that have a place on the bridge, with the index of their port.
fn endpoints<'a>(containers: &'a [Arc<Container>], open: &BTreeMap<String, u32>) -> Vec<(&'a Endpoint, Option<u32>)> {
    let running = containers.iter().filter(|it| it.state.status.is_running());
    running.filter_map(|it| it.attached.as_ref()).map(|it| (it, index(open, &it.port))).collect()
}

fn wire<'a>(
    engine: &Engine,
    network: &'a Network,
    endpoints: Vec<(&'a Endpoint, Option<u32>)>,
    in_flux: &[ContainerId],
) -> Wire<'a> {
    Wire {
        options: &network.options,
        own: network.bridge.is_own(),
        mac: engine.ledger().beginning().bridge_mac,
        flags: port_flags(engine, network),
        endpoints,
        in_flux: in_flux.iter().map(crate::bridge::port_prefix).collect(),
    }
}

/// What ports are told. One flag depends on whether the kernel's bridge filter is on: as it was in the beginning, so that
/// who switches it on makes one difference, and not one more for each port.
fn port_flags(engine: &Engine, network: &Network) -> Vec<(u16, u32)> {
    let began = engine.ledger().beginning().parameters.get("net/bridge/bridge-nf-call-iptables");
    let flags = network.bridge.port_flags().into_iter();
    flags
        .map(|(flag, value)| {
            (flag, if flag == wire::HAIRPIN { u32::from(began.is_some_and(|it| it == "1")) } else { value })
        })
        .collect()
}

fn index(open: &BTreeMap<String, u32>, port: &str) -> Option<u32> {
    open.get(port).copied().filter(|index| *index != 0)
}
