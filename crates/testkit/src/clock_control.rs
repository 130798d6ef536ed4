//! An agent's clocks, moved from outside, and how long its syncs take.
//!
//! They go through the file that a rigged agent reads (`TIDEGATE_RIG_CLOCK`, see the agent's `src/failpoints.rs`); a build that
//! ships does not know it.

use crate::{Error, Result};
use std::fs;
use std::path::PathBuf;

/// The clocks of one agent, and how long its syncs take.
#[derive(Clone, Debug)]
pub struct ClockControl {
    file: PathBuf,
    /// Milliseconds added to the wall clock.
    pub wall_ms: i64,
    /// Milliseconds added to the time since boot.
    pub boottime_ms: u64,
    /// Number of the boot; 0: the machine's own.
    pub boot: u8,
    /// Milliseconds that each commit's sync takes longer.
    pub sync_ms: u64,
}

impl ClockControl {
    /// Clocks that are not moved yet, by way of `file`.
    pub fn new(file: PathBuf) -> Result<ClockControl> {
        let clock = ClockControl { file, wall_ms: 0, boottime_ms: 0, boot: 0, sync_ms: 0 };
        clock.set()?;
        Ok(clock)
    }

    /// The environment of the agent that is to read it.
    pub fn environment(&self) -> (String, String) {
        ("TIDEGATE_RIG_CLOCK".into(), self.file.display().to_string())
    }

    /// Puts what the fields say in force, at once.
    pub fn set(&self) -> Result<()> {
        let what = || format!("writing {}", self.file.display());
        let fresh = self.file.with_extension("new");
        let ClockControl { wall_ms, boottime_ms, boot, sync_ms, .. } = self;
        fs::write(&fresh, format!("{wall_ms} {boottime_ms} {boot} {sync_ms}\n")).map_err(Error::io(what()))?;
        fs::rename(&fresh, &self.file).map_err(Error::io(what()))
    }
}
