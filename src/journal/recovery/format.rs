//! The journal's format line: what this program reads, and what it leaves untouched.

use crate::journal::disk::beside::is_read_only;
use crate::journal::disk::files;
use crate::journal::error::JournalError;
use std::path::Path;
use std::{fs, io};

/// Written by this program. Format 1 is read too: its generations have frames of version 1.
const FORMAT: u64 = 2;
const BEFORE: &str = "tidegate journal, format ";
const CHECK: &str = ", crc ";

/// Whether a folder is a journal that this program reads. Changes nothing.
pub(crate) fn check_readable(path: &Path) -> Result<(), JournalError> {
    let entries = fs::read_dir(path).map_err(|source| JournalError::io(path, source))?;
    refuse_newer(path)?;
    let ours = ["format", "state", "log"];
    if entries.flatten().any(|entry| ours.iter().any(|name| entry.file_name() == *name)) {
        return Ok(());
    }
    Err(JournalError::io(path, io::Error::new(io::ErrorKind::NotFound, "there is no journal in this folder")))
}

/// The line as this program writes it: with a checksum of what precedes it.
fn line() -> String {
    let said = format!("{BEFORE}{FORMAT}");
    format!("{said}{CHECK}{:08x}\n", crc32c::crc32c(said.as_bytes()))
}

/// What the file says, where it can be read. Refused is a higher number with its checksum, and nothing else: a line that anything
/// has happened to says nothing, and a journal that stays shut for it loses what is not taken. What a newer program wrote
/// shows in its generations, too.
fn refuse_newer(path: &Path) -> Result<Option<String>, JournalError> {
    let file = path.join("format");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        // Text that is none says as little as a file that is not there; what cannot be read now may say anything.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => return Ok(None),
        Err(source) => return Err(JournalError::io(&file, source)),
    };
    match number(&text) {
        Some(number) if number > FORMAT => {
            Err(JournalError::Newer(format!("written by a newer tidegate ({}: {})", file.display(), text.trim())))
        }
        _ => Ok(Some(text)),
    }
}

/// The number of a line whose checksum is right.
fn number(text: &str) -> Option<u64> {
    let (said, crc) = text.trim().split_once(CHECK)?;
    let digits = said.strip_prefix(BEFORE)?;
    let right = u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(said.as_bytes());
    let plain = right && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number holds are a higher one, too.
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Returns whether the journal is new.
pub(crate) fn check_format(path: &Path) -> Result<bool, JournalError> {
    let file = path.join("format");
    if refuse_newer(path)?.is_some_and(|text| text == line()) {
        return Ok(false);
    }
    // Missing, torn when the journal was made, or damaged: it says nothing that the other files do not.
    let state = path.join("state");
    let made = !state.try_exists().map_err(|source| JournalError::io(&state, source))?;
    match files::replace(&file, line().as_bytes()) {
        // What cannot be written holds nothing of a newer format either. The next start writes the line.
        Err(error) if is_read_only(&error) && !made => Ok(false),
        written => written.map(|()| made).map_err(|source| JournalError::io(&file, source)),
    }
}
