//! What was denied, and how much of it is known: the kernel's counters, added up over tables that are written anew, and
//! beside them what was told. Pure.

use std::collections::BTreeMap;

use super::counters::{Reading, Where, Whose};
use super::directory::Directory;
use crate::firewall::names::Cause;
use crate::model::ContainerId;
use crate::model::audit::{CauseCounts, ContainerCounts, Counts};

/// Containers whose counts are kept.
const CONTAINERS: usize = 4096;
/// Elements of meters that are remembered: as many as the kernel holds of two causes.
const METERS: usize = 131_072;

/// Of one cause, in both tables.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    denied: u64,
    told: u64,
    unheard: u64,
    earlier: u64,
}

/// Of one container and cause.
#[derive(Clone, Debug)]
struct Share {
    name: String,
    denied: u64,
    told: u64,
}

/// All sums.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What the kernel's counters said last.
    last: BTreeMap<Where, u64>,
    meters: BTreeMap<(Where, Whose), u64>,
    begun: bool,
    sums: BTreeMap<Cause, Sum>,
    shares: BTreeMap<(ContainerId, Cause), Share>,
    lost: u64,
    /// The number of the next packet.
    next: u32,
}

impl Ledger {
    /// What the kernel's counters said last.
    pub(super) fn known(&self) -> &BTreeMap<Where, u64> {
        &self.last
    }

    /// The first reading: what happened before. `told_before`: what the daemon before this one knew of.
    pub(super) fn begin(&mut self, reading: Reading, told_before: &BTreeMap<Where, u64>) {
        for (place, packets) in &reading.causes {
            let sum = self.sums.entry(place.1).or_default();
            // Less than was known: the table is another.
            let earlier = told_before.get(place).copied().filter(|before| before <= packets).unwrap_or(0);
            sum.denied += packets;
            sum.earlier += earlier;
            sum.unheard += packets - earlier;
        }
        (self.last, self.meters, self.begun) = (reading.causes, reading.meters, true);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// What came since the last reading.
    pub(super) fn add(&mut self, reading: Reading, listening: bool, directory: &Directory) {
        for (place, packets) in &reading.causes {
            let more = since(self.last.get(place), *packets);
            let sum = self.sums.entry(place.1).or_default();
            sum.denied += more;
            if !listening {
                sum.unheard += more;
            }
        }
        for ((place, whose), packets) in &reading.meters {
            let more = since(self.meters.get(&(*place, whose.clone())), *packets);
            let known = match whose {
                Whose::Port(port) => directory.by_port(port),
                Whose::Address(address) => directory.by_address((*address).into()),
            };
            if let Some(known) = known.filter(|_| more > 0) {
                self.share(&known.id, known.name.as_str(), place.1).denied += more;
            }
        }
        self.last.extend(reading.causes);
        // What is missing may have run out, and begins at nothing if it comes again; or was passed over in the kernel's
        // hash, which changes while it is listed. Neither matters as long as it is not forgotten too soon.
        if self.meters.len() > METERS {
            self.meters.retain(|element, _| reading.meters.contains_key(element));
        }
        self.meters.extend(reading.meters);
    }

    /// The tables are new, and their counters begin at nothing.
    pub(super) fn tables_are_new(&mut self) {
        self.last.values_mut().for_each(|packets| *packets = 0);
        self.meters.clear();
    }

    /// A packet was told.
    pub(super) fn tell(&mut self, cause: Cause, sender: Option<(&ContainerId, &str)>) {
        self.sums.entry(cause).or_default().told += 1;
        if let Some((id, name)) = sender {
            self.share(id, name, cause).told += 1;
        }
    }

    /// The number of a packet that was told: those before it that were not are lost.
    pub(super) fn number(&mut self, number: u32) {
        let missing = number.wrapping_sub(self.next);
        // One that comes late would look like four thousand millions that are missing; the kernel keeps the order.
        self.lost += u64::from(missing);
        self.next = number.wrapping_add(1);
    }

    /// Numbers begin anew.
    pub(super) fn listens_anew(&mut self) {
        self.next = 0;
    }

    fn share(&mut self, id: &ContainerId, name: &str, cause: Cause) -> &mut Share {
        if self.shares.len() >= CONTAINERS && !self.shares.contains_key(&(id.clone(), cause)) {
            // Any other than this: the numbers of a container that is still denied come again.
            let other = self.shares.keys().find(|(of, _)| of != id).cloned();
            other.map(|other| self.shares.remove(&other));
        }
        let share = self.shares.entry((id.clone(), cause)).or_insert(Share { name: String::new(), denied: 0, told: 0 });
        if share.name != name {
            name.clone_into(&mut share.name);
        }
        share
    }

    /// All of it. `forgotten`: packets that were told and are not shown any more.
    pub(super) fn total(&self, forgotten: u64) -> Counts {
        let all = |of: fn(&Sum) -> u64| self.sums.values().map(of).sum::<u64>();
        let told = all(|sum| sum.told);
        let counts = Counts {
            denied: all(|sum| sum.denied),
            shown: told.saturating_sub(forgotten),
            forgotten,
            unlogged: 0,
            lost: 0,
            unheard: all(|sum| sum.unheard),
            earlier: all(|sum| sum.earlier),
        };
        // Somebody else's rules may log to this group, too, so that it need not be ours that was lost.
        let lost = self.lost.min(rest(&counts));
        let counts = Counts { lost, ..counts };
        Counts { unlogged: rest(&counts), ..counts }
    }

    /// By cause. What was forgotten or lost is not known by cause.
    pub(super) fn causes(&self) -> Vec<CauseCounts> {
        let counts = self.sums.iter().map(|(cause, sum)| {
            let counts = Counts {
                denied: sum.denied,
                shown: sum.told,
                unheard: sum.unheard,
                earlier: sum.earlier,
                ..Counts::default()
            };
            CauseCounts { cause: cause.to_string(), counts: Counts { unlogged: rest(&counts), ..counts } }
        });
        counts.collect()
    }

    /// By container and cause.
    pub(super) fn containers(&self) -> Vec<ContainerCounts> {
        let share = |((id, cause), share): (&(ContainerId, Cause), &Share)| ContainerCounts {
            name: share.name.clone(),
            container: id.clone(),
            cause: cause.to_string(),
            denied: share.denied,
            logged: share.told,
        };
        self.shares.iter().map(share).collect()
    }
}

/// What a counter counted since it said that; less than that means that it began anew.
fn since(last: Option<&u64>, now: u64) -> u64 {
    now.checked_sub(last.copied().unwrap_or(0)).unwrap_or(now)
}

/// What is neither told nor known to have gone elsewhere.
fn rest(counts: &Counts) -> u64 {
    let Counts { denied, shown, forgotten, lost, unheard, earlier, .. } = *counts;
    denied.saturating_sub(shown + forgotten + lost + unheard + earlier)
}

#[cfg(test)]
mod tests {
    use super::super::directory::tests::directory;
    use super::*;
    use crate::firewall::elements::tests::id;
    use crate::firewall::names::Family;

    const LAN: Where = (Family::Inet, Cause::Lan);
    const SPOOF: Where = (Family::Bridge, Cause::SpoofedIp);

    fn reading(lan: u64, spoofed: u64) -> Reading {
        let meters = [((SPOOF, Whose::Port("veth2".into())), spoofed)];
        Reading { causes: [(LAN, lan), (SPOOF, spoofed)].into(), meters: meters.into() }
    }

    fn adds_up(counts: Counts) -> bool {
        let Counts { denied, shown, forgotten, unlogged, lost, unheard, earlier } = counts;
        denied == shown + forgotten + unlogged + lost + unheard + earlier
    }

    #[test]
    fn each_packet_is_accounted_for() {
        let (mut ledger, directory) = (Ledger::default(), directory(&[2]));
        // The daemon before knew of 4 and 2; of the latter's table nothing is left.
        ledger.begin(reading(10, 1), &[(LAN, 4), (SPOOF, 2)].into());
        ledger.add(reading(12, 1), false, &directory);
        ledger.add(reading(20, 8), true, &directory);
        let of = id(2);
        (0..3).for_each(|_| ledger.tell(Cause::SpoofedIp, Some((&of, "c2"))));
        [0, 1, 4].into_iter().for_each(|number| ledger.number(number));
        let total = ledger.total(1);
        let expected = Counts { denied: 28, shown: 2, forgotten: 1, unlogged: 10, lost: 2, unheard: 9, earlier: 4 };
        assert_eq!(total, expected);
        assert!(adds_up(total));
        let [share] = &ledger.containers()[..] else { panic!("one container") };
        assert_eq!((share.name.as_str(), share.denied, share.logged), ("c2", 7, 3));
        let causes = ledger.causes();
        assert_eq!(causes.iter().map(|cause| cause.counts.denied).sum::<u64>(), 28);
        assert!(causes.iter().all(|cause| adds_up(cause.counts)));
    }

    #[test]
    fn tables_that_are_new_are_added_to_the_old() {
        let (mut ledger, directory) = (Ledger::default(), directory(&[2]));
        ledger.begin(reading(0, 0), &BTreeMap::new());
        ledger.add(reading(5, 5), true, &directory);
        ledger.tables_are_new();
        ledger.add(reading(9, 6), true, &directory);
        // Nobody said that these are new; they show it.
        ledger.add(reading(2, 3), true, &directory);
        assert_eq!(ledger.total(0).denied, 5 + 9 + 2 + 5 + 6 + 3);
        assert_eq!(ledger.containers()[0].denied, 5 + 6 + 3);
    }

    #[test]
    fn the_numbers_go_round() {
        let mut ledger = Ledger { next: u32::MAX, ..Ledger::default() };
        [u32::MAX, 0, 1, 3].into_iter().for_each(|number| ledger.number(number));
        assert_eq!(ledger.lost, 1);
        ledger.listens_anew();
        ledger.number(0);
        assert_eq!(ledger.lost, 1);
    }
}
