//! What the writer does now, for the status.

use crate::journal::ledger::retention::Bound;
use serde::Serialize;

/// What the writer is at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WriterHealth {
    /// Commits when something comes.
    #[default]
    Fine,
    /// At a bound with `on_full = "stop"`: nothing is acknowledged until there is room again.
    Full {
        /// The bound that is reached.
        bound: Bound,
    },
    /// The disk refuses: nothing is acknowledged, and every few seconds the commit is tried again.
    Failing {
        /// What the disk said.
        error: String,
    },
}
