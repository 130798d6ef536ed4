//! What the medium refuses for good is set aside, so that everything else continues.
//!
//! A page, a file or a folder that cannot be read may be readable in a moment: a reader, a cable, a card that is warm. So for
//! [`crate::journal::disk::refusal::PATIENCE`] it is tried again, and who needs it waits. Then it is moved, whole and untouched, into the
//! folder `aside` of the journal, and what it held counts as missing: booked, announced, and for a person to see.
//!
//! What is set aside is tried again at each start and once a day. A generation that can be read again gives back what was booked
//! as lost meanwhile, and no more: its records go by way of the quarantine into their lanes, under new positions, each
//! saying that it may be a duplicate. Only then its folder goes. A cut in between leaves both, and a record that is kept
//! twice comes back once. Anything else that can be read again (a quarantine, a lock) is for a person.
//!
//! The journal believes only the medium like that ([`crate::journal::disk::refusal`]); for everything else it waits
//! without an end.

use crate::journal::disk::files;
use crate::journal::disk::refusal::{is_believed, is_well};
use crate::record::{LaneId, Position};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder in the journal's.
const FOLDER: &str = "aside";
/// In it: which positions were booked as lost since something was set aside, a line each: lane, first, last.
const LOST: &str = "lost";
/// Begins the name of a generation of another journal: it can be read, and is not tried again.
const FOREIGN: &str = "foreign-";

/// The first name in the folder that is free.
fn free_name(folder: &Path, name: &OsStr) -> PathBuf {
    let free = |count: u32| {
        let mut name = name.to_owned();
        if count > 0 {
            name.push(format!(".{count}"));
        }
        folder.join(name)
    };
    (0..).map(free).find(|to| to.symlink_metadata().is_err()).expect("some name is free")
}

/// Moves a generation of another journal out of the way, whole.
///
/// # Errors
/// The disk refuses; it stays where it is.
pub(crate) fn set_foreign_aside(journal: &Path, what: &Path) -> io::Result<()> {
    let folder = journal.join(FOLDER);
    let mut name = OsString::from(FOREIGN);
    name.push(what.file_name().unwrap_or_default());
    let to = free_name(&folder, &name);
    files::create_dir_within(&folder).and_then(|()| files::rename(what, &to))?;
    tracing::error!(
        what = %what.display(), to = %to.display(),
        "the records of this part are of another journal: it is set aside, and nothing of it is sent"
    );
    Ok(())
}

/// Moves `what`, a file or a folder, out of the way. Where even that is refused it stays, and is tried again at the next start.
pub(crate) fn set_aside(journal: &Path, what: &Path, why: &io::Error) {
    let folder = journal.join(FOLDER);
    let to = free_name(&folder, what.file_name().unwrap_or_default());
    let moved = files::create_dir_within(&folder).and_then(|()| files::rename(what, &to));
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
pub(crate) fn patiently<T>(journal: &Path, what: &Path, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
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

/// Notes positions that were booked as lost, where something is set aside. What cannot be noted does not come back.
pub(crate) fn note_lost(journal: &Path, lane: LaneId, ranges: &[(Position, Position)]) {
    let folder = journal.join(FOLDER);
    if ranges.is_empty() || !folder.is_dir() {
        return;
    }
    let lines: String = ranges.iter().map(|(from, to)| format!("{} {from} {to}\n", lane.0)).collect();
    let file = files::writing().append(true).create(true).open(folder.join(LOST));
    if let Err(error) = file.and_then(|mut file| file.write_all(lines.as_bytes()).and_then(|()| file.sync_data())) {
        tracing::warn!(%error, "what is lost is not noted: it will not come back if the disk gives it back");
    }
}

/// Which positions were booked as lost, by lane. A line that is none says nothing.
pub(crate) fn lost(journal: &Path) -> BTreeMap<LaneId, Vec<(Position, Position)>> {
    let text = fs::read_to_string(journal.join(FOLDER).join(LOST)).unwrap_or_default();
    let mut lost: BTreeMap<LaneId, Vec<(Position, Position)>> = BTreeMap::new();
    for line in text.lines() {
        let numbers: Vec<u64> = line.split(' ').map_while(|number| number.parse().ok()).collect();
        let &[lane, from, to] = &numbers[..] else { continue };
        if let Ok(lane) = u16::try_from(lane) {
            lost.entry(LaneId(lane)).or_default().push((Position(from), Position(to)));
        }
    }
    lost
}

/// What is set aside, oldest name first.
pub(crate) fn all(journal: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(journal.join(FOLDER)).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.filter(|entry| entry.file_name() != LOST).map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn is_foreign(what: &Path) -> bool {
    what.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(FOREIGN.as_bytes()))
}

/// How many things are set aside: those that the disk gives back no more, and generations of other journals.
pub(crate) fn counts(journal: &Path) -> (usize, usize) {
    let all = all(journal);
    let foreign = all.iter().filter(|what| is_foreign(what)).count();
    (all.len() - foreign, foreign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::refusal::PATIENCE;

    #[test]
    fn a_file_set_aside_keeps_its_bytes_and_is_skipped() {
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
            assert_eq!(super::counts(dir.path()), (count, 0));
        }
        assert_eq!(fs::read_link(dir.path().join("aside/quarantine.1")).unwrap(), Path::new("nowhere"));
    }
}
