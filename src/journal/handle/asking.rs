//! What people may do with the quarantine of an open journal: look, drop, requeue.

use crate::journal::error::JournalError;
use crate::journal::handle::Journal;
use crate::journal::handle::requests::{Asker, Requeued, Requeues};
use crate::journal::quarantine::Quarantined;
use crate::journal::quarantine::named::Named;
use crate::sync::locked;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A running writer answers within this, or the disk refuses.
const ANSWER_TIME: Duration = Duration::from_secs(30);

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
    pub fn drop_quarantined(&self, names: Option<&[Named]>) -> Result<Requeued, JournalError> {
        // Held to the end: what is dropped here is not taken by the writer meanwhile.
        let requeues = locked(&self.0.requeues);
        let (chosen, outcome) = self.chosen(names, &requeues)?;
        let ids = chosen.iter().map(|entry| entry.id).collect();
        let removed = self.0.quarantine.remove(&ids).map_err(|source| JournalError::io(&self.0.path, source));
        drop(requeues);
        // The writer does not wait for the lock, and may have come by.
        self.0.noted.notify_one();
        removed?;
        let done = chosen.iter().map(|entry| (entry.id, entry.record.number)).collect();
        Ok(Requeued { done, ..outcome })
    }

    /// Puts records from quarantine back into their lanes, by the writer that runs. `None`: all of them. Blocks until they
    /// are durable there, so never to be called on the writer's thread.
    ///
    /// # Errors
    /// The disk refuses, or the writer does not answer: the text says how many were requeued, and all others stay.
    pub fn requeue(&self, names: Option<&[Named]>) -> Result<Requeued, JournalError> {
        self.requeue_within(names, ANSWER_TIME)
    }

    pub(crate) fn requeue_within(&self, names: Option<&[Named]>, time: Duration) -> Result<Requeued, JournalError> {
        let until = Instant::now() + time;
        let (outcome, asker) = self.ask(names)?;
        let next = |answers: &mpsc::Receiver<Requeued>| {
            answers.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
        };
        self.answered(outcome, asker, next, "the journal's writer does not answer")
    }

    /// Hands a request to the writer.
    pub(crate) fn ask(&self, names: Option<&[Named]>) -> Result<(Requeued, Option<Asker>), JournalError> {
        let mut requeues = locked(&self.0.requeues);
        let (chosen, mut outcome) = self.chosen(names, &requeues)?;
        let mut ids = BTreeSet::new();
        for entry in chosen {
            match self.refusal(&entry) {
                Some(why) => outcome.refused.push((Named::Id(entry.id), why)),
                None => _ = ids.insert(entry.id),
            }
        }
        if ids.is_empty() {
            return Ok((outcome, None));
        }
        let asker = requeues.ask(ids);
        drop(requeues);
        self.0.noted.notify_one();
        Ok((outcome, Some(asker)))
    }

    /// Takes the answers; where there is no further one, takes the rest of the request back.
    pub(crate) fn answered(
        &self,
        mut outcome: Requeued,
        asker: Option<Asker>,
        next: impl Fn(&mpsc::Receiver<Requeued>) -> Option<Requeued>,
        silent: &str,
    ) -> Result<Requeued, JournalError> {
        let Some(Asker { ticket, count, answers }) = asker else { return Ok(outcome) };
        let mut answered = Requeued::default();
        while answered.len() < count {
            match next(&answers) {
                Some(answer) => answered.and(answer),
                None => break,
            }
        }
        if answered.len() < count {
            let under_way = locked(&self.0.requeues).take_back(ticket);
            answers.try_iter().for_each(|answer| answered.and(answer));
            let missing = count - answered.len();
            // What was answered at the last moment is not under way any more.
            let under_way = under_way.min(missing);
            if missing > 0 {
                let text = unanswered(silent, answered.done.len(), missing - under_way, under_way);
                return Err(JournalError::Generation(text));
            }
        }
        outcome.and(answered);
        Ok(outcome)
    }

    /// What is named and not being requeued yet, and what is not to be had.
    fn chosen(
        &self,
        names: Option<&[Named]>,
        requeues: &Requeues,
    ) -> Result<(Vec<Quarantined>, Requeued), JournalError> {
        let mut entries = self.quarantined()?;
        let mut outcome = Requeued::default();
        if let Some(names) = names {
            let mut ids = BTreeSet::new();
            for name in names {
                match name.of(&entries) {
                    Ok(named) => ids.extend(named.iter().map(|entry| entry.id)),
                    Err(why) => outcome.refused.push((*name, why)),
                }
            }
            entries.retain(|entry| ids.contains(&entry.id));
        }
        entries.retain(|entry| {
            let taken = requeues.has(entry.id);
            if taken {
                outcome.refused.push((Named::Id(entry.id), "is being requeued already".to_owned()));
            }
            !taken
        });
        Ok((entries, outcome))
    }

    fn refusal(&self, entry: &Quarantined) -> Option<String> {
        let Some((lane, _)) = entry.place else {
            return Some("is only the head of a message that was not journaled: it can only be dropped".to_owned());
        };
        let known = locked(&self.0.books).iter().any(|book| book.id == lane);
        (!known).then(|| "is for a queue that the journal does not know any more".to_owned())
    }
}

fn unanswered(silent: &str, done: usize, stay: usize, under_way: usize) -> String {
    let mut text = format!("{silent}; {done} were requeued, {stay} stay in quarantine");
    if under_way > 0 {
        let more = " are on their way into the log: tidegate journal quarantine list shows them until they are there";
        text.push_str(&format!(", {under_way}{more}"));
    }
    text
}
