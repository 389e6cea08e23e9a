//! How far a daemon had got with the kernel's counters, in a file for the next one: `{"inet lan": 12}`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::counters::Where;
use crate::firewall::names::{Cause, Family};

/// What the file says; nothing, where it cannot be read.
pub(super) fn read(path: &Path) -> BTreeMap<Where, u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let said: BTreeMap<String, u64> = serde_json::from_str(&text).unwrap_or_default();
    said.into_iter().filter_map(|(place, packets)| Some((place_of(&place)?, packets))).collect()
}

/// Written aside and renamed: whole, or not at all.
pub(super) fn write(path: &Path, known: &BTreeMap<Where, u64>) -> io::Result<()> {
    let said: BTreeMap<String, u64> =
        known.iter().map(|((family, cause), packets)| (format!("{family} {cause}"), *packets)).collect();
    let aside = path.with_extension("new");
    std::fs::write(&aside, serde_json::to_vec(&said)?)?;
    std::fs::rename(aside, path)
}

fn place_of(words: &str) -> Option<Where> {
    let (family, cause) = words.split_once(' ')?;
    let family = Family::ALL.into_iter().find(|it| it.to_string() == family)?;
    Some((family, Cause::of(cause)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("denials.json");
        assert_eq!(read(&path), BTreeMap::new());
        let known = BTreeMap::from([((Family::Inet, Cause::Lan), 7), ((Family::Bridge, Cause::SpoofedIp), 9)]);
        write(&path, &known).expect("it can be written");
        assert_eq!(read(&path), known);
        std::fs::write(&path, "{\"inet lan\": 1, \"ip lan\": 2, \"x\": 3}").expect("it can be written");
        assert_eq!(read(&path).len(), 1);
    }
}
