//! One flow that is tried: what is sent for it, and what follows from what was heard.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::heard::Sign;
use super::packet;
use super::station::{Site, Station, Where};
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
        let own_port = *source.udp_ports.get(self.nth)?;
        let bytes = match self.aim {
            Aim::Tcp(to) => packet::syn(SocketAddrV4::new(from, source.tcp_port), to, token),
            Aim::Udp(to) => packet::udp(SocketAddrV4::new(from, own_port), to, &token.payload()),
            Aim::Echo(to) => packet::echo(from, to, own_port, &token.payload()),
        };
        Some(Shot { from: self.from, number: token.number, load: Load::Packet(target, bytes) })
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

    /// What follows from what was heard. `waiting`: connections that wait at the target's port.
    pub(super) fn judge(
        &self,
        record: &Record,
        number: u16,
        sites: &[Site],
        waiting: u32,
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
            (true, Some(Sign::Refused)) => outcome(Allow, format!("{to}'s RST came back: nobody listens")),
            (true, Some(_)) => outcome(Allow, format!("it reached {to}, whose answer came back")),
            (true, None) => self.unanswered(&heard, to, waiting),
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

    fn unanswered(&self, heard: &Hearings, to: &str, waiting: u32) -> Outcome {
        let outcome = |verdict, seen: String| Outcome { verdict, seen };
        let left = heard.iter().any(|(place, way, sign)| {
            (*place, *way) == (self.to, Where::Leaving) && matches!(sign, Sign::Taken | Sign::Refused | Sign::Answered)
        });
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
        let outcome = flow.judge(&record, 5, &sites(), waiting, Duration::from_millis(300));
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
    fn who_is_deaf_says_nothing() {
        let flow = Flow { from: 1, to: 2, aim: Aim::Tcp(TO), port: 80, nth: 0 };
        let outcome = flow.judge(&Record::default(), 5, &sites(), 0, Duration::ZERO);
        assert_eq!(outcome.verdict, Verdict::Unknown);
    }
}
