//! Folders that nothing is needed of, until the disk lets go of them.
//!
//! What cannot be removed now is tried again before each deletion and at a bound in bytes, and counts as the journal's meanwhile:
//! a bound that did not see it would be broken by as much as the disk refuses, for as long as the agent runs.

use crate::journal::disk::files;
use crate::journal::log::DISTRUSTED;
use crate::sync::locked;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{fs, io};

/// Those that are left.
#[derive(Debug, Default)]
pub(crate) struct Left(Mutex<BTreeMap<PathBuf, Folder>>);

#[derive(Debug)]
struct Folder {
    /// Bytes that it takes on disk.
    bytes: u64,
    /// It may be removed by this process.
    may_go: bool,
}

impl Left {
    /// Removes a folder, now or later.
    pub(crate) fn remove(&self, folder: &Path) {
        let mut left = locked(&self.0);
        left.remove(folder);
        locked(&DISTRUSTED).remove(folder);
        if let Some((bytes, error)) = refused(folder) {
            tracing::warn!(folder = %folder.display(), %error, "cannot be removed now, its space stays taken");
            left.insert(folder.to_owned(), Folder { bytes, may_go: true });
        }
    }

    /// Tries all of them again.
    pub(crate) fn remove_again(&self) {
        locked(&self.0).retain(|path, folder| match folder.may_go.then(|| refused(path)) {
            Some(Some((bytes, _))) => {
                folder.bytes = bytes;
                true
            }
            Some(None) => false,
            None => true,
        });
    }

    /// Leaves a folder to the next opening, because it is not certain that a cut in the middle of its removal would do no harm.
    pub(crate) fn leave(&self, folder: &Path) {
        let bytes = files::disk_bytes(folder);
        locked(&self.0).insert(folder.to_owned(), Folder { bytes, may_go: false });
    }

    /// There is no such folder, or there is going to be another one.
    pub(crate) fn forget(&self, name: &Path) {
        locked(&self.0).remove(name);
    }

    /// Bytes on disk of all of them.
    pub(crate) fn bytes(&self) -> u64 {
        locked(&self.0).values().map(|folder| folder.bytes).sum()
    }
}

/// Removes a folder; `Some`: bytes that stay, and why.
fn refused(folder: &Path) -> Option<(u64, io::Error)> {
    let error = fs::remove_dir_all(folder).err()?;
    (error.kind() != io::ErrorKind::NotFound).then(|| (files::disk_bytes(folder), error))
}
