//! `/etc/resolv.conf` (resolv.conf(5)): the container's from the host's.
//!
//! Read line by line rather than by a parser that fills in defaults: an option that we do not know is an option that the
//! container's resolver may know. Search domains are held against the wire format's limits by hickory.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use hickory_resolver::proto::rr::Name;

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

const HOST: &str = "/etc/resolv.conf";
/// What systemd-resolved asks itself (systemd-resolved(8)).
const RESOLVED_UPSTREAMS: &str = "/run/systemd/resolve/resolv.conf";
const RESOLVED_STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// Where Docker's containers turn when the host's file names no server that they could reach.
const PUBLIC: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];

/// Whom a container asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// The gateway, where the daemon answers (bridged).
    Gateway(Ipv4Addr),
    /// The host's servers, all of them (open).
    Host,
    /// Those of the host's servers that can be reached from another namespace (closed).
    Reachable,
}

/// A container's `/etc/resolv.conf` from the host's text.
///
/// - Bridged: the gateway, which hands on to the servers that the user names or to the host's. A loopback address that the
///   user names is the container's own loopback, as with Docker: nobody but the container can ask there.
/// - Open: as the host's.
/// - Closed: loopback servers are not handed on, nor are IPv6 ones; where none is left, public ones take their place, as
///   with Docker. What the user names stands as it is.
pub fn resolv_conf(host: &str, overrides: &ResolvOptions, asks: Asks) -> String {
    let host = read(host);
    let servers = match asks {
        Asks::Gateway(gateway) => {
            let (own, others): (Vec<IpAddr>, Vec<IpAddr>) =
                overrides.servers.iter().partition(|server| server.is_loopback());
            let gateway = (own.is_empty() || !others.is_empty()).then_some(IpAddr::V4(gateway));
            own.into_iter().chain(gateway).map(|server| server.to_string()).collect()
        }
        _ if !overrides.servers.is_empty() => overrides.servers.iter().map(IpAddr::to_string).collect(),
        Asks::Host => host.servers,
        Asks::Reachable => reachable(&host.servers),
    };
    let search = if overrides.search.is_empty() { host.search } else { overrides.search.clone() };
    let options = if overrides.options.is_empty() { host.options } else { overrides.options.clone() };

    let mut text = String::new();
    // Writing to a String cannot fail.
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (keyword, words) in [("search", domains(search)), ("options", plain_words(options))] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    text
}

/// Reads the host's `resolv.conf` text, choosing systemd-resolved's upstream file where 127.0.0.53 is the only server.
pub fn host_resolv_conf() -> io::Result<String> {
    let text = fs::read_to_string(HOST)?;
    if read(&text).servers == [RESOLVED_STUB.to_string()] {
        // Without that file there is something else behind the address; its own text must do.
        return fs::read_to_string(RESOLVED_UPSTREAMS).or(Ok(text));
    }
    Ok(text)
}

/// A server as a resolv.conf names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedServer {
    pub(super) address: IpAddr,
    /// The interface of a link-local address, by name or number.
    pub(super) zone: Option<String>,
}

/// The servers of a resolv.conf, loopback ones too.
pub(super) fn servers(text: &str) -> Vec<NamedServer> {
    let named = |server: &String| {
        let zone = server.split_once('%').map(|(_, zone)| zone.to_owned());
        Some(NamedServer { address: address(server)?, zone })
    };
    read(text).servers.iter().filter_map(named).collect()
}

/// What a resolv.conf says, in its own words.
#[derive(Default)]
struct Lines {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

fn read(text: &str) -> Lines {
    let mut lines = Lines::default();
    for line in text.lines() {
        // Comments begin in the first column (resolv.conf(5)), but people put them elsewhere too.
        let words: Vec<&str> = line.split(['#', ';']).next().unwrap_or_default().split_whitespace().collect();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match words.as_slice() {
            ["nameserver", server, ..] if address(server).is_some() => lines.servers.push((*server).to_owned()),
            // The last of them holds.
            ["search" | "domain", rest @ ..] => lines.search = owned(rest),
            ["options", rest @ ..] => lines.options.extend(owned(rest)),
            _ => {}
        }
    }
    lines
}

/// The address of a server; a link-local one may carry its interface (`fe80::1%eth0`).
fn address(server: &str) -> Option<IpAddr> {
    let (address, zone) = server.split_once('%').unwrap_or((server, ""));
    address.parse().ok().filter(|address: &IpAddr| zone.is_empty() || address.is_ipv6())
}

fn reachable(servers: &[String]) -> Vec<String> {
    let reachable: Vec<String> = servers
        .iter()
        .filter(|server| address(server).is_some_and(|a| a.is_ipv4() && !a.is_loopback() && !a.is_unspecified()))
        .cloned()
        .collect();
    if reachable.is_empty() { PUBLIC.map(|a| a.to_string()).into() } else { reachable }
}

/// Search domains; none if the only one is the root.
fn domains(search: Vec<String>) -> Vec<String> {
    if search == ["."] {
        return Vec::new();
    }
    plain_words(search).into_iter().filter(|domain| Name::from_str(domain).is_ok()).collect()
}

/// Words that stay words: no white space, no control characters, no comment.
fn plain_words(words: Vec<String>) -> Vec<String> {
    let plain =
        |word: &String| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b';');
    words.into_iter().filter(plain).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST_TEXT: &str = "\
# Generated by NetworkManager
domain old.example
search example.org corp.example # ours
nameserver 127.0.0.1
nameserver 192.0.2.53
nameserver 2001:db8::53
nameserver fe80::1%eth0
options ndots:2 edns0
options rotate
sortlist 192.0.2.0/24
";

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_host_s_file_without_what_a_container_cannot_reach() {
        insta::assert_snapshot!(resolv_conf(HOST_TEXT, &ResolvOptions::default(), Asks::Reachable), @r"
        nameserver 192.0.2.53
        search example.org corp.example
        options ndots:2 edns0 rotate
        ");
        insta::assert_snapshot!(resolv_conf(HOST_TEXT, &ResolvOptions::default(), Asks::Host), @r"
        nameserver 127.0.0.1
        nameserver 192.0.2.53
        nameserver 2001:db8::53
        nameserver fe80::1%eth0
        search example.org corp.example
        options ndots:2 edns0 rotate
        ");
    }

    #[test]
    fn bridged_containers_ask_the_gateway() {
        let asks = Asks::Gateway(Ipv4Addr::new(172, 17, 0, 1));
        insta::assert_snapshot!(resolv_conf(HOST_TEXT, &ResolvOptions::default(), asks), @r"
        nameserver 172.17.0.1
        search example.org corp.example
        options ndots:2 edns0 rotate
        ");
        let servers = |servers: &[[u8; 4]]| {
            let servers = servers.iter().copied().map(IpAddr::from).collect();
            resolv_conf("", &ResolvOptions { servers, ..ResolvOptions::default() }, asks)
        };
        assert_eq!(servers(&[[192, 0, 2, 53], [192, 0, 2, 54]]), "nameserver 172.17.0.1\n");
        assert_eq!(servers(&[[127, 0, 0, 1]]), "nameserver 127.0.0.1\n");
        assert_eq!(servers(&[[192, 0, 2, 53], [127, 0, 0, 1]]), "nameserver 127.0.0.1\nnameserver 172.17.0.1\n");
    }

    #[test]
    fn the_servers_of_a_file() {
        let named = |address: &str, zone: Option<&str>| NamedServer {
            address: address.parse().expect("address"),
            zone: zone.map(str::to_owned),
        };
        let all = [("127.0.0.1", None), ("192.0.2.53", None), ("2001:db8::53", None), ("fe80::1", Some("eth0"))];
        assert_eq!(servers(HOST_TEXT), all.map(|(address, zone)| named(address, zone)));
    }

    #[test]
    fn overrides_stand_as_they_are() {
        let overrides = ResolvOptions {
            servers: vec![IpAddr::from([127, 0, 0, 1]), "2001:db8::1".parse().expect("address")],
            search: words(&["a.example"]),
            options: words(&["timeout:1"]),
        };
        insta::assert_snapshot!(resolv_conf(HOST_TEXT, &overrides, Asks::Reachable), @r"
        nameserver 127.0.0.1
        nameserver 2001:db8::1
        search a.example
        options timeout:1
        ");
        let root = ResolvOptions { search: words(&["."]), ..ResolvOptions::default() };
        insta::assert_snapshot!(resolv_conf(HOST_TEXT, &root, Asks::Reachable), @r"
        nameserver 192.0.2.53
        options ndots:2 edns0 rotate
        ");
    }

    #[test]
    fn without_a_reachable_server_public_ones_are_named() {
        for host in
            ["", "nameserver 127.0.0.53\n", "nameserver ::1\nnameserver 2001:db8::53\n", "nameserver nonsense\n"]
        {
            let text = resolv_conf(host, &ResolvOptions::default(), Asks::Reachable);
            assert_eq!(text, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n", "{host:?}");
        }
        assert_eq!(resolv_conf("", &ResolvOptions::default(), Asks::Host), "");
    }

    proptest! {
        #[test]
        fn nothing_is_injected(host in any::<String>(), search in any::<Vec<String>>(), options in "[ -~\n\r#;]*") {
            let overrides = ResolvOptions { servers: vec![], search, options: vec![options] };
            let text = resolv_conf(&host, &overrides, Asks::Reachable);
            for line in text.split('\n').filter(|line| !line.is_empty()) {
                let known = ["nameserver ", "search ", "options "].iter().any(|keyword| line.starts_with(keyword));
                prop_assert!(known && line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{:?}", line);
            }
            let lines_of = |keyword: &str| text.lines().filter(|line| line.starts_with(keyword)).count();
            prop_assert!(lines_of("search") <= 1 && lines_of("options") <= 1 && lines_of("nameserver") >= 1);
        }
    }
}
