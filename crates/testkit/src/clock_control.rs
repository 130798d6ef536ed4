//! An agent's clocks, moved from outside, and how long its syncs take.
//!
//! They go through the file that a rigged agent reads (`TIDEGATE_RIG_CLOCK`, see the agent's `src/failpoints.rs`); a build that
//! ships does not know it.

use crate::{Error, Result};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// The clocks of one agent, and how long its syncs take. Its file is gone when dropped.
#[derive(Debug)]
pub struct ClockControl {
    folder: TempDir,
    /// Milliseconds added to the wall clock.
    pub wall_ms: i64,
    /// Milliseconds added to the time since boot.
    pub boottime_ms: i64,
    /// Number of the boot; 0: the machine's own.
    pub boot: u8,
    /// Milliseconds that each commit's sync takes longer.
    pub sync_ms: u64,
    /// No time service keeps the wall clock, as far as the kernel knows.
    pub unsynchronised: bool,
}

impl ClockControl {
    /// Clocks that are not moved yet.
    pub fn new() -> Result<ClockControl> {
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for the clock"))?;
        let clock = ClockControl { folder, wall_ms: 0, boottime_ms: 0, boot: 0, sync_ms: 0, unsynchronised: false };
        clock.set()?;
        Ok(clock)
    }

    /// The environment of the agent that is to read it.
    pub fn environment(&self) -> (String, String) {
        ("TIDEGATE_RIG_CLOCK".into(), self.file().display().to_string())
    }

    /// Moves the clocks at once: by so many milliseconds from the real ones, into the boot of this number.
    pub fn move_to(&mut self, wall_ms: i64, boottime_ms: i64, boot: u8) -> Result<()> {
        (self.wall_ms, self.boottime_ms, self.boot) = (wall_ms, boottime_ms, boot);
        self.set()
    }

    /// Puts what the fields say in force, at once.
    pub fn set(&self) -> Result<()> {
        let file = self.file();
        let what = || format!("writing {}", file.display());
        // Renamed into place: the agent looks at any time.
        let fresh = file.with_extension("new");
        let ClockControl { wall_ms, boottime_ms, boot, sync_ms, unsynchronised, .. } = self;
        fs::write(&fresh, format!("{wall_ms} {boottime_ms} {boot} {sync_ms} {}\n", u8::from(*unsynchronised)))
            .map_err(Error::io(what()))?;
        fs::rename(&fresh, &file).map_err(Error::io(what()))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}
