//! What an opening found, for those who tell people.

use crate::record::JournalId;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// There was no journal before.
    pub made: bool,
    /// The state file was damaged: cursors start at the oldest record, everything may be sent again.
    pub state_lost: bool,
    /// One half of the state file is damaged, and may have been the newer one: what was appended may be sent again.
    pub slot_lost: bool,
    /// The card was cloned or the state lost: a new journal id was drawn.
    pub new_id: bool,
    /// The id that it had before a new one was drawn.
    pub former: Option<JournalId>,
    /// It was on another machine before: a copy, or a card that was moved.
    pub copied: bool,
    /// Nothing tells whether it is on the machine that it was on: it keeps its id.
    pub machine_unknown: bool,
    /// Numbers below the recorded high water that the newest generation should hold and does not.
    pub missing: u64,
    /// Records of the last commit before a crash of which only damaged frames are left: unacknowledged, if it was the crash
    /// that tore them, as is likely; lost, if the disk damaged them afterwards.
    pub in_doubt: u64,
    /// It lies in RAM.
    pub in_ram: bool,
    /// Lanes with waiting records that no configured queue drains.
    pub stranded: Vec<String>,
}

impl OpenReport {
    /// Whether marks of attempts may be missing, so that everything on disk may have been sent.
    pub(crate) fn marks_may_be_missing(&self) -> bool {
        self.state_lost || self.slot_lost
    }
}
