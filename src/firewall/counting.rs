//! Since when the elements count: tables that are written anew begin at nothing. A small file tells the next daemon, which
//! mostly finds them as they were left.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Counting {
    since: Arc<Mutex<Option<Timestamp>>>,
    file: Option<PathBuf>,
}

impl Counting {
    /// As the daemon before this one has left it.
    pub(super) fn remembered(file: Option<PathBuf>) -> Self {
        let since = file.as_deref().and_then(read);
        Self { since: Arc::new(Mutex::new(since)), file }
    }

    /// `None`: that is not known.
    pub(super) fn since(&self) -> Option<Timestamp> {
        *self.locked()
    }

    /// To be called before tables are written: should that not come about, less is said of what was not used, and nothing
    /// wrong.
    pub(super) fn begins(&self, now: Timestamp) {
        *self.locked() = Some(now);
        if let Some(file) = &self.file
            && let Err(error) = write(file, now)
        {
            // The next daemon must not take an older moment for this one.
            let _may_not_be_there = std::fs::remove_file(file);
            tracing::warn!(%error, "cannot note since when the firewall counts");
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing, where it cannot be read.
fn read(file: &Path) -> Option<Timestamp> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Written aside and renamed: whole, or not at all.
fn write(file: &Path, since: Timestamp) -> io::Result<()> {
    let aside = file.with_extension("new");
    std::fs::write(&aside, format!("{since}\n"))?;
    std::fs::rename(aside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_daemon_knows_since_when() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = || Some(dir.path().join("counting"));
        let moment = |second| Timestamp::from_second(second).expect("a time");
        let first = Counting::remembered(file());
        assert_eq!(first.since(), None);
        first.clone().begins(moment(7));
        assert_eq!(first.since(), Some(moment(7)), "clones share it");
        assert_eq!(Counting::remembered(file()).since(), Some(moment(7)));
        first.begins(moment(9));
        assert_eq!(Counting::remembered(file()).since(), Some(moment(9)));
        std::fs::write(dir.path().join("counting"), "yesterday").expect("it can be written");
        assert_eq!(Counting::remembered(file()).since(), None);
    }
}
