//! `tproxy`: a packet that is for others goes to a socket of this machine, if one waits that takes such
//! (net/netfilter/nft_tproxy.c, net/ipv4/netfilter/nf_tproxy_ipv4.c).

use std::net::{IpAddr, Ipv4Addr};

use super::bytecode::Register;
use super::machine::{Machine, Next};
use super::packet::{TCP, UDP, address};

/// Without such a socket the rule does not match.
pub(super) fn tproxy<'a>(machine: &mut Machine<'_, 'a>, to: Option<Register>, port: Option<Register>) -> Next<'a> {
    let headers = &machine.frame.headers;
    let tcp = match headers.protocol {
        Some(TCP) => true,
        Some(UDP) => false,
        _ => return Next::Rule,
    };
    let port = match port {
        Some(port) => machine.registers.known(port, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]])),
        None => headers.port(true),
    };
    // As the rule says; else the first of the interface where it came in, else its own destination.
    let length = if headers.is_v4() { 4 } else { 16 };
    let network = machine.evaluation.network;
    let incoming = machine.frame.incoming.and_then(|index| network.interface(index));
    let own = incoming.and_then(|it| it.addresses.iter().find(|own| own.is_ipv4() == headers.is_v4()));
    let at = match to {
        Some(to) => machine.registers.known(to, length).and_then(address),
        None => own.map(|own| own.ip()).or_else(|| headers.address(true)),
    };
    let waits = match (&network.listeners, port, at) {
        (Some(listeners), Some(port), Some(at)) => {
            let takes = |it: IpAddr| it == at || it.is_unspecified() && it.is_ipv4() == at.is_ipv4();
            let here = listeners.iter().filter(|(socket, _)| socket.tcp == tcp && socket.port == port);
            let here = here.filter(|(socket, _)| {
                takes(socket.address) || at.is_ipv4() && socket.takes_v4() == Some(Ipv4Addr::UNSPECIFIED)
            });
            let kinds: Vec<Option<bool>> = here.map(|(_, transparent)| *transparent).collect();
            match kinds.as_slice() {
                [] => Some(false),
                [first, rest @ ..] if rest.iter().all(|it| it == first) => *first,
                _ => None,
            }
        }
        _ => None,
    };
    let open = || "whether a program waits for what tproxy gives it".to_owned();
    match waits.unwrap_or_else(|| machine.choose(open)) {
        true => Next::Expression,
        false => Next::Rule,
    }
}
