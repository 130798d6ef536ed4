//! A closed generation, read from its bare bytes.
//!
//! Measured here: a sled database with a few flipped bytes may open without an error, empty, and by opening it sled
//! wipes the very bytes from which every record could still be read. So a database is never opened a second time. A
//! closed generation is read by looking for our frames ([`super::frame`]) in its files: each carries a checksum, so what
//! is found is sound, and damage costs the records it hits and no others. A page that sled rewrote stands several times:
//! the newest sound copy counts.
//!
//! **A file is still while it is indexed, and what moves all the same is noticed.** sled writes into free segments, which
//! hold older copies of our frames, for as long as its database lives: its threads finish what was begun, and dropping the
//! last handle splits pages that were read. So [`ClosedGeneration::closed`] scans only once nobody holds the lock that sled
//! keeps on its file. A command in another process cannot wait for that: it takes [`ClosedGeneration::as_it_is`]. Either way a
//! place in the index names a frame's header, and each read parses the frame anew: checksum, number and part. What stands
//! there no longer is looked for again in all of the files, and only what such a look does not find is missing.
//!
//! A page that the medium refuses is not a page that is lost: a reader or a cable may be back in a moment. So for
//! [`PATIENCE`] a scan that meets one fails, and is tried again; only what is refused for so long is believed to be gone.

use super::commit::COMMIT_RECORDS;
use super::frame::{self, HEADER_LEN, VALUE_MAX};
use super::generation::SEGMENT_BYTES;
use super::log::locked;
use crate::record::{Record, codec};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PIECE: usize = 1024 * 1024;
/// Looks at files that change while they are read, before the reader is told to come again.
const LOOKS: usize = 3;
/// How long sled's threads are waited for, once nobody of ours has the database open.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
const PAGE: usize = 4096;
/// How long refused pages are waited for. A lane or an opening that needs them stands still for as long, and says why.
const PATIENCE: Duration = Duration::from_secs(120);
/// Since when files have been refusing pages.
static REFUSING: Mutex<BTreeMap<PathBuf, Instant>> = Mutex::new(BTreeMap::new());

/// Where a sound frame's header lies, and how long its body is.
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
    files: Vec<(PathBuf, File)>,
    index: Mutex<Arc<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    /// Sorted by number and part, each once.
    places: Vec<Place>,
    /// Every commit up to this number was complete before another began.
    committed: u64,
    /// Numbers that frames with a wrong checksum claim to have.
    broken: BTreeSet<u64>,
}

impl ClosedGeneration {
    /// Scans a generation that nobody writes to any more, once its database is really gone.
    ///
    /// # Errors
    /// It is not gone, for longer than sled's threads need; or as [`ClosedGeneration::as_it_is`].
    pub(super) fn closed(dir: &Path) -> io::Result<ClosedGeneration> {
        until_gone(dir)?;
        ClosedGeneration::as_it_is(dir)
    }

    /// Scans every file in `dir` and in the folders below it. Reads all of them once, in pieces.
    ///
    /// # Errors
    /// The medium refuses, and has not done so for long enough to be believed.
    pub(super) fn as_it_is(dir: &Path) -> io::Result<ClosedGeneration> {
        let open = |path: PathBuf| File::open(&path).map(|file| (path, file));
        let files: Vec<(PathBuf, File)> = all_files(dir)?.into_iter().map(open).collect::<io::Result<_>>()?;
        let index = Mutex::new(Arc::new(Index::of(&files)?));
        Ok(ClosedGeneration { files, index })
    }

    fn index(&self) -> Arc<Index> {
        locked(&self.index).clone()
    }
}

impl Index {
    fn of(files: &[(PathBuf, File)]) -> io::Result<Index> {
        let mut found = Index::default();
        let mut piece = vec![0; PIECE + VALUE_MAX];
        let mut ages = Vec::with_capacity(files.len());
        for (index, (path, file)) in files.iter().enumerate() {
            found.scan_file(index as u16, path, file, &mut piece)?;
            ages.push(segment_ages(file));
        }
        // Of several copies the one that sled wrote last: the segment tells, and within one the offset.
        let age = |place: &Place| {
            let ages: &Vec<u64> = &ages[usize::from(place.file)];
            (ages.get((place.at / SEGMENT_BYTES as u64) as usize).copied().unwrap_or(0), place.at)
        };
        found.places.sort_unstable_by_key(|place| (place.number, place.part, std::cmp::Reverse(age(place))));
        found.places.dedup_by_key(|place| (place.number, place.part));
        found.places.shrink_to_fit();
        Ok(found)
    }

    fn scan_file(&mut self, index: u16, path: &Path, file: &File, piece: &mut [u8]) -> io::Result<()> {
        let length = file.metadata()?.len();
        let mut refused: Option<io::Error> = None;
        // Where the last sound frame ended: a payload may hold whole frames, and nothing inside another frame is one.
        let mut behind = 0u64;
        for at in (0..length).step_by(PIECE) {
            // A piece overlaps the next by one value, so that no frame is cut in two.
            let wanted = piece.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            refused = read_what_can_be(file, &mut piece[..wanted], at).err().or(refused);
            let base = piece.as_ptr() as usize;
            let from = behind.saturating_sub(at).min(wanted as u64) as usize;
            // What begins in the overlap may be cut off here, and is whole in the next piece.
            let frames = frame::scan(&piece[from..wanted], |number| _ = self.broken.insert(number));
            for frame in frames.take_while(|frame| frame.body.as_ptr() as usize - base < PIECE + HEADER_LEN) {
                let body = at + (frame.body.as_ptr() as usize - base) as u64;
                behind = body + frame.body.len() as u64;
                self.committed = self.committed.max(frame.previous.unwrap_or(0));
                self.places.push(Place {
                    number: frame.number,
                    part: frame.part,
                    parts: frame.parts,
                    file: index,
                    len: frame.body.len() as u16,
                    at: body - HEADER_LEN as u64,
                });
            }
        }
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
    fn numbers(self: Arc<Index>) -> impl Iterator<Item = u64> + use<> {
        (0..self.places.len()).filter_map(move |at| {
            let place = &self.places[at];
            (place.part == 0 && self.is_whole(place)).then_some(place.number)
        })
    }
}

/// What came of reading a record where the index says that it is.
enum Gathered {
    Whole(Vec<u8>),
    /// Not in the index.
    Missing,
    /// Something else stands there by now.
    Moved,
}

impl ClosedGeneration {
    /// Numbers of which every part was found, ascending.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        self.index().numbers()
    }

    /// Where the last commit breaks off: the first number missing above all that is known to have been durable (`high`,
    /// or what a later commit says), with later ones behind it. sled writes a commit in pieces, in no order; what a cut
    /// leaves of one was never acknowledged, comes again, and must not stand before what is missing. `None`: it is whole.
    pub(super) fn breaks_off_at(&self, high: u64) -> Option<u64> {
        let index = self.index();
        let known = index.committed.max(high);
        let mut whole = known;
        for number in index.numbers().filter(|number| *number > known) {
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
        let index = self.index();
        let known = index.committed.max(high);
        // Farther than any commit reaches, the number itself is damaged.
        let near = index.broken.range(known.saturating_add(1)..=known.saturating_add(COMMIT_RECORDS as u64));
        near.filter(|number| index.place(**number, 0).is_none_or(|first| !index.is_whole(first))).count() as u64
    }

    /// The envelope of a record; `None` when it or a part of it was not found.
    ///
    /// # Errors
    /// The medium refuses now what it gave when it was scanned, or the files change faster than they can be read.
    pub(super) fn read(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let mut index = self.index();
        for _ in 0..LOOKS {
            match self.gather(&index, number)? {
                Gathered::Whole(envelope) => return Ok(Some(envelope)),
                Gathered::Missing => return Ok(None),
                Gathered::Moved => {
                    let folder = self.files.first().map(|(path, _)| path.display().to_string()).unwrap_or_default();
                    tracing::info!(
                        folder,
                        number,
                        "a closed generation is not as it was, its records are looked for again"
                    );
                    index = Arc::new(Index::of(&self.files)?);
                    *locked(&self.index) = index.clone();
                }
            }
        }
        Err(io::Error::other(format!("record {number} moves while it is read")))
    }

    fn gather(&self, index: &Index, number: u64) -> io::Result<Gathered> {
        let Some(first) = index.place(number, 0).filter(|first| index.is_whole(first)) else {
            return Ok(Gathered::Missing);
        };
        let mut envelope = Vec::with_capacity(usize::from(first.len));
        let mut value = Vec::new();
        for part in 0..first.parts {
            let place = index.place(number, part).expect("the record is whole");
            value.resize(HEADER_LEN + usize::from(place.len), 0);
            let (_, file) = &self.files[usize::from(place.file)];
            match file.read_exact_at(&mut value, place.at) {
                // Shorter than it was.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Gathered::Moved),
                read => read?,
            }
            match frame::parse(&value) {
                Ok(frame) if (frame.number, frame.part, frame.parts) == (number, part, first.parts) => {
                    envelope.extend_from_slice(frame.body);
                }
                _ => return Ok(Gathered::Moved),
            }
        }
        Ok(Gathered::Whole(envelope))
    }
}

/// The record of an envelope that was read as `number`; `None` where it does not decode, or cannot be that record: with
/// another number in it, or a position that rose faster than the numbers.
pub(super) fn record_of(number: u64, envelope: &[u8]) -> Option<Record> {
    let record = codec::decode(envelope).ok()?;
    (record.number == number && record.slots.iter().all(|slot| slot.position <= number)).then_some(record)
}

/// Whether nobody has the database in `dir` open any more: sled holds a lock on its file until its last thread has let go.
pub(super) fn is_gone(dir: &Path) -> io::Result<bool> {
    let file = match File::open(dir.join("db")) {
        Ok(file) => file,
        // Its place is looked at by the scan.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    // A file system without locks: then sled has none either, and reads notice what moves.
    let lock = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared);
    Ok(lock != Err(rustix::io::Errno::WOULDBLOCK))
}

/// Waits until nobody has the database in `dir` open.
fn until_gone(dir: &Path) -> io::Result<()> {
    let since = Instant::now();
    while !is_gone(dir)? {
        if since.elapsed() >= LOCK_PATIENCE {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "its database is still being closed"));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(())
}

/// When sled wrote each of a file's segments, as its own count: the beginning of a segment says so, whitened. Where it
/// says nothing that can be, 0.
fn segment_ages(file: &File) -> Vec<u64> {
    let length = file.metadata().map_or(0, |about| about.len());
    let age = |at: u64| {
        let mut header = [0; 12];
        file.read_exact_at(&mut header, at).ok()?;
        let lsn = u64::from_le_bytes(header[4..].try_into().ok()?) ^ i64::MAX as u64;
        (lsn <= i64::MAX as u64 && lsn.is_multiple_of(SEGMENT_BYTES as u64)).then_some(lsn)
    };
    (0..length).step_by(SEGMENT_BYTES).map(|at| age(at).unwrap_or(0)).collect()
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
mod tests;
