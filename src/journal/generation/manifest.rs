//! The manifest: what is noted beside a generation's database once that is complete.
//!
//! A folder without one was not complete when the power went. It says which numbers and lanes the generation can hold and of
//! which version its frames are, and rebuilds the ledger where the state file is lost.

use crate::journal::disk::refusal;
use crate::record::{Epoch, LaneId, Number, Position};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::{fs, io};

/// Noted beside the database when it is complete, before it is handed out.
pub(crate) const MANIFEST_FILE: &str = "generation";

/// What is noted beside a generation's database when it is made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Version of its frames.
    #[serde(rename = "v")]
    pub(crate) format: u8,
    /// First number it can hold.
    #[serde(rename = "f")]
    pub(crate) first: Number,
    /// Epoch that made it.
    #[serde(rename = "e")]
    pub(crate) epoch: Epoch,
    /// Every lane, and the position that its next record would get.
    #[serde(rename = "l")]
    pub(crate) lanes: Vec<ManifestLane>,
}

/// A lane when a generation was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ManifestLane {
    #[serde(rename = "i")]
    pub(crate) id: LaneId,
    #[serde(rename = "n")]
    pub(crate) name: String,
    #[serde(rename = "x")]
    pub(crate) next: Position,
}

/// Reads the manifest of a generation's folder; `None` when they are missing or damaged.
///
/// # Errors
/// They cannot be read now, which says nothing about them.
pub(crate) fn read_manifest(dir: &Path) -> io::Result<Option<Manifest>> {
    let file = dir.join(MANIFEST_FILE);
    let Some(bytes) = refusal::unless_gone(&file, fs::read(&file))? else { return Ok(None) };
    let Some((body, crc)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
    let sound = crc32c::crc32c(body) == u32::from_be_bytes(*crc);
    Ok(sound.then(|| serde_cbor::from_slice(body).ok()).flatten())
}

/// Whether a generation's folder was complete when it was made.
///
/// # Errors
/// The disk cannot tell now.
pub(crate) fn is_complete(dir: &Path) -> io::Result<bool> {
    let file = dir.join(MANIFEST_FILE);
    Ok(refusal::unless_gone(&file, fs::metadata(&file))?.is_some())
}
