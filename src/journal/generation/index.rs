//! Where the sound frames of a generation's files lie: found by reading all of their bytes once, in pieces.
//!
//! Nothing inside a sound frame is one, wherever the pieces are cut. Of several copies of a frame the one counts that sled
//! wrote last. Of a generation that is written to only what is new is read, after each flush ([`Index::follow`]). Pages
//! that the medium refuses cost what is in them, once that is believed ([`crate::journal::disk::refusal`]).

use crate::journal::disk::frame::{Odd, VALUE_MAX};
use crate::journal::disk::{frame, refusal};
use crate::journal::limits::SEGMENT_BYTES;
use crate::record::Number;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const PIECE: usize = 1024 * 1024;
const PAGE: usize = 4096;

/// Where a sound frame lies, and how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePlace {
    /// Of the first record in it.
    pub(crate) number: Number,
    pub(crate) count: u16,
    pub(crate) part: u16,
    pub(crate) parts: u16,
    pub(crate) file: u16,
    pub(crate) len: u16,
    pub(crate) at: u64,
}

impl FramePlace {
    fn of(frame: &frame::Frame<'_>, file: u16, at: u64) -> FramePlace {
        let frame::Frame { number, count, part, parts, .. } = *frame;
        FramePlace { number, count, part, parts, file, len: frame.bytes.len() as u16, at }
    }

    pub(crate) fn end(&self) -> Number {
        self.number + u64::from(self.count)
    }

    fn is_before(&self, other: &FramePlace) -> bool {
        (self.number, self.part) < (other.number, other.part)
    }
}

/// A frame that was appended: number, part, length.
pub(crate) type Appended = (Number, u16, usize);
/// Read in one go when looking for frames that were appended, in bytes; longer than any frame.
const STEP: usize = 128 * 1024;
/// What sled writes around the frames of a small commit, as a rule.
const AROUND: usize = 1024;

/// Where each sound frame lies in the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Sorted by number and part, each once.
    pub(crate) places: Vec<FramePlace>,
    /// Every commit up to this number was complete before another began.
    pub(crate) committed: Number,
    /// Numbers that frames with a wrong checksum claim to have, each from the first to before the second.
    pub(crate) broken: BTreeSet<(Number, Number)>,
    /// A later version, of which a sound frame was found.
    pub(crate) newer: Option<u8>,
}

impl Index {
    pub(crate) fn of(files: &[(PathBuf, File)], version: u8) -> io::Result<Index> {
        let mut found = Index::default();
        let mut piece = vec![0; PIECE + VALUE_MAX];
        let mut ages = Vec::with_capacity(files.len());
        for (index, (path, file)) in files.iter().enumerate() {
            found.scan_file(version, index as u16, (path, file), &mut piece)?;
            ages.push(segment_ages(file));
        }
        // Of several copies the one that sled wrote last: the segment tells, and within one the offset.
        let age = |place: &FramePlace| {
            let ages: &Vec<u64> = &ages[usize::from(place.file)];
            (ages.get((place.at / SEGMENT_BYTES as u64) as usize).copied().unwrap_or(0), place.at)
        };
        found.places.sort_unstable_by_key(|place| (place.number, place.part, std::cmp::Reverse(age(place))));
        found.places.dedup_by_key(|place| (place.number, place.part));
        found.places.shrink_to_fit();
        Ok(found)
    }

    pub(crate) fn scan_file(
        &mut self,
        version: u8,
        index: u16,
        (path, file): (&Path, &File),
        piece: &mut [u8],
    ) -> io::Result<()> {
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
            let frames = frame::scan(&piece[from..wanted], Some(version), |odd| match odd {
                Odd::Broken(from, to) => _ = self.broken.insert((from, to)),
                // In a generation of version 1 it may be a published one.
                Odd::Newer(newer) if version > 1 => self.newer = Some(newer),
                Odd::Newer(_) => {}
            });
            for frame in frames.take_while(|frame| (frame.bytes.as_ptr() as usize - base) < PIECE) {
                let start = at + (frame.bytes.as_ptr() as usize - base) as u64;
                behind = start + frame.bytes.len() as u64;
                self.committed = self.committed.max(frame.previous.unwrap_or_default());
                self.places.push(FramePlace::of(&frame, index, start));
            }
        }
        // What is believed to be gone is missing in the index, and nothing else of the file.
        refusal::unless_gone(path, refused.map_or(Ok(()), Err)).map(drop)
    }

    /// Enters frames that were appended and flushed, all of them, at their places in the first file behind `from`, in their
    /// order and with no others among them. Returns where the last one ends; `None`: it is not so, and nothing is entered.
    pub(crate) fn follow(
        &mut self,
        (version, file): (u8, &File),
        from: u64,
        appended: &[Appended],
    ) -> io::Result<Option<u64>> {
        let wanted: usize = appended.iter().map(|(.., length)| length).sum();
        let (mut at, mut behind, mut found) = (from, from, Vec::with_capacity(appended.len()));
        let mut committed = self.committed;
        let mut piece = vec![0; (wanted + AROUND).min(STEP)];
        loop {
            let size = read_to_the_end(file, &mut piece, at)?;
            // What begins behind may be cut off here, and what lies inside of it is not a frame.
            let is_last = size < piece.len();
            let whole = if is_last { size } else { size.saturating_sub(VALUE_MAX) };
            let base = piece.as_ptr() as usize;
            for frame in frame::scan(&piece[..size], Some(version), |_| {}) {
                let offset = frame.bytes.as_ptr() as usize - base;
                let start = at + offset as u64;
                let is_next = |(number, part, length): &Appended| {
                    (*number, *part, *length) == (frame.number, frame.part, frame.bytes.len())
                };
                match appended.get(found.len()).is_some_and(is_next) {
                    true => behind = start + frame.bytes.len() as u64,
                    false if offset < whole => return Ok(None),
                    false => break,
                }
                committed = committed.max(frame.previous.unwrap_or_default());
                found.push(FramePlace::of(&frame, 0, start));
            }
            if found.len() == appended.len() || is_last {
                break;
            }
            at = behind.max(at + whole as u64);
            piece.resize(STEP, 0);
        }
        if found.len() < appended.len() {
            return Ok(None);
        }
        self.committed = committed;
        // A reader that looked through the whole file meanwhile may have seen them before they were flushed.
        self.forget_from(&found);
        self.places.append(&mut found);
        Ok(Some(behind))
    }

    fn forget_from(&mut self, row: &[FramePlace]) {
        if let Some(first) = row.first() {
            self.places.truncate(self.places.partition_point(|place| place.is_before(first)));
        }
    }

    /// Takes over what `now` knows and `before` did not: what was appended in between.
    pub(crate) fn catch_up(&mut self, before: &Index, now: &Index) {
        let from = before.places.last().map_or(0, |last| now.places.partition_point(|place| !last.is_before(place)));
        self.forget_from(&now.places[from..]);
        self.places.extend_from_slice(&now.places[from..]);
        self.committed = self.committed.max(now.committed);
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.places.capacity() * size_of::<FramePlace>()
    }

    pub(crate) fn place(&self, number: Number, part: u16) -> Option<&FramePlace> {
        let index = self.places.binary_search_by_key(&(number, part), |place| (place.number, place.part)).ok()?;
        self.places.get(index)
    }

    /// The first frame of the value that holds a record, if all of the value was found.
    pub(crate) fn value_of(&self, number: Number) -> Option<&FramePlace> {
        let behind = self.places.partition_point(|place| place.number <= number);
        let first = self.place(self.places[..behind].last()?.number, 0)?;
        (number < first.end() && self.is_whole(first)).then_some(first)
    }

    /// The lowest number at or above `number` of which a whole value was found.
    pub(crate) fn at_or_above(&self, number: Number) -> Option<Number> {
        if self.value_of(number).is_some() {
            return Some(number);
        }
        let from = self.places.partition_point(|place| place.number <= number);
        let whole = |place: &&FramePlace| place.part == 0 && self.is_whole(place);
        self.places[from..].iter().find(whole).map(|place| place.number)
    }

    pub(crate) fn is_whole(&self, first: &FramePlace) -> bool {
        (1..first.parts).all(|part| self.place(first.number, part).is_some_and(|place| place.parts == first.parts))
    }

    /// Whole values, as ranges of numbers, ascending.
    pub(crate) fn values(self: Arc<Index>) -> impl Iterator<Item = (Number, Number)> + use<> {
        let mut behind = Number(0);
        (0..self.places.len()).filter_map(move |at| {
            let place = &self.places[at];
            let counts = place.part == 0 && place.number >= behind && self.is_whole(place);
            counts.then(|| {
                behind = place.end();
                (place.number, behind)
            })
        })
    }
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

/// Reads what there is, up to a piece; how much that was.
fn read_to_the_end(file: &File, piece: &mut [u8], at: u64) -> io::Result<usize> {
    let mut size = 0;
    while size < piece.len() {
        match file.read_at(&mut piece[size..], at + size as u64) {
            Ok(0) => break,
            Ok(some) => size += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
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
