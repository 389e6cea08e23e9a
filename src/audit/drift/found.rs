//! What the daemon finds changed when it starts, and mends by its start: told like anything else that is put right.
//!
//! What was left is known: the last daemon writes down what it had put in force, with the boot and the network namespace that
//! it was in force in. So a first start, one after a reboot, one with other options or of another version is none of a
//! tampering: what is compared is what was there with what should have been there, and not with what comes now. Containers
//! whose start or end was cut short by the last daemon's end are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Wire, parameters, port_flags, snapshot};
use crate::containers::{Container, Engine};
use crate::firewall::audit::network::Network as Links;
use crate::model::audit::{Difference, Subject};
use crate::model::{ContainerId, Endpoint, Intent, NetworkOptions};
use crate::store::Store;

/// The key in the store's `meta`.
const IN_FORCE: &str = "in force";

/// What a daemon had put in force, for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InForce {
    version: String,
    place: Place,
    options: NetworkOptions,
    /// The tables' rules, as the transaction that writes them. `None`: a start was cut short, and nobody knows what is in
    /// force.
    plan: Option<String>,
    /// What each port is told.
    flags: Vec<(u16, u32)>,
    /// Kernel parameters that are kept.
    parameters: Vec<(String, String)>,
    bridge_mac: Option<[u8; 6]>,
    /// Others, as they were when the first daemon in this place began.
    pub(super) began: BTreeMap<String, String>,
}

/// Where it was in force: nothing of it outlives either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    boot: String,
    namespace: u64,
}

impl Place {
    /// `None`: the kernel does not tell.
    fn here() -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { boot, namespace: crate::sys::socket::network_cookie()? })
    }
}

/// What was there before this daemon touched anything.
#[derive(Debug, Default)]
pub struct Before {
    left: Option<InForce>,
    endpoints: BTreeMap<ContainerId, Endpoint>,
    /// Ports of containers that do not run begin so: their start or end may have been cut short.
    in_flux: BTreeSet<String>,
    /// Addresses of such.
    leased: BTreeSet<Ipv4Addr>,
    differences: Vec<Difference>,
    /// Those of the bridge and its ports, which the start may mend or not.
    of_wire: Vec<Difference>,
}

impl Before {
    /// Looks, and takes the last daemon's word of it away until this one has its own: a start that is cut short leaves
    /// neither in force.
    pub async fn look(store: &Store, intent: &Intent) -> anyhow::Result<Self> {
        let left = store.meta(IN_FORCE)?.and_then(|text| serde_json::from_str::<InForce>(&text).ok());
        if let Some(left) = &left {
            store.put_meta(IN_FORCE, &serde_json::to_string(&InForce { plan: None, ..left.clone() })?)?;
        }
        let here = Place::here();
        let left = left.filter(|left| {
            let same = |options: &NetworkOptions| (options.bridge.clone(), options.own_bridge);
            Some(&left.place) == here.as_ref() && same(&left.options) == same(&intent.options)
        });
        let Some(left) = left else { return Ok(Self::default()) };
        let mut before = Self { endpoints: intent.endpoints.clone(), ..Self::default() };
        for row in store.containers()? {
            let container: Container = serde_json::from_str(&row.body)?;
            if !container.state.status.is_running() {
                before.in_flux.insert(crate::bridge::port_prefix(&container.id));
            }
        }
        let running: BTreeSet<Ipv4Addr> = intent.endpoints.values().map(|endpoint| endpoint.address).collect();
        before.leased = store.leases()?.difference(&running).copied().collect();
        if let Some(plan) = left.plan.clone().filter(|_| left.version == env!("CARGO_PKG_VERSION")) {
            before.compare(&left, plan).await;
        }
        Ok(Self { left: Some(left), ..before })
    }

    async fn compare(&mut self, left: &InForce, plan: String) {
        let was = Intent { options: left.options.clone(), endpoints: self.endpoints.clone() };
        let in_flux = |word: &str| {
            let is_port = crate::bridge::is_port_name(word) && self.in_flux.iter().any(|it| word.starts_with(it));
            is_port || word.parse().is_ok_and(|address| self.leased.contains(&address))
        };
        match crate::firewall::found(plan, &was, in_flux).await {
            Ok(found) => self.differences = found,
            Err(error) => tracing::warn!(%error, "cannot compare the firewall with what the last daemon left"),
        }
        let kept: Vec<(String, &str)> = left.parameters.iter().map(|(name, value)| (name.clone(), &**value)).collect();
        let changed = parameters::differences(&left.options, &kept, &BTreeMap::new(), parameters::now);
        self.differences.extend(changed);
        match tokio::task::spawn_blocking(|| snapshot::read(false)).await {
            Ok(Ok(kernel)) => self.of_wire = self.wire(left, kernel.network()),
            _ => tracing::warn!("cannot compare the bridge with what the last daemon left"),
        }
        self.differences.retain(|it| it.remedy.is_none());
    }

    fn wire(&self, left: &InForce, links: &Links) -> Vec<Difference> {
        let wire = Wire {
            options: &left.options,
            own: left.options.own_bridge,
            mac: left.bridge_mac,
            flags: left.flags.clone(),
            endpoints: self.endpoints.values().map(|endpoint| (endpoint, None)).collect(),
            in_flux: self.in_flux.clone(),
        };
        let mut found = wire.differences(links);
        // Of a start that was cut short, too.
        let of_nobody = |it: &Difference| it.subject == Subject::Forwarding && it.containers.is_empty();
        let cut_short = !self.leased.is_empty();
        found.retain(|it| it.remedy.is_none() && !(cut_short && of_nobody(it)));
        found
    }

    /// Whether containers may know each other's addresses by another `icc` than this daemon's.
    pub fn may_differ_in_icc(&self, options: &NetworkOptions) -> bool {
        self.left.as_ref().is_none_or(|left| left.options.icc != options.icc)
    }

    /// What this daemon's start has put right. Called when all that it does has been done.
    fn put_right(&self, links: &Links) -> Vec<Difference> {
        let Some(left) = &self.left else { return Vec::new() };
        let key = |it: &Difference| (it.kind.clone(), it.what.clone());
        let still: BTreeSet<_> = self.wire(left, links).iter().map(key).collect();
        let mended = self.of_wire.iter().filter(|it| !still.contains(&key(it)));
        self.differences.iter().chain(mended).cloned().collect()
    }

    /// How parameters were when the first daemon began here, as far as they may be compared with what they are.
    pub(super) fn began(
        &self,
        options: &NetworkOptions,
        kept: &[(String, &str)],
        now: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let Some(left) = &self.left else { return now };
        let usual = |options: &NetworkOptions| NetworkOptions { dns_port: None, ..options.clone() };
        let same = usual(&left.options) == usual(options);
        let of_daemons = |name: &str| {
            left.parameters.iter().any(|(kept, _)| kept == name) || kept.iter().any(|(kept, _)| kept == name)
        };
        // What follows from the options of daemons is theirs, and no tampering.
        let follows = |name: &str| !same && !parameters::is_of_nobody_else(name);
        let value = |(name, now): (String, String)| {
            let was = left.began.get(&name).filter(|_| !of_daemons(&name) && !follows(&name)).cloned();
            (name, was.unwrap_or(now))
        };
        now.into_iter().map(value).collect()
    }
}

/// Tells what the start has put right, and writes down what is in force now.
pub(super) fn settle(engine: &Engine, before: &Before, links: &Links, began: &BTreeMap<String, String>) {
    let Some(network) = engine.default_network() else { return };
    let (settled, _) = engine.settled();
    let running: BTreeSet<&str> =
        settled.iter().filter(|it| it.state.status.is_running()).map(|it| it.name.as_str()).collect();
    let mut found = super::difference::gathered(before.put_right(links));
    // What ended while no daemon ran took its own part along.
    found.retain(|it| it.containers.iter().all(|name| running.contains(name.as_str())));
    if !found.is_empty() {
        engine.found_at_start(found);
    }
    let (Some(place), Some(plan)) = (Place::here(), crate::firewall::plan(&network.options)) else { return };
    let kept = network.bridge.parameters();
    let in_force = InForce {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        place,
        options: network.options.clone(),
        plan: Some(plan),
        flags: port_flags(engine, network),
        parameters: kept.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
        bridge_mac: links.named(&network.options.bridge).and_then(|bridge| bridge.mac),
        began: began.clone(),
    };
    let text = serde_json::to_string(&in_force).unwrap_or_default();
    if let Err(error) = engine.remember(IN_FORCE, &text) {
        tracing::warn!(%error, "cannot write down what is in force: the next daemon will not know what others change");
    }
}
