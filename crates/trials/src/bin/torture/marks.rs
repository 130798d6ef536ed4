//! Marks: what the outside world was told, in one order with what the disk was told.
//!
//! A mark is written where its promise begins to hold. An acknowledgement is marked after the ticket came back, a sending
//! after the attempt's mark was durable and before the record would fly, a settling before the books are told, because
//! the state file may say so at any time from then on; a trim after the state that says so was written.

use crate::faults::Lost;
use power_cut::{Disk, Fault, Habits, Recording, Trace};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tidegate::journal::{Journal, Lane};
use tidegate::record::Position;

/// The queues, one lane each. Both drain; the second one lags.
pub(crate) const LANES: [&str; 2] = ["main", "audit"];

/// Begins what is said of a panic.
pub(crate) const PANIC: &str = "panic: ";

/// A record as a lane gave it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) position: u64,
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// Which of our records it is; `None`: a gap record.
    pub(crate) n: Option<u64>,
    /// It came out of quarantine.
    pub(crate) requeued: bool,
    /// What a gap record announces.
    pub(crate) told: Option<Told>,
}

/// What a gap record announces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) reason: String,
    pub(crate) bound: Option<String>,
    /// Of positions, both ends included.
    pub(crate) ranges: Vec<(u64, u64)>,
    pub(crate) count: u64,
}

/// A thing in quarantine, by what does not change however often it is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A record that was in a lane.
    At { lane: usize, position: u64 },
    /// The head of message `n`.
    Head { n: u64 },
}

/// How a thing leaves the quarantine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Way {
    Dropped,
    Requeued,
}

/// One thing that the world outside was told, or told us.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Mark {
    /// So much of the state file was lost after the cut.
    StateLost(Lost),
    /// The journal is being opened.
    Opening,
    /// It is open, at this minute of this boot.
    Opened { epoch: u64, id: String, boot: u8, minute: u64 },
    /// Record `n` was handed to the writer.
    Submitted { n: u64 },
    /// Message `n` was handed to the writer, which is to keep its head alone.
    Head { n: u64 },
    /// The ticket of a record or of a head came back.
    Acked { n: u64 },
    /// A record may be sent from here on.
    Sent { lane: usize, seen: Seen },
    /// The queue accepted it, or refused it for good; the books are going to be told.
    Settling { lane: usize, position: u64 },
    /// It was refused for good: the quarantine is going to be told.
    Refused { lane: usize, position: u64 },
    /// The quarantine holds this one, be it once more.
    Quarantined { lane: usize, position: u64 },
    /// A person asks for this one to leave the quarantine.
    Leaving { entry: Entry, way: Way },
    /// The journal says that it has left.
    Left { entry: Entry, way: Way },
    /// The state on disk says that everything below is settled.
    Trimmed { lane: usize, cursor: u64 },
    /// Record `n` goes to the lane that comes and goes, too.
    SubmittedToComing { n: u64 },
    /// It may be sent from there from here on.
    SentToComing { n: u64 },
    /// Its queue accepted it there; the books are going to be told.
    SettlingOfComing { n: u64 },
    /// Found missing at an open though never acknowledged: it will not come any more, unless it was evicted.
    Gone { n: u64, evicted: bool },
}

/// What was recorded of one run, or of one life after a cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) trace: Trace,
    pub(crate) marks: Vec<Mark>,
}

/// Puts marks into a running recording.
pub(crate) struct Witness {
    recording: Recording,
    marks: Mutex<Vec<Mark>>,
}

impl Witness {
    pub(crate) fn start(folder: &Path, habits: Habits) -> Witness {
        Witness { recording: Recording::start(folder, habits), marks: Mutex::default() }
    }

    pub(crate) fn mark(&self, mark: Mark) {
        // Under one lock, so that marks are numbered in the order of the trace.
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        self.recording.mark(marks.len() as u64);
        marks.push(mark);
    }

    /// From now on these calls are refused.
    pub(crate) fn refuse(&self, faults: &[Fault]) {
        self.recording.refuse(faults);
    }

    /// How many calls were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.recording.refused()
    }

    /// Does something, and does it again for as long as calls were refused meanwhile; a panic is never forgiven.
    pub(crate) fn insist<T>(&self, mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
        loop {
            // A plan has an end, so this has one.
            let before = self.refused();
            match attempt() {
                Err(text) if self.refused() > before && !text.starts_with(PANIC) => {}
                done => return done,
            }
        }
    }

    /// Has a lane's attempts marked where they are not, as it must be before anything of them is sent.
    pub(crate) fn attempt(&self, lane: &Lane, positions: &[Position]) -> Result<(), String> {
        match lane.needs_mark(positions) {
            true => self.insist(|| lane.mark(positions).map_err(|error| error.to_string())),
            false => Ok(()),
        }
    }

    /// Has the state written, and then says what it surely holds: nothing, if a call was refused meanwhile.
    pub(crate) fn keep(&self, journal: &Journal, cursors: impl IntoIterator<Item = u64>) {
        let before = self.refused();
        journal.keep();
        if self.refused() == before {
            cursors.into_iter().enumerate().for_each(|(lane, cursor)| self.mark(Mark::Trimmed { lane, cursor }));
        }
    }

    /// Shows every mark so far.
    pub(crate) fn each(&self, show: impl FnMut(&Mark)) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(show);
    }

    /// Ends the recording; an error says that it cannot be believed.
    pub(crate) fn finish(self, before: &Disk) -> Result<Recorded, String> {
        let trace = self.recording.finish(before)?;
        Ok(Recorded { trace, marks: self.marks.into_inner().unwrap_or_else(PoisonError::into_inner) })
    }
}
