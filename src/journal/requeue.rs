//! Out of quarantine: back into the log as new records, or dropped for good.
//!
//! A requeued record gets a new number and the next position of its lane; its key, and so its deduplication id, its time of
//! receipt and everything else stay. It says that the consumer may have it already (`possibleduplicate`). The order keeps
//! it safe: first it is durable in the log, then it leaves the quarantine. A cut between the two leaves it in both, and
//! it can be requeued or dropped once more; it is never in neither.

use super::commit::Writer;
use super::log::locked;
use super::numbering::Numbering;
use super::quarantine::{Quarantined, QuarantinedName};
use super::{Journal, JournalError, Opened, Ticket};
use serde::Serialize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// A running writer answers within this, or the disk refuses.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, serde::Deserialize)]
pub struct Requeued {
    /// Numbers that left the quarantine.
    pub done: Vec<u64>,
    /// Numbers that stay there, and why.
    pub refused: Vec<(u64, String)>,
}

/// What the writer says: all of it is durable in the log and out of quarantine, or what is wrong.
type Answer = Result<(), String>;

/// What the writer is asked.
#[derive(Debug)]
pub(super) struct Request {
    entries: Vec<Quarantined>,
    answer: mpsc::SyncSender<Answer>,
}

impl Requeued {
    /// This, if the writer says so; `answer` is `None` when there was nothing to ask it, and holds `None` when it is `silent`.
    fn if_so(self, answer: Option<Option<Answer>>, silent: &str) -> Result<Requeued, JournalError> {
        let silent = || Err(format!("{silent}; what was not requeued is still in quarantine"));
        let answer = answer.map_or(Ok(()), |answer| answer.unwrap_or_else(silent));
        answer.map(|()| self).map_err(JournalError::Generation)
    }
}

impl Journal {
    /// What is in quarantine.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, JournalError> {
        self.0.quarantine.entries().map_err(|source| JournalError::io(&self.0.path, source))
    }

    /// Drops things from quarantine for good. `None`: all of them. Blocks on the disk.
    ///
    /// # Errors
    /// The disk refuses; nothing was dropped.
    pub fn drop_quarantined(&self, numbers: Option<&[u64]>) -> Result<Requeued, JournalError> {
        let (chosen, mut outcome) = self.chosen(numbers)?;
        let names: Vec<QuarantinedName> = chosen.iter().map(Quarantined::name).collect();
        self.0.quarantine.remove(&names).map_err(|source| JournalError::io(&self.0.path, source))?;
        outcome.done = distinct(&names);
        Ok(outcome)
    }

    /// Puts records from quarantine back into their lanes, by the writer that runs. `None`: all of them. Blocks until they
    /// are durable there, so never to be called on the writer's thread.
    ///
    /// # Errors
    /// The disk refuses, or the writer ended; what was not requeued is still in quarantine.
    pub fn requeue(&self, numbers: Option<&[u64]>) -> Result<Requeued, JournalError> {
        let (outcome, answer) = self.ask(numbers)?;
        let silent = "the journal's writer does not answer";
        outcome.if_so(answer.map(|answer| answer.recv_timeout(ANSWER_TIME).ok()), silent)
    }

    /// Hands a request to the writer; the channel has its answer once all of it is durable.
    fn ask(&self, numbers: Option<&[u64]>) -> Result<(Requeued, Option<mpsc::Receiver<Answer>>), JournalError> {
        let (chosen, mut outcome) = self.chosen(numbers)?;
        let (mut entries, mut names) = (Vec::new(), Vec::new());
        for entry in chosen {
            match self.refusal(&entry) {
                Some(why) => outcome.refused.push((entry.record.number, why)),
                None => {
                    names.push(entry.name());
                    entries.push(entry);
                }
            }
        }
        outcome.done = distinct(&names);
        if entries.is_empty() {
            return Ok((outcome, None));
        }
        let (answer, answered) = mpsc::sync_channel(1);
        locked(&self.0.requeues).push(Request { entries, answer });
        self.0.noted.notify_one();
        Ok((outcome, Some(answered)))
    }

    /// What is named, and what is named and not there.
    fn chosen(&self, numbers: Option<&[u64]>) -> Result<(Vec<Quarantined>, Requeued), JournalError> {
        let mut entries = self.quarantined()?;
        let mut outcome = Requeued::default();
        if let Some(numbers) = numbers {
            entries.retain(|entry| numbers.contains(&entry.record.number));
            let there = |number: &&u64| entries.iter().any(|entry| entry.record.number == **number);
            let missing = numbers.iter().filter(|number| !there(number));
            outcome.refused = missing.map(|number| (*number, "is not in quarantine".to_owned())).collect();
        }
        Ok((entries, outcome))
    }

    fn refusal(&self, entry: &Quarantined) -> Option<String> {
        let Some((lane, _)) = entry.place else {
            return Some(
                "only the head of the message was kept, because it was too large: it can only be dropped".into(),
            );
        };
        let known = locked(&self.0.books).iter().any(|book| book.id == lane);
        (!known).then(|| "the queue that it was for is not known to the journal any more".to_owned())
    }
}

impl Opened {
    /// [`Journal::requeue`] in a journal that no agent runs: opened for this alone, and closed again.
    ///
    /// # Errors
    /// The disk refuses; what was not requeued is still in quarantine.
    pub fn requeue(self, numbers: Option<&[u64]>) -> Result<Requeued, JournalError> {
        let journal = self.journal.clone();
        let (outcome, answer) = journal.ask(numbers)?;
        let (appends, inbox) = tokio::sync::mpsc::unbounded_channel::<super::Append<()>>();
        let (committed, _tickets) = tokio::sync::mpsc::unbounded_channel();
        // Nothing will come: the writer commits what is asked for, and ends. A disk that refuses ends it, too.
        drop(appends);
        self.writer(Duration::ZERO, inbox, committed, Arc::new(AtomicBool::new(true))).run();
        journal.stop_keeping();
        journal.keep();
        outcome.if_so(answer.map(|answer| answer.try_recv().ok()), "the disk refuses, as the log above says")
    }
}

impl<T: Ticket> Writer<T> {
    /// What is to go back into the log now, and who asked for it.
    pub(super) fn requeues(&self) -> (Vec<Numbering>, Vec<Request>) {
        let requests = std::mem::take(&mut *locked(&self.journal.0.requeues));
        let entries = requests.iter().flat_map(|request| &request.entries);
        let numbered = entries.filter_map(|entry| {
            let (lane, _) = entry.place?;
            let mut draft = entry.record.draft.clone();
            draft.identity.key = Some(entry.record.key.clone());
            draft.lanes = vec![lane];
            Some(Numbering { draft, boot: entry.record.boot, requeued: true })
        });
        (numbered.collect(), requests)
    }

    /// They are durable in the log: they leave the quarantine.
    pub(super) fn requeued(&self, requests: Vec<Request>) {
        for Request { entries, answer } in requests {
            let names: Vec<QuarantinedName> = entries.iter().map(Quarantined::name).collect();
            let removed = self.journal.0.quarantine.remove(&names).map(drop).map_err(|error| {
                format!(
                    "requeued, but still in quarantine as well ({error}): drop them there when the disk works again"
                )
            });
            tracing::info!(records = names.len(), "requeued out of quarantine");
            // Whoever asked may have gone.
            let _ = answer.try_send(removed);
        }
    }
}

fn distinct(names: &[QuarantinedName]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().map(|name| name.number).collect();
    numbers.dedup();
    numbers
}
