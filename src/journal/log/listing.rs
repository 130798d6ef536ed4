//! What lies in the log's folder.

use crate::record::Number;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Begins the name of a folder that is being removed.
const TRASH: &str = "trash-";

/// The folder of a generation. Of those with one first number the newest has the highest count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Folder {
    pub(crate) first: Number,
    /// The epoch that made it, or higher where there was one of that.
    pub(crate) count: u64,
    pub(crate) path: PathBuf,
}

/// What was found, in no order. Anything else is not the journal's, and is left alone.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) generations: Vec<Folder>,
    /// Half-removed by a run that was cut.
    pub(crate) trash: Vec<PathBuf>,
}

/// Looks into the folder.
///
/// # Errors
/// It is not there, or cannot be listed now.
pub(crate) fn list(log: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match parse_name(name) {
            Some((first, count)) => listing.generations.push(Folder { first, count, path }),
            None if name.starts_with(TRASH) => listing.trash.push(path),
            None => {}
        }
    }
    Ok(listing)
}

/// Where a generation's folder is renamed to before it is removed: no start takes it for a generation there.
pub(crate) fn trash_of(folder: &Path) -> PathBuf {
    let mut name = OsString::from(TRASH);
    name.push(folder.file_name().unwrap_or_default());
    folder.with_file_name(name)
}

/// The name of a generation's folder.
pub(crate) fn name(first: Number, count: u64) -> String {
    format!("gen-{:020}.{count:010}", first.0)
}

/// First number and count that a generation's folder is named for.
pub(crate) fn parse_name(name: &str) -> Option<(Number, u64)> {
    let (first, count) = name.strip_prefix("gen-")?.split_once('.')?;
    Some((Number(first.parse().ok()?), count.parse().ok()?))
}
