//! Which ports programs of a namespace have open, from /proc/net (proc_pid_net(5)).

use std::collections::{BTreeMap, BTreeSet};

/// What is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    /// TCP ports that somebody listens on, and the connections that wait there to be taken.
    pub(super) tcp: BTreeMap<u16, u32>,
    /// UDP ports.
    pub(super) udp: BTreeSet<u16>,
}

/// Of the calling thread's namespace.
pub(super) fn read() -> Sockets {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    // A socket of IPv6 hears IPv4 too, unless it was told not to.
    Sockets {
        tcp: ["tcp", "tcp6"].into_iter().flat_map(|name| listening(&text(name))).collect(),
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
        assert_eq!((listening(""), listening("\nx\n1: y\n")), (vec![], vec![]));
    }
}
