//! `/etc/hosts` (hosts(5)).

use std::fmt::{Display, Write};
use std::net::{IpAddr, Ipv4Addr};

use crate::model::Hostname;

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

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n";
const IPV6: &str = "\
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

impl HostsFile {
    /// The file's text, tab separated, in Docker's order.
    pub fn render(&self) -> String {
        let mut text = LOCALHOST.to_owned();
        if self.ipv6 {
            text.push_str(IPV6);
        }
        for (name, address) in &self.extra {
            line(&mut text, address, [name.as_str()]);
        }
        for (address, names) in &self.links {
            line(&mut text, address, names.iter().map(String::as_str));
        }
        if let Some((address, hostname, domain)) = &self.own {
            let (full, short) = match domain.as_deref().filter(|domain| !domain.is_empty()) {
                Some(domain) => (format!("{hostname}.{domain}"), Some(hostname.as_str())),
                // `--hostname web.example.org` brings its domain along.
                None => (hostname.clone(), hostname.split_once('.').map(|(short, _)| short)),
            };
            line(&mut text, address, std::iter::once(full.as_str()).chain(short));
        }
        text
    }
}

/// An address and its names; nothing if no name is one.
fn line<'n>(text: &mut String, address: impl Display, names: impl IntoIterator<Item = &'n str>) {
    let names: Vec<&str> = names.into_iter().filter(|name| name.parse::<Hostname>().is_ok()).collect();
    if !names.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address}\t{}", names.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn own(hostname: &str, domain: Option<&str>) -> HostsFile {
        let own = Some((Ipv4Addr::new(172, 17, 0, 2), hostname.to_owned(), domain.map(str::to_owned)));
        HostsFile { own, ..HostsFile::default() }
    }

    #[test]
    fn everything_in_docker_s_order() {
        let file = HostsFile {
            ipv6: true,
            extra: vec![
                ("gate".to_owned(), IpAddr::from([172, 17, 0, 1])),
                ("six".to_owned(), "2001:db8::1".parse().expect("address")),
            ],
            links: vec![(Ipv4Addr::new(172, 17, 0, 3), ["db", "0123456789ab", "postgres"].map(str::to_owned).into())],
            ..own("web", Some("example.org"))
        };
        insta::assert_snapshot!(file.render().replace('\t', "→"), @r"
        127.0.0.1→localhost
        ::1→localhost ip6-localhost ip6-loopback
        fe00::→ip6-localnet
        ff00::→ip6-mcastprefix
        ff02::1→ip6-allnodes
        ff02::2→ip6-allrouters
        172.17.0.1→gate
        2001:db8::1→six
        172.17.0.3→db 0123456789ab postgres
        172.17.0.2→web.example.org web
        ");
    }

    #[test]
    fn a_closed_container_knows_itself_only() {
        assert_eq!(HostsFile::default().render(), "127.0.0.1\tlocalhost\n");
    }

    #[test]
    fn the_own_line_has_the_full_and_the_short_name() {
        let last = |file: HostsFile| file.render().lines().last().map(str::to_owned).expect("line");
        assert_eq!(last(own("web", None)), "172.17.0.2\tweb");
        assert_eq!(last(own("web", Some(""))), "172.17.0.2\tweb");
        assert_eq!(last(own("web.example.org", None)), "172.17.0.2\tweb.example.org web");
    }

    proptest! {
        /// Whatever names are given, the file has no line that its addresses do not explain.
        #[test]
        fn nothing_is_injected(name in any::<String>(), alias in "[ -~\n\t#]*", domain in any::<String>()) {
            let file = HostsFile {
                extra: vec![(name.clone(), IpAddr::from([10, 0, 0, 1]))],
                links: vec![(Ipv4Addr::new(10, 0, 0, 2), vec![alias, name.clone()])],
                ..own(&name, Some(&domain))
            };
            let text = file.render();
            for line in text.lines().skip(1) {
                let (address, names) = line.split_once('\t').expect("tab");
                prop_assert!(["10.0.0.1", "10.0.0.2", "172.17.0.2"].contains(&address), "{:?}", line);
                prop_assert!(names.split(' ').all(|n| n.parse::<Hostname>().is_ok()), "{:?}", line);
            }
            prop_assert!(text.lines().count() <= 4);
        }
    }
}
