//! Which numbers the positions have that were read above the cursor: so the cursor, when it moves, tells the number to read
//! from. Pure.
//!
//! Positions and numbers that rise together are one run, which is all that a lane with every record has. A lane with some of
//! them has many runs, and one record that is held may have any number of positions read behind it. So there are
//! [`RUNS_MAX`] runs at most: with more, those too near to the one before them are dropped, and what was in them counts for
//! the run before. The number to read from may therefore be lower than it could be, by twice the distance of two runs. It
//! is never higher: a run ends behind a record that was read, and counts only as far as the cursor has passed it.

use crate::record::{Number, Position};
use std::collections::VecDeque;

/// Runs that are kept at most: 12 KB. A million positions behind a held one are then told apart by some thousands.
pub(crate) const RUNS_MAX: usize = 512;

/// Positions read, with their numbers, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    runs: VecDeque<Run>,
    /// Ends of runs are at least so many positions apart, but for the newest run.
    apart: u64,
    /// Behind the highest position read.
    end: Position,
}

/// Positions from `position` on, so many, with the numbers from `number` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    position: Position,
    number: Number,
    count: u64,
}

impl Run {
    fn end(&self) -> Position {
        self.position + self.count
    }
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { runs: VecDeque::new(), apart: 1, end: Position(0) }
    }
}

impl Seen {
    /// Takes in a position that was read, and the number of its record. What is not above all others is known.
    pub(crate) fn add(&mut self, position: Position, number: Number) {
        if position < self.end {
            return;
        }
        self.end = position.next();
        if let Some(last) = self.runs.back_mut()
            && (last.end(), last.number + last.count) == (position, number)
        {
            last.count += 1;
            return;
        }
        let (newest, before) = (self.runs.back(), self.runs.iter().rev().nth(1));
        if newest.zip(before).is_some_and(|(newest, before)| newest.end() - before.end() < self.apart) {
            self.runs.pop_back();
        }
        self.runs.push_back(Run { position, number, count: 1 });
        while self.runs.len() > RUNS_MAX {
            self.thin_out();
        }
    }

    /// Keeps runs that are twice as far apart, and the newest one, which tells how far the lane was read.
    fn thin_out(&mut self) {
        self.apart = self.apart.saturating_mul(2);
        let (apart, newest) = (self.apart, self.end);
        let mut kept: Option<Position> = None;
        self.runs.retain(|run| {
            let stays = run.end() == newest || kept.is_none_or(|end| run.end() - end >= apart);
            kept = if stays { Some(run.end()) } else { kept };
            stays
        });
    }

    /// Everything below `cursor` is settled: lets go of it, and gives the number behind the last of it that is known.
    pub(crate) fn pass(&mut self, cursor: Position) -> Option<Number> {
        let mut behind = None;
        while let Some(run) = self.runs.front_mut().filter(|run| run.position < cursor) {
            let passed = (cursor - run.position).min(run.count);
            (run.position, run.number, run.count) = (run.position + passed, run.number + passed, run.count - passed);
            behind = Some(run.number);
            if run.count > 0 {
                break;
            }
            self.runs.pop_front();
        }
        if behind.is_some() && self.runs.len() < RUNS_MAX / 4 {
            self.apart = (self.apart / 2).max(1);
        }
        behind
    }

    /// How many runs there are.
    #[cfg(test)]
    fn runs(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Three of ten records are the lane's: no two in a row, as it were, and a million of them.
    fn number_of(position: u64) -> Number {
        Number(position * 10 / 3)
    }

    #[test]
    fn a_million_positions_behind_a_held_one_cost_kilobytes() {
        let mut seen = Seen::default();
        let mut most = 0;
        for position in 1..=1_000_000 {
            seen.add(Position(position), number_of(position));
            most = most.max(seen.runs());
        }
        assert!(most <= RUNS_MAX, "{most} runs");
        assert_eq!(seen.pass(Position(1)), None, "the held one");
        let half = seen.pass(Position(500_001)).expect("half of it is settled");
        assert!((number_of(490_000)..=number_of(500_001)).contains(&half), "{half}");
        assert_eq!(
            seen.pass(Position(1_000_001)),
            Some(number_of(1_000_000).next()),
            "all that was read is told exactly"
        );
        assert_eq!(seen.runs(), 0);
    }

    #[test]
    fn a_lane_with_every_record_is_one_exactly_known_run() {
        let mut seen = Seen::default();
        (1..=100_000).for_each(|position| seen.add(Position(position), Number(position + 7)));
        assert_eq!(seen.runs(), 1);
        assert_eq!(seen.pass(Position(4_711)), Some(Number(4_711 + 7)));
        assert_eq!(seen.pass(Position(4_711)), None);
        // A reader that begins again at the cursor.
        (4_711..=5_000).for_each(|position| seen.add(Position(position), Number(position + 7)));
        assert_eq!((seen.runs(), seen.pass(Position(100_001))), (1, Some(Number(100_008))));
    }

    proptest! {
        /// `steps`: how far a record is from the one before in positions, in numbers beyond that, and whether the cursor
        /// moves then, and by how much of what was read.
        #[test]
        fn nothing_unsettled_lies_below_the_number_to_read_from(
            steps in prop::collection::vec((1u64..4, 0u64..4, 0u64..40), 1..6_000),
        ) {
            let mut seen = Seen::default();
            let (mut read, mut position, mut number) = (Vec::new(), 0, 0);
            let (mut cursor, mut read_from) = (1, Number(0));
            for (ahead, others, settled) in steps {
                (position, number) = (position + ahead, number + ahead + others);
                seen.add(Position(position), Number(number));
                read.push((position, number));
                prop_assert!(seen.runs() <= RUNS_MAX);
                if settled < 2 {
                    cursor += (position + 1 - cursor) * settled / 2;
                    read_from = read_from.max(seen.pass(Position(cursor)).unwrap_or_default());
                    let lowest = read[read.partition_point(|(position, _)| *position < cursor)..].first();
                    prop_assert!(lowest.is_none_or(|(_, number)| read_from <= Number(*number)), "{cursor} {read_from}");
                }
            }
            prop_assert_eq!(seen.pass(Position(position + 1)).unwrap_or(read_from), Number(number + 1));
        }
    }
}
