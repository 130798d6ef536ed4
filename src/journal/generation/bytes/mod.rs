//! A closed generation, read from its bare bytes; and, in the same way, the one that this run writes.
//!
//! Measured here: a sled database with a few flipped bytes may open without an error, empty, and by opening it sled wipes
//! the very bytes from which every record could still be read. So a database is never opened a second time. A closed
//! generation is read by looking for our frames ([`crate::journal::disk::frame`]) in its files: each carries a checksum,
//! so what is found is sound, and damage costs the records it hits and no others. Of a page that sled rewrote the file
//! holds several copies: the newest sound one counts. Frames of the version that its note says count and no others: where
//! the note is lost, those of the version that most are of.
//!
//! **A file is still while it is indexed, and what moves anyway is noticed.** sled writes into free segments, which hold
//! older copies of our frames, for as long as its database lives: its threads finish what was begun, and dropping the
//! last handle splits pages that were read. So [`GenerationBytes::closed`] scans only once sled has released the lock
//! that it keeps on its file. Of a generation that this run writes, the writer enters each frame's place, once it is
//! flushed ([`GenerationBytes::follow`]), and that index stays in use when it is closed. A command in another process
//! cannot wait for that: it takes [`GenerationBytes::as_it_is`]. Either way a place in the index names a frame's header,
//! and each read parses the frame anew: checksum, number and part. What is no longer there a read looks for again in all
//! of the files, and only what such a look does not find is missing.
//!
//! A page that the medium refuses is not a page that is lost: a scan that meets one fails, and is tried again; only what
//! the medium refuses for so long that the journal believes it ([`crate::journal::disk::refusal`]) is gone. The journal
//! waits for the end of any other refusal.

use crate::journal::disk::frame::{self, HEADER_LEN_MAX};
use crate::journal::generation::index::{Appended, Index};
use crate::journal::generation::manifest::read_manifest;
use crate::journal::generation::value::Value;
use crate::journal::limits::COMMIT_RECORDS;
use crate::record::{Number, Record};
use crate::sync::locked;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Looks at files that change while they are read, before the reader must come again.
const LOOKS: usize = 3;
/// How long to wait for sled's threads, once no code of ours has the database open.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// An index of the sound records in a generation's files; the files stay open, their contents on disk.
#[derive(Debug)]
pub(crate) struct GenerationBytes {
    files: Vec<(PathBuf, File)>,
    /// Version of the frames that count.
    version: u8,
    index: Mutex<Arc<Index>>,
}

impl GenerationBytes {
    /// Scans a generation that the writer is done with, once its database is really gone.
    ///
    /// # Errors
    /// It is not gone, for longer than sled's threads need; or as [`GenerationBytes::as_it_is`].
    pub(crate) fn closed(dir: &Path) -> io::Result<GenerationBytes> {
        until_gone(dir)?;
        GenerationBytes::as_it_is(dir)
    }

    /// Scans every file in `dir` and in the folders below it. Reads all of them once, in pieces.
    ///
    /// # Errors
    /// The medium refuses, and has not done so for long enough to be believed.
    pub(crate) fn as_it_is(dir: &Path) -> io::Result<GenerationBytes> {
        let open = |path: PathBuf| File::open(&path).map(|file| (path, file));
        let files: Vec<(PathBuf, File)> = all_files(dir)?.into_iter().map(open).collect::<io::Result<_>>()?;
        let (version, index) = match read_manifest(dir)? {
            Some(manifest) => (manifest.format, Index::of(&files, manifest.format)?),
            None => {
                let (first, second) = (Index::of(&files, 1)?, Index::of(&files, 2)?);
                if first.places.len() > second.places.len() { (1, first) } else { (2, second) }
            }
        };
        let (files, index) = only_used(files, index);
        Ok(GenerationBytes { files, version, index: Mutex::new(Arc::new(index)) })
    }

    /// One that is written to from now on, in this file; it has no records yet, and learns of them by
    /// [`GenerationBytes::follow`].
    pub(crate) fn followed(file: &Path) -> io::Result<GenerationBytes> {
        let files = vec![(file.to_owned(), File::open(file)?)];
        Ok(GenerationBytes { files, version: frame::FRAME_VERSION, index: Mutex::default() })
    }

    /// Enters what was appended and flushed, as [`Index::follow`] does. A reader at this moment has the index of before.
    pub(crate) fn follow(&self, from: u64, appended: &[Appended]) -> io::Result<Option<u64>> {
        let mut index = locked(&self.index);
        Arc::make_mut(&mut index).follow((self.version, &self.files[0].1), from, appended)
    }

    /// Looks through all of its bytes again; returns whether all of these are there.
    pub(crate) fn look_again(&self, appended: &[Appended]) -> io::Result<bool> {
        let before = self.index();
        let mut found = Index::of(&self.files, self.version)?;
        let mut index = locked(&self.index);
        found.catch_up(&before, &index);
        *index = Arc::new(found);
        Ok(appended.iter().all(|(number, part, _)| index.place(*number, *part).is_some()))
    }

    /// One that was set aside: it has no records.
    pub(crate) fn set_aside() -> GenerationBytes {
        GenerationBytes { files: Vec::new(), version: frame::FRAME_VERSION, index: Mutex::default() }
    }

    /// A later version, of which a sound frame was found where no published bytes can be.
    pub(crate) fn newer(&self) -> Option<u8> {
        self.index().newer
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        locked(&self.index).clone()
    }
}

/// What came of reading a value where the index says that it is.
enum Gathered {
    Whole(Value),
    /// Not in the index.
    Missing,
    /// The place holds something else by now.
    Moved,
}

impl GenerationBytes {
    /// Numbers of which every part was found, ascending.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = Number> + use<> {
        self.index().values().flat_map(|(from, to)| from.until(to))
    }

    /// Whether no record was found in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers().next().is_none()
    }

    /// Every record that can be read of the numbers in `from..end`, oldest first, with the bytes that it takes in the file.
    ///
    /// # Errors
    /// Of an item: as [`GenerationBytes::value`].
    pub(crate) fn records(&self, from: Number, end: Number) -> impl Iterator<Item = io::Result<(Arc<Record>, usize)>> {
        let values = self.index().values().skip_while(move |(_, behind)| *behind <= from);
        let values = values.take_while(move |(first, _)| *first < end);
        values.flat_map(move |(first, _)| match self.value(first) {
            Ok(value) => value.map_or_else(Vec::new, |value| {
                let share = value.bytes / value.records.len().max(1);
                let wanted = value.records.into_iter().filter(|record| (from..end).contains(&record.number));
                wanted.map(|record| Ok((record, share))).collect()
            }),
            Err(error) => vec![Err(error)],
        })
    }

    /// Where the last commit breaks off: the first number missing above all that is known to have been durable (`high`,
    /// or what a later commit says), with later ones behind it. sled writes a commit in pieces, in no order; what a cut
    /// leaves of one was never acknowledged, comes again, and must not come before what is missing. `None`: it is whole.
    pub(crate) fn breaks_off_at(&self, high: Number) -> Option<Number> {
        let index = self.index();
        let known = index.committed.max(high);
        let mut whole = known;
        for number in index.values().flat_map(|(from, to)| from.until(to)).filter(|number| *number > known) {
            if number != whole + 1 {
                return Some(whole + 1);
            }
            whole = number;
        }
        None
    }

    /// The last number whose commit is known to have been synced: the state says so (`high`), or another commit that
    /// began only after it. Whether a sync of what comes behind ever succeeded cannot be known.
    pub(crate) fn proven(&self, high: Number) -> Number {
        self.index().committed.max(high)
    }

    /// Records that may have been in the last commit, above all that is known to have been durable, and of which only
    /// damaged frames are left: torn by the cut, and never acknowledged, or damaged afterwards. Nothing tells which.
    pub(crate) fn in_doubt(&self, high: Number) -> u64 {
        let index = self.index();
        let known = index.committed.max(high);
        // Farther than any commit reaches, the number itself is damaged.
        let (from, end) = (known.next(), known.next() + COMMIT_RECORDS as u64);
        let near = index.broken.iter().flat_map(|(first, behind)| from.max(*first).until(end.min(*behind)));
        near.collect::<BTreeSet<_>>().into_iter().filter(|number| index.value_of(*number).is_none()).count() as u64
    }

    /// The value that holds a record; `None` when it or a part of it was not found.
    ///
    /// # Errors
    /// The medium refuses now what it gave when it was scanned, or the files change faster than they can be read.
    pub(crate) fn value(&self, number: Number) -> io::Result<Option<Value>> {
        let mut index = self.index();
        for _ in 0..LOOKS {
            match self.gather(&index, number)? {
                Gathered::Whole(value) => return Ok(Some(value)),
                Gathered::Missing => return Ok(None),
                Gathered::Moved => {
                    let folder = self.files.first().map(|(path, _)| path.display().to_string()).unwrap_or_default();
                    tracing::info!(
                        folder,
                        number = number.0,
                        "a closed generation is not as it was, its records are looked for again"
                    );
                    self.look_again(&[])?;
                    index = self.index();
                }
            }
        }
        Err(io::Error::other(format!("record {number} moves while it is read")))
    }

    fn gather(&self, index: &Index, number: Number) -> io::Result<Gathered> {
        let Some(first) = index.value_of(number) else { return Ok(Gathered::Missing) };
        let (mut body, mut length) = (Vec::with_capacity(usize::from(first.len)), 0);
        let mut bytes = Vec::new();
        for part in 0..first.parts {
            let place = index.place(first.number, part).expect("the value is whole");
            bytes.resize(usize::from(place.len), 0);
            let (_, file) = &self.files[usize::from(place.file)];
            match file.read_exact_at(&mut bytes, place.at) {
                // Shorter than it was.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Gathered::Moved),
                read => read?,
            }
            let wanted = (self.version, first.number, first.count, part, first.parts);
            match frame::parse(&bytes) {
                Ok(frame) if (frame.version, frame.number, frame.count, frame.part, frame.parts) == wanted => {
                    body.extend_from_slice(&frame.body());
                    length += frame.bytes.len();
                }
                _ => return Ok(Gathered::Moved),
            }
        }
        let records = (first.number, first.count);
        Ok(Gathered::Whole(Value::of(self.version, records, &body, length)))
    }
}

/// Closes the files that hold no frame, unless none holds any: a reader that goes back keeps many generations open.
fn only_used(files: Vec<(PathBuf, File)>, mut index: Index) -> (Vec<(PathBuf, File)>, Index) {
    let used: BTreeSet<u16> = index.places.iter().map(|place| place.file).collect();
    if used.is_empty() {
        return (files, index);
    }
    for place in &mut index.places {
        place.file = used.range(..place.file).count() as u16;
    }
    let files = files.into_iter().enumerate().filter(|(at, _)| used.contains(&(*at as u16)));
    (files.map(|(_, file)| file).collect(), index)
}

/// Whether the database in `dir` is closed for good: sled holds a lock on its file until its last thread has let go.
pub(crate) fn is_gone(dir: &Path) -> io::Result<bool> {
    let file = match File::open(dir.join("db")) {
        Ok(file) => file,
        // The scan looks at its place.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    // A file system without locks: then sled has none either, and reads notice what moves.
    let lock = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared);
    Ok(lock != Err(rustix::io::Errno::WOULDBLOCK))
}

/// Waits until the database in `dir` is closed for good.
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

fn all_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(all_files(&entry.path())?);
        } else if entry.metadata()?.len() > HEADER_LEN_MAX as u64 {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
