//! Which ports programs of a namespace have open, from /proc/net (proc_pid_net(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    /// TCP ports that somebody listens on, and the connections that wait there to be taken.
    pub(super) tcp: BTreeMap<u16, u32>,
    /// The addresses that they listen at; none where it is all of IPv6, and perhaps of IPv4.
    pub(super) at: BTreeSet<(u16, Option<Ipv4Addr>)>,
    /// UDP ports.
    pub(super) udp: BTreeSet<u16>,
}

/// Whether somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    Yes,
    No,
    /// At all addresses of IPv6, and it is not told whether of IPv4, too.
    Perhaps,
}

impl Sockets {
    /// Whether somebody listens at this TCP port of this address.
    pub(super) fn listens(&self, address: Ipv4Addr, port: u16) -> Listens {
        let at = |address| self.at.contains(&(port, address));
        match (at(Some(address)) || at(Some(Ipv4Addr::UNSPECIFIED)), at(None)) {
            (true, _) => Listens::Yes,
            (false, true) => Listens::Perhaps,
            (false, false) => Listens::No,
        }
    }
}

/// Of the calling thread's namespace.
pub(super) fn read() -> Sockets {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    // A socket of IPv6 hears IPv4 too, unless it was told not to.
    Sockets {
        tcp: ["tcp", "tcp6"].into_iter().flat_map(|name| listening(&text(name))).collect(),
        at: ["tcp", "tcp6"].into_iter().flat_map(|name| addresses(&text(name))).collect(),
        udp: ["udp", "udp6"].into_iter().flat_map(|name| bound(&text(name))).collect(),
    }
}

/// Port, state and waiting bytes (of a listener: connections) of each line.
fn rows(text: &str) -> impl Iterator<Item = (u16, &str, u32)> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (_, port) = words.next()?.rsplit_once(':')?;
        let state = words.nth(1)?;
        let (_, waiting) = words.next()?.split_once(':')?;
        Some((u16::from_str_radix(port, 16).ok()?, state, u32::from_str_radix(waiting, 16).ok()?))
    })
}

fn listening(text: &str) -> Vec<(u16, u32)> {
    rows(text).filter(|(_, state, _)| *state == "0A").map(|(port, _, waiting)| (port, waiting)).collect()
}

/// Of each listener its port and address; of those of IPv6 who can hear IPv4.
fn addresses(text: &str) -> Vec<(u16, Option<Ipv4Addr>)> {
    let listener = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, port) = words.next()?.rsplit_once(':')?;
        (words.nth(1)? == "0A").then_some(())?;
        let port = u16::from_str_radix(port, 16).ok()?;
        // Words as the machine has them; the last is IPv4's, where the third says that it is mapped.
        let (before, last) = address.split_at_checked(address.len().checked_sub(8)?)?;
        let v4 = Ipv4Addr::from(u32::from_str_radix(last, 16).ok()?.to_ne_bytes());
        match before {
            "" => Some((port, Some(v4))),
            _ if before.ends_with("FFFF0000") => Some((port, Some(v4))),
            _ => (before.bytes().all(|digit| digit == b'0') && v4.is_unspecified()).then_some((port, None)),
        }
    };
    text.lines().skip(1).filter_map(listener).collect()
}

fn bound(text: &str) -> Vec<u16> {
    rows(text).map(|(port, ..)| port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 100 1 0 100 0 0 10 0
   1: 020011AC:A000 030011AC:0050 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0 20 4 24 10 -1
";
    const UDP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
  57: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000
";

    #[test]
    fn listeners_are_found() {
        assert_eq!(listening(TCP), [(80, 3)]);
        assert_eq!(bound(UDP6), [53]);
        assert_eq!(addresses(TCP), [(80, Some(Ipv4Addr::UNSPECIFIED))]);
        let six = UDP6.replace(" 07 ", " 0A ");
        let mapped = six.replace("0000000000000000:0035", "FFFF00000100007F:0035");
        assert_eq!((addresses(&six), addresses(&mapped)), (vec![(53, None)], vec![(53, Some(Ipv4Addr::LOCALHOST))]));
        let open = Sockets { at: [(80, Some(Ipv4Addr::LOCALHOST)), (53, None)].into(), ..Sockets::default() };
        let listens = |address: [u8; 4], port| open.listens(address.into(), port);
        assert_eq!((listens([127, 0, 0, 1], 80), listens([172, 17, 0, 2], 80)), (Listens::Yes, Listens::No));
        assert_eq!(listens([172, 17, 0, 2], 53), Listens::Perhaps);
        assert_eq!((listening(""), listening("\nx\n1: y\n")), (vec![], vec![]));
    }
}
