//! The kernel parameters that the bridge needs, as a pure list, and the writing of them.

use std::io;

use super::BridgeError;
use crate::model::NetworkOptions;

/// One parameter: its path below `/proc/sys`, and its value.
pub(super) type Setting = (String, &'static str);

/// For any bridge that containers hang off.
pub(super) fn shared(options: &NetworkOptions) -> Vec<Setting> {
    let conf = |key: &str| format!("net/ipv4/conf/{}/{key}", options.bridge);
    let mut settings = Vec::new();
    if options.ip_forward {
        settings.push(("net/ipv4/ip_forward".to_owned(), "1"));
        // An interface's own switch goes first.
        settings.push((conf("forwarding"), "1"));
    }
    // Lets the host reach published ports by 127.0.0.1: such packets leave by the bridge, and their replies come back
    // by it. The firewall drops what containers or neighbours would send to or from 127/8 by themselves.
    settings.push((conf("route_localnet"), "1"));
    // icc=false makes each port isolated, so that containers see only the bridge itself; it answers ARP for them all,
    // at once, and what they send to each other is routed, where the firewall sees it. A redirect would tell a
    // container to take the way that is closed.
    settings.push((conf("proxy_arp_pvlan"), if options.icc { "0" } else { "1" }));
    if !options.icc {
        settings.push((format!("net/ipv4/neigh/{}/proxy_delay", options.bridge), "0"));
        settings.push((conf("send_redirects"), "0"));
    }
    settings
}

/// For a bridge of our own: no IPv6 on it, and nobody's router advertisements; and what the firewall's rules presume: that
/// nobody speaks in the host's name or chooses the host's routes, and that the host answers for nobody beyond its own
/// network. (`rp_filter` is the operator's: the guard at the ports knows better who may have which address.)
pub(super) fn own(options: &NetworkOptions) -> Vec<Setting> {
    let conf = |family: &str, key: &str| format!("net/{family}/conf/{}/{key}", options.bridge);
    let v6 = [("accept_ra", "0"), ("disable_ipv6", "1")].map(|(key, value)| (conf("ipv6", key), value));
    let v4 =
        ["accept_local", "accept_source_route", "accept_redirects", "proxy_arp"].map(|key| (conf("ipv4", key), "0"));
    [&v6[..], &v4[..]].concat()
}

/// Lets frames cross bridges without the detour through the IP tables.
pub(super) fn no_bridge_filter() -> Vec<Setting> {
    ["iptables", "ip6tables", "arptables"].map(|tables| (format!("net/bridge/bridge-nf-call-{tables}"), "0")).into()
}

/// Whether br_netfilter is there and passes bridged IPv4 through the IP tables. A fresh namespace starts with it on.
pub(super) fn bridge_filter_is_on() -> bool {
    std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value.trim() == "1")
}

/// Writes what differs. What holds already is left alone, so that a read-only `/proc/sys` that is right is no error.
pub(super) fn apply(settings: &[Setting]) -> Result<(), BridgeError> {
    for (name, value) in settings {
        let path = format!("/proc/sys/{name}");
        let result = match std::fs::read_to_string(&path) {
            Ok(now) if now.trim() == *value => Ok(()),
            // A kernel without IPv6 has nothing to switch off.
            Err(e) if e.kind() == io::ErrorKind::NotFound && name.starts_with("net/ipv6/") => Ok(()),
            _ => std::fs::write(&path, value),
        };
        result.map_err(|source| BridgeError::Sysctl { name: name.clone(), value, source })?;
    }
    Ok(())
}

/// Those that are not as they should be, with what they are. What cannot be read is not there: an interface that was
/// deleted, a module that is not loaded.
pub(super) fn differing(settings: &[Setting]) -> Vec<(Setting, String)> {
    let now = |(name, _): &Setting| Some(std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().to_owned());
    let found = settings.iter().filter_map(|setting| Some((setting.clone(), now(setting)?)));
    found.filter(|((_, value), now)| value != now).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(settings: &[Setting]) -> String {
        settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    fn options(icc: bool, ip_forward: bool) -> NetworkOptions {
        let bip = "10.0.0.1/24".parse().expect("network");
        NetworkOptions { bridge: "br0".to_owned(), bip, icc, ip_forward, ..NetworkOptions::usual() }
    }

    #[test]
    fn settings_follow_the_options() {
        insta::assert_snapshot!(text(&shared(&options(true, true))), @r"
        net/ipv4/ip_forward=1
        net/ipv4/conf/br0/forwarding=1
        net/ipv4/conf/br0/route_localnet=1
        net/ipv4/conf/br0/proxy_arp_pvlan=0
        ");
        insta::assert_snapshot!(text(&shared(&options(false, false))), @r"
        net/ipv4/conf/br0/route_localnet=1
        net/ipv4/conf/br0/proxy_arp_pvlan=1
        net/ipv4/neigh/br0/proxy_delay=0
        net/ipv4/conf/br0/send_redirects=0
        ");
        insta::assert_snapshot!(text(&own(&options(true, true))), @r"
        net/ipv6/conf/br0/accept_ra=0
        net/ipv6/conf/br0/disable_ipv6=1
        net/ipv4/conf/br0/accept_local=0
        net/ipv4/conf/br0/accept_source_route=0
        net/ipv4/conf/br0/accept_redirects=0
        net/ipv4/conf/br0/proxy_arp=0
        ");
    }
}
