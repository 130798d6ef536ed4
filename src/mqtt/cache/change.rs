//! What is done to the intake's small files, one step after the other.

use crate::journal::files;
use crate::mqtt::cache::CacheError;
use std::path::Path;
use std::{fs, io};

/// One step.
#[derive(Debug)]
pub(super) enum Change {
    /// Write a file, durably; `None` removes it.
    File(&'static str, Option<Vec<u8>>),
    /// Rename a file; not durable.
    Rename(&'static str, &'static str),
}

/// Takes a step. Blocks on the disk.
pub(super) fn apply(folder: &Path, change: Change) -> Result<(), CacheError> {
    let (path, done) = match change {
        Change::File(name, Some(bytes)) => {
            let path = folder.join(name);
            (path.clone(), replace(folder, &path, &bytes))
        }
        Change::File(name, None) => {
            let path = folder.join(name);
            (path.clone(), remove(folder, &path))
        }
        Change::Rename(from, to) => {
            let path = folder.join(from);
            (path.clone(), fs::rename(&path, folder.join(to)))
        }
    };
    done.map_err(|source| CacheError { path, source })
}

/// Writes a file whole, and makes its folder; not the one above, which is the journal's: were that moved or its disk gone, what
/// is put in its place would be taken for it.
pub(super) fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::create_dir_within(folder)?;
    files::replace(path, bytes)
}

fn remove(folder: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => files::sync_dir(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
