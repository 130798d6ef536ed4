//! Where the next record is: numbers that no record has are passed in one go.
//!
//! A reader that walks the log by number must not walk number by number through what is not there. A forged high water,
//! or a frame with a number far above all others, would make a walk of years of it. The index of a generation knows which
//! numbers it holds, be it closed or written to.

use crate::journal::error::JournalError;
use crate::journal::handle::Shared;
use crate::journal::log::entry::Reading;
use crate::record::Number;

impl Shared {
    /// The lowest number above `number`, of which `reading` has no record, at which there may be one.
    ///
    /// # Errors
    /// Its generation cannot be read now.
    pub(crate) fn next_above(&self, reading: &Reading, number: Number) -> Result<Number, JournalError> {
        let next = number.next();
        if !reading.covers(next) {
            return Ok(next);
        }
        // What this run numbers has no holes.
        let end = reading.generation.end().min(self.began.max(next));
        let found = reading.generation.closed()?.index().at_or_above(next);
        Ok(found.map_or(end, |found| found.min(end)))
    }
}
