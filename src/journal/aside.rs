//! What the medium refuses for good is set aside, so that everything else goes on.
//!
//! A page, a file or a folder that cannot be read may be readable in a moment: a reader, a cable, a card that is warm. So for
//! [`super::refusal::PATIENCE`] it is tried again, and who needs it waits. Then it is moved, whole and untouched, into the folder `aside` of the
//! journal, and what it held counts as missing: booked, announced, and for a person to see. It is never deleted here.
//!
//! Only the medium is believed like that ([`super::refusal`]); everything else is waited for without an end.

use super::files;
use super::refusal::{is_believed, is_well};
use std::fs;
use std::io;
use std::path::Path;

/// The folder in the journal's.
const FOLDER: &str = "aside";
/// Moves `what`, a file or a folder, out of the way. Where even that is refused it stays, and is tried again at the next start.
pub(super) fn set_aside(journal: &Path, what: &Path, why: &io::Error) {
    let name = what.file_name().unwrap_or_default().to_owned();
    let folder = journal.join(FOLDER);
    let free = |count: u32| {
        let mut name = name.clone();
        if count > 0 {
            name.push(format!(".{count}"));
        }
        folder.join(name)
    };
    let to = (0..).map(free).find(|to| to.symlink_metadata().is_err()).expect("some name is free");
    let moved = files::create_dir(&folder).and_then(|()| files::rename(what, &to));
    match moved {
        Ok(()) => tracing::error!(
            what = %what.display(), to = %to.display(), %why,
            "the disk gives this back no more: it is set aside, and what it held counts as lost; check the card"
        ),
        Err(error) => tracing::error!(
            what = %what.display(), %why, %error,
            "the disk gives this back no more: what it held counts as lost; it cannot be moved away either; check the card"
        ),
    }
    is_well(what);
}

/// Does what needs `what`; where the medium has refused it for too long, sets it aside and does it again without.
///
/// # Errors
/// It is refused, and not for long enough yet; or for another reason than the medium.
pub(super) fn patiently<T>(journal: &Path, what: &Path, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match attempt() {
        Ok(done) => {
            is_well(what);
            Ok(done)
        }
        Err(why) if is_believed(what, &why) => {
            set_aside(journal, what, &why);
            attempt()
        }
        Err(error) => Err(error),
    }
}

/// How many things are set aside.
pub(super) fn count(journal: &Path) -> usize {
    fs::read_dir(journal.join(FOLDER)).map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::super::refusal::PATIENCE;
    use super::*;

    #[test]
    fn what_is_set_aside_keeps_its_bytes_and_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let what = dir.path().join("quarantine");
        for count in 1..=2 {
            std::os::unix::fs::symlink("nowhere", &what).unwrap();
            let read = || match fs::read(&what) {
                Err(error) if what.symlink_metadata().is_ok() => Err(error),
                _ => Ok("without it"),
            };
            assert!(patiently(dir.path(), &what, read).is_err());
            std::thread::sleep(PATIENCE);
            assert_eq!(patiently(dir.path(), &what, read).unwrap(), "without it");
            assert_eq!(super::count(dir.path()), count);
        }
        assert_eq!(fs::read_link(dir.path().join("aside/quarantine.1")).unwrap(), Path::new("nowhere"));
    }
}
