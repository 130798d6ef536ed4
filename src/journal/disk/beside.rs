//! The state of a journal whose disk cannot be written any more: in the runtime folder, for as long as this boot lasts.
//!
//! What is on such a disk can still be drained, but not a mark and not a cursor can be written there. Kept in memory
//! alone they would be gone with the process, and its restart would send everything again. So the state goes into a file
//! in the runtime folder (`/run/tidegate`), which lives as long as the boot: two slots as on the disk
//! ([`crate::journal::checkpoint::state`]), counted on from there, so the higher count is the newer state wherever it is
//! kept. Journal and boot are in the file's name. The first state that the disk takes again ends it.

use crate::clock::BootId;
use crate::journal::disk::files;
use crate::record::JournalId;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file beside the disk.
#[derive(Debug)]
pub(crate) struct Beside {
    folder: PathBuf,
    boot: BootId,
    path: PathBuf,
    /// There is a file, as far as is known.
    used: bool,
}

impl Beside {
    /// The file of a journal, by the id that its disk has. Touches nothing.
    pub(crate) fn new(folder: &Path, journal: JournalId, boot: BootId) -> Beside {
        let path = folder.join(format!("state-{journal}-{boot:?}"));
        Beside { folder: folder.to_owned(), boot, path, used: false }
    }

    /// The file, if this boot has written one.
    pub(crate) fn open(&mut self) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => {
                self.used = true;
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes one slot at its place. In memory, so there is nothing to sync.
    pub(crate) fn write(&mut self, slot: &[u8], at: u64) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let file = files::writing().mode(0o600).create(true).truncate(false).open(&self.path)?;
        self.used = true;
        file.write_all_at(slot, at)
    }

    /// The disk has a newer state, of `journal`: this one is not needed any more. If it stays, its count is too low to be
    /// taken.
    pub(crate) fn end(&mut self, journal: JournalId) {
        if self.used {
            let _ = fs::remove_file(&self.path);
        }
        *self = Beside::new(&self.folder, journal, self.boot);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the file system as a whole cannot be written.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_beside_serves_only_its_own_boot_and_journal() {
        let dir = crate::testing::fast_dir();
        let folder = dir.path().join("run");
        let (journal, boot) = (JournalId(7), BootId([1; 16]));
        let mut beside = Beside::new(&folder, journal, boot);
        assert!(beside.open().unwrap().is_none() && !folder.exists(), "looking makes nothing");
        beside.write(&[1; 8], 0).unwrap();
        beside.write(&[2; 8], 8).unwrap();
        let mut again = Beside::new(&folder, journal, boot);
        assert_eq!(again.open().unwrap().unwrap().metadata().unwrap().len(), 16);
        for (journal, boot) in [(JournalId(8), boot), (journal, BootId([2; 16]))] {
            assert!(Beside::new(&folder, journal, boot).open().unwrap().is_none());
        }
        again.end(journal);
        assert!(beside.open().unwrap().is_none());
    }
}
