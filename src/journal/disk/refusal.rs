//! What a refusal of the system means: a medium that gives up, or anything else.
//!
//! Absence is ENOENT, or a path through something that is not a folder, and nothing else. Code that takes another refusal for
//! it loses what is still there: it writes a state file anew over the one that could not be looked at, and books as damaged a
//! generation that could not be listed. So every other refusal is handed on, and what needs the file waits and says why.
//!
//! For a medium's own errors there is an end to that: a page that is refused for [`PATIENCE`] is believed to be gone. A
//! reader or a cable that stumbles is back before. Nothing else is ever believed: too many open files, no memory, no
//! permission and a file system gone read-only say nothing about what is on the disk.

use crate::sync::locked;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the journal waits for a medium that refuses. A lane or an opening that needs what is refused pauses for as
/// long, and says why.
pub(crate) const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(120) };
/// Since when files have been refused.
static REFUSED: Mutex<BTreeMap<PathBuf, Instant>> = Mutex::new(BTreeMap::new());

/// Whether the medium itself gives up: EIO, EUCLEAN, EBADMSG, and ELOOP of a link where a file of ours should be.
pub(crate) fn is_of_medium(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let medium = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::LOOP];
    error.raw_os_error().is_some_and(|code| medium.iter().any(|errno| errno.raw_os_error() == code))
}

/// Whether `error`, met at `path`, has been met there for so long without a break that it is believed: of a medium, and of
/// a path in a journal's folder that went away, which nothing of ours does by itself.
pub(crate) fn is_believed(path: &Path, error: &io::Error) -> bool {
    (is_of_medium(error) || is_absence(error)) && has_refused(&mut locked(&REFUSED), path, Instant::now())
}

/// It can be read again.
pub(crate) fn is_well(path: &Path) {
    locked(&REFUSED).remove(path);
}

fn has_refused(refused: &mut BTreeMap<PathBuf, Instant>, path: &Path, now: Instant) -> bool {
    let since = *refused.entry(path.to_owned()).or_insert(now);
    now.saturating_duration_since(since) >= crate::failpoints::patience().unwrap_or(PATIENCE)
}

/// Whether nothing is there.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What came of reading `path`; `None`: it is not there, or its medium has refused it for so long that it counts as gone.
///
/// # Errors
/// Any other refusal, and the medium's until it is believed.
pub(crate) fn unless_gone<T>(path: &Path, read: io::Result<T>) -> io::Result<Option<T>> {
    judged(&mut locked(&REFUSED), path, read, Instant::now())
}

fn judged<T>(
    refused: &mut BTreeMap<PathBuf, Instant>,
    path: &Path,
    read: io::Result<T>,
    now: Instant,
) -> io::Result<Option<T>> {
    let error = match read {
        Err(error) if is_of_medium(&error) => error,
        read => {
            refused.remove(path);
            return match read {
                Ok(value) => Ok(Some(value)),
                Err(error) if is_absence(&error) => Ok(None),
                Err(error) => Err(error),
            };
        }
    };
    if has_refused(refused, path, now) {
        return Ok(None);
    }
    let text = format!(
        "{error}: {} cannot be read; tried again for {} s before it counts as damaged",
        path.display(),
        PATIENCE.as_secs()
    );
    Err(io::Error::new(error.kind(), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_missing_files_are_absent_and_media_errors_believed_later(code in 1i32..134, waited in 0u32..300) {
            let (path, begin) = (Path::new("/a"), Instant::now());
            let mut refused = BTreeMap::new();
            let mut read = |percent: u32| {
                let error = Err::<(), _>(io::Error::from_raw_os_error(code));
                judged(&mut refused, path, error, begin + PATIENCE * percent / 100)
            };
            let (first, later) = (read(0), read(waited));
            let medium = [5, 117, 74, 40].contains(&code);
            let absent = [2, 20].contains(&code);
            prop_assert_eq!(first.is_ok(), absent);
            prop_assert_eq!(later.is_ok(), absent || (medium && waited >= 100));
        }
    }

    #[test]
    fn a_file_that_reads_again_restarts_its_patience() {
        let (path, begin) = (Path::new("/a"), Instant::now());
        let mut refused = BTreeMap::new();
        let eio = || Err::<u8, _>(io::Error::from_raw_os_error(5));
        let at = |percent: u32| begin + PATIENCE * percent / 100;
        assert!(judged(&mut refused, path, eio(), at(0)).is_err());
        assert_eq!(judged(&mut refused, path, Ok(1), at(90)).unwrap(), Some(1));
        assert!(judged(&mut refused, path, eio(), at(101)).is_err());
        assert_eq!(judged(&mut refused, path, eio(), at(201)).unwrap(), None);
    }
}
