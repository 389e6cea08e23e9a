//! Host ports for those who name none: `net.ipv4.ip_local_port_range` less `ip_local_reserved_ports`.

/// Where ephemeral ports come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    /// First and last.
    range: (u16, u16),
    /// First and last of what the administrator keeps for others.
    reserved: Vec<(u16, u16)>,
}

/// Docker's own fall-back.
const USUAL: (u16, u16) = (49_153, 60_999);

impl Ephemeral {
    /// As the kernel has it at the moment (in the network namespace of this process).
    pub fn of_host() -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        Self::parse(&read("ip_local_port_range"), &read("ip_local_reserved_ports"))
    }

    /// Two numbers; and a list of ports and ranges by commas (the kernel's `Documentation/networking/ip-sysctl.rst`).
    pub(super) fn parse(range: &str, reserved: &str) -> Self {
        let mut numbers = range.split_ascii_whitespace().map(str::parse);
        let range = match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => (first, last),
            _ => USUAL,
        };
        let run = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Self { range, reserved: reserved.trim().split(',').filter_map(run).collect() }
    }

    /// Its ports, beginning behind `previous`, the one that was given last.
    pub(super) fn after(&self, previous: Option<u16>) -> impl Iterator<Item = u16> + '_ {
        let (first, last) = self.range;
        let start = previous.filter(|port| (first..last).contains(port)).map_or(first, |port| port + 1);
        let free = |port: &u16| !self.reserved.iter().any(|(first, last)| (first..=last).contains(&port));
        (start..=last).chain(first..start).filter(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_round() {
        let ports = Ephemeral::parse("10\t13\n", "\n");
        let after = |previous| ports.after(previous).collect::<Vec<_>>();
        assert_eq!(after(None), [10, 11, 12, 13]);
        assert_eq!(after(Some(11)), [12, 13, 10, 11]);
        assert_eq!(after(Some(13)), [10, 11, 12, 13]);
        assert_eq!(after(Some(80)), [10, 11, 12, 13]);
    }

    #[test]
    fn what_is_reserved_is_passed_over() {
        let ports = Ephemeral::parse("10 20", "8,11-13,15,19-30\n");
        assert_eq!(ports.after(Some(11)).collect::<Vec<_>>(), [14, 16, 17, 18, 10]);
    }

    #[test]
    fn without_the_kernels_word_it_is_dockers_range() {
        assert_eq!(Ephemeral::parse("", "").range, USUAL);
        assert_eq!(Ephemeral::parse("20 10", "").range, USUAL);
        assert_eq!(Ephemeral::parse("65535 65535", "x,1-y").after(Some(65535)).collect::<Vec<_>>(), [65535]);
    }
}
