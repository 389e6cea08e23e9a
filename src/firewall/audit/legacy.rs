//! Tables of the legacy iptables (x_tables), which nf_tables does not see: which there are, and whether they do anything.
//!
//! Whoever only looks at one makes it: empty, with policies that accept. Such tables are not worth a word. What others hold
//! is not modelled.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::sys::socket::read_option;

/// A family of such tables.
struct Kind {
    program: &'static str,
    /// Below `/proc/net`.
    names: &'static str,
    family: AddressFamily,
    level: i32,
    /// `…T_SO_GET_INFO`; the next is `…T_SO_GET_ENTRIES`.
    option: i32,
    /// Of `struct …t_getinfo`: entries of its two lists.
    hooks: usize,
}

const KINDS: [Kind; 3] = [
    Kind {
        program: "iptables",
        names: "ip_tables_names",
        family: AddressFamily::Inet,
        level: libc::SOL_IP,
        option: 64,
        hooks: 5,
    },
    Kind {
        program: "ip6tables",
        names: "ip6_tables_names",
        family: AddressFamily::Inet6,
        level: libc::SOL_IPV6,
        option: 64,
        hooks: 5,
    },
    Kind {
        program: "arptables",
        names: "arp_tables_names",
        family: AddressFamily::Inet,
        level: libc::SOL_IP,
        option: 96,
        hooks: 3,
    },
];

/// A table's name in questions (`XT_TABLE_MAXNAMELEN`).
const NAME: usize = 32;
/// `struct xt_standard_target`, aligned: at its 32nd byte is the verdict.
const TARGET: usize = 40;
/// `-NF_ACCEPT - 1`.
const ACCEPT: i32 = -2;

/// Those that the calling thread's namespace has and that may do something, in words.
pub(super) fn tables() -> Vec<String> {
    let of = |kind: &Kind| {
        let text = std::fs::read_to_string(Path::new("/proc/thread-self/net").join(kind.names)).ok()?;
        let acting: Vec<&str> =
            text.split_whitespace().filter(|name| !kind.does_nothing(name).unwrap_or(false)).collect();
        (!acting.is_empty()).then(|| format!("tables of the legacy {}: {}", kind.program, acting.join(", ")))
    };
    KINDS.iter().filter_map(of).collect()
}

impl Kind {
    /// Whether a table holds no rule, and all of its policies accept.
    fn does_nothing(&self, table: &str) -> io::Result<bool> {
        let asks: OwnedFd = socket(self.family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        // Its name, which hooks it has (bits), their first entries and their policies by place, how many entries, and their size.
        let mut info = vec![0; NAME + 4 + self.hooks * 8 + 8];
        name_into(&mut info, table)?;
        read_option(&asks, self.level, self.option, &mut info)?;
        let word = |at: usize| number(&info, at);
        let valid = word(NAME).ok_or(io::ErrorKind::InvalidData)?;
        let after = NAME + 4 + self.hooks * 8;
        let (Some(count), Some(size)) = (word(after), word(after + 4)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        // Each chain's policy is an entry, and so is the end.
        if count != valid.count_ones() + 1 {
            return Ok(false);
        }
        let firsts =
            (0..self.hooks).filter(|hook| valid & (1 << hook) != 0).filter_map(|hook| word(NAME + 4 + hook * 4));
        let mut firsts: Vec<usize> = firsts.map(|first| first as usize).collect();
        firsts.sort_unstable();
        // `struct …t_get_entries`: name and size, then entries, which are aligned to eight.
        let begin = (NAME + 4).next_multiple_of(8);
        let mut entries = vec![0; begin + size as usize];
        name_into(&mut entries, table)?;
        entries[NAME..NAME + 4].copy_from_slice(&size.to_ne_bytes());
        read_option(&asks, self.level, self.option + 1, &mut entries)?;
        Ok(all_accept(&entries[begin..], &firsts))
    }
}

/// Whether all policies accept, of entries that hold nothing else: they are of one length.
fn all_accept(entries: &[u8], firsts: &[usize]) -> bool {
    let [first, second, ..] = firsts else { return false };
    let length = second - first;
    firsts.iter().all(|first| {
        let verdict = (first + length).checked_sub(TARGET).and_then(|target| entries.get(target + 32..target + 36));
        verdict.and_then(|it| it.try_into().ok()).map(i32::from_ne_bytes) == Some(ACCEPT)
    })
}

fn name_into(question: &mut [u8], name: &str) -> io::Result<()> {
    let place = question.get_mut(..name.len()).filter(|_| name.len() < NAME).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(name.as_bytes());
    Ok(())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        let entry = |verdict: i32| [&[0; 112 + 32][..], &verdict.to_ne_bytes(), &[0; 4]].concat();
        let table = |verdicts: [i32; 3]| verdicts.iter().flat_map(|verdict| entry(*verdict)).collect::<Vec<u8>>();
        let firsts = [0, 152, 304];
        assert!(all_accept(&table([ACCEPT; 3]), &firsts));
        assert!(!all_accept(&table([ACCEPT, -1, ACCEPT]), &firsts));
        assert!(!all_accept(&table([ACCEPT; 3])[..300], &firsts), "it is cut off");
    }
}
