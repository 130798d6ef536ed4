//! The positions of a lane that are settled out of turn, above its cursor: runs without a hole, each with how its positions
//! ended. Pure.
//!
//! What a run costs is the same however long it is, so a hole of millions is one entry. There is no bound on how many
//! positions may be settled: what bounds the runs is what waits between them, and a lane reads no further once there are
//! 65,536. Only the sums of a run are kept, because no code asks how a single position ended.

use crate::journal::ledger::outcome::{Outcome, OutcomeCounts};
use crate::record::Position;
use std::collections::BTreeMap;

/// Runs, disjoint and not touching each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Settled {
    /// The runs, by their first positions.
    runs: BTreeMap<Position, Run>,
    /// Positions in all of them.
    count: u64,
}

/// One run; its first position is its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    /// Position behind the last one.
    end: Position,
    ended: OutcomeCounts,
}

impl Settled {
    /// Positions in all runs.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The runs themselves.
    pub(crate) fn runs_count(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        self.runs.range(..=position).next_back().is_some_and(|(_, run)| position < run.end)
    }

    /// The run that holds all of `start..end`.
    pub(crate) fn run_of(&self, start: Position, end: Position) -> Option<(Position, Position, OutcomeCounts)> {
        let (first, run) = self.runs.range(..=start).next_back()?;
        (end <= run.end).then_some((*first, run.end, run.ended))
    }

    /// First position, position behind the last one, and how they ended; ascending.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (Position, Position, OutcomeCounts)> {
        self.runs.iter().map(|(start, run)| (*start, run.end, run.ended))
    }

    /// Takes in `start..end`, of which nothing is settled yet.
    pub(crate) fn add(&mut self, start: Position, end: Position, outcome: Outcome) {
        let mut ended = OutcomeCounts::default();
        *ended.of(outcome) = end - start;
        self.add_run(start, end, ended);
    }

    /// Takes in `start..end`, of which nothing is settled yet, with how its positions ended.
    pub(crate) fn add_run(&mut self, mut start: Position, mut end: Position, mut ended: OutcomeCounts) {
        if start >= end {
            return;
        }
        self.count += end - start;
        if let Some((before, run)) = self.runs.range(..start).next_back().map(|(before, run)| (*before, *run))
            && run.end == start
        {
            self.runs.remove(&before);
            (start, ended) = (before, ended.with(run.ended));
        }
        if let Some(run) = self.runs.remove(&end) {
            (end, ended) = (run.end, ended.with(run.ended));
        }
        self.runs.insert(start, Run { end, ended });
    }

    /// What is not settled of `start..end`, as ranges with both ends.
    pub(crate) fn between(&self, start: Position, end: Position) -> Vec<(Position, Position)> {
        let mut ranges = Vec::new();
        let mut next = start;
        let first = self.runs.range(..=start).next_back().map_or(start, |(first, _)| *first);
        for (from, run) in self.runs.range(first..end.max(first)) {
            if next < *from {
                ranges.push((next, from.before()));
            }
            next = next.max(run.end);
        }
        if next < end {
            ranges.push((next, end.before()));
        }
        ranges
    }

    /// Lets go of all that a cursor at `cursor` passes; returns the cursor's new position.
    pub(crate) fn pass(&mut self, mut cursor: Position) -> Position {
        while let Some(first) = self.runs.first_entry().filter(|first| *first.key() <= cursor) {
            let (start, run) = first.remove_entry();
            self.count -= run.end - start;
            cursor = cursor.max(run.end);
        }
        cursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn runs_hold_what_a_set_of_positions_would(steps in prop::collection::vec((1u64..120, 0u64..20), 0..40), cursor in 1u64..140) {
            let (mut settled, mut model) = (Settled::default(), BTreeSet::new());
            for (start, length) in steps {
                let free = settled.between(Position(start), Position(start + length));
                let expected: BTreeSet<u64> = (start..start + length).filter(|position| !model.contains(position)).collect();
                prop_assert_eq!(&free.iter().flat_map(|(from, to)| from.0..=to.0).collect::<BTreeSet<_>>(), &expected);
                free.iter().for_each(|(from, to)| settled.add(*from, to.next(), Outcome::Damaged));
                model.extend(start..start + length);
                prop_assert_eq!(settled.count(), model.len() as u64);
                prop_assert!((0..150).all(|position| settled.contains(Position(position)) == model.contains(&position)));
                let runs: Vec<_> = settled.runs().collect();
                prop_assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0), "whole runs, none touching the next");
                prop_assert!(runs.iter().all(|(start, end, ended)| ended.damaged == *end - *start));
            }
            let stands = settled.pass(Position(cursor));
            prop_assert_eq!(stands.0, (cursor..).find(|position| !model.contains(position)).unwrap());
            prop_assert_eq!(settled.count(), model.range(stands.0..).count() as u64);
        }
    }
}
