//! Sending, and listening for what comes of it.
//!
//! That something does *not* arrive is known once everything that was sent before has had its chance: after the probes,
//! the host puts a mark onto each container's wire, straight onto its port, past the bridge and all rules. A station
//! that has heard its mark could have heard the probes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::heard::{Heard, Sign};
use super::packet::{EXPERIMENTAL, ethernet, udp};
use super::round::STRAYS;
use super::station::{Site, Station, Where, link};
use super::token::Run;
use crate::firewall::audit::Mac;
use crate::sys::socket;

/// The number of marks; probes have lower ones.
pub(super) const MARK: u16 = 0xffe0;

/// After so many packets, what was heard meanwhile is taken out of the queues.
const AT_ONCE: usize = 64;

/// How much longer marks are waited for: on a machine that is busy.
const GRACE: Duration = Duration::from_secs(2);

/// One packet.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    /// From which station.
    pub(super) from: usize,
    /// Of which probe.
    pub(super) number: u16,
    /// What.
    pub(super) load: Load,
    /// From where to where, of what is answered.
    pub(super) ends: Option<(SocketAddrV4, SocketAddrV4)>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Load {
    /// A packet, routed by the namespace that sends it.
    Packet(Ipv4Addr, Vec<u8>),
    /// A frame, put onto the wire as it is.
    Frame(Vec<u8>),
}

/// What was heard of one probe: by which station, where, what.
pub(super) type Hearings = BTreeSet<(usize, Where, Sign)>;

/// What came of a volley.
#[derive(Debug, Default)]
pub(super) struct Record {
    heard: BTreeMap<u16, Hearings>,
    /// Probes that the sender's own kernel did not send.
    pub(super) unsent: BTreeMap<u16, io::Error>,
    /// Which station asked, from where to where.
    asked: BTreeMap<u16, (usize, (SocketAddrV4, SocketAddrV4))>,
    /// At which of its own addresses a station's stack took a probe.
    taken_at: BTreeMap<(u16, usize), Ipv4Addr>,
    /// Stations that have heard their mark.
    marked: BTreeSet<usize>,
    /// Packets that left.
    pub(super) packets: u32,
}

impl Record {
    /// All that was heard of a probe.
    pub(super) fn of(&self, number: u16) -> Hearings {
        self.heard.get(&number).cloned().unwrap_or_default()
    }

    /// Notes that something was heard; answers whether that is new.
    pub(super) fn note(&mut self, number: u16, what: (usize, Where, Sign)) -> bool {
        self.heard.entry(number).or_default().insert(what)
    }

    /// Notes at which of its own addresses a station's stack took a probe.
    pub(super) fn note_taken(&mut self, number: u16, station: usize, at: Ipv4Addr) {
        self.taken_at.insert((number, station), at);
    }

    /// At which of its own addresses a station's stack took a probe.
    pub(super) fn taken_at(&self, number: u16, station: usize) -> Option<Ipv4Addr> {
        self.taken_at.get(&(number, station)).copied()
    }

    /// Notes that a station heard its mark.
    pub(super) fn note_mark(&mut self, station: usize) {
        self.marked.insert(station);
    }

    /// Whether a station could hear at all.
    pub(super) fn could_hear(&self, station: usize) -> bool {
        self.marked.contains(&station)
    }
}

/// Stations that can be probed, by their site's place; the host is the first.
pub(super) struct Stage<'a> {
    pub(super) sites: &'a [Site],
    pub(super) stations: Vec<Option<Station>>,
    pub(super) run: Run,
}

impl Stage<'_> {
    /// Sends all of these, and listens for at least `patience` unless `done` says that all has been heard.
    pub(super) fn volley(&self, shots: &[Shot], patience: Duration, done: impl Fn(&Record) -> bool) -> Record {
        let asked = shots.iter().filter_map(|shot| Some((shot.number, (shot.from, shot.ends?))));
        let mut record = Record { asked: asked.collect(), ..Record::default() };
        for some in shots.chunks(AT_ONCE) {
            for shot in some {
                self.shoot(shot, &mut record);
            }
            self.stations.iter().enumerate().for_each(|(place, _)| self.hear(place, &mut record));
        }
        let marks = self.mark();
        let begun = Instant::now();
        let ears: Vec<_> = self.ears().collect();
        loop {
            self.wait(&ears, &mut record);
            let waited = begun.elapsed();
            let all_marked = marks.is_subset(&record.marked);
            if all_marked && (done(&record) || waited >= patience) || waited >= patience + GRACE {
                return record;
            }
        }
    }

    fn shoot(&self, shot: &Shot, record: &mut Record) {
        let Some(Some(station)) = self.stations.get(shot.from) else { return };
        let sent = match &shot.load {
            Load::Packet(to, bytes) => station.send(*to, bytes),
            Load::Frame(bytes) => station.emit(bytes),
        };
        match sent {
            Ok(()) => record.packets += 1,
            Err(error) => drop(record.unsent.insert(shot.number, error)),
        }
    }

    /// Puts the marks onto the wires; answers whose.
    fn mark(&self) -> BTreeSet<usize> {
        let Ok(wire) = socket::packet() else { return BTreeSet::new() };
        let payload = self.run.token(MARK).payload();
        let mark = |place: &usize| -> io::Result<()> {
            let seat = self.sites[*place].seat.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let (index, mac) = link(&seat.port)?;
            let to: Mac = self.stations[*place].as_ref().and_then(|it| it.wire.as_ref()).map_or(seat.mac, |it| it.mac);
            socket::send_frame(&wire, index, &ethernet(mac, to, EXPERIMENTAL, &payload))
        };
        let present = (0..self.stations.len()).filter(|place| self.stations[*place].is_some());
        present.filter(|place| mark(place).is_ok()).collect()
    }

    fn ears(&self) -> impl Iterator<Item = (usize, &OwnedFd)> {
        let present = self.stations.iter().enumerate().filter_map(|(place, it)| Some((place, it.as_ref()?)));
        present.flat_map(|(place, station)| station.ears().map(move |ear| (place, ear)))
    }

    /// Waits a moment for something to be heard.
    fn wait(&self, ears: &[(usize, &OwnedFd)], record: &mut Record) {
        let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let mut polled: Vec<_> = ears.iter().map(|(_, ear)| PollFd::new(*ear, PollFlags::IN)).collect();
        if poll(&mut polled, Some(&moment)).is_err() {
            return;
        }
        let ready: BTreeSet<_> = ears
            .iter()
            .zip(&polled)
            .filter(|(_, polled)| !polled.revents().is_empty())
            .map(|((place, _), _)| *place)
            .collect();
        for place in ready {
            self.hear(place, record);
        }
    }

    fn hear(&self, place: usize, record: &mut Record) {
        let Some(station) = &self.stations[place] else { return };
        station.hear(|way, heard| {
            if heard.number == MARK {
                record.note_mark(place);
                return;
            }
            let sign = match record.asked.get(&heard.number) {
                Some((from, asked)) if *from == place && way == Where::Stack => heard.answering(*asked),
                _ => heard.sign,
            };
            let is_new = record.note(heard.number, (place, way, sign));
            if is_new && way == Where::Stack && sign == Sign::Asked && heard.number < STRAYS {
                if let Some((_, at)) = heard.ends {
                    record.note_taken(heard.number, place, *at.ip());
                }
                self.receive(station, heard);
            }
        });
    }

    /// The receiver of datagrams: answers as the port's program would.
    fn receive(&self, station: &Station, heard: Heard) {
        let Some((from, to)) = heard.ends.filter(|_| heard.datagram) else { return };
        let answer = self.run.token(heard.number).answered().payload();
        // That it could not be sent shows at the other end.
        let _ = station.send(*from.ip(), &udp(to, from, &answer));
    }
}
