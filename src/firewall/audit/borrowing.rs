//! What br_netfilter does: ip's hooks see packets that are bridged (net/bridge/br_netfilter_hooks.c).

use super::bytecode::Hook;
use super::compiled::Stack;
use super::network::{Interface, RouteKind};
use super::packet::{IPV4, IPV6};
use super::routing::{self, Answer, Question};
use super::walk::{Fate, HOST, Passage, Point, Walk};

impl Walk<'_, '_> {
    /// Whether br_netfilter shows this bridge's packets to ip's hooks.
    pub(super) fn borrows(&self, bridge: &Interface) -> bool {
        let (all, own) = (self.evaluation.network.sysctls, bridge.bridge.unwrap_or_default());
        match self.frame.headers.ethertype {
            IPV4 => all.bridge_call_iptables || own.call_iptables,
            IPV6 => all.bridge_call_ip6tables || own.call_ip6tables,
            _ => false,
        }
    }

    /// ip's hooks over a bridged packet: the bridge is both ways in and out.
    pub(super) fn borrow(&mut self, hook: Hook) -> Passage<()> {
        let stack = if self.frame.headers.is_v4() { Stack::Ip } else { Stack::Ip6 };
        let bridge = self.frame.ports.0.and_then(|port| self.evaluation.network.interface(port)?.master);
        let (before, ports) = (self.frame.headers.address(true), (self.frame.incoming, self.frame.outgoing));
        (self.frame.incoming, self.frame.outgoing) = match hook {
            Hook::Prerouting => (bridge, None),
            Hook::Forward => (bridge, bridge),
            _ => (None, bridge),
        };
        let points: &[(i32, Point)] = match hook {
            Hook::Prerouting => &[(-200, Point::Track), (-100, Point::Translate)],
            Hook::Postrouting => &[(100, Point::Translate)],
            _ => &[],
        };
        self.hook(stack, hook, points)?;
        (self.frame.incoming, self.frame.outgoing) = ports;
        self.prerouted = true;
        match bridge.and_then(|index| self.evaluation.network.interface(index)) {
            Some(bridge) if before != self.frame.headers.address(true) => self.aim_anew(bridge),
            _ => Ok(()),
        }
    }

    /// A bridged packet got another destination (`br_nf_pre_routing_finish`): who is on this bridge gets it by the bridge, and
    /// everything else comes up.
    fn aim_anew(&mut self, bridge: &Interface) -> Passage<()> {
        let network = self.evaluation.network;
        let question = Question { incoming: Some(bridge.index), ..self.question()? };
        let refused = routing::refuses_destination(network, question.destination, bridge.index);
        let refused =
            refused.map_or_else(|| routing::refuses_source(network, &question, bridge.index), |why| Ok(Some(why)));
        if let Some(why) = refused.map_err(Fate::Unknown)? {
            return Err(Fate::Lost(why));
        }
        let to = match routing::route(network, &question) {
            Answer::Route { kind: RouteKind::Unicast, way: Some(way), .. } if way.interface == bridge.index => {
                let next = way.gateway.unwrap_or(question.destination);
                let known = self.evaluation.stations.mac(next, bridge.index);
                known.ok_or_else(|| Fate::Unknown(format!("who has {next} behind {}", bridge.name)))?
            }
            Answer::Route { kind: RouteKind::Unicast | RouteKind::Local, .. } => {
                self.frame.packet_type = Some(HOST);
                bridge.mac.ok_or_else(|| Fate::Unknown(format!("the hardware address of {}", bridge.name)))?
            }
            Answer::Route { kind, .. } => {
                return Err(Fate::Lost(format!("the route to {} is {kind:?}", question.destination)));
            }
            Answer::None => return Err(Fate::Lost(format!("no route to {}", question.destination))),
            Answer::Unknown(what) => return Err(Fate::Unknown(what)),
        };
        self.frame.headers.link.write(0, &to, 0);
        Ok(())
    }
}

/// Where in a bridge's hook that is.
pub(super) fn borrows_at(borrows: bool, priority: i32, hook: Hook) -> &'static [(i32, Point)] {
    match (borrows, priority, hook) {
        (false, ..) => &[],
        (_, 0, Hook::Prerouting) => &[(0, Point::Borrow(Hook::Prerouting))],
        (_, 0, _) => &[(0, Point::Borrow(Hook::Forward))],
        _ => &[(i32::MAX, Point::Borrow(Hook::Postrouting))],
    }
}
