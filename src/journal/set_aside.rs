//! What waits in a lane and goes into quarantine: for good reasons of the queue's, or by a person's hand.
//!
//! It is kept, durably, before its position is settled, and announced; from there it can be requeued. By hand is the last resort
//! where something on the way does not let a record pass and its operator does not mend that. A lane that holds such a record in
//! memory is told; if it is in the air at that moment the queue may have it, too.

use crate::journal::error::JournalError;
use crate::journal::handle::Journal;
use crate::journal::handle::requests::Requeued;
use crate::journal::ledger::books::Outcome;
use crate::journal::ledger::cadence::Moved;
use crate::journal::ledger::gap_record;
use crate::journal::ledger::gaps::{About, PendingGap, Reason};
use crate::journal::log::entry::Readings;
use crate::journal::quarantine::Cause;
use crate::journal::quarantine::named::{Named, QuarantineId};
use crate::journal::reader::Lane;
use crate::record::{Number, Position, Record};
use crate::sync::locked;
use std::sync::Arc;

/// The code under which it is kept.
const CODE: &str = "ByHand";
const TEXT: &str = "put into quarantine by hand (tidegate journal quarantine add)";

impl Lane {
    /// Puts a record into quarantine durably, then settles and announces it. `Ok(false)`: the quarantine is full, nothing changed.
    /// A gap record is not announced: the queue that refused it would refuse the next one, too. Blocks on the disk.
    pub fn quarantine(
        &self,
        record: &Record,
        position: Position,
        code: &str,
        text: &str,
    ) -> Result<bool, JournalError> {
        let cause = Cause { code, text, place: Some((self.id, position)), whole: None };
        let shared = &self.journal.0;
        let kept = shared.quarantine.keep(record, cause).map_err(|source| JournalError::io(&shared.path, source))?;
        if kept {
            let told = gap_record::announced_by(record);
            if let Some(PendingGap { reason, ranges, count, .. }) = &told {
                let (lane, reason) = (self.book(|book| book.name.clone()), reason.outcome());
                tracing::error!(
                    queue = lane,
                    reason,
                    ?ranges,
                    count,
                    "the queue refused a gap record for good: its consumer does not learn of these positions"
                );
            }
            let mut about = About::default();
            about.record(record, shared.clock.present());
            self.book(|book| {
                if book.settle(position, Outcome::Quarantined) && told.is_none() {
                    book.holes.note(PendingGap::new(Reason::Quarantined, vec![(position, position)], about));
                }
            });
            shared.noted.notify_one();
            shared.note(Moved::Soon);
        }
        Ok(kept)
    }
}

impl Journal {
    /// Puts records that wait into quarantine, by their numbers: in each lane in which they have no outcome. Blocks on the disk.
    ///
    /// # Errors
    /// The disk refuses; what was done before stays done.
    pub fn quarantine_by_hand(&self, numbers: &[u64]) -> Result<Requeued, JournalError> {
        let mut outcome = Requeued::default();
        for &number in numbers {
            match self.withdraw(Number(number))? {
                Ok(ids) => outcome.done.extend(ids.into_iter().map(|id| (id, Number(number)))),
                Err(why) => outcome.refused.push((Named::Number(number), why)),
            }
        }
        if !outcome.done.is_empty() {
            self.0.withdrawn.send_modify(|times| *times += 1);
        }
        Ok(outcome)
    }

    fn withdraw(&self, number: Number) -> Result<Result<Vec<QuarantineId>, String>, JournalError> {
        let Some(record) = self.find(number)? else {
            let why = "is not in the journal (any more); `tidegate journal list` shows what waits";
            return Ok(Err(why.to_owned()));
        };
        let mut placed = Vec::new();
        for slot in &record.slots {
            let waits = locked(&self.0.books)
                .iter()
                .any(|book| book.id == slot.lane && slot.position < book.next && !book.is_settled(slot.position));
            if !waits {
                continue;
            }
            if !Lane::new(self.clone(), slot.lane).quarantine(&record, slot.position, CODE, TEXT)? {
                let why = "stays: the quarantine is full; make room first: tidegate journal quarantine drop --all, or requeue";
                return Ok(Err(why.to_owned()));
            }
            placed.push((slot.lane, slot.position));
        }
        if placed.is_empty() {
            let why = "waits for no queue: it was accepted, evicted, or is in quarantine already";
            return Ok(Err(why.to_owned()));
        }
        let entries = self.quarantined()?;
        let mine = entries.iter().filter(|entry| entry.place.is_some_and(|place| placed.contains(&place)));
        Ok(Ok(mine.map(|entry| entry.id).collect()))
    }

    fn find(&self, number: Number) -> Result<Option<Arc<Record>>, JournalError> {
        match self.0.recall(number) {
            Some(record) => Ok(Some(record)),
            None => self.0.log.read(&mut Readings::forward(), number),
        }
    }
}
