//! Names: what a container finds in `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`. Pure functions of text.

use std::net::{IpAddr, Ipv4Addr};

/// `/etc/hosts` of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsFile {
    /// The namespace has IPv6: the ip6-… lines are wanted.
    pub ipv6: bool,
    /// `--add-host`, with `host-gateway` already resolved.
    pub extra: Vec<(String, IpAddr)>,
    /// Link lines: address and names.
    pub links: Vec<(Ipv4Addr, Vec<String>)>,
    /// Own address, hostname and domain; `None` for a closed container.
    pub own: Option<(Ipv4Addr, String, Option<String>)>,
}

impl HostsFile {
    /// The file's text, tab separated, in Docker's order.
    pub fn render(&self) -> String {
        todo!()
    }
}

/// `--dns`, `--dns-search`, `--dns-option`: empty means "as the host's".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvOptions {
    /// Servers.
    pub servers: Vec<IpAddr>,
    /// Search domains; a single `.` empties the list.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// A container's `/etc/resolv.conf` from the host's text (from `/run/systemd/resolve/resolv.conf` where 127.0.0.53 is
/// the only server; the caller chooses). Loopback servers are not handed on unless `keep_loopback` (open containers).
pub fn resolv_conf(host: &str, overrides: &ResolvOptions, keep_loopback: bool) -> String {
    let _ = (host, overrides, keep_loopback);
    todo!()
}

/// Reads the host's `resolv.conf` text, choosing systemd-resolved's upstream file where 127.0.0.53 is the only server.
pub fn host_resolv_conf() -> std::io::Result<String> {
    todo!()
}
