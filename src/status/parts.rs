//! The stages as the status shows them: the journal, and each queue.

use crate::drain::DrainStatus;
use crate::journal::{JournalStats, LaneStats, WriterHealth};
use crate::status::history::DrainForecast;
use serde::Serialize;
use std::path::PathBuf;

/// The journal and where it lies.
#[derive(Clone, Debug, Serialize)]
pub struct JournalStatus {
    /// Its books, bounds and health.
    #[serde(flatten)]
    pub facts: JournalStats,
    /// The journal's folder.
    pub path: PathBuf,
    /// It lies in RAM: a power cut loses it.
    pub in_ram: bool,
    /// Bytes free on its file system.
    pub free_bytes: Option<u64>,
    /// Seconds until it is full if nothing leaves it, at the present rate; `None` while that is not known, and while its disk
    /// takes nothing.
    pub holds_on_s: Option<u64>,
}

impl JournalStatus {
    /// Whether its disk takes nothing now: then no rate says for how long it does.
    pub(crate) fn refuses(&self) -> bool {
        self.facts.read_only || matches!(self.facts.writer, WriterHealth::Failing { .. })
    }

    /// Bytes that it may still take.
    pub(crate) fn room(&self) -> u64 {
        let bound = self.facts.max_bytes.saturating_sub(self.facts.bytes);
        self.free_bytes.map_or(bound, |free| bound.min(free.saturating_sub(self.facts.min_free)))
    }
}

/// One queue with its lane, its drain and its outlook.
#[derive(Clone, Debug, Serialize)]
pub struct QueueStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The queue's URL, as configured.
    pub url: String,
    /// The books of the queue's lane.
    pub lane: Option<LaneStats>,
    /// What the drain to this queue does.
    pub drain: DrainStatus,
    /// How long its backlog will take; absent until the journal is open.
    pub outlook: Option<DrainForecast>,
}
