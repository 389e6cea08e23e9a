//! Looks at what is said to have changed, and puts right what has: the bridge, a port, the kernel's parameters.
//!
//! A message says only where to look. By the time that it is read, a start may have gone on or an end begun, and what counts
//! is how things are.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{BridgePortState, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{LinkUnspec, RouteMessageBuilder};

use super::faults::PortFault;
use super::{Bridge, BridgeError, OpenPort, failed, faults, find_bridge, find_link, host, is, port, settings};

/// What came of a look at a port.
pub(super) enum Look {
    /// As it should be, or none of ours any more.
    Fine,
    /// It is just being opened: look again.
    Busy,
    /// It was not as it should be, and is now.
    Repaired(Vec<String>),
}

impl Bridge {
    /// What was wrong with the bridge, put right. An operator's bridge is the operator's: it is found again if it was made
    /// anew, and else left as it is.
    pub(super) async fn repair(&self) -> Result<Vec<String>, BridgeError> {
        let name = &self.options.bridge;
        let found = find_bridge(&self.netlink, name).await?;
        let enslaved = found.as_ref().is_some_and(|link| port::controller(link).is_some());
        let what = match found {
            None if self.own && self.rename(self.index(), name).await? => vec![format!("renamed bridge {name}")],
            None => vec![format!("deleted bridge {name}")],
            Some(link) if link.header.index != self.index() => vec![format!("replaced bridge {name} by another")],
            Some(link) if self.own => self.own_faults(&link).await?,
            Some(_) => Vec::new(),
        };
        if what.is_empty() {
            return Ok(what);
        }
        if self.own && enslaved {
            let free = LinkUnspec::new_with_index(self.index()).nocontroller().build();
            self.netlink.link().set(free).execute().await.map_err(failed("take off another bridge", name))?;
        }
        let fresh = if self.own { Self::ensure(&self.options).await? } else { Self::existing(&self.options).await? };
        self.index.store(fresh.index(), Ordering::Relaxed);
        if self.own && !self.is_routed_to().await? {
            self.route_to().await?;
        }
        Ok(what)
    }

    /// Whether the host has a route to its containers, as one comes with the bridge's address; where somebody has put another
    /// in its place, that is theirs, and the audit's to tell.
    async fn is_routed_to(&self) -> Result<bool, BridgeError> {
        let request = self.netlink.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build());
        let routes: Vec<RouteMessage> = request.execute().try_collect().await.map_err(failed("read", "routes"))?;
        Ok(routes.iter().any(|route| self.is_connected(route)))
    }

    /// Whether it leads to just the bridge's subnet.
    pub(super) fn is_connected(&self, route: &RouteMessage) -> bool {
        let bip = self.options.bip;
        route.header.table == RouteHeader::RT_TABLE_MAIN
            && route.header.destination_prefix_length == bip.prefix()
            && route.attributes.contains(&RouteAttribute::Destination(RouteAddress::Inet(bip.network())))
    }

    async fn route_to(&self) -> Result<(), BridgeError> {
        let (bip, gateway) = (self.options.bip, self.options.gateway());
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(bip.network(), bip.prefix())
            .output_interface(self.index())
            .pref_source(gateway)
            .scope(RouteScope::Link)
            .protocol(RouteProtocol::Kernel);
        match self.netlink.route().add(route.build()).execute().await {
            Err(e) if !is(&e, libc::EEXIST) => Err(failed("make the route to containers by", &self.options.bridge)(e)),
            _ => Ok(()),
        }
    }

    async fn own_faults(&self, link: &LinkMessage) -> Result<Vec<String>, BridgeError> {
        let (name, bip) = (&self.options.bridge, self.options.bip);
        let mut what = faults::of_bridge(link, &self.options);
        let addresses =
            host::addresses(&self.netlink, self.index()).await.map_err(failed("read the addresses of", name))?;
        if !addresses.iter().any(|(address, _)| *address == bip) {
            what.push(format!("removed address {bip} from bridge {name}"));
        }
        let added = addresses.iter().filter(|(address, _)| *address != bip);
        what.extend(added.map(|(address, _)| format!("added address {address} to bridge {name}")));
        // Down, or without its address, it has none by right.
        if what.is_empty() && !self.is_routed_to().await? {
            what.push(format!("deleted the route to {}/{} by bridge {name}", bip.network(), bip.prefix()));
        }
        Ok(what)
    }

    /// Gives an interface its name back. `false`: it is gone.
    async fn rename(&self, index: u32, name: &str) -> Result<bool, BridgeError> {
        if self.link_at(index).await?.is_none() {
            return Ok(false);
        }
        let rename = || self.netlink.link().set(LinkUnspec::new_with_index(index).name(name).build()).execute();
        let renamed = match rename().await {
            // Kernels before 6.2 rename what is down only.
            Err(e) if is(&e, libc::EBUSY) => {
                self.set_down(index).await.map_err(failed("set down, to rename it,", name))?;
                rename().await
            }
            result => result,
        };
        renamed.map(|()| true).map_err(failed("give its name back to", name))
    }

    /// What was wrong with an open port, put right. `entry`: its entry in the forwarding table was changed.
    pub(super) async fn repair_port(&self, name: &str, entry: bool) -> Result<Look, BridgeError> {
        // Held to the end: a port that is being closed meanwhile is closed after, and stays so.
        let mut open = self.open.lock().await;
        let Some(port) = open.get_mut(name) else { return Ok(Look::Fine) };
        if !port.ready {
            return Ok(Look::Busy);
        }
        let mut what = Vec::new();
        let mut link = find_link(&self.netlink, name).await?;
        if let Some(other) = link.take_if(|link| link.header.index != port.index) {
            // What has the name passes for the container wherever the firewall's rules say it.
            let _ = self.netlink.link().del(other.header.index).execute().await;
            what.push(format!("put another interface in the place of port {name}"));
        }
        let Some(link) = (match link {
            None if port.index != 0 && self.rename(port.index, name).await? => {
                what.push(format!("renamed port {name}"));
                self.link_at(port.index).await?
            }
            link => link,
        }) else {
            self.attach_anew(port).await?;
            what.push(format!("deleted port {name}"));
            return Ok(Look::Repaired(what));
        };
        let found = self.port_faults(&link, port.mtu);
        what.extend(found.iter().map(|fault| fault.words(name)));
        if found.contains(&PortFault::Detached) {
            // Down until it is hardened again: a port that joins a bridge is open to all.
            let join = LinkUnspec::new_with_name(name).down().build();
            self.netlink.link().set(join).execute().await.map_err(failed("close port", name))?;
            let join = LinkUnspec::new_with_name(name).controller(self.index()).build();
            self.netlink.link().set(join).execute().await.map_err(failed("put on the bridge port", name))?;
        } else if entry {
            what.push(format!("changed the forwarding entry of {} on port {name}", port.endpoint.mac));
        }
        if what.is_empty() {
            return Ok(Look::Fine);
        }
        port::harden(self, &port.endpoint).await?;
        if let Some(mtu) = port.mtu.filter(|_| found.iter().any(|fault| matches!(fault, PortFault::Mtu(_)))) {
            let size = LinkUnspec::new_with_name(name).mtu(mtu).build();
            self.netlink.link().set(size).execute().await.map_err(failed("set the MTU of port", name))?;
        }
        self.put_up(name).await?;
        if found.contains(&PortFault::Held) {
            match port::set_state(self, link.header.index, BridgePortState::Forwarding).await {
                // Its other end went down meanwhile; the kernel gives it its state when that is up again.
                Err(e) if !is(&e, libc::ENETDOWN) => return Err(failed("set to forwarding port", name)(e)),
                _ => {}
            }
        }
        Ok(Look::Repaired(what))
    }

    /// What is wrong with a port of ours, by what the kernel says of it.
    pub(super) fn port_faults(&self, link: &LinkMessage, mtu: Option<u32>) -> Vec<PortFault> {
        let mut found = faults::of_port(link, self.index(), &port::flags(&self.options), !self.own);
        let is = faults::mtu(link).filter(|is| mtu.is_some_and(|mtu| mtu != *is));
        found.extend(is.map(PortFault::Mtu));
        found
    }

    /// The pair is gone, with the container's end of it.
    async fn attach_anew(&self, port: &mut OpenPort) -> Result<(), BridgeError> {
        let name = &port.endpoint.port;
        let netns = port.netns.as_ref().ok_or_else(|| BridgeError::Missing(format!("with port {name}")))?;
        // The pair may live on, its other end elsewhere.
        port::clear(netns).await?;
        self.members.gone(port.index);
        self.attach(&port.endpoint, netns).await?;
        port.index = port::index(name)?;
        self.put_up(name).await
    }

    async fn put_up(&self, port: &str) -> Result<(), BridgeError> {
        let up = LinkUnspec::new_with_name(port).up().build();
        self.netlink.link().set(up).execute().await.map_err(failed("open port", port))
    }

    /// The kernel's parameters that are not as they were set, put right.
    pub(super) async fn repair_settings(&self) -> Result<Vec<String>, BridgeError> {
        let mut wanted = settings::shared(&self.options);
        if self.own {
            wanted.extend(settings::own(&self.options));
        }
        let differing = settings::differing(&wanted);
        let mut what: Vec<String> =
            differing.iter().map(|((name, _), now)| format!("set {} to {now}", name.replace('/', "."))).collect();
        what.extend(self.repair_answers().await?);
        settings::apply(&differing.into_iter().map(|(setting, _)| setting).collect::<Vec<_>>())?;
        Ok(what)
    }
}
