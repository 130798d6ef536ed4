//! Traces of runs in which something broke, so that the very same cut can be made again.

use crate::marks::Recorded;
use std::fs;
use std::io::{Write, stderr};
use std::path::PathBuf;

/// Which trace.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// A run's.
    Run(u64),
    /// The life's between the two cuts that have this number.
    Cut(u64),
}

fn path(seed: u64, of: Of) -> PathBuf {
    let name = match of {
        Of::Run(run) => format!("run-{run}"),
        Of::Cut(cut) => format!("cut-{cut}"),
    };
    PathBuf::from(format!("target/torture/seed-{seed}-{name}.cbor"))
}

/// A kept trace, if there is one that can be read.
pub(crate) fn load(seed: u64, of: Of) -> Option<Recorded> {
    let path = path(seed, of);
    let recorded = serde_cbor::from_slice(&fs::read(&path).ok()?).ok()?;
    let _ = writeln!(stderr(), "cut from {}, as it was recorded; remove that file to record anew", path.display());
    Some(recorded)
}

/// Keeps a trace.
pub(crate) fn save(seed: u64, of: Of, recorded: &Recorded) -> Result<(), String> {
    let path = path(seed, of);
    let bytes = serde_cbor::to_vec(recorded).map_err(|error| error.to_string())?;
    let written = fs::create_dir_all("target/torture").and_then(|()| fs::write(&path, bytes));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
