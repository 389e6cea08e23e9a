//! One flow that is tried: what is sent for it, and what follows from what was heard.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::heard::Sign;
use super::packet;
use super::station::{Site, Station, Where};
use super::tables::{Listens, Sockets};
use super::token::Token;
use super::volley::{Hearings, Load, Record, Shot};
use crate::model::audit::Verdict;

/// What is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aim {
    /// A TCP port.
    Tcp(SocketAddrV4),
    /// A UDP port.
    Udp(SocketAddrV4),
    /// An address, by ICMP echo.
    Echo(Ipv4Addr),
}

/// One flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// The place of the source's site.
    pub(super) from: usize,
    /// The place of the target's.
    pub(super) to: usize,
    /// What the source aims at.
    pub(super) aim: Aim,
    /// The target's own port: another than the one aimed at where it is published.
    pub(super) port: u16,
    /// How many others are tried from the same source to the same port before it.
    pub(super) nth: usize,
}

/// What came of it, and how that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) seen: String,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(to) => write!(f, "TCP SYN to {to}"),
            Self::Udp(to) => write!(f, "UDP to {to}, with a receiver"),
            Self::Echo(to) => write!(f, "ICMP echo to {to}"),
        }
    }
}

impl Aim {
    /// Whose address it is.
    pub(super) fn address(&self) -> Ipv4Addr {
        match self {
            Self::Tcp(to) | Self::Udp(to) => *to.ip(),
            Self::Echo(to) => *to,
        }
    }
}

impl Flow {
    /// The packet; `None`: the source has no way there.
    pub(super) fn shot(&self, source: &mut Station, token: Token) -> Option<Shot> {
        let target = self.aim.address();
        let from = source.source_to(target)?;
        let (tcp_port, own_port) = (*source.tcp_ports.get(self.nth)?, *source.udp_ports.get(self.nth)?);
        let at = |port| SocketAddrV4::new(from, port);
        let (bytes, ends) = match self.aim {
            Aim::Tcp(to) => (packet::syn(at(tcp_port), to, token), (at(tcp_port), to)),
            Aim::Udp(to) => (packet::udp(at(own_port), to, &token.payload()), (at(own_port), to)),
            Aim::Echo(to) => {
                (packet::echo(from, to, own_port, &token.payload()), (at(own_port), SocketAddrV4::new(to, own_port)))
            }
        };
        Some(Shot { from: self.from, number: token.number, load: Load::Packet(target, bytes), ends: Some(ends) })
    }

    /// Whether all that could be heard of it has been.
    pub(super) fn is_complete(&self, heard: &Hearings) -> bool {
        self.reached(heard) && self.answered(heard).is_some()
    }

    fn reached(&self, heard: &Hearings) -> bool {
        heard.contains(&(self.to, Where::Stack, Sign::Asked))
    }

    fn answered(&self, heard: &Hearings) -> Option<Sign> {
        let signs = [Sign::Taken, Sign::Refused, Sign::Answered];
        signs.into_iter().find(|sign| heard.contains(&(self.from, Where::Stack, *sign)))
    }

    /// What follows from what was heard. `open`: what programs have open at the target.
    pub(super) fn judge(
        &self,
        record: &Record,
        number: u16,
        sites: &[Site],
        open: &Sockets,
        waited: Duration,
    ) -> Outcome {
        use Verdict::{Allow, Deny, Unknown};
        let heard = record.of(number);
        let (from, to) = (&sites[self.from].name, &sites[self.to].name);
        let outcome = |verdict, seen: String| Outcome { verdict, seen };
        if let Some(error) = record.unsent.get(&number) {
            return outcome(Deny, format!("{from}'s own kernel does not send it: {error}"));
        }
        match (self.reached(&heard), self.answered(&heard)) {
            (true, Some(Sign::Taken)) => outcome(Allow, format!("{to}'s SYN-ACK came back")),
            (true, Some(Sign::Refused)) => match self.listens(record, number, open) {
                Listens::No => outcome(Allow, format!("{to}'s RST came back: nobody listens")),
                Listens::Perhaps => {
                    outcome(Unknown, format!("{to}'s RST came back, and somebody listens there, perhaps to IPv6 only"))
                }
                Listens::Yes => outcome(Deny, format!("an RST came back, although somebody listens at {to}")),
            },
            (true, Some(_)) => outcome(Allow, format!("it reached {to}, whose answer came back")),
            (true, None) => {
                let waiting = open.tcp.get(&self.port).copied().unwrap_or_default();
                self.unanswered(&heard, to, waiting)
            }
            (false, answered) => {
                let elsewhere = heard.iter().find(|(place, way, sign)| {
                    (*way, *sign) == (Where::Stack, Sign::Asked) && *place != self.to && *place != self.from
                });
                let error = heard.iter().find_map(|(_, _, sign)| match sign {
                    Sign::Unreachable(by) => Some(*by),
                    _ => None,
                });
                match (elsewhere, error, answered) {
                    (Some((place, ..)), ..) => outcome(Deny, format!("it reached {} instead", sites[*place].name)),
                    _ if heard.contains(&(self.to, Where::Arriving, Sign::Asked)) => {
                        outcome(Deny, format!("it arrived at {to}'s interface and went no further"))
                    }
                    (_, Some(by), _) => outcome(Deny, format!("refused on its way: an ICMP error of {by}")),
                    (_, _, Some(_)) => outcome(Deny, "refused on its way: an RST that is not the target's".to_owned()),
                    _ if sites[self.to].seat.is_some() && !record.could_hear(self.to) => {
                        outcome(Unknown, format!("{to} hears nothing at all, not even at its own port"))
                    }
                    _ => outcome(Deny, format!("nothing arrived at {to} within {} ms", waited.as_millis())),
                }
            }
        }
    }

    /// Whether somebody listens where it arrived. A listener's kernel answers a SYN or is silent: it refuses nobody, not where too
    /// many wait, and not whom the program will turn away.
    fn listens(&self, record: &Record, number: u16, open: &Sockets) -> Listens {
        record.taken_at(number, self.to).map_or(Listens::No, |address| open.listens(address, self.port))
    }

    fn unanswered(&self, heard: &Hearings, to: &str, waiting: u32) -> Outcome {
        let outcome = |verdict, seen: String| Outcome { verdict, seen };
        let left = heard.iter().any(|(place, way, sign)| {
            (*place, *way) == (self.to, Where::Leaving) && matches!(sign, Sign::Taken | Sign::Refused | Sign::Answered)
        });
        let astray = heard.iter().find_map(|(_, _, sign)| match sign {
            Sign::Astray(from, to) => Some((from, to)),
            _ => None,
        });
        if let Some((from, to)) = astray {
            let seen = format!("an answer came from {from} to {to}, which nobody asked for: no program takes it");
            return outcome(Verdict::Deny, seen);
        }
        match self.aim {
            _ if left => outcome(Verdict::Deny, format!("it reached {to}, whose answer did not come back")),
            Aim::Echo(_) => outcome(Verdict::Unknown, format!("it reached {to}, which does not answer echo requests")),
            // Whose queue is full does not answer, and that is no matter of the network's.
            Aim::Tcp(_) if waiting > 0 => outcome(
                Verdict::Unknown,
                format!("it reached {to}, where {waiting} connections wait that its program does not take"),
            ),
            _ => outcome(Verdict::Deny, format!("it reached {to}, whose answer did not leave it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::station::Seat;
    use super::*;

    fn sites() -> Vec<Site> {
        let site = |name: &str, last: u8| Site {
            name: name.to_owned(),
            netns: None,
            interface: None,
            seat: (last > 0).then(|| Seat {
                address: [172, 17, 0, last].into(),
                mac: [2, 0, 0, 0, 0, last],
                port: format!("veth{last}"),
            }),
        };
        vec![site("host", 0), site("web", 2), site("db", 3), site("cache", 4)]
    }

    fn judged(aim: Aim, heard: &[(usize, Where, Sign)], waiting: u32) -> (Verdict, String) {
        let flow = Flow { from: 1, to: 2, aim, port: 80, nth: 0 };
        let mut record = Record::default();
        for it in heard {
            record.note(5, *it);
        }
        record.note_mark(2);
        let open = Sockets { tcp: [(80, waiting)].into(), ..Sockets::default() };
        let outcome = flow.judge(&record, 5, &sites(), &open, Duration::from_millis(300));
        (outcome.verdict, outcome.seen)
    }

    const TO: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(172, 17, 0, 3), 80);

    #[test]
    fn what_follows_from_what_is_heard() {
        use Sign::{Answered, Asked, Refused, Taken, Unreachable};
        use Verdict::{Allow, Deny, Unknown};
        use Where::{Arriving, Leaving, Stack};
        let tcp = |heard: &[_]| judged(Aim::Tcp(TO), heard, 0);
        let arrived = [(2, Arriving, Asked), (2, Stack, Asked)];
        let with = |more: &[(usize, Where, Sign)]| [&arrived[..], more].concat();
        assert_eq!(tcp(&with(&[(2, Leaving, Taken), (1, Arriving, Taken), (1, Stack, Taken)])).0, Allow);
        assert_eq!(tcp(&with(&[(1, Stack, Refused)])), (Allow, "db's RST came back: nobody listens".into()));
        assert_eq!(tcp(&[]), (Deny, "nothing arrived at db within 300 ms".into()));
        assert_eq!(tcp(&with(&[(2, Leaving, Taken)])).1, "it reached db, whose answer did not come back");
        assert_eq!(tcp(&[(2, Arriving, Asked)]).1, "it arrived at db's interface and went no further");
        assert_eq!(tcp(&[(1, Stack, Refused)]).1, "refused on its way: an RST that is not the target's");
        let other = SocketAddrV4::new([172, 17, 0, 3].into(), 81);
        let (verdict, seen) = tcp(&with(&[(2, Leaving, Taken), (1, Stack, Sign::Astray(other, TO))]));
        assert_eq!(verdict, Deny);
        assert!(seen.starts_with("an answer came from 172.17.0.3:81 to"), "{seen}");
        let by = Unreachable([172, 17, 0, 1].into());
        assert_eq!(tcp(&[(1, Stack, by)]), (Deny, "refused on its way: an ICMP error of 172.17.0.1".into()));
        assert_eq!(tcp(&[(3, Stack, Asked), (1, Stack, Taken)]), (Deny, "it reached cache instead".into()));
        assert_eq!(judged(Aim::Tcp(TO), &arrived, 0).0, Deny);
        assert_eq!(judged(Aim::Tcp(TO), &arrived, 3).0, Unknown);
        assert_eq!(judged(Aim::Echo(*TO.ip()), &arrived, 0).0, Unknown);
        assert_eq!(judged(Aim::Udp(TO), &with(&[(1, Stack, Answered)]), 0).0, Allow);
        assert_eq!(judged(Aim::Udp(TO), &arrived, 0).0, Deny);
    }

    #[test]
    fn a_listeners_kernel_refuses_nobody() {
        let flow = Flow { from: 1, to: 2, aim: Aim::Tcp(TO), port: 80, nth: 0 };
        let refused = |listens: &[(u16, Option<Ipv4Addr>)]| {
            let mut record = Record::default();
            record.note(5, (2, Where::Stack, Sign::Asked));
            record.note(5, (1, Where::Stack, Sign::Refused));
            record.note_taken(5, 2, *TO.ip());
            let open = Sockets { at: listens.iter().copied().collect(), ..Sockets::default() };
            flow.judge(&record, 5, &sites(), &open, Duration::ZERO).verdict
        };
        assert_eq!(refused(&[]), Verdict::Allow, "nobody listens");
        assert_eq!(refused(&[(80, Some(Ipv4Addr::UNSPECIFIED))]), Verdict::Deny);
        assert_eq!(refused(&[(80, Some(*TO.ip()))]), Verdict::Deny);
        assert_eq!(refused(&[(80, Some(Ipv4Addr::LOCALHOST))]), Verdict::Allow, "nobody listens there");
        assert_eq!(refused(&[(80, None)]), Verdict::Unknown, "whether to IPv4, too");
    }

    #[test]
    fn who_is_deaf_says_nothing() {
        let flow = Flow { from: 1, to: 2, aim: Aim::Tcp(TO), port: 80, nth: 0 };
        let outcome = flow.judge(&Record::default(), 5, &sites(), &Sockets::default(), Duration::ZERO);
        assert_eq!(outcome.verdict, Verdict::Unknown);
    }
}
