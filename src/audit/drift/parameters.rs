//! Kernel parameters: those that are kept, and those that were somehow when the daemon began and are otherwise now. Of what
//! is a matter of taste (how long, how many), only what is less than before and too little for anybody. Pure, but for the
//! reading. Which parameters change what becomes of a packet, and which do not: docs/audit-parameters.md.

use std::collections::BTreeMap;

use super::difference::{ours, theirs};
use crate::model::NetworkOptions;
use crate::model::audit::{Difference, Subject};

/// Of `net/ipv4/conf/all` and of the bridge's own.
const OF_INTERFACES: &[&str] = &[
    "accept_local",
    "accept_redirects",
    "accept_source_route",
    "arp_accept",
    "arp_announce",
    "arp_filter",
    "arp_ignore",
    "bc_forwarding",
    "disable_policy",
    "disable_xfrm",
    "drop_gratuitous_arp",
    "drop_unicast_in_l2_multicast",
    "forwarding",
    "proxy_arp",
    "proxy_arp_pvlan",
    "route_localnet",
    "rp_filter",
    "secure_redirects",
    "send_redirects",
    "shared_media",
    "src_valid_mark",
];
/// Of the interfaces that lead elsewhere.
const OF_OTHERS: &[&str] = &[
    "accept_local",
    "accept_redirects",
    "accept_source_route",
    "arp_filter",
    "arp_ignore",
    "bc_forwarding",
    "disable_policy",
    "disable_xfrm",
    "drop_unicast_in_l2_multicast",
    "forwarding",
    "proxy_arp",
    "proxy_arp_pvlan",
    "route_localnet",
    "rp_filter",
    "src_valid_mark",
];
/// Of the network namespace.
const OF_ALL: &[&str] = &[
    "net/ipv4/ip_forward",
    "net/ipv4/icmp_echo_ignore_all",
    "net/bridge/bridge-nf-call-arptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_ignore_invalid_rst",
    "net/netfilter/nf_conntrack_tcp_loose",
];
/// Numbers of the network namespace, and what is too little. Absent ones are the whole machine's, or no kernel's.
const TOO_LITTLE: &[(&str, u64)] = &[
    ("net/ipv4/ip_default_ttl", 32),
    ("net/ipv4/ipfrag_high_thresh", 65_536),
    ("net/ipv4/ipfrag_time", 2),
    ("net/ipv4/neigh/default/gc_thresh3", 128),
    ("net/core/netdev_max_backlog", 64),
    ("net/netfilter/nf_conntrack_max", 4096),
    ("net/netfilter/nf_conntrack_generic_timeout", 5),
    ("net/netfilter/nf_conntrack_icmp_timeout", 5),
    ("net/netfilter/nf_conntrack_tcp_timeout_established", 60),
    ("net/netfilter/nf_conntrack_tcp_timeout_max_retrans", 5),
    ("net/netfilter/nf_conntrack_tcp_timeout_syn_recv", 5),
    ("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", 5),
    ("net/netfilter/nf_conntrack_tcp_timeout_unacknowledged", 5),
    ("net/netfilter/nf_conntrack_udp_timeout", 5),
    ("net/netfilter/nf_conntrack_udp_timeout_stream", 5),
];
/// The same of who is behind an interface that leads elsewhere.
const TOO_FEW: &[(&str, u64)] = &[("mcast_solicit", 1), ("unres_qlen_bytes", 1536)];
/// Those that let more in when they are on, and that nobody here needs: switched off, they are no difference, and nobody is
/// told to switch one on.
const SAFE_WHEN_OFF: &[&str] =
    &["accept_local", "accept_redirects", "accept_source_route", "proxy_arp", "route_localnet"];
const FORWARD: &str = "net/ipv4/ip_forward";

/// What is compared with how it was, with its values of now; absent ones are left out.
pub(super) fn read(options: &NetworkOptions, others: &[String]) -> BTreeMap<String, String> {
    let bridge = &options.bridge;
    let of = |interface: &str, names: &'static [&'static str]| {
        let interface = interface.to_owned();
        names.iter().map(move |name| format!("net/ipv4/conf/{interface}/{name}"))
    };
    let mut names: Vec<String> = OF_ALL.iter().map(|name| (*name).to_owned()).collect();
    names.extend(of("all", OF_INTERFACES));
    names.extend(of(bridge, OF_INTERFACES));
    names.extend(others.iter().flat_map(|other| of(other, OF_OTHERS)));
    names.extend(TOO_LITTLE.iter().map(|(name, _)| (*name).to_owned()));
    for other in others {
        names.extend(TOO_FEW.iter().map(|(name, _)| format!("net/ipv4/neigh/{other}/{name}")));
    }
    names.extend(["disable_ipv6", "accept_ra", "forwarding"].map(|name| format!("net/ipv6/conf/{bridge}/{name}")));
    names.into_iter().filter_map(|name| Some((now(&name)?, name))).map(|(value, name)| (name, value)).collect()
}

/// Whether it matters that a parameter is `is`, and was `was`.
fn matters(name: &str, was: &str, is: &str) -> bool {
    if is == "0" && SAFE_WHEN_OFF.contains(&name.rsplit('/').next().unwrap_or_default()) {
        return false;
    }
    let of_neighbours = name.strip_prefix("net/ipv4/neigh/").and_then(|rest| rest.split_once('/')).map(|(_, it)| it);
    let wanted = |list: &[(&str, u64)], name: &str| list.iter().find(|(it, _)| *it == name).map(|(_, least)| *least);
    let least = wanted(TOO_LITTLE, name).or_else(|| wanted(TOO_FEW, of_neighbours?));
    match (least, is.parse::<u64>(), was.parse::<u64>()) {
        (Some(least), Ok(is), Ok(was)) => is < was && is < least,
        _ => is != was,
    }
}

/// The value of a parameter in the calling thread's network namespace.
pub(super) fn now(name: &str) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().to_owned())
}

/// Everything that differs. `kept` are those that the guard keeps, `began` what the others were.
pub(super) fn differences(
    options: &NetworkOptions,
    kept: &[(String, &str)],
    began: &BTreeMap<String, String>,
    now: impl Fn(&str) -> Option<String>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut forwarding_off = false;
    for (name, value) in kept {
        if let Some(is) = now(name).filter(|is| is != value) {
            forwarding_off |= name == FORWARD;
            let what = format!("{} is {is}, and should be {value}{}", dotted(name), effect(options, name, &is));
            differences.push(ours(Subject::Sysctl, "sysctl-changed", what));
        }
    }
    for (name, was) in began.iter().filter(|(name, _)| !kept.iter().any(|(kept, _)| kept == *name)) {
        let Some(is) = now(name).filter(|is| matters(name, was, is)) else { continue };
        let what = format!("{} is {is}, and was {was} when daemons began{}", dotted(name), effect(options, name, &is));
        let of_bridge = name.contains(&format!("/{}/", options.bridge)) || name.starts_with("net/bridge/");
        differences.push(match of_bridge {
            true => ours(Subject::Sysctl, "sysctl-changed", what),
            false => {
                let remedy = format!("it is the whole host's: if nobody meant it, `sysctl -w {}={was}`", dotted(name));
                theirs(Subject::Sysctl, "sysctl-changed", what, remedy)
            }
        });
    }
    if forwarding_off {
        // The kernel switches each interface's own along.
        let follows = |what: &str| what.contains(".forwarding is") || what.contains(".accept_redirects is");
        differences.retain(|difference| !follows(&difference.what));
    }
    differences
}

/// Whether no option of a daemon's has a part in it, also where it belongs to another interface.
pub(super) fn is_of_nobody_else(name: &str) -> bool {
    let short = name.rsplit('/').next().unwrap_or_default();
    SAFE_WHEN_OFF.contains(&short) && short != "accept_redirects"
}

/// What is written, and what it was, of those that are not as they should be and are ours to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cure {
    name: String,
    is: String,
    should: String,
}

/// Writes them; those that could be, in words.
pub(super) fn write(cures: &[Cure]) -> Vec<String> {
    let write = |cure: &&Cure| std::fs::write(format!("/proc/sys/{}", cure.name), &cure.should).is_ok();
    cures.iter().filter(write).map(|cure| format!("set {} to {}", dotted(&cure.name), cure.is)).collect()
}

/// The same, as far as it is ours without being asked: what is of all bridges, or of an operator's, is the operator's.
pub(super) fn cure_own(options: &NetworkOptions, began: &BTreeMap<String, String>) -> Vec<Cure> {
    let mut cures = cure(options, began);
    cures.retain(|cure| options.own_bridge && !cure.name.starts_with("net/bridge/"));
    cures
}

/// What leads back to how it should be.
pub(super) fn cure(options: &NetworkOptions, began: &BTreeMap<String, String>) -> Vec<Cure> {
    let of_bridge = |name: &str| name.contains(&format!("/{}/", options.bridge)) || name.starts_with("net/bridge/");
    let cure = |(name, was): (&String, &String)| {
        let is = now(name).filter(|is| matters(name, was, is))?;
        Some(Cure { name: name.clone(), is, should: was.clone() })
    };
    began.iter().filter(|(name, _)| of_bridge(name)).filter_map(cure).collect()
}

fn dotted(name: &str) -> String {
    name.replace('/', ".")
}

/// What comes of it, where that is known.
fn effect(options: &NetworkOptions, name: &str, is: &str) -> &'static str {
    let short = name.rsplit('/').next().unwrap_or_default();
    match (short, is) {
        ("icmp_echo_ignore_all", "1") => ": the host answers no echo requests",
        ("ip_default_ttl", _) => ": what the host sends, for names too, does not get far",
        ("ipfrag_high_thresh" | "ipfrag_time", _) => ": packets in pieces are lost",
        ("gc_thresh3", _) => ": the host finds few neighbours at once",
        ("netdev_max_backlog", _) => ": what comes at once is lost",
        ("nf_conntrack_max", _) => ": who comes when there are as many flows finds no place",
        (short, _) if short.starts_with("nf_conntrack_") && short.contains("timeout") => {
            ": flows are forgotten while they last"
        }
        ("mcast_solicit", "0") => ": nobody is found there any more",
        ("unres_qlen_bytes", _) => ": what is first sent to somebody there is lost",
        ("arp_ignore", "8") => ": nobody is told the host's hardware address there",
        ("drop_unicast_in_l2_multicast", "1") => ": what is for one, in a frame for many, is lost there",
        ("bc_forwarding", "1") => ": what is for all of another network is led there",
        ("disable_policy" | "disable_xfrm", "1") => ": IPsec's policies do not hold there",
        ("nf_conntrack_tcp_loose", "0") => ": connections that were begun before are not known again",
        ("nf_conntrack_tcp_ignore_invalid_rst", "1") => ": an end out of a connection's window is taken for one",
        ("ip_forward", "0") => ": nothing is routed to or from containers",
        ("forwarding", "0") => ": what comes in there is not routed",
        ("route_localnet", "0") if name.contains(&options.bridge) => {
            ": the host does not reach published ports by 127.0.0.1"
        }
        ("route_localnet", "1") => ": packets to 127/8 may come in there",
        ("proxy_arp", "1") => ": the host answers ARP in others' names",
        ("proxy_arp_pvlan", "0") => ": containers do not find their links' targets",
        ("proxy_arp_pvlan", _) => ": containers are answered for each other",
        ("accept_source_route", "1") => ": senders may choose the way of their packets",
        ("accept_local", "1") => ": packets may come in with the host's own addresses",
        ("rp_filter", "0") => ": packets may come in from where no route leads",
        ("send_redirects", "1") => ": containers are advised of ways that are closed",
        ("bridge-nf-call-iptables" | "bridge-nf-call-ip6tables" | "bridge-nf-call-arptables", "1") => {
            ": what is bridged passes the rules of the IP layer"
        }
        ("disable_ipv6", "0") => ": the bridge speaks IPv6, which nothing here judges",
        ("nf_conntrack_tcp_be_liberal", "1") => ": packets out of a connection's window are taken for replies",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kept: &[(&str, &'static str)], began: &[(&str, &str)], now: &[(&str, &str)]) -> Vec<String> {
        let options = NetworkOptions { bridge: "br0".to_owned(), ..NetworkOptions::usual() };
        let kept: Vec<_> = kept.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let began = began.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let look = |name: &str| now.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        differences(&options, &kept, &began, look).into_iter().map(|it| it.what).collect()
    }

    #[test]
    fn what_is_kept_and_what_has_changed_is_told_and_nothing_else() {
        let kept = [("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/br0/proxy_arp_pvlan", "1")];
        let began =
            [("net/ipv4/conf/br0/rp_filter", "2"), ("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/ip_forward", "1")];
        assert_eq!(told(&kept, &began, &[kept[0], kept[1], began[0], began[1]]), Vec::<String>::new());
        assert_eq!(
            told(
                &kept,
                &began,
                &[kept[0], ("net/ipv4/conf/br0/rp_filter", "0"), ("net/ipv4/conf/br0/proxy_arp_pvlan", "0")]
            ),
            [
                "net.ipv4.conf.br0.proxy_arp_pvlan is 0, and should be 1: containers do not find their links' targets",
                "net.ipv4.conf.br0.rp_filter is 0, and was 2 when daemons began: packets may come in from where no \
                 route leads",
            ]
        );
    }

    #[test]
    fn of_numbers_only_what_is_less_than_before_and_too_little_is_told() {
        let (ttl, most) = ("net/ipv4/ip_default_ttl", "net/netfilter/nf_conntrack_max");
        let at = |was: &'static str, is: &'static str| told(&[], &[(ttl, was)], &[(ttl, is)]);
        assert_eq!(at("64", "128"), Vec::<String>::new());
        assert_eq!(at("255", "64"), Vec::<String>::new());
        assert_eq!(at("2", "3"), Vec::<String>::new());
        assert!(at("64", "2")[0].starts_with("net.ipv4.ip_default_ttl is 2, and was 64 when daemons began: "));
        assert_eq!(told(&[], &[(most, "262144")], &[(most, "65536")]), Vec::<String>::new());
        assert_eq!(told(&[], &[(most, "262144")], &[(most, "10")]).len(), 1);
        let few = "net/ipv4/neigh/eth0/mcast_solicit";
        assert_eq!(told(&[], &[(few, "3")], &[(few, "1")]), Vec::<String>::new());
        assert_eq!(told(&[], &[(few, "3")], &[(few, "0")]).len(), 1);
    }

    #[test]
    fn forwarding_that_goes_with_all_of_it_is_not_told_twice() {
        let kept = [("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/br0/forwarding", "1")];
        let began = [("net/ipv4/conf/eth0/forwarding", "1"), ("net/ipv4/conf/all/accept_redirects", "0")];
        let off = [
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/conf/br0/forwarding", "0"),
            ("net/ipv4/conf/eth0/forwarding", "0"),
            ("net/ipv4/conf/all/accept_redirects", "1"),
        ];
        assert_eq!(
            told(&kept, &began, &off),
            ["net.ipv4.ip_forward is 0, and should be 1: nothing is routed to or from containers"]
        );
    }
}
