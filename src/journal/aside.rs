//! What the medium refuses for good is set aside, so that everything else goes on.
//!
//! A page, a file or a folder that cannot be read may be readable in a moment: a reader, a cable, a card that is warm. So for
//! [`PATIENCE`] it is tried again, and who needs it waits. Then it is moved, whole and untouched, into the folder `aside` of the
//! journal, and what it held counts as missing: booked, announced, and for a person to see. It is never deleted here.
//!
//! Only the medium is believed like that ([`is_medium`]): that there is no memory, no descriptor, no permission, that the disk is
//! read-only or gone, says nothing of what is on it, and is waited for without an end.

use super::files;
use super::log::locked;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long what the medium refuses is waited for. A lane or an opening that needs it stands still for as long, and says why.
pub(super) const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(120) };
/// The folder in the journal's.
const FOLDER: &str = "aside";
/// Since when the medium has been refusing what.
static REFUSING: Mutex<BTreeMap<PathBuf, Instant>> = Mutex::new(BTreeMap::new());

/// Whether an error says that the medium, or what stands on it, is damaged.
pub(super) fn is_medium(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // A link that leads nowhere or in a circle stands where a file of ours should be.
    const MEDIUM: [Errno; 4] = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::LOOP];
    let code = error.raw_os_error();
    MEDIUM.iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Whether `error`, met at `what`, has been met there for so long without a break that it is believed.
pub(super) fn is_believed(what: &Path, error: &io::Error) -> bool {
    // In a journal's folder that is there, nothing of ours goes away by itself: a link to nowhere, or somebody removed it.
    let gone = error.kind() == io::ErrorKind::NotFound;
    (is_medium(error) || gone) && has_refused(&mut locked(&REFUSING), what, Some(Instant::now()), PATIENCE)
}

/// It can be read again.
pub(super) fn is_well(what: &Path) {
    has_refused(&mut locked(&REFUSING), what, None, PATIENCE);
}

/// Pure: whether `what` has refused for so long by `now`; `None`: it refuses no more.
fn has_refused(
    refusing: &mut BTreeMap<PathBuf, Instant>,
    what: &Path,
    now: Option<Instant>,
    patience: Duration,
) -> bool {
    let Some(now) = now else { return refusing.remove(what).is_some() };
    let since = refusing.entry(what.to_owned()).or_insert(now);
    now.saturating_duration_since(*since) >= patience
}

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
    use super::*;

    #[test]
    fn what_is_refused_is_believed_only_after_it_was_refused_without_a_break() {
        let (path, start) = (Path::new("db"), Instant::now());
        let mut refusing = BTreeMap::new();
        let mut look = |path, at: Option<Duration>| has_refused(&mut refusing, path, at.map(|at| start + at), PATIENCE);
        assert!(!look(path, Some(Duration::ZERO)));
        assert!(!look(path, Some(PATIENCE - Duration::from_millis(1))));
        look(path, None);
        assert!(!look(path, Some(PATIENCE)), "it was well in between");
        assert!(look(path, Some(2 * PATIENCE)));
        assert!(!look(Path::new("other"), Some(2 * PATIENCE)));
    }

    #[test]
    fn only_the_medium_is_believed() {
        let believed = |code| {
            let (what, error) = (PathBuf::from(format!("believed-{code}")), io::Error::from_raw_os_error(code));
            assert!(!is_believed(&what, &error));
            std::thread::sleep(PATIENCE);
            is_believed(&what, &error)
        };
        use rustix::io::Errno;
        for errno in [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::LOOP, Errno::NOENT] {
            assert!(believed(errno.raw_os_error()), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::ROFS, Errno::NODEV, Errno::NOSPC]
        {
            assert!(!believed(errno.raw_os_error()), "{errno}");
        }
    }

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
