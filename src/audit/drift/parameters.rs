//! Kernel parameters: those that are kept, and those that were somehow when the daemon began and are otherwise now. Pure,
//! but for the reading.

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
const OF_OTHERS: &[&str] = &["forwarding", "proxy_arp", "route_localnet", "rp_filter"];
/// Of the network namespace.
const OF_ALL: &[&str] = &[
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-arptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_loose",
];
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
    names.extend(["disable_ipv6", "accept_ra", "forwarding"].map(|name| format!("net/ipv6/conf/{bridge}/{name}")));
    names.into_iter().filter_map(|name| Some((now(&name)?, name))).map(|(value, name)| (name, value)).collect()
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
        let Some(is) = now(name).filter(|is| is != was) else { continue };
        let what =
            format!("{} is {is}, and was {was} when the daemon began{}", dotted(name), effect(options, name, &is));
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

/// Values that lead back to how it should be.
pub(super) fn cure(options: &NetworkOptions, began: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let of_bridge = |name: &str| name.contains(&format!("/{}/", options.bridge)) || name.starts_with("net/bridge/");
    let changed = |name: &str, was: &String| now(name).is_some_and(|is| is != *was);
    began
        .iter()
        .filter(|(name, was)| of_bridge(name) && changed(name, was))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

fn dotted(name: &str) -> String {
    name.replace('/', ".")
}

/// What comes of it, where that is known.
fn effect(options: &NetworkOptions, name: &str, is: &str) -> &'static str {
    let short = name.rsplit('/').next().unwrap_or_default();
    match (short, is) {
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
                "net.ipv4.conf.br0.rp_filter is 0, and was 2 when the daemon began: packets may come in from where no \
                 route leads",
            ]
        );
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
