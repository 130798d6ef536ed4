//! Traces of runs in which something broke, so that the very same cut can be made again.

use crate::marks::Recorded;
use std::fs;
use std::path::PathBuf;

fn path(seed: u64, run: u64) -> PathBuf {
    PathBuf::from(format!("target/torture/seed-{seed}-run-{run}.cbor"))
}

/// The kept trace of a run, if there is one that can be read.
pub(crate) fn load(seed: u64, run: u64) -> Option<Recorded> {
    serde_cbor::from_slice(&fs::read(path(seed, run)).ok()?).ok()
}

/// Keeps a run's trace.
pub(crate) fn save(seed: u64, run: u64, recorded: &Recorded) -> Result<(), String> {
    let path = path(seed, run);
    let bytes = serde_cbor::to_vec(recorded).map_err(|error| error.to_string())?;
    let written = fs::create_dir_all("target/torture").and_then(|()| fs::write(&path, bytes));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
