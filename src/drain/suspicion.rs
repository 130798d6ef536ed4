//! What is held against records, and what people are shown of it ([`crate::drain::suspects`]).

use serde::Serialize;

/// A suspect, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SuspectStatus {
    /// Its record's number, as the journal's commands take it.
    pub number: u64,
    /// Its topic.
    pub topic: String,
    /// The group that waits behind it.
    pub group: String,
    /// Flights that failed with it while everything else was accepted.
    pub failures: u32,
    /// Why the last one failed.
    pub why: String,
}

/// What is held against a record.
#[derive(Debug)]
pub(super) struct Suspicion {
    /// Records that the lane had accepted when it was tried last.
    pub(super) accepted_before: u64,
    /// Failures while others were accepted.
    pub(super) proven: u32,
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) why: String,
}

/// The suspects of a lane, beside what is noted with each.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Records accepted so far, of whatever group.
    pub(super) accepted: u64,
    /// Suspects that travel together at most, as a power of two.
    pub(super) together: u32,
    /// A flight of suspects has closed the gate, and no other record has been tried since.
    pub(super) closed_gate: bool,
}
