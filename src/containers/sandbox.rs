//! A container's place in the network: its namespace, its lease, its host ports, and the way in and out.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::create::row;
use super::engine::{Engine, Network, blocking};
use super::error::EngineError;
use super::journal::log_error;
use super::links::{self, Linked};
use super::ports::{Ephemeral, Reservation};
use super::record::Container;
use super::start::Undo;
use crate::bridge::ipam;
use crate::model::{Change, ContainerId, Endpoint, HostBinding, Names, NetworkMode, Port, PortRange};
use crate::netns::{self, NetNs, Sysctls};

/// The directory of network namespaces' pins, under the exec root.
pub const PINS: &str = "netns";

/// Where a container's network comes from.
pub(super) struct Sandbox {
    /// The namespace to enter; `None` is the host's.
    pub(super) netns: Option<PathBuf>,
    /// Its own namespace, if it has one.
    pub(super) own: Option<NetNs>,
    /// Its place on the bridge.
    pub(super) endpoint: Option<Endpoint>,
    /// Its links; all of their targets run.
    pub(super) linked: Vec<Linked>,
    /// hosts, hostname and resolv.conf: its own, or those of the container it joins.
    pub(super) files_of: ContainerId,
    /// Of its UTS namespace.
    pub(super) hostname: Option<String>,
}

impl Engine {
    /// Namespace, lease and host ports, by archetype.
    pub(super) async fn sandbox(&self, container: &Container, undo: &mut Undo) -> Result<Sandbox, EngineError> {
        let hostname = Self::hostname(container);
        let bare = Sandbox {
            netns: None,
            own: None,
            endpoint: None,
            linked: Vec::new(),
            files_of: container.id.clone(),
            hostname,
        };
        match &container.spec.network.mode {
            NetworkMode::Host => Ok(bare),
            NetworkMode::Container(who) => self.join(container, who, bare),
            NetworkMode::None => {
                let own = self.make_netns(&container.id, netns::CLOSED, undo).await?;
                Ok(Sandbox { netns: Some(own.path().to_owned()), own: Some(own), ..bare })
            }
            NetworkMode::Bridge => {
                let network =
                    self.default_network().ok_or_else(|| EngineError::not_found("network bridge not found"))?;
                let linked = self.linked(container)?;
                // A thousand ports take as long as a namespace does.
                let (ports, own) = tokio::join!(
                    self.reserve_ports(container, network),
                    self.make_netns(&container.id, netns::BRIDGED, undo)
                );
                let (ports, own) = (ports?, own?);
                let endpoint = self.lease(container, network, &ports)?;
                undo.leased = true;
                undo.ports = Some(ports);
                let (netns, endpoint) = (Some(own.path().to_owned()), Some(endpoint));
                Ok(Sandbox { netns, own: Some(own), endpoint, linked, ..bare })
            }
        }
    }

    /// The namespace and the files of another container, which must run.
    fn join(&self, container: &Container, who: &str, bare: Sandbox) -> Result<Sandbox, EngineError> {
        let target = self.get(who)?;
        if target.id == container.id {
            return Err(EngineError::invalid("cannot join own network namespace"));
        }
        joinable(&target)?;
        let netns = (!target.sandbox.is_empty()).then(|| PathBuf::from(&target.sandbox));
        // Joined to a container that itself joined one: the files are those at the end of the chain.
        let files_of = self.files_owner(&target);
        let hostname = Self::hostname(&target);
        Ok(Sandbox { netns, files_of, hostname, ..bare })
    }

    fn files_owner(&self, container: &Container) -> ContainerId {
        let mut owner = container.clone();
        // The chain is as long as there are containers at most; a start cannot close a circle, since a target runs.
        while let NetworkMode::Container(who) = &owner.spec.network.mode {
            match self.get(who) {
                Ok(next) if next.id != owner.id => owner = (*next).clone(),
                _ => break,
            }
        }
        owner.id
    }

    /// Where network namespaces are pinned.
    pub(super) fn pins(&self) -> PathBuf {
        self.config().exec_root.join(PINS)
    }

    async fn make_netns(
        &self,
        id: &ContainerId,
        sysctls: &'static Sysctls,
        undo: &mut Undo,
    ) -> Result<NetNs, EngineError> {
        let path = self.pins().join(id.as_str());
        let made = blocking(move || NetNs::create(&path, sysctls));
        let netns = made.await?;
        undo.netns = Some(netns.clone());
        Ok(netns)
    }

    pub(super) async fn reserve_ports(
        &self,
        container: &Container,
        network: &Network,
    ) -> Result<Reservation, EngineError> {
        let spec = &container.spec.network;
        let mut bindings = spec.publish.clone();
        if spec.publish_all {
            let named: BTreeSet<Port> = bindings.iter().map(|binding| binding.container).collect();
            let others = spec.expose.difference(&named);
            bindings.extend(others.map(|port| HostBinding { container: *port, host_ip: None, host_ports: None }));
        }
        let (table, default_ip) = (self.inner.ports.clone(), network.options.default_ip);
        let endpoint = format!("{} ({})", container.name, container.id);
        let reserve = move || {
            table.reserve(&bindings, default_ip, &Ephemeral::of_host()).map_err(|error| {
                EngineError::new(
                    super::ErrorKind::Internal,
                    format!("driver failed programming external connectivity on endpoint {endpoint}: {error}"),
                )
            })
        };
        blocking(reserve).await
    }

    /// Leases an address in the store, so that no other start and no later daemon gives it away.
    fn lease(&self, container: &Container, network: &Network, ports: &Reservation) -> Result<Endpoint, EngineError> {
        let mut pool = network.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let address = pool
            .lease(&self.store().leases()?)
            .map_err(|error| EngineError::new(super::ErrorKind::Internal, error.to_string()))?;
        let endpoint = endpoint(container, address, ports, self.names(container)?);
        self.store().update_container(&row(container)?, Some(&endpoint))?;
        Ok(endpoint)
    }

    /// Veth pair and firewall side by side; the port goes up when both are in place.
    pub(super) async fn connect(
        &self,
        endpoint: Option<&Endpoint>,
        netns: Option<&NetNs>,
        id: &ContainerId,
        undo: &mut Undo,
    ) -> Result<(), EngineError> {
        let (Some(endpoint), Some(netns), Some(network)) = (endpoint, netns, self.default_network()) else {
            return Ok(());
        };
        undo.endpoint = Some(endpoint.clone());
        let (attached, admitted) = tokio::join!(
            network.bridge.attach(endpoint, netns),
            self.enforce(network, Change::Admit(id.clone(), Box::new(endpoint.clone())))
        );
        attached?;
        admitted?;
        Ok(network.bridge.open_port(endpoint, Some(netns)).await?)
    }

    /// What is known of a container in the network has changed while it is there.
    pub(super) async fn readmit(&self, container: &Container) -> Result<(), EngineError> {
        let (Some(endpoint), Some(network)) = (&container.attached, self.default_network()) else { return Ok(()) };
        Ok(self.enforce(network, Change::Admit(container.id.clone(), Box::new(endpoint.clone()))).await?)
    }

    /// Reachability ends: first the bridge is deaf and dumb to the port, whose frames nobody judges any more once the
    /// firewall has forgotten it. Then the namespace and the firewall's elements go, side by side.
    pub(super) async fn disconnect(&self, id: &ContainerId, endpoint: Option<&Endpoint>, netns: Option<&NetNs>) {
        let (Some(endpoint), Some(network)) = (endpoint, self.default_network()) else {
            return unpin(netns).await;
        };
        log_error("close the port", network.bridge.close_port(endpoint).await);
        let dismiss = self.enforce(network, Change::Dismiss(id.clone()));
        let ((), dismissed) = tokio::join!(unpin(netns), dismiss);
        log_error("dismiss the endpoint", dismissed);
    }
}

async fn unpin(netns: Option<&NetNs>) {
    if let Some(netns) = netns.cloned() {
        log_error("unpin the namespace", blocking(move || netns.unpin()).await);
    }
}

/// A container's place on the bridge, by what it asked for and what it was given.
pub(super) fn endpoint(container: &Container, address: Ipv4Addr, ports: &Reservation, names: Names) -> Endpoint {
    let spec = &container.spec.network;
    Endpoint {
        name: container.name.clone(),
        address,
        mac: spec.mac.unwrap_or_else(|| ipam::mac_for(address)),
        port: crate::bridge::port_name(&container.id, address),
        published: ports.published.clone(),
        exposed: PortRange::runs(&spec.expose),
        links: links::intended(spec),
        names,
    }
}

/// Whether another may join its network namespace.
pub(super) fn joinable(target: &Container) -> Result<(), EngineError> {
    if target.state.status.is_running() {
        return Ok(());
    }
    Err(EngineError::conflict(format!(
        "cannot join network namespace of a non running container: container {} is {}",
        target.name,
        target.state.status.as_str()
    )))
}
