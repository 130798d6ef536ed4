//! What a journal is opened with.

use crate::journal::ledger::retention::Bounds;
use std::path::PathBuf;
use std::time::Duration;

/// What a journal is opened with.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Folder; created when missing.
    pub path: PathBuf,
    /// What bounds it, and what happens there.
    pub bounds: Bounds,
    /// Bytes of the reserve for a full disk; 0: none.
    pub reserve_bytes: u64,
    /// Payload bytes after which a generation is closed.
    pub generation_bytes: u64,
    /// After so long without a record, a good part of a generation is closed early, to have its memory back.
    pub quiet: Duration,
    /// Names of the configured queues, one lane each.
    pub lanes: Vec<String>,
    /// Those of them whose queues take no gap records: their holes are counted, and not announced.
    pub silent: Vec<String>,
    /// Those of them whose queues are FIFO and absorb a repeat: what they accepted may lack in the state file for longer.
    pub absorbing: Vec<String>,
    /// Where to look for the marks of the machine: `/`, but for tests.
    pub machine: PathBuf,
    /// A folder that lives as long as the boot, for the state of a journal whose disk is read-only; without one such a
    /// journal is not opened.
    pub runtime: Option<PathBuf>,
}
