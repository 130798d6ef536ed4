//! The hands of the agent's clock, moved by the test: `TIDEGATE_RIG_CLOCK`.

use std::path::PathBuf;
use tempfile::TempDir;
use testkit::agent::AgentConfig;

/// Where an agent reads how far its clocks are moved.
pub(crate) struct ClockControl {
    folder: TempDir,
}

impl ClockControl {
    /// At the real time.
    pub(crate) fn new() -> ClockControl {
        let hands = ClockControl { folder: tempfile::tempdir().unwrap() };
        hands.set(0, 0, 0);
        hands
    }

    /// `config` for an agent whose clock these are.
    pub(crate) fn on(&self, mut config: AgentConfig) -> AgentConfig {
        config.environment.push(("TIDEGATE_RIG_CLOCK".into(), self.file().display().to_string()));
        config
    }

    /// Moves the wall clock and the time since boot by milliseconds; `boot` numbers the boot, 0 is the real one.
    pub(crate) fn set(&self, wall_ms: i64, boottime_ms: i64, boot: u8) {
        // Renamed into place: the agent looks at any time.
        let next = self.folder.path().join("next");
        std::fs::write(&next, format!("{wall_ms} {boottime_ms} {boot}\n")).unwrap();
        std::fs::rename(&next, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("hands")
    }
}
