//! Records read a second time: those that the drain forgot in between, to stay within its memory.
//!
//! A batch may mix records of as many generations as it has entries. So they are read in the order of their numbers, and the
//! indexes of the generations that were used last stay in memory ([`crate::journal::log::entry`]): with a look through the
//! whole generation for each record, 9,000 records of ten devices cost 47 GB of reading, where their journal had 23 MB.

use crate::journal::error::JournalError;
use crate::journal::reader::{Lane, lost_sight_of};
use crate::record::{Number, Record};
use crate::sync::locked;
use std::sync::Arc;

impl Lane {
    /// Reads one record again, whose number is known; `None` when it cannot be read back any more. Blocks on the disk.
    ///
    /// # Errors
    /// The generation cannot be read now, or this run wrote the record and it cannot be found now.
    pub fn reread(&self, number: Number) -> Result<Option<Arc<Record>>, JournalError> {
        if let Some(record) = self.journal.0.recall(number) {
            return Ok(Some(record));
        }
        // The index of the generation is kept for the next call: a held-up window is read again record by record.
        let mut again = locked(&self.again);
        let record = self.journal.0.log.read(&mut again, number)?;
        // What went with its generation has an outcome, and no lane looks for it any more; what was set aside has none to
        // find.
        let is_there = again.current().is_some_and(|reading| reading.covers(number) && !reading.is_aside());
        if record.is_none() && is_there && number >= self.journal.0.began {
            return Err(lost_sight_of(number, &mut again));
        }
        Ok(record)
    }

    /// Reads records again, each as [`Lane::reread`] does, and gives them in the order asked for. It reads them in the order
    /// of their numbers: each generation has one turn, however the batch mixes them. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Lane::reread`], of whichever record it is met at.
    pub fn reread_all(&self, numbers: &[Number]) -> Result<Vec<Option<Arc<Record>>>, JournalError> {
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_unstable_by_key(|at| numbers[*at]);
        let mut records = vec![None; numbers.len()];
        for at in order {
            records[at] = self.reread(numbers[at])?;
        }
        Ok(records)
    }
}
