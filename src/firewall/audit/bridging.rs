//! The part of the way that lies on a bridge (net/bridge/br_input.c, br_forward.c).

use std::net::IpAddr;

use super::borrowing::borrows_at;
use super::bytecode::Hook;
use super::compiled::Stack;
use super::network::{Interface, Port};
use super::packet::{ARP, Mac};
use super::walk::{Fate, HOST, Passage, Walk};

const BROADCAST: Mac = [0xff; 6];

/// Where a bridge sends a frame.
enum Whereto<'a> {
    Up,
    Port(&'a Interface),
    Flood,
}

impl<'a> Walk<'_, 'a> {
    /// A frame that nobody said the destination of goes to whom the sender would take for its next hop.
    pub(super) fn aim(&mut self, port: &Interface, bridge: &'a Interface) -> Passage<()> {
        if self.frame.headers.destination_mac().is_some() {
            return Ok(());
        }
        let own = bridge.mac.ok_or_else(|| Fate::Unknown(format!("the hardware address of {}", bridge.name)))?;
        let to = match self.frame.headers.address(true) {
            Some(to) => self.next_hop(port, bridge, to, own)?,
            None if self.frame.headers.ethertype == ARP => BROADCAST,
            None => return Err(Fate::Unknown("to which hardware address it is sent".to_owned())),
        };
        self.frame.headers.link.write(0, &to, 0);
        Ok(())
    }

    fn next_hop(&mut self, port: &Interface, bridge: &'a Interface, to: IpAddr, own: Mac) -> Passage<Mac> {
        let network = self.evaluation.network;
        if let IpAddr::V4(v4) = to
            && v4.is_broadcast()
        {
            return Ok(BROADCAST);
        }
        let on_link = bridge.addresses.iter().any(|net| net.contains(to));
        if !on_link || bridge.addresses.iter().any(|net| net.ip() == to) {
            return Ok(own);
        }
        let stations = self.evaluation.stations;
        let Some(neighbour) = stations.mac(to, bridge.index) else {
            return Err(Fate::Unknown(format!("who has {to} behind {}", bridge.name)));
        };
        let behind = stations.behind(neighbour);
        let flags = |interface: &Interface| interface.port.is_some_and(|port| port.isolated);
        let apart = behind.and_then(|entry| network.interface(entry.port)).is_some_and(|other| {
            other.index == port.index && !other.port.is_some_and(|p| p.hairpin) || flags(port) && flags(other)
        });
        if !apart {
            return Ok(neighbour);
        }
        let sysctls = bridge.sysctls;
        match sysctls.proxy_arp_pvlan || sysctls.proxy_arp {
            true => {
                self.evaluation
                    .trace
                    .kernel(|| format!("{} answers the sender's ARP for {to}: it is routed", bridge.name));
                Ok(own)
            }
            false => Err(Fate::Lost(format!("nobody answers the sender's ARP for {to}: both ports are isolated"))),
        }
    }

    /// A frame arrives at a port.
    pub(super) fn bridge_in(&mut self, port: &'a Interface, bridge: &'a Interface) -> Passage<Fate> {
        let flags = port.port.ok_or_else(|| Fate::Unknown(format!("the flags of port {}", port.name)))?;
        if bridge.bridge.is_some_and(|settings| settings.vlan_filtering) {
            return Err(Fate::Unknown(format!("VLAN filtering of {}", bridge.name)));
        }
        if !flags.forwarding {
            return Err(Fate::Lost(format!("port {} does not forward", port.name)));
        }
        if !bridge.up {
            return Err(Fate::Lost(format!("{} is down", bridge.name)));
        }
        let to = self.frame.headers.destination_mac().ok_or_else(|| Fate::Unknown("its destination".to_owned()))?;
        if let [0x01, 0x80, 0xc2, 0, 0, 0..=15] = to {
            return Err(Fate::Unknown("a frame to the bridge's control addresses".to_owned()));
        }
        if self.frame.headers.source_mac().is_some_and(|from| from[0] & 1 != 0) {
            return Err(Fate::Lost("its source is a group".to_owned()));
        }
        self.frame.ports.0 = Some(port.index);
        // What is sent to the port's own address is this machine's already, as at any interface.
        if bridge.mac == Some(to) {
            self.frame.packet_type = Some(HOST);
        }
        let borrows = self.borrows(bridge);
        self.hook(Stack::Bridge, Hook::Prerouting, borrows_at(borrows, 0, Hook::Prerouting))?;
        self.admitted(port, flags)?;
        // What was translated before it was bridged is sent to somebody else.
        let to = self.frame.headers.destination_mac().unwrap_or(to);
        match self.whereto(port, flags, bridge, to)? {
            Whereto::Up => self.up(bridge),
            Whereto::Port(out) => self.pass(out, borrows),
            Whereto::Flood => self.flood(port, flags, bridge, to, borrows),
        }
    }

    /// A locked port takes only sources that it knows.
    fn admitted(&self, port: &Interface, flags: Port) -> Passage<()> {
        if !flags.locked {
            return Ok(());
        }
        let from = self.frame.headers.source_mac();
        let from = from.ok_or_else(|| Fate::Unknown("the source's hardware address".to_owned()))?;
        let known = self.evaluation.stations.entries(from).iter().any(|entry| entry.port == port.index && !entry.local);
        if known { Ok(()) } else { Err(Fate::Lost(format!("port {} is locked for this source", port.name))) }
    }

    fn whereto(&self, port: &Interface, flags: Port, bridge: &Interface, to: Mac) -> Passage<Whereto<'a>> {
        let network = self.evaluation.network;
        if to[0] & 1 != 0 {
            return Ok(Whereto::Flood);
        }
        let own = |entry: &&super::network::ForwardingEntry| {
            let at = network.interface(entry.port);
            at.is_some_and(|at| at.index == bridge.index || at.master == Some(bridge.index))
        };
        if bridge.mac == Some(to) {
            return Ok(Whereto::Up);
        }
        let Some(entry) = self.evaluation.stations.entries(to).iter().find(own) else { return Ok(Whereto::Flood) };
        let out = network.interface(entry.port).filter(|_| !entry.local);
        let Some(out) = out else { return Ok(Whereto::Up) };
        self.may_leave(Some((port, flags)), out).map_err(Fate::Lost)?;
        Ok(Whereto::Port(out))
    }

    /// `should_deliver`; otherwise why not.
    fn may_leave(&self, from: Option<(&Interface, Port)>, out: &Interface) -> Result<(), String> {
        let Some(to) = out.port else { return Err(format!("{} is no port", out.name)) };
        match from {
            Some((port, flags)) if port.index == out.index && !flags.hairpin => {
                Err(format!("it would leave where it came from ({} is not a hairpin)", out.name))
            }
            Some((port, flags)) if flags.isolated && to.isolated => {
                Err(format!("{} and {} are isolated", port.name, out.name))
            }
            _ if !to.forwarding || !out.up => Err(format!("port {} does not forward", out.name)),
            _ => Ok(()),
        }
    }

    /// To the bridge itself: from here on it is the bridge's that came in.
    fn up(&mut self, bridge: &'a Interface) -> Passage<Fate> {
        self.hook(Stack::Bridge, Hook::Input, &[])?;
        self.frame.incoming = Some(bridge.index);
        self.device_hook(Hook::Ingress, bridge)?;
        self.take_in(bridge)
    }

    /// Out of another port.
    fn pass(&mut self, out: &'a Interface, borrows: bool) -> Passage<Fate> {
        self.frame.outgoing = Some(out.index);
        self.frame.ports.1 = Some(out.index);
        self.hook(Stack::Bridge, Hook::Forward, borrows_at(borrows, 0, Hook::Forward))?;
        // The bridge's postrouting does not know where a frame came in.
        self.frame.incoming = None;
        self.hook(Stack::Bridge, Hook::Postrouting, borrows_at(borrows, i32::MAX, Hook::Postrouting))?;
        self.device_hook(Hook::Egress, out)?;
        self.meant_for_it(out)?;
        Ok(Fate::Sent { interface: out.index })
    }

    /// Who gets a frame to a hardware address that a rule wrote takes what is in it only if it is the one whom that is for; what
    /// it does else nobody knows.
    fn meant_for_it(&self, out: &Interface) -> Passage<()> {
        if !self.frame.readdressed {
            return Ok(());
        }
        let to = self.gateway.or(self.frame.headers.address(true));
        let wanted = to.zip(out.master).and_then(|(to, bridge)| self.evaluation.stations.mac(to, bridge));
        match self.frame.headers.destination_mac() {
            Some(mac) if wanted == Some(mac) => Ok(()),
            _ => Err(Fate::Unknown("what becomes of a frame to the hardware address that a rule writes".to_owned())),
        }
    }

    /// To a group, or to nobody known: a copy for each port that floods, and for the bridge itself where it is a group.
    fn flood(&mut self, port: &Interface, flags: Port, bridge: &'a Interface, to: Mac, borrows: bool) -> Passage<Fate> {
        let group = to[0] & 1 != 0;
        let floods = |p: Port| {
            if to == BROADCAST {
                p.broadcast_flood
            } else if group {
                p.multicast_flood
            } else {
                p.flood
            }
        };
        let network = self.evaluation.network;
        let ports: Vec<&Interface> = network
            .interfaces
            .iter()
            .filter(|out| out.master == Some(bridge.index) && out.port.is_some_and(floods))
            .filter(|out| self.may_leave(Some((port, flags)), out).is_ok())
            .collect();
        let before = self.frame.clone();
        let mut fates = Vec::new();
        for out in ports {
            self.frame = before.clone();
            fates.push(self.pass(out, borrows));
        }
        self.frame = before;
        if group {
            fates.push(self.up(bridge));
        }
        together(fates, bridge)
    }

    /// What this machine sends out of a bridge.
    pub(super) fn bridge_out(&mut self, bridge: &'a Interface) -> Passage<Fate> {
        let network = self.evaluation.network;
        self.device_hook(Hook::Egress, bridge)?;
        let sees = |hook| !self.evaluation.compiled.calls(Stack::Bridge, hook).is_empty();
        let rules = sees(Hook::Output) || sees(Hook::Postrouting);
        let to = self.gateway.or(self.frame.headers.address(true));
        let stations = self.evaluation.stations;
        let neighbour = to.and_then(|to| stations.mac(to, bridge.index));
        let entry = neighbour.and_then(|mac| stations.behind(mac));
        let (Some(neighbour), Some(out)) = (neighbour, entry.and_then(|entry| network.interface(entry.port))) else {
            return match rules {
                true => Err(Fate::Unknown(format!("behind which port of {} it is", bridge.name))),
                false => Ok(Fate::Sent { interface: bridge.index }),
            };
        };
        self.may_leave(None, out).map_err(Fate::Lost)?;
        self.frame.has_link = true;
        self.frame.headers.link.write(0, &neighbour, 0);
        if let Some(own) = bridge.mac {
            self.frame.headers.link.write(6, &own, 0);
        }
        (self.frame.incoming, self.frame.outgoing) = (None, Some(out.index));
        self.hook(Stack::Bridge, Hook::Output, &[])?;
        self.hook(Stack::Bridge, Hook::Postrouting, &[])?;
        self.device_hook(Hook::Egress, out)?;
        self.meant_for_it(out)?;
        Ok(Fate::Sent { interface: out.index })
    }
}

/// The fate of copies: of any that got through, that it is flooded.
fn together(fates: Vec<Passage<Fate>>, bridge: &Interface) -> Passage<Fate> {
    let flat = |fate: Passage<Fate>| match fate {
        Ok(fate) | Err(fate) => fate,
    };
    let mut fates: Vec<Fate> = fates.into_iter().map(flat).collect();
    if let Some(at) = fates.iter().position(|fate| matches!(fate, Fate::Unknown(_))) {
        return Err(fates.swap_remove(at));
    }
    if fates.iter().any(|fate| matches!(fate, Fate::Sent { .. } | Fate::Delivered)) {
        return Ok(Fate::Flooded { bridge: bridge.index });
    }
    Err(fates.pop().unwrap_or_else(|| Fate::Lost(format!("no port of {} takes it", bridge.name))))
}
