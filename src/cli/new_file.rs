//! Files that commands write: made beside their place and renamed into it, so that a place never holds half of one.
//!
//! Commands run as root, in folders where others may have been before. So a file is always a new one, made with O_EXCL,
//! closed to others from its first byte on, and handed over only when it is whole: nothing is written through a link that
//! another user planted, and nothing into another user's file, whose owner and mode would then be the secret's.

use rustix::fs::{Gid, Uid};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, PersistError};

/// A file on its way to its place. Dropped before [`put`](NewFile::put), it is gone.
#[derive(Debug)]
pub(super) struct NewFile {
    beside: NamedTempFile,
    place: PathBuf,
    mode: u32,
}

/// The owner of a file that root makes; a file that another user makes is that user's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owner {
    /// Its user; `None`: root.
    pub(super) user: Option<Uid>,
    /// Its group; `None`: root's.
    pub(super) group: Option<Gid>,
}

impl NewFile {
    /// A new file for `place`, with this `mode` once it is there.
    ///
    /// # Errors
    /// `place` is a link or not a file, its folder is one in which every user may rename files, or nothing can be made there.
    pub(super) fn beside(place: &Path, mode: u32, owner: Owner) -> io::Result<NewFile> {
        if let Ok(there) = place.symlink_metadata() {
            refuse_if(there.is_symlink(), "it is a link; name the file that it leads to")?;
            refuse_if(!there.is_file(), "there is something that is no file")?;
        }
        let folder = folder(place);
        let everybody = folder.metadata()?.permissions().mode();
        refuse_if(
            everybody & 0o002 != 0 && everybody & 0o1000 == 0,
            "every user of this machine may change files in that folder: chmod o-w it",
        )?;
        let name = place.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        let beside = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".new")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)
            // In the system's words, without the drawn name, which means nothing to a user.
            .map_err(|error| io::Error::from(error.kind()))?;
        if rustix::process::geteuid().is_root() {
            rustix::fs::fchown(&beside, owner.user, owner.group)?;
        }
        Ok(NewFile { beside, place: place.to_owned(), mode })
    }

    /// Puts it in its place, where it is durable then.
    ///
    /// # Errors
    /// The disk refuses; whatever was in the place is still there.
    pub(super) fn put(self) -> io::Result<()> {
        self.placed(NamedTempFile::persist)
    }

    /// The same, where nothing is in its place: also nothing that came while this file was written.
    ///
    /// # Errors
    /// Something is there, or the disk refuses; what was in the place is still there.
    pub(super) fn put_new(self) -> io::Result<()> {
        self.placed(NamedTempFile::persist_noclobber)
    }

    fn placed(self, persist: fn(NamedTempFile, PathBuf) -> Result<File, PersistError>) -> io::Result<()> {
        let NewFile { beside, place, mode } = self;
        beside.as_file().set_permissions(Permissions::from_mode(mode))?;
        beside.as_file().sync_all()?;
        persist(beside, place.clone()).map_err(|not| not.error)?;
        File::open(folder(&place))?.sync_all()
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.beside.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.beside.flush()
    }
}

/// Writes a small file whole, and makes its folder where there is none.
///
/// # Errors
/// As [`NewFile::beside`] and [`NewFile::put`].
pub(super) fn write(place: &Path, mode: u32, owner: Owner, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder(place))?;
    let mut file = NewFile::beside(place, mode, owner)?;
    file.write_all(bytes)?;
    file.put()
}

/// Why nothing can be written there, with the cures: sudo where that is one, and `other` unless it is empty.
pub(super) fn unwritable(place: &Path, error: &io::Error, other: &str) -> String {
    let denied = error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root();
    let cures = [if denied { "run it with sudo" } else { "" }, other];
    let cures: Vec<_> = cures.into_iter().filter(|cure| !cure.is_empty()).collect();
    let cures = if cures.is_empty() { String::new() } else { format!("; {}", cures.join(", or ")) };
    format!("cannot write {}: {error}{cures}", place.display())
}

/// The folder of a file.
pub(super) fn folder(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refuse_if(hit: bool, why: &'static str) -> io::Result<()> {
    if hit { Err(io::Error::other(why)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_new_whole_and_closed_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out");
        fs::write(&place, "foreign").unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o666)).unwrap();
        // A process that opened it before must not see what comes.
        let before = File::open(&place).unwrap();
        let mut file = NewFile::beside(&place, 0o600, Owner::default()).unwrap();
        file.write_all(b"secret").unwrap();
        assert_eq!(read(&place).unwrap(), b"foreign", "until it is whole");
        file.put().unwrap();
        assert_eq!((read(&place).unwrap(), mode(&place)), (b"secret".to_vec(), 0o600));
        assert_eq!(io::read_to_string(before).unwrap(), "foreign");
        drop(NewFile::beside(&place, 0o600, Owner::default()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_comes_meanwhile_stays_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out");
        let new = |text: &[u8]| {
            let mut file = NewFile::beside(&place, 0o600, Owner::default()).unwrap();
            file.write_all(text).unwrap();
            file
        };
        let (first, second, third) = (new(b"1"), new(b"2"), new(b"3"));
        first.put_new().unwrap();
        assert_eq!(second.put_new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&place).unwrap(), b"1");
        third.put().unwrap();
        assert_eq!((read(&place).unwrap(), fs::read_dir(folder.path()).unwrap().count()), (b"3".to_vec(), 1));
    }

    #[test]
    fn sudo_is_advised_only_where_it_cures() {
        let said = |kind: io::ErrorKind, other| unwritable(Path::new("/p"), &io::Error::from(kind), other);
        let denied = said(io::ErrorKind::PermissionDenied, "name another");
        assert_eq!(denied.contains("sudo"), !rustix::process::geteuid().is_root(), "{denied}");
        let folder = said(io::ErrorKind::IsADirectory, "name another");
        assert!(folder.starts_with("cannot write /p: ") && folder.ends_with("; name another"), "{folder}");
        assert!(said(io::ErrorKind::StorageFull, "").ends_with("space"), "nothing is advised");
    }

    #[test]
    fn new_files_refuse_links_folders_and_world_writable_folders() {
        let folder = tempfile::tempdir().unwrap();
        let (place, victim) = (folder.path().join("out"), folder.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        for target in [&*victim, Path::new("nowhere")] {
            let _ = fs::remove_file(&place);
            symlink(target, &place).unwrap();
            let why = write(&place, 0o600, Owner::default(), b"x").unwrap_err().to_string();
            assert!(why.contains("link"), "{why}");
        }
        assert_eq!(read(&victim).unwrap(), b"precious");
        assert!(write(folder.path(), 0o600, Owner::default(), b"x").is_err());
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(write(&open.join("out"), 0o600, Owner::default(), b"x").unwrap_err().to_string().contains("chmod o-w"));
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
        write(&open.join("out"), 0o640, Owner::default(), b"x").unwrap();
        assert_eq!(mode(&open.join("out")), 0o640);
    }
}
