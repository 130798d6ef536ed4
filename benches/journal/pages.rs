//! What sled's list of trees takes of its file: read from the bytes, as sled 0.34.7 lays them out (its `serialization.rs`).
//!
//! A segment begins with a header of 20 bytes; messages follow, each behind a checksum, a kind, its length, its segment's
//! number and its page's. Zeros end what was written.

use super::store::Outcome;
use std::path::Path;

const SEGMENT_BYTES: usize = 256 * 1024;
const SEGMENT_HEADER: usize = 20;
/// The kind of a message that holds the list of trees.
const META: u8 = 6;
/// The highest kind that there is.
const KINDS: u8 = 13;

/// What was counted in database files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pages {
    /// Bytes of all messages.
    pub(crate) all: u64,
    /// Of those that hold the list of trees.
    pub(crate) lists: u64,
    /// The longest list: sled keeps the newest one in memory, once.
    pub(crate) longest: u64,
}

impl Pages {
    /// Counts the databases below a journal's folder.
    pub(crate) fn below(journal: &Path) -> Outcome<Pages> {
        let mut pages = Pages::default();
        for entry in std::fs::read_dir(journal.join("log"))? {
            let bytes = std::fs::read(entry?.path().join("db"))?;
            bytes.chunks(SEGMENT_BYTES).for_each(|segment| pages.count(segment));
        }
        Ok(pages)
    }

    fn count(&mut self, segment: &[u8]) {
        let mut rest = segment.get(SEGMENT_HEADER..).unwrap_or_default();
        while let Some((kind, length, body)) = message(rest).filter(|(kind, ..)| (1..=KINDS).contains(kind)) {
            let whole = ((rest.len() - body.len()) as u64 + length).min(rest.len() as u64);
            self.all += whole;
            if kind == META {
                self.lists += whole;
                self.longest = self.longest.max(whole);
            }
            rest = body.get(length as usize..).unwrap_or_default();
        }
    }
}

/// Kind, length of the body, and what follows the header.
fn message(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let kind = *bytes.get(4)?;
    let (length, rest) = number(bytes.get(5..)?)?;
    let (_segment, rest) = number(rest)?;
    let (_page, rest) = number(rest)?;
    Some((kind, length, rest))
}

/// A number in as few bytes as it takes.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let at = |index: usize| bytes.get(index).map(|byte| u64::from(*byte));
    let (value, taken) = match at(0)? {
        small @ 0..=240 => (small, 1),
        first @ 241..=248 => (240 + 256 * (first - 241) + at(1)?, 2),
        249 => (2288 + 256 * at(1)? + at(2)?, 3),
        more => {
            let count = more as usize - 247;
            let bytes = bytes.get(1..=count)?;
            (bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)), 1 + count)
        }
    };
    Some((value, bytes.get(taken..)?))
}
