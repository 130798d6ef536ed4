//! Small files and folders, made durable.
//!
//! sled syncs neither folders nor its own small files, and a renamed or created file is only there after a power cut
//! when its folder was synced. Every step that others rely on ends in such a sync.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Syncs a folder: entries created, renamed or removed in it are durable afterwards.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    crate::sync::locked(&SYNCS).entry(path.to_owned()).and_modify(|count| *count += 1).or_insert(1);
    File::open(path)?.sync_all()
}

/// Syncs what was written to a file, and its length. `path`: its name.
pub(crate) fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(test)]
    refused(path)?;
    let _ = path;
    file.sync_data()
}

/// Syncs every file directly in a folder, then the folder.
pub(crate) fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            #[cfg(test)]
            refused(&entry.path())?;
            File::open(entry.path())?.sync_all()?;
        } else if kind.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_dir(path)
}

/// Creates a folder with its parents, durable up to the first one that was there. For the journal's own folder alone: what is
/// in it is made by [`create_dir_within`].
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
        create_dir_within(path)
    } else {
        fs::create_dir_all(path)
    }
}

/// Creates a folder in one that is there, durably: were the journal moved or its disk gone, a folder in its place would be taken for
/// it. What cannot be made certain is taken away again: the next attempt would find it, and take it for certain.
pub(crate) fn create_dir_within(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => match path.parent() {
            Some(parent) => sync_dir(parent).inspect_err(|_| drop(fs::remove_dir(path))),
            None => Ok(()),
        },
    }
}

/// How a file of the journal is opened for writing: never through a link, which could lead anywhere.
pub(crate) fn writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    options
}

/// Replaces a file as a whole: after a power cut it holds the old bytes or the new ones, never a mixture. After an error
/// it may be either, whatever the name shows now: what is added there may go, until it is replaced once more.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = writing().create(true).truncate(true).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Moves a folder; the move is durable afterwards.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    for folder in [to.parent(), from.parent()].into_iter().flatten() {
        sync_dir(folder)?;
    }
    Ok(())
}

/// Bytes that a folder takes on disk: blocks, not lengths, because sled's files have holes and spare segments.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    disk_bytes_beside(path, "")
}

/// The same, without what has this name in it.
pub(crate) fn disk_bytes_beside(path: &Path, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    #[cfg(test)]
    WALKS.set(WALKS.get() + 1);
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name() != name)
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => disk_bytes(&entry.path()),
            Ok(about) => about.blocks() * 512,
            // Removed between the listing and the look.
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
static SYNCS: std::sync::Mutex<std::collections::BTreeMap<std::path::PathBuf, u64>> =
    std::sync::Mutex::new(std::collections::BTreeMap::new());

/// How often this very folder was synced, by whichever thread.
#[cfg(test)]
pub(crate) fn syncs_of(folder: &Path) -> u64 {
    crate::sync::locked(&SYNCS).get(folder).copied().unwrap_or(0)
}

#[cfg(test)]
thread_local! {
    /// Folders whose bytes this thread has looked at.
    pub(crate) static WALKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    static REFUSED: std::cell::RefCell<Option<std::path::PathBuf>> = const { std::cell::RefCell::new(None) };
}

/// Syncs of this thread below `folder` are refused for as long as this is kept.
#[cfg(test)]
pub(crate) fn refuse_syncs(folder: &Path) -> impl Drop {
    struct Mended;
    impl Drop for Mended {
        fn drop(&mut self) {
            REFUSED.set(None);
        }
    }
    REFUSED.set(Some(folder.to_owned()));
    Mended
}

#[cfg(test)]
fn refused(path: &Path) -> io::Result<()> {
    let refused = REFUSED.with_borrow(|folder| folder.as_ref().is_some_and(|folder| path.starts_with(folder)));
    if refused { Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())) } else { Ok(()) }
}
