//! The age of what waits: finds the oldest record that some lane still waits for, and how far the too old ones reach.
//!
//! Looked at only where `journal.max_age` is set, and then every few seconds at most. What is settled stays settled, so
//! the search for the oldest goes forward only: each record is read once, and the index of one generation is kept.

use crate::journal::error::JournalError;
use crate::journal::handle::Shared;
use crate::journal::ledger::books::LaneLedger;
use crate::journal::ledger::retention::age;
use crate::journal::log::entry::Readings;
use crate::record::{Number, Record};
use crate::sync::locked;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks per age: what is too old is noticed this much later at most, within the limits below.
const LOOKS: u32 = 64;
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How far the search has come.
#[derive(Debug)]
pub(crate) struct Oldest {
    max_age: Duration,
    /// Every record below is settled in every lane.
    number: Number,
    reading: Readings,
    looked: Option<Instant>,
    /// What the last look said.
    upto: Option<Number>,
    /// The last look could not read.
    refused: bool,
}

impl Oldest {
    pub(crate) fn new(max_age: Duration) -> Oldest {
        Oldest { max_age, number: Number(0), reading: Readings::forward(), looked: None, upto: None, refused: false }
    }

    /// Time between two looks.
    pub(crate) fn pause(&self) -> Duration {
        (self.max_age / LOOKS).clamp(PAUSE_MIN, PAUSE_MAX)
    }

    /// The number below which everything is too old, all of one generation; `None`: nothing is, as far as one can tell.
    /// Between two looks it repeats itself, unless `again`.
    ///
    /// A record whose own age is unknown is too old when one received after it is: what came before is not younger. A requeued record
    /// says nothing of those before it: it was received before them, and numbered after.
    /// Where the oldest record cannot be read now, nothing is too old: intake does not wait for a generation that only a
    /// lane needs, and the next look tries again.
    pub(crate) fn upto(&mut self, shared: &Shared, again: bool) -> Option<Number> {
        if again || self.looked.is_none_or(|at| at.elapsed() >= self.pause()) {
            let look = self.look(shared);
            if let Err(error) = &look
                && !self.refused
            {
                tracing::warn!(%error, "the oldest record cannot be read now: nothing is evicted for its age until it can");
            }
            self.refused = look.is_err();
            self.upto = look.unwrap_or(None);
            self.looked = Some(Instant::now());
        }
        self.upto
    }

    fn look(&mut self, shared: &Shared) -> Result<Option<Number>, JournalError> {
        let waiting =
            |books: &[LaneLedger]| books.iter().filter(|book| book.waiting() > 0).map(|book| book.read_from).min();
        let Some(needed) = waiting(&locked(&shared.books)) else {
            self.reading.clear();
            return Ok(None);
        };
        self.number = self.number.max(needed);
        let durable = *shared.durable.borrow();
        let (now, boot) = (shared.clock.now(), shared.clock.boot());
        let mut found = false;
        let mut reach = Reach::default();
        let mut number = self.number;
        while number <= durable {
            // Only its own generation is looked through: the next one has its turn when this one is given up.
            if found && !self.reading.current().is_some_and(|reading| reading.covers(number)) {
                break;
            }
            let Some(record) = self.read(shared, number)? else {
                number = match self.reading.current() {
                    Some(reading) => shared.next_above(reading, number)?,
                    None => shared.log.next_first(number).unwrap_or(durable.next()),
                };
                continue;
            };
            if !found && is_settled(shared, &record) {
                number = number.next();
                self.number = number;
                continue;
            }
            if !found {
                found = true;
                self.number = number;
            }
            let aged = age(record.draft.received, record.boot, now, boot).map(|age| age > self.max_age);
            if !reach.takes(number, aged, record.requeued) {
                break;
            }
            number = number.next();
        }
        Ok(reach.upto)
    }

    fn read(&mut self, shared: &Shared, number: Number) -> Result<Option<Arc<Record>>, JournalError> {
        shared.log.read(&mut self.reading, number)
    }
}

/// How far the too old ones reach, as records are read by their numbers. Pure.
#[derive(Debug, Default)]
struct Reach {
    upto: Option<Number>,
    /// A record of unknown age stands behind that.
    unknown: bool,
}

impl Reach {
    /// Takes the next record; `aged`: whether it is too old, where that is known. False: nothing behind it is.
    fn takes(&mut self, number: Number, aged: Option<bool>, requeued: bool) -> bool {
        match aged {
            // Too old by itself; what is perhaps not must not go with it, and a later one may tell.
            Some(true) if requeued && self.unknown => {}
            Some(true) => (self.upto, self.unknown) = (Some(number.next()), false),
            Some(false) => return false,
            None => self.unknown = true,
        }
        true
    }
}

fn is_settled(shared: &Shared, record: &Record) -> bool {
    let books = locked(&shared.books);
    record
        .slots
        .iter()
        .all(|slot| books.iter().find(|book| book.id == slot.lane).is_none_or(|book| book.is_settled(slot.position)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many of these are given up, and how many were looked at.
    fn reached(records: &[(Option<bool>, bool)]) -> (usize, usize) {
        let mut reach = Reach::default();
        let mut read = 0;
        for (aged, requeued) in records {
            if !reach.takes(Number(read as u64), *aged, *requeued) {
                break;
            }
            read += 1;
        }
        (reach.upto.map_or(0, |number| number.0 as usize), read)
    }

    /// Whether a record that came after this one, and was not requeued, is too old.
    fn later_one_is_too_old(records: &[(Option<bool>, bool)]) -> bool {
        records.contains(&(Some(true), false))
    }

    proptest! {
        /// Each record is too old by its own age, or by that of one received after it.
        #[test]
        fn no_record_goes_for_the_age_of_a_requeued_one(
            records in prop::collection::vec((prop::option::of(any::<bool>()), any::<bool>()), 0..12),
        ) {
            let (gone, read) = reached(&records);
            prop_assert!(gone <= read);
            for index in 0..gone {
                prop_assert!(records[index].0 == Some(true) || later_one_is_too_old(&records[index..gone]));
            }
            // What is certain, and bound to nothing else, goes.
            let certain = records.iter().take_while(|record| record.0 == Some(true)).count();
            prop_assert!(gone >= certain);
        }
    }
}
