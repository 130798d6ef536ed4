//! Generations that were begun and never written to.
//!
//! The last step of beginning one may be refused when its folder is whole already. The next attempt need not begin it
//! again: where a sync of the generation before it failed, and that one can be read by then, the writer continues in a
//! copy of it. What was begun stays behind, empty. A start that let it count would end the generation before it where it
//! begins, and lose that one's records from there on, or give their numbers again. So an empty one does not count where
//! the one before it holds its first number.

use crate::journal::error::JournalError;
use crate::journal::generation::active::DATABASE;
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::log::listing::Folder;
use std::path::Path;
use std::{fs, io};

/// A database in which nothing was ever written is smaller, whether this version made it or another.
const EMPTY_BYTES: u64 = 64 * 1024;

/// Takes out the folders that were only begun; `found` ascends, `scan` reads a generation.
///
/// # Errors
/// A folder cannot be read, so whether it counts cannot be known.
pub(crate) fn take_begun(
    found: &mut Vec<Folder>,
    scan: impl Fn(&Path) -> io::Result<Option<GenerationBytes>>,
) -> Result<Vec<Folder>, JournalError> {
    let mut begun = Vec::new();
    let mut kept: Vec<Folder> = Vec::new();
    for folder in std::mem::take(found) {
        let before = kept.iter().rev().find(|before| before.first < folder.first);
        let bytes = |folder: &Folder| scan(&folder.path).map_err(|source| JournalError::io(&folder.path, source));
        let is_begun = match before.filter(|_| is_small(&folder.path)) {
            Some(before) => {
                let is_empty = bytes(&folder)?.is_some_and(|bytes| bytes.is_empty());
                is_empty && bytes(before)?.is_some_and(|bytes| bytes.numbers().any(|number| number >= folder.first))
            }
            None => false,
        };
        if is_begun { &mut begun } else { &mut kept }.push(folder);
    }
    *found = kept;
    Ok(begun)
}

/// Whether it can be empty.
fn is_small(folder: &Path) -> bool {
    fs::metadata(folder.join(DATABASE)).is_ok_and(|about| about.len() <= EMPTY_BYTES)
}
