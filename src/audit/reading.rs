//! What is known at one moment: the engine's containers, the kernel, and what is inside of each namespace.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use super::inside::{self, Inside};
use super::neighbourhood::{self, Stranger};
use super::{AuditError, processes};
use crate::containers::{Container, Engine};
use crate::firewall::audit::Kernel;
use crate::firewall::audit::sockets::{self, Socket};
use crate::model::{ContainerId, Intent, NetworkOptions};
use crate::netns::{self, NetNs};

/// Everything that the audit's answers are made of.
#[derive(Debug)]
pub struct Reading {
    /// When: RFC 3339, UTC.
    pub taken: String,
    /// The machine's hostname.
    pub host: String,
    /// What should be; `None` with `-b none`.
    pub intent: Option<Intent>,
    /// Containers that run, by name.
    pub containers: Vec<Arc<Container>>,
    /// The host's network namespace.
    pub kernel: Kernel,
    /// Who is at an operator's bridge, and is no container.
    pub(super) guests: Vec<Stranger>,
    /// Who listens there.
    pub sockets: Vec<Socket>,
    /// Which of these are the daemon's own.
    pub own_sockets: BTreeSet<u32>,
    /// Containers' own namespaces. One that is not here could not be read.
    pub insides: BTreeMap<ContainerId, Inside>,
    /// Containers that joined another's namespace, which was restarted since: they are in that of its last life, where only
    /// `lo` is left.
    pub left_behind: BTreeSet<ContainerId>,
    /// Processes that hold sockets, by inode; empty where there are too many to look.
    pub holders: HashMap<u32, (String, u32)>,
}

/// Readings that are tried while containers come and go.
const TRIES: usize = 5;
/// With more containers than this, nobody looks which process holds a socket.
const MOST_WITH_PROCESSES: usize = 50;

impl Reading {
    /// Reads all of it. Blocking, some milliseconds for each ten containers.
    pub fn take(engine: &Engine) -> Result<Self, AuditError> {
        let mut containers = running(engine);
        for _ in 0..TRIES {
            let reading = Self::once(engine.network(), containers)?;
            let now = running(engine);
            if same(&now, &reading.containers) {
                return Ok(reading);
            }
            containers = now;
        }
        Err(AuditError::Restless)
    }

    fn once(options: Option<&NetworkOptions>, containers: Vec<Arc<Container>>) -> Result<Self, AuditError> {
        let endpoints = containers.iter().filter_map(|c| Some((c.id.clone(), c.attached.clone()?))).collect();
        let intent = options.map(|options| Intent { options: options.clone(), endpoints });
        let kernel = super::read_kernel()?;
        let guests =
            intent.as_ref().map(|intent| neighbourhood::at_bridge(kernel.network(), intent)).unwrap_or_default();
        let kernel = match &intent {
            Some(intent) => {
                let hosts = intent.endpoints.values();
                let hosts = hosts.map(|endpoint| (endpoint.address.into(), endpoint.mac.0, endpoint.port.as_str()));
                kernel.knowing(&intent.options.bridge, hosts.chain(guests.iter().filter_map(Stranger::host)))
            }
            None => kernel,
        };
        let pins: Vec<_> =
            containers.iter().filter(|c| owner(c).as_ref() == Some(&c.id)).filter_map(|c| pin(c)).collect();
        let (sockets, insides) = (sockets::listening().map_err(AuditError::Sockets)?, inside::read(&pins));
        let inodes = sockets.iter().chain(insides.values().flat_map(|i| &i.sockets)).map(|socket| socket.inode);
        let holders = match containers.len() {
            ..=MOST_WITH_PROCESSES => processes::holders(inodes.collect()),
            _ => HashMap::new(),
        };
        let left_behind = containers.iter().filter(|container| is_left_behind(container));
        let left_behind = left_behind.map(|container| container.id.clone()).collect();
        Ok(Self {
            left_behind,
            taken: format!("{:.3}", jiff::Timestamp::now()),
            host: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            intent,
            containers,
            kernel,
            guests,
            sockets,
            own_sockets: processes::own_sockets(),
            insides,
            holders,
        })
    }
}

impl Reading {
    /// Whether an address is of an operator's bridge, and nobody's of ours.
    pub(super) fn is_at_bridge(&self, address: Ipv4Addr) -> bool {
        let Some(intent) = self.intent.as_ref().filter(|_| !self.guests.is_empty()) else { return false };
        let ours = || intent.endpoints.values().any(|endpoint| endpoint.address == address);
        intent.options.bip.contains(address) && address != intent.options.gateway() && !ours()
    }

    /// The same, if this is an address at the only port of an operator's bridge that is not a container's: the kernel need
    /// not have met whoever has it.
    #[must_use]
    pub fn meeting(self, who: &str) -> Self {
        let (Ok(address), [sole]) = (who.parse::<Ipv4Addr>(), self.guests.as_slice()) else { return self };
        let met = |above| neighbourhood::neighbours(self.kernel.network(), above).any(|(known, _)| known == address);
        let Some(intent) = self.intent.as_ref().filter(|_| self.is_at_bridge(address) && !met(sole.above)) else {
            return self;
        };
        let host = (address.into(), neighbourhood::nobodys(sole.interface), sole.link.as_str());
        let kernel = self.kernel.knowing(&intent.options.bridge, [host]);
        Self { kernel, ..self }
    }
}

fn running(engine: &Engine) -> Vec<Arc<Container>> {
    let mut running: Vec<_> = engine.list().into_iter().filter(|c| c.state.status.is_running()).collect();
    running.sort_by(|a, b| a.name.cmp(&b.name));
    running
}

/// Whether nobody came, went, or came back meanwhile.
fn same(now: &[Arc<Container>], before: &[Arc<Container>]) -> bool {
    let key = |c: &Arc<Container>| (c.id.clone(), c.state.pid, c.attached.clone());
    now.iter().map(key).eq(before.iter().map(key))
}

/// Whose namespace a container is in: its own or, joined, another's; `None` is the host's. Pins are called by ids.
pub(super) fn owner(container: &Container) -> Option<ContainerId> {
    Path::new(&container.sandbox).file_name()?.to_str()?.parse().ok()
}

/// Whether a container is in another namespace than that which is pinned where it joined.
pub(super) fn is_left_behind(container: &Container) -> bool {
    if owner(container).is_none_or(|owner| owner == container.id) || container.state.pid <= 0 {
        return false;
    }
    let own = netns::of_process(container.state.pid).ok().and_then(|own| netns::identity(&own).ok());
    let pinned = NetNs::open(Path::new(&container.sandbox)).and_then(|pin| pin.identity()).ok();
    own.zip(pinned).is_some_and(|(own, pinned)| own != pinned)
}

fn pin(container: &Container) -> Option<(ContainerId, NetNs)> {
    Some((container.id.clone(), NetNs::open(Path::new(&container.sandbox)).ok()?))
}
