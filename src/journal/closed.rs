//! A closed generation, read from its bare bytes.
//!
//! Measured here: a sled database with a few flipped bytes may open without an error, empty, and by opening it sled
//! wipes the very bytes from which every record could still be read. So a database is never opened a second time. A
//! closed generation is read by looking for our frames ([`super::frame`]) in its files: each carries a checksum, so what
//! is found is sound, and damage costs the records it hits and no others. A page that sled rewrote stands several
//! times; any copy will do, because a number is never given to two different records.
//!
//! A page that the medium refuses is not a page that is lost: a reader or a cable may be back in a moment. So for
//! [`PATIENCE`] a scan that meets one fails, and is tried again; only what is refused for so long is believed to be gone.

use super::commit::COMMIT_RECORDS;
use super::frame::{self, HEADER_LEN, VALUE_MAX};
use super::log::locked;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const PIECE: usize = 1024 * 1024;
const PAGE: usize = 4096;
/// How long refused pages are waited for. A lane or an opening that needs them stands still for as long, and says why.
const PATIENCE: Duration = Duration::from_secs(120);
/// Since when files have been refusing pages.
static REFUSING: Mutex<BTreeMap<PathBuf, Instant>> = Mutex::new(BTreeMap::new());

/// Where a sound frame's body lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    part: u16,
    parts: u16,
    file: u16,
    len: u16,
    at: u64,
}

/// An index of the sound records in a generation's files; the files stay open, their contents on disk.
#[derive(Debug)]
pub(super) struct ClosedGeneration {
    files: Vec<File>,
    /// Sorted by number and part, each once.
    places: Vec<Place>,
    /// Every commit up to this number was complete before another began.
    committed: u64,
    /// Numbers that frames with a wrong checksum claim to have.
    broken: BTreeSet<u64>,
}

impl ClosedGeneration {
    /// Scans every file in `dir` and in the folders below it. Reads all of them once, in pieces.
    ///
    /// # Errors
    /// The medium refuses, and has not done so for long enough to be believed.
    pub(super) fn scan(dir: &Path) -> io::Result<ClosedGeneration> {
        let mut found =
            ClosedGeneration { files: Vec::new(), places: Vec::new(), committed: 0, broken: BTreeSet::new() };
        let mut piece = vec![0; PIECE + VALUE_MAX];
        for path in all_files(dir)? {
            found.scan_file(&path, &mut piece)?;
        }
        found.places.sort_unstable_by_key(|place| (place.number, place.part));
        found.places.dedup_by_key(|place| (place.number, place.part));
        found.places.shrink_to_fit();
        Ok(found)
    }

    fn scan_file(&mut self, path: &Path, piece: &mut [u8]) -> io::Result<()> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let index = self.files.len() as u16;
        let mut refused: Option<io::Error> = None;
        for at in (0..length).step_by(PIECE) {
            // A piece overlaps the next by one value, so that no frame is cut in two.
            let wanted = piece.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            refused = read_what_can_be(&file, &mut piece[..wanted], at).err().or(refused);
            let base = piece.as_ptr() as usize;
            for frame in frame::scan(&piece[..wanted], |number| _ = self.broken.insert(number)) {
                self.committed = self.committed.max(frame.previous.unwrap_or(0));
                self.places.push(Place {
                    number: frame.number,
                    part: frame.part,
                    parts: frame.parts,
                    file: index,
                    len: frame.body.len() as u16,
                    at: at + (frame.body.as_ptr() as usize - base) as u64,
                });
            }
        }
        self.files.push(file);
        match refused {
            Some(error) if !believes(&mut locked(&REFUSING), path, Some(Instant::now())) => {
                let text = format!(
                    "{error}: {} cannot be read whole; tried again for {} s before what is missing counts as damaged",
                    path.display(),
                    PATIENCE.as_secs()
                );
                Err(io::Error::new(error.kind(), text))
            }
            refused => {
                if refused.is_none() {
                    believes(&mut locked(&REFUSING), path, None);
                }
                Ok(())
            }
        }
    }

    fn place(&self, number: u64, part: u16) -> Option<&Place> {
        let index = self.places.binary_search_by_key(&(number, part), |place| (place.number, place.part)).ok()?;
        self.places.get(index)
    }

    fn is_whole(&self, first: &Place) -> bool {
        (1..first.parts).all(|part| self.place(first.number, part).is_some())
    }

    /// Numbers of which every part was found, ascending.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.places.iter().filter(|place| place.part == 0 && self.is_whole(place)).map(|place| place.number)
    }

    /// Where the last commit breaks off: the first number missing above all that is known to have been durable (`high`,
    /// or what a later commit says), with later ones behind it. sled writes a commit in pieces, in no order; what a cut
    /// leaves of one was never acknowledged, comes again, and must not stand before what is missing. `None`: it is whole.
    pub(super) fn breaks_off_at(&self, high: u64) -> Option<u64> {
        let mut whole = self.committed.max(high);
        for number in self.numbers().filter(|number| *number > self.committed.max(high)) {
            if number != whole + 1 {
                return Some(whole + 1);
            }
            whole = number;
        }
        None
    }

    /// Records that may have been in the last commit, above all that is known to have been durable, and of which only
    /// damaged frames are left: torn by the cut, and never acknowledged, or damaged afterwards. Nothing tells which.
    pub(super) fn in_doubt(&self, high: u64) -> u64 {
        let known = self.committed.max(high);
        // Farther than any commit reaches, the number itself is damaged.
        let near = self.broken.range(known + 1..=known + COMMIT_RECORDS as u64);
        near.filter(|number| self.place(**number, 0).is_none_or(|first| !self.is_whole(first))).count() as u64
    }

    /// The envelope of a record; `None` when it or a part of it was not found.
    ///
    /// # Errors
    /// The medium refuses now what it gave when it was scanned.
    pub(super) fn read(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(first) = self.place(number, 0).filter(|first| self.is_whole(first)) else { return Ok(None) };
        let mut envelope = Vec::with_capacity(usize::from(first.len));
        for part in 0..first.parts {
            let place = self.place(number, part).expect("the record is whole");
            let start = envelope.len();
            envelope.resize(start + usize::from(place.len), 0);
            self.files[usize::from(place.file)].read_exact_at(&mut envelope[start..], place.at)?;
        }
        Ok(Some(envelope))
    }
}

/// Reads a piece. Pages that the medium refuses become zeros, so that one bad sector costs its own records only; the
/// error is the last refusal.
fn read_what_can_be(file: &File, piece: &mut [u8], at: u64) -> io::Result<()> {
    if file.read_exact_at(piece, at).is_ok() {
        return Ok(());
    }
    let mut refused = Ok(());
    for (index, page) in piece.chunks_mut(PAGE).enumerate() {
        if let Err(error) = file.read_exact_at(page, at + (index * PAGE) as u64) {
            page.fill(0);
            // A file that is shorter than it was a moment ago refuses nothing.
            if error.kind() != io::ErrorKind::UnexpectedEof {
                refused = Err(error);
            }
        }
    }
    refused
}

/// Whether a file has refused pages for long enough to be believed; `now` is `None` when it refuses none any more.
fn believes(refusing: &mut BTreeMap<PathBuf, Instant>, path: &Path, now: Option<Instant>) -> bool {
    let Some(now) = now else { return refusing.remove(path).is_some() };
    let since = refusing.entry(path.to_owned()).or_insert(now);
    now.saturating_duration_since(*since) >= PATIENCE
}

fn all_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(all_files(&entry.path())?);
        } else if entry.metadata()?.len() > HEADER_LEN as u64 {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_believed_lost_only_after_they_were_refused_without_a_break() {
        let (path, start) = (Path::new("db"), Instant::now());
        let mut refusing = BTreeMap::new();
        assert!(!believes(&mut refusing, path, Some(start)));
        assert!(!believes(&mut refusing, path, Some(start + PATIENCE - Duration::from_secs(1))));
        believes(&mut refusing, path, None);
        assert!(!believes(&mut refusing, path, Some(start + PATIENCE)), "it was well in between");
        assert!(believes(&mut refusing, path, Some(start + 2 * PATIENCE)));
        assert!(!believes(&mut refusing, Path::new("other"), Some(start + 2 * PATIENCE)));
    }

    #[test]
    fn frames_across_piece_borders_and_files_are_found_and_incomplete_records_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![0xaa; PIECE - 20];
        bytes.extend(frame::split(1, Some(0), b"across the border").remove(0));
        bytes.extend(vec![0xbb; PIECE]);
        let long = vec![3; 3 * VALUE_MAX];
        let parts = frame::split(2, None, &long);
        bytes.extend(&parts[0]);
        fs::write(dir.path().join("db"), &bytes).unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        fs::write(dir.path().join("blobs/1"), parts[1..].concat()).unwrap();
        fs::write(dir.path().join("blobs/2"), frame::split(3, None, &long).remove(1)).unwrap();
        let closed = ClosedGeneration::scan(dir.path()).unwrap();
        assert_eq!(closed.numbers().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(closed.read(1).unwrap().as_deref(), Some(&b"across the border"[..]));
        assert_eq!(closed.read(2).unwrap(), Some(long));
        assert_eq!(closed.read(3).unwrap(), None);
    }
}
