//! Out of quarantine: back into the log as new records, or dropped for good.
//!
//! A requeued record gets a new number and the next position of its lane; its key, and so its deduplication id, its time of
//! receipt and everything else stay. It says that the consumer may have it already (`possibleduplicate`). The order keeps
//! it safe: first it is durable in the log, then it leaves the quarantine. A cut between the two leaves it in both, and
//! it can be requeued or dropped once more; it is never in neither.
//!
//! The writer takes what is asked in commits of the usual size. Until it takes a thing nothing is done about it, and a
//! caller that does not want to wait any longer takes the request back: what the answer calls not done is not done later.
//! What is on its way at that moment cannot be taken back, and the answer says that, too. While a thing is asked for, no
//! other caller can drop it or ask for it once more.

use crate::journal::handle::append::{Ticket, weight};
use crate::journal::handle::requests::{Leaving, Requeued};
use crate::journal::quarantine::named::Named;
use crate::journal::writer::Writer;
use crate::journal::writer::hand::Commit;
use crate::journal::writer::numbering::Numbering;
use crate::sync::locked;

impl<T: Ticket> Writer<T> {
    /// Whether something is to go back into the log. The thread that has the lock may hold it while the disk works, and
    /// calls the writer afterwards: acknowledgements do not wait for that.
    pub(crate) fn is_asked(&self) -> bool {
        self.journal.0.requeues.try_lock().is_ok_and(|requeues| !requeues.asked.is_empty())
    }

    /// Puts one commit of what is asked for back into the log, and calls itself for the next one. `false`: told to stop
    /// before the disk took it.
    pub(crate) fn requeue(&mut self) -> bool {
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
    pub(crate) fn requeued(&self, portion: Vec<Leaving>) {
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
            // The caller may have gone.
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
