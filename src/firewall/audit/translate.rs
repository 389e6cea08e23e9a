//! Connection tracking and address translation, as far as one packet and its answer need them
//! (net/netfilter/nf_conntrack_core.c, nf_nat_core.c, nf_nat_redirect.c, nf_nat_masquerade.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytecode::{ChainKind, Hook, Translation};
use super::compiled::Stack;
use super::frame::{Flow, Frame, State, Tracking, Tuple};
use super::machine::{Asked, End, Evaluation, Machine};
use super::packet::{ICMP, ICMPV6, TCP, address};
use super::routing::{self, Answer, Question};
use super::trace::Met;
use super::walk::Fate;

/// Conntrack's hook: the packet's flow, which is `known` for packets that are not the first. Where the table is full, one
/// that could be forgotten may make room for a new one.
pub(super) fn track(evaluation: &mut Evaluation<'_>, frame: &mut Frame, known: Option<&Flow>) -> Result<(), Fate> {
    if frame.tracking != Tracking::None || !evaluation.compiled.tracks(frame.headers.is_v4()) {
        return Ok(());
    }
    frame.tracking = match known {
        Some(flow) if is_of(frame, flow) => Tracking::Flow(flow.clone()),
        _ => begin(evaluation, frame),
    };
    let is_new = known.is_none() && frame.tracking.flow().is_some();
    let full = || "whether conntrack, which is full (net.netfilter.nf_conntrack_max), forgets another flow".to_owned();
    if is_new && evaluation.network.sysctls.conntrack_is_full && !evaluation.choices.choose(true, full) {
        return Err(Fate::Lost("conntrack is full (net.netfilter.nf_conntrack_max)".to_owned()));
    }
    Ok(())
}

/// Whether conntrack finds the flow by this packet: between the addresses and ports of the flow's direction, in its zone.
fn is_of(frame: &Frame, flow: &Flow) -> bool {
    let zone = frame.zone.unwrap_or_default();
    let (wanted, same_zone) = match flow.reply {
        true => (flow.answer, zone.answer == flow.zone.answer),
        false => (flow.original, zone.original == flow.zone.original),
    };
    same_zone && Tuple::of(&frame.headers).is_some_and(|own| own.may_be(wanted))
}

/// What a packet without a flow is to conntrack.
fn begin(evaluation: &mut Evaluation<'_>, frame: &Frame) -> Tracking {
    let headers = &frame.headers;
    let at = |offset| headers.transport.and_then(|begin| headers.network.known(begin + offset, 1)).map(|byte| byte[0]);
    let zone = frame.zone.unwrap_or_default();
    let new = || Flow::begun_by(headers).map_or(Tracking::Invalid, |flow| Tracking::Flow(Flow { zone, ..flow }));
    match headers.protocol {
        Some(ICMP) => match at(0) {
            Some(8 | 13 | 15 | 17) => new(),
            _ => Tracking::Invalid,
        },
        Some(ICMPV6) => match at(0) {
            // Neighbour discovery and group membership are never tracked.
            Some(130..=137 | 143) => Tracking::Untracked,
            Some(128 | 139) => new(),
            _ => Tracking::Invalid,
        },
        Some(TCP) => match at(13).map(|flags| flags & 0b11_0111) {
            Some(0b10 | 0b10_0010) => new(),
            // In the middle of a connection that was not seen to begin.
            Some(0b1_0000 | 0b11_0000) => {
                let open = || evaluation.choices.choose(true, || "whether nf_conntrack_tcp_loose is on".to_owned());
                let loose = evaluation.network.sysctls.nf_conntrack_tcp_loose.unwrap_or_else(open);
                if loose { new() } else { Tracking::Invalid }
            }
            _ => Tracking::Invalid,
        },
        _ => new(),
    }
}

/// Translation's hook: chains of type nat decide about the first packet of a flow; the others follow.
pub(super) fn translate(
    evaluation: &mut Evaluation<'_>,
    frame: &mut Frame,
    stack: Stack,
    hook: Hook,
) -> Result<(), End> {
    let Tracking::Flow(flow) = &frame.tracking else { return Ok(()) };
    let source = matches!(hook, Hook::Postrouting | Hook::Input);
    let decided = if source { flow.decided.0 } else { flow.decided.1 };
    if flow.state == State::New && !decided {
        let asked = ask(evaluation, frame, stack, hook)?;
        if let Some(asked) = asked {
            apply(evaluation, frame, hook, &asked)?;
        }
        if let Tracking::Flow(flow) = &mut frame.tracking {
            *(if source { &mut flow.decided.0 } else { &mut flow.decided.1 }) = true;
        }
    } else if flow.state != State::New {
        follow(evaluation, frame, source);
    }
    Ok(())
}

/// Asks the chains in order; the first that translates is the last.
fn ask(evaluation: &mut Evaluation<'_>, frame: &mut Frame, stack: Stack, hook: Hook) -> Result<Option<Asked>, End> {
    let compiled = evaluation.compiled;
    for call in compiled.calls(stack, hook).iter().filter(|call| call.kind == ChainKind::Nat) {
        evaluation.trace.push(|| Met::Chain(call.at));
        let Some(mut machine) = Machine::new(evaluation, frame, call.at) else { continue };
        match machine.run(call.at) {
            End::Accept => {}
            end => return Err(end),
        }
        if let Some(asked) = machine.asked.take() {
            let rule = machine.decided;
            if matches!(hook, Hook::Prerouting | Hook::Output) {
                evaluation.trace.led_by = rule.map(Into::into);
            }
            return Ok(Some(asked));
        }
    }
    Ok(None)
}

/// Gives a new flow what a rule asked for.
fn apply(evaluation: &mut Evaluation<'_>, frame: &mut Frame, hook: Hook, asked: &Asked) -> Result<(), End> {
    let destination = matches!(asked.what, Translation::Destination | Translation::Redirect);
    let to = match asked.what {
        Translation::Masquerade => Some(own_address(evaluation, frame)?),
        Translation::Redirect => Some(this_machine(evaluation, frame, hook)?),
        Translation::Source | Translation::Destination => one_address(asked, destination)?,
    };
    // What the flow is now, whatever rules wrote into the packet since conntrack saw it.
    let Tracking::Flow(flow) = &frame.tracking else { return Ok(()) };
    let now = flow.answer.inverted();
    let before = if destination { now.destination } else { now.source };
    let address = to.unwrap_or(before.0);
    let port = match asked.ports {
        None => before.1,
        Some(Some((first, last))) if first == last => Some(first),
        // A port inside of the range stays what it is.
        Some(Some((first, last))) => before.1.filter(|port| (first..=last).contains(port)),
        Some(None) => return Err(End::Unknown("to which port a map translates".to_owned())),
    };
    let after = (address, port);
    if before != after {
        frame.headers.set_address(destination, address);
        frame.headers.set_port(destination, port);
    }
    let Tracking::Flow(flow) = &mut frame.tracking else { return Ok(()) };
    if destination {
        flow.answer.source = after;
        flow.destination_nat |= before != after;
    } else {
        flow.answer.destination = after;
        flow.source_nat |= before != after;
    }
    evaluation.trace.kernel(|| {
        let side = if destination { "destination" } else { "source" };
        format!("the {side} becomes {address}{}", port.map(|port| format!(" port {port}")).unwrap_or_default())
    });
    Ok(())
}

fn one_address(asked: &Asked, destination: bool) -> Result<Option<IpAddr>, End> {
    match &asked.addresses {
        None => Ok(None),
        Some(Some((first, last))) if first == last => Ok(address(first)),
        Some(Some(_)) if !destination => Err(End::Unknown("which address of a range the source becomes".to_owned())),
        Some(Some(_)) => Err(End::Unknown("which address of a range the destination becomes".to_owned())),
        Some(None) => Err(End::Unknown("which address a map translates to".to_owned())),
    }
}

/// Masquerading: the address of the way out that is nearest to the next hop; without one the packet is dropped.
fn own_address(evaluation: &Evaluation<'_>, frame: &Frame) -> Result<IpAddr, End> {
    let (Some(to), Some(outgoing)) = (frame.headers.address(true), frame.outgoing) else { return Err(End::Drop) };
    let question = Question { outgoing: Some(outgoing), ..Question::to(to) };
    let gateway = match routing::route(evaluation.network, &question) {
        Answer::Route { way, .. } => way.and_then(|way| way.gateway),
        _ => None,
    };
    let way = super::network::Way { interface: outgoing, gateway };
    let own = match to {
        IpAddr::V4(_) => routing::address_of(evaluation.network, way, to),
        IpAddr::V6(_) => routing::source_for(evaluation.network, Some(way), None, to),
    };
    own.ok_or(End::Drop)
}

/// Redirection: the incoming interface's first address, or loopback's for what this machine sends.
fn this_machine(evaluation: &Evaluation<'_>, frame: &Frame, hook: Hook) -> Result<IpAddr, End> {
    let v4 = frame.headers.is_v4();
    if hook == Hook::Output {
        return Ok(if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    let incoming = frame.incoming.and_then(|index| evaluation.network.interface(index)).ok_or(End::Drop)?;
    let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mut own = incoming.addresses.iter().map(ipnetwork::IpNetwork::ip).filter(|own| own.is_ipv4() == v4);
    own.find(|own| !link_local(own)).ok_or(End::Drop)
}

/// A packet of a flow that is known: what was decided for it.
fn follow(evaluation: &mut Evaluation<'_>, frame: &mut Frame, source: bool) {
    let Tracking::Flow(flow) = &frame.tracking else { return };
    let translated = if source != flow.reply { flow.source_nat } else { flow.destination_nat };
    if !translated {
        return;
    }
    let other = if flow.reply { flow.original } else { flow.answer };
    let wanted = other.inverted();
    let (address, port) = if source { wanted.source } else { wanted.destination };
    frame.headers.set_address(!source, address);
    frame.headers.set_port(!source, port);
    evaluation.trace.kernel(|| {
        let side = if source { "source" } else { "destination" };
        format!("the flow's translation: the {side} becomes {address}")
    });
}
