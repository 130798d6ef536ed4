//! The journal's format line: what this program reads, and what it leaves untouched.

use super::{JournalError, files};
use std::fs;
use std::io;
use std::path::Path;

const FORMAT_LINE: &str = "tidegate journal, format 1\n";

/// Whether a folder is a journal that this program reads. Changes nothing.
pub(super) fn check_readable(path: &Path) -> Result<(), JournalError> {
    let entries = fs::read_dir(path).map_err(|source| JournalError::io(path, source))?;
    refuse_newer(path)?;
    let ours = ["format", "state", "log"];
    if entries.flatten().any(|entry| ours.iter().any(|name| entry.file_name() == *name)) {
        return Ok(());
    }
    Err(JournalError::io(path, io::Error::new(io::ErrorKind::NotFound, "there is no journal in this folder")))
}

/// The line that says the format, where it can be read.
fn refuse_newer(path: &Path) -> Result<Option<String>, JournalError> {
    let file = path.join("format");
    match fs::read_to_string(&file) {
        Ok(text) if text != FORMAT_LINE && text.starts_with("tidegate journal, format ") => {
            Err(JournalError::Newer(format!("written by a newer tidegate ({}: {})", file.display(), text.trim_end())))
        }
        Ok(text) => Ok(Some(text)),
        // Text that is none says as little as a file that is not there; what cannot be read now may say anything.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(source) => Err(JournalError::io(&file, source)),
    }
}

/// Returns whether the journal is new.
pub(super) fn check_format(path: &Path) -> Result<bool, JournalError> {
    let file = path.join("format");
    match refuse_newer(path)? {
        Some(text) if text == FORMAT_LINE => Ok(false),
        // Missing, or torn when the journal was made: it says nothing that the other files do not.
        _ => {
            let state = path.join("state");
            let made = !state.try_exists().map_err(|source| JournalError::io(&state, source))?;
            files::replace(&file, FORMAT_LINE.as_bytes()).map_err(|source| JournalError::io(&file, source))?;
            Ok(made)
        }
    }
}
