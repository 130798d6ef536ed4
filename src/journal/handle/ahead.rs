//! Where the next record is: numbers that no record has are passed in one go.
//!
//! Whoever walks the log by number must not walk number by number through what is not there. A forged high water, or a frame
//! with a number far above all others, would make a walk of years of it. An index knows which numbers a closed generation
//! holds; of the generation that is written to, it is what this start found in it, and all that was numbered since.

use crate::journal::error::JournalError;
use crate::journal::generation::closed::ClosedGeneration;
use crate::journal::generation::index::{Index, Place};
use crate::journal::handle::Shared;
use crate::journal::log::slot::Reading;

/// Numbers without a hole between them, from the first to before the second.
pub(crate) type Run = (u64, u64);

/// The runs of what a generation holds.
pub(crate) fn runs(closed: &ClosedGeneration) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (from, to) in closed.index().values() {
        match runs.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => runs.push((from, to)),
        }
    }
    runs
}

/// The lowest number at or above `number` that one of `runs` has.
fn in_runs(runs: &[Run], number: u64) -> Option<u64> {
    let at = runs.partition_point(|(_, end)| *end <= number);
    runs.get(at).map(|(from, _)| number.max(*from))
}

impl Index {
    /// The lowest number at or above `number` of which a whole value was found.
    fn at_or_above(&self, number: u64) -> Option<u64> {
        if self.value_of(number).is_some() {
            return Some(number);
        }
        let from = self.places.partition_point(|place| place.number <= number);
        let whole = |place: &&Place| place.part == 0 && self.is_whole(place);
        self.places[from..].iter().find(whole).map(|place| place.number)
    }
}

impl Shared {
    /// The lowest number above `number`, of which `reading` has no record, at which one may stand.
    ///
    /// # Errors
    /// Its generation cannot be read now.
    pub(crate) fn next_above(&self, reading: &Reading, number: u64) -> Result<u64, JournalError> {
        let next = number.saturating_add(1);
        if !reading.covers(next) {
            return Ok(next);
        }
        // What this run numbers has no holes.
        let end = reading.slot.end().min(self.began.max(next));
        let found = match reading.slot.open() {
            Some(_) => in_runs(&self.found, next),
            None => reading.slot.closed()?.index().at_or_above(next),
        };
        Ok(found.map_or(end, |found| found.min(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_number_of_a_run_is_passed(runs in prop::collection::vec((1u64..9, 1u64..9), 0..9), number in 0u64..90) {
            let mut end = 0;
            let runs: Vec<Run> = runs.into_iter().map(|(space, length)| {
                let from = end + space;
                end = from + length;
                (from, end)
            }).collect();
            let has = |number: &u64| runs.iter().any(|(from, to)| (*from..*to).contains(number));
            prop_assert_eq!(in_runs(&runs, number), (number..100).find(has));
        }
    }
}
