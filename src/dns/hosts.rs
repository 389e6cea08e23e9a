//! `/etc/hosts` (hosts(5)).

use std::fmt::{Display, Write};
use std::net::{IpAddr, Ipv4Addr};

use crate::model::{ContainerId, Hostname};

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

/// A hosts file with the lines of links as they should be now, and everything else as it is: users write there too.
///
/// A link's line is known by its first name, one of `aliases`: all that the container has, or had a moment ago. The lines
/// stand together where the first of them stood, else before that of the container's `own` address, else at the end.
pub fn relink(text: &[u8], own: Ipv4Addr, aliases: &[&str], links: &[(Ipv4Addr, Vec<String>)]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let is_link = |line: &[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let address = words.next().and_then(|word| str::from_utf8(word).ok()?.parse::<Ipv4Addr>().ok());
        let name = words.next().and_then(|word| str::from_utf8(word).ok());
        address.is_some() && name.is_some_and(|name| aliases.contains(&name))
    };
    let own = format!("{own}\t");
    let place = lines.iter().position(|line| is_link(line));
    let place = place.or_else(|| lines.iter().position(|line| line.starts_with(own.as_bytes()))).unwrap_or(lines.len());

    let mut block = String::new();
    for (address, names) in links {
        line(&mut block, address, names.iter().map(String::as_str));
    }
    let (before, after) = lines.split_at(place);
    let mut new = before.concat();
    if !block.is_empty() && new.last().is_some_and(|last| *last != b'\n') {
        new.push(b'\n');
    }
    new.extend_from_slice(block.as_bytes());
    new.extend(after.iter().filter(|line| !is_link(line)).copied().flatten());
    new
}

/// What may stand in the file as a name. Ids are too long for a host name, but users link by them.
fn is_name(text: &str) -> bool {
    text.parse::<Hostname>().is_ok() || text.parse::<ContainerId>().is_ok()
}

/// An address and its names; nothing if no name is one.
fn line<'n>(text: &mut String, address: impl Display, names: impl IntoIterator<Item = &'n str>) {
    let names: Vec<&str> = names.into_iter().filter(|name| is_name(name)).collect();
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

    const EDITED: &str = "\
127.0.0.1\tlocalhost
10.0.0.1\tgate
# mine
172.17.0.3\tdb 0123456789ab postgres
10.0.0.9  mine db
172.17.0.2\tweb
last without end";

    fn linked(last: u8, names: &[&str]) -> (Ipv4Addr, Vec<String>) {
        (Ipv4Addr::new(172, 17, 0, last), names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn relinked(text: &str, aliases: &[&str], links: &[(Ipv4Addr, Vec<String>)]) -> String {
        let text = relink(text.as_bytes(), Ipv4Addr::new(172, 17, 0, 2), aliases, links);
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn a_link_s_line_moves_and_nothing_else_does() {
        let moved = relinked(EDITED, &["db"], &[linked(7, &["db", "0123456789ab", "postgres"])]);
        assert_eq!(moved, EDITED.replace("172.17.0.3", "172.17.0.7"));
        let gone = relinked(EDITED, &["db"], &[]);
        assert_eq!(gone, EDITED.replace("172.17.0.3\tdb 0123456789ab postgres\n", ""));
        // And back, before the container's own line.
        let back = relinked(&gone, &["db"], &[linked(8, &["db", "x"])]);
        assert_eq!(back, gone.replace("172.17.0.2\tweb", "172.17.0.8\tdb x\n172.17.0.2\tweb"));
        assert_eq!(relinked(EDITED, &["other"], &[]), EDITED);
    }

    #[test]
    fn lines_of_several_links_stand_together() {
        let two = [linked(7, &["db", "x"]), linked(8, &["cache", "y"])];
        let text = relinked("172.17.0.9\tcache y\n172.17.0.2\tweb\n172.17.0.4\tdb\n", &["db", "cache"], &two);
        assert_eq!(text, "172.17.0.7\tdb x\n172.17.0.8\tcache y\n172.17.0.2\tweb\n");
        assert_eq!(relinked("", &["db"], &two[..1]), "172.17.0.7\tdb x\n");
        assert_eq!(relinked("no end", &["db"], &two[..1]), "no end\n172.17.0.7\tdb x\n");
    }

    #[test]
    fn a_whole_id_is_a_name_here() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(relinked("", &[&id], &[linked(7, &[&id, "db"])]), format!("172.17.0.7\t{id} db\n"));
    }

    proptest! {
        /// What is not a link's line stays, byte for byte and in order; doing it again changes nothing.
        #[test]
        fn a_hosts_file_of_any_bytes_keeps_what_is_not_ours(text in any::<Vec<u8>>(), alias in "[a-z]{1,3}") {
            let own = Ipv4Addr::new(172, 17, 0, 2);
            let links = [linked(7, &[&alias, "name"])];
            let once = relink(&text, own, &[&alias], &links);
            prop_assert_eq!(&relink(&once, own, &[&alias], &links), &once);
            let kept = |text: &[u8]| relink(text, own, &[&alias], &[]);
            let trimmed = |text: Vec<u8>| text.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(text);
            prop_assert_eq!(trimmed(kept(&once)), trimmed(kept(&text)));
        }

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
