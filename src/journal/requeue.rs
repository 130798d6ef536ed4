//! Out of quarantine: back into the log as new records, or dropped for good.
//!
//! A requeued record gets a new number and the next position of its lane; its key, and so its deduplication id, its time of
//! receipt and everything else stay. It says that the consumer may have it already (`possibleduplicate`). The order keeps
//! it safe: first it is durable in the log, then it leaves the quarantine. A cut between the two leaves it in both, and
//! it can be requeued or dropped once more; it is never in neither.
//!
//! The writer takes what is asked in commits of the usual size. Until it takes a thing nothing is done about it, and
//! whoever does not want to wait any longer takes the request back: what is said not to be done is not done later. What
//! is on its way at that moment cannot be taken back, and that is said, too. While a thing is asked for nobody else can
//! drop it or ask for it once more.

use super::commit::{COMMIT_BYTES, COMMIT_RECORDS, Writer, weight};
use super::hand::Commit;
use super::log::locked;
use super::named::{Named, QuarantineId};
use super::numbering::Numbering;
use super::quarantine::Quarantined;
use super::{Journal, JournalError, Opened, Ticket};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A running writer answers within this, or the disk refuses.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Requeued {
    /// What left the quarantine: its id there, and its record's number.
    pub done: Vec<(QuarantineId, u64)>,
    /// What stays there, and why.
    pub refused: Vec<(Named, String)>,
}

impl Requeued {
    fn len(&self) -> usize {
        self.done.len() + self.refused.len()
    }

    fn and(&mut self, other: Requeued) {
        self.done.extend(other.done);
        self.refused.extend(other.refused);
    }
}

/// What the writer is asked, and has in its hands.
#[derive(Debug, Default)]
pub(super) struct Requeues {
    last: u64,
    asked: Vec<Request>,
    /// In the commit that the writer is at, each with its request.
    leaving: Vec<(u64, QuarantineId)>,
}

#[derive(Debug)]
struct Request {
    ticket: u64,
    /// What the writer has not taken yet.
    ids: BTreeSet<QuarantineId>,
    answer: mpsc::Sender<Requeued>,
}

/// Whoever asked.
#[derive(Debug)]
struct Asker {
    ticket: u64,
    count: usize,
    answers: mpsc::Receiver<Requeued>,
}

/// A thing that goes into the next commit.
#[derive(Debug)]
pub(super) struct Leaving {
    ticket: u64,
    answer: mpsc::Sender<Requeued>,
    entry: Quarantined,
}

impl Requeues {
    fn ask(&mut self, ids: BTreeSet<QuarantineId>) -> Asker {
        self.last += 1;
        let (ticket, count) = (self.last, ids.len());
        let (answer, answers) = mpsc::channel();
        self.asked.push(Request { ticket, ids, answer });
        Asker { ticket, count, answers }
    }

    fn has(&self, id: QuarantineId) -> bool {
        self.asked.iter().any(|request| request.ids.contains(&id)) || self.leaving.iter().any(|(_, other)| *other == id)
    }

    /// Takes a request back; gives how many of it are on their way.
    fn take_back(&mut self, ticket: u64) -> usize {
        self.asked.retain(|request| request.ticket != ticket);
        self.leaving.iter().filter(|(other, _)| *other == ticket).count()
    }

    /// What of `entries` goes into the next commit, oldest request first.
    fn portion(&self, entries: Vec<Quarantined>) -> Vec<Leaving> {
        let mut bytes = 0;
        let mut portion = Vec::new();
        for entry in entries {
            let Some(request) = self.asked.iter().find(|request| request.ids.contains(&entry.id)) else { continue };
            bytes += weight(&entry.record.draft);
            if !portion.is_empty() && (bytes > COMMIT_BYTES || portion.len() == COMMIT_RECORDS) {
                break;
            }
            portion.push(Leaving { ticket: request.ticket, answer: request.answer.clone(), entry });
        }
        portion
    }

    /// The portion leaves, without what was taken back meanwhile.
    fn leave(&mut self, portion: &mut Vec<Leaving>) {
        portion.retain(|Leaving { ticket, entry, .. }| {
            let request = self.asked.iter_mut().find(|request| request.ticket == *ticket);
            request.is_some_and(|request| request.ids.remove(&entry.id))
        });
        self.asked.retain(|request| !request.ids.is_empty());
        self.leaving = portion.iter().map(|leaving| (leaving.ticket, leaving.entry.id)).collect();
    }

    /// Answers for all that is asked for and is not to be had.
    fn refuse(&mut self, why: &str) {
        for Request { ids, answer, .. } in self.asked.drain(..) {
            let refused = ids.into_iter().map(|id| (Named::Id(id), why.to_owned())).collect();
            // Whoever asked may have gone.
            let _ = answer.send(Requeued { refused, ..Requeued::default() });
        }
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

    pub(super) fn requeue_within(&self, names: Option<&[Named]>, time: Duration) -> Result<Requeued, JournalError> {
        let until = Instant::now() + time;
        let (outcome, asker) = self.ask(names)?;
        let next = |answers: &mpsc::Receiver<Requeued>| {
            answers.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
        };
        self.answered(outcome, asker, next, "the journal's writer does not answer")
    }

    /// Hands a request to the writer.
    fn ask(&self, names: Option<&[Named]>) -> Result<(Requeued, Option<Asker>), JournalError> {
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
    fn answered(
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

    /// What is named and nobody has asked for yet, and what is not to be had.
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

impl Opened {
    /// [`Journal::requeue`] in a journal that no agent runs: opened for this alone, and closed again.
    ///
    /// # Errors
    /// The disk refuses; what was not requeued is still in quarantine.
    pub fn requeue(self, names: Option<&[Named]>) -> Result<Requeued, JournalError> {
        let journal = self.journal.clone();
        let (outcome, asker) = journal.ask(names)?;
        let (appends, inbox) = tokio::sync::mpsc::unbounded_channel::<super::Append<()>>();
        let (committed, _tickets) = tokio::sync::mpsc::unbounded_channel();
        // Nothing will come: the writer commits what is asked for, and ends. A disk that refuses ends it, too.
        drop(appends);
        self.writer(Duration::ZERO, inbox, committed, Arc::new(AtomicBool::new(true))).run();
        journal.stop_keeping();
        journal.keep();
        let next = |answers: &mpsc::Receiver<Requeued>| answers.try_recv().ok();
        journal.answered(outcome, asker, next, "the disk refuses, as the log above says")
    }
}

impl<T: Ticket> Writer<T> {
    /// Whether something is to go back into the log. Whoever has the lock may hold it while the disk works, and calls the
    /// writer afterwards: acknowledgements do not wait for that.
    pub(super) fn is_asked(&self) -> bool {
        self.journal.0.requeues.try_lock().is_ok_and(|requeues| !requeues.asked.is_empty())
    }

    /// Puts one commit of what is asked for back into the log, and calls itself for the next one. `false`: told to stop
    /// before the disk took it.
    pub(super) fn requeue(&mut self) -> bool {
        if !self.is_asked() {
            return true;
        }
        let mut portion = match self.journal.quarantined() {
            Ok(entries) => locked(&self.journal.0.requeues).portion(entries),
            Err(error) => {
                locked(&self.journal.0.requeues).refuse(&format!("cannot be read now: {error}"));
                return true;
            }
        };
        if portion.is_empty() {
            locked(&self.journal.0.requeues).refuse("is not in quarantine any more");
            return true;
        }
        let bytes: usize = portion.iter().map(|leaving| weight(&leaving.entry.record.draft)).sum();
        if !self.insist_on_room(bytes as u64) {
            return false;
        }
        locked(&self.journal.0.requeues).leave(&mut portion);
        let drafts: Vec<Numbering> = portion.iter().filter_map(again).collect();
        if drafts.is_empty() {
            return true;
        }
        let slots = self.slots(drafts.iter().map(|numbering| &numbering.draft));
        let records = self.number(drafts.into_iter().zip(slots));
        self.hand.commit = Some(Commit { records, leaving: portion, durable: false });
        if !self.commit() {
            return false;
        }
        self.journal.0.noted.notify_one();
        true
    }

    /// They are durable in the log: they leave the quarantine.
    pub(super) fn requeued(&self, portion: Vec<Leaving>) {
        let ids = portion.iter().map(|leaving| leaving.entry.id).collect();
        let removed = self.journal.0.quarantine.remove(&ids);
        tracing::info!(records = portion.len(), "requeued out of quarantine");
        let mut requeues = locked(&self.journal.0.requeues);
        requeues.leaving.clear();
        for Leaving { answer, entry, .. } in portion {
            let id = entry.id;
            let said = match &removed {
                Ok(()) => Requeued { done: vec![(id, entry.record.number)], ..Requeued::default() },
                Err(error) => {
                    let why = format!(
                        "is requeued, and still in quarantine as well ({error}): drop it there when the disk works again"
                    );
                    Requeued { refused: vec![(Named::Id(id), why)], ..Requeued::default() }
                }
            };
            // Whoever asked may have gone.
            let _ = answer.send(said);
        }
    }
}

fn again(leaving: &Leaving) -> Option<Numbering> {
    let record = &leaving.entry.record;
    let (lane, _) = leaving.entry.place?;
    let mut draft = record.draft.clone();
    draft.identity.key = Some(record.key.clone());
    draft.lanes = vec![lane];
    Some(Numbering { draft, boot: record.boot, requeued: true })
}
