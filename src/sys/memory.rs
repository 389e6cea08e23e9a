//! Memory that is not needed for now goes back to the kernel.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// Gives back the heap's free pages, and the pages of program and libraries that are as they are on disk: what is used
/// again is mapped again. For a process that has done its work and waits.
pub fn release() -> io::Result<()> {
    // Line by line: the whole text is as long as a tenth of what it is about.
    for mapping in unchanged(BufReader::new(File::open("/proc/self/smaps")?).lines()) {
        let mapping = mapping?;
        // SAFETY: nothing in this mapping differs from the file behind it (its Anonymous count is 0, and this thread,
        // the only one, writes to no file mapping), so that what is dropped comes back with the same content.
        if unsafe { libc::madvise(mapping.start as *mut libc::c_void, mapping.len(), libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: malloc_trim(3) has no preconditions.
    unsafe { libc::malloc_trim(0) };
    Ok(())
}

/// Private, unwritable file mappings of which no page was ever written, from the lines of `/proc/self/smaps`
/// (proc_pid_smaps(5)).
fn unchanged(
    smaps: impl Iterator<Item = io::Result<String>>,
) -> impl Iterator<Item = io::Result<std::ops::Range<usize>>> {
    let mut current = None;
    smaps.filter_map(move |line| match line {
        Ok(line) => ended_by(&line, &mut current).map(Ok),
        Err(error) => Some(Err(error)),
    })
}

/// Takes the next line; the mapping, if this line is what makes it one of them.
fn ended_by(line: &str, current: &mut Option<std::ops::Range<usize>>) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (first, second) = (fields.next()?, fields.next()?);
    if first == "Anonymous:" {
        return current.take().filter(|_| second == "0");
    }
    if let Some((start, end)) = first.split_once('-') {
        let inode = fields.nth(2)?;
        let wanted = second.starts_with("r-") && second.ends_with('p') && inode != "0";
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        *current = wanted.then_some(range);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_without_changes_are_given_back() {
        let smaps = "\
1000-2000 r-xp 00000000 fe:00 11 /bin/pontoon
Size: 4 kB
Anonymous:             0 kB
2000-3000 r--p 00001000 fe:00 11 /bin/pontoon
Anonymous:             4 kB
3000-4000 rw-p 00002000 fe:00 11 /bin/pontoon
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0 [vvar]
Anonymous:             0 kB
6000-7000 r--s 00000000 fe:00 12 /tmp/shared
Anonymous:             0 kB
8000-9000 r--p 00000000 fe:00 13 /lib/libc.so.6
Anonymous:             0 kB
";
        let lines = smaps.lines().map(|line| Ok(line.to_owned()));
        let found = unchanged(lines).collect::<io::Result<Vec<_>>>().unwrap();
        assert_eq!(found, [0x1000..0x2000, 0x8000..0x9000]);
    }
}
