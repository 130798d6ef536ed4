//! Requeueing, and giving up by hand, in a journal that no agent has open.

use crate::journal::error::JournalError;
use crate::journal::handle::append::Append;
use crate::journal::handle::requests::Requeued;
use crate::journal::quarantine::named::Named;
use crate::journal::recovery::Opened;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

impl Opened {
    /// [`crate::journal::Journal::requeue`] in a journal that no agent runs: opened for this alone, and closed again.
    ///
    /// # Errors
    /// The disk refuses; what was not requeued is still in quarantine.
    pub fn requeue(self, names: Option<&[Named]>) -> Result<Requeued, JournalError> {
        let journal = self.journal.clone();
        let (outcome, asker) = journal.ask(names)?;
        self.write_once();
        let next = |answers: &mpsc::Receiver<Requeued>| answers.try_recv().ok();
        journal.answered(outcome, asker, next, "the disk refuses, as the log above says")
    }

    /// [`crate::journal::Journal::quarantine_by_hand`] in a journal that no agent runs.
    ///
    /// # Errors
    /// The disk refuses; what was done before stays done.
    pub fn quarantine_by_hand(self, numbers: &[u64]) -> Result<Requeued, JournalError> {
        let outcome = self.journal.quarantine_by_hand(numbers);
        self.write_once();
        outcome
    }

    /// Writes what is to be written, and closes the journal.
    fn write_once(self) {
        let journal = self.journal.clone();
        let (appends, inbox) = tokio::sync::mpsc::unbounded_channel::<Append<()>>();
        let (committed, _tickets) = tokio::sync::mpsc::unbounded_channel();
        // Nothing will come: the writer commits what is asked for, and ends. A disk that refuses ends it, too.
        drop(appends);
        self.writer(Duration::ZERO, inbox, committed, Arc::new(AtomicBool::new(true))).run();
        journal.stop_keeping();
        journal.keep();
    }
}
