//! The books under random steps: they always add up, and no attempt is forgotten.

use super::*;
use crate::journal::checkpoint::lane_state::{LaneState, Room};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn book(appended: u64) -> LaneLedger {
    let mut book = LaneLedger::new(LaneId(0), "main".into(), Number(1));
    book.next = Position(appended + 1);
    book
}

proptest! {
    #[test]
    fn ledgers_add_up_and_state_files_know_no_more(
        steps in prop::collection::vec((1u64..200, 0u8..5), 0..300),
        intervals in 0usize..20,
    ) {
        let mut book = book(200);
        for position in 1..=200 {
            book.saw(Position(position), Number(position * 10));
        }
        let mut settled = std::collections::BTreeSet::new();
        for (position, what) in steps {
            let outcome = [Outcome::Accepted, Outcome::Evicted, Outcome::Quarantined, Outcome::Damaged][usize::from(what) % 4];
            if what == 4 && position % 40 == 0 {
                let before = settled.len() as u64;
                settled.extend(1..position);
                prop_assert_eq!(book.settle_below(Position(position), Number(position * 10), outcome), settled.len() as u64 - before);
            } else {
                prop_assert_eq!(book.settle(Position(position), outcome), settled.insert(position));
            }
            let lowest = (1..=201).find(|p| !settled.contains(p)).unwrap();
            prop_assert_eq!(book.cursor, Position(lowest));
            prop_assert!(book.read_from <= Number(lowest * 10), "nothing unsettled may be skipped by the reader");
            prop_assert_eq!(book.ledger.total(), settled.len() as u64);
            prop_assert_eq!(book.waiting() + book.ledger.total(), book.appended());
        }
        let waiting: u64 = book.unsettled(Position(1), Position(201)).iter().map(|(from, to)| to.next() - *from).sum();
        prop_assert_eq!(waiting, book.waiting());
        let restored = LaneState::of(&book, Room { intervals, ..Room::FULL }).into_book().unwrap();
        prop_assert_eq!(restored.cursor, book.cursor);
        prop_assert_eq!(restored.waiting() + restored.ledger.total(), restored.appended());
        for position in 1..=200 {
            prop_assert!(!restored.is_settled(Position(position)) || book.is_settled(Position(position)));
        }
    }

    /// Written in any room, restored, gone on with, and written again in less: never a position that was not settled, never
    /// another outcome, and the sums are right each time.
    #[test]
    fn outcomes_survive_any_number_of_restarts_in_any_room(
        runs in prop::collection::vec((prop::collection::vec((1u64..150, 1u64..12, 0usize..5), 0..25), 0usize..12), 1..5),
    ) {
        let mut book = book(150);
        let mut settled = BTreeMap::new();
        for (steps, intervals) in runs {
            for (from, length, what) in steps {
                let outcome = Outcome::ALL[what % 4];
                let end = (from + length).min(151);
                if what == 4 {
                    book.settle_below(Position(from), Number(0), outcome);
                    (1..from).for_each(|position| _ = settled.entry(position).or_insert(outcome));
                } else {
                    book.settle_between(Position(from), Position(end), outcome);
                    (from..end).for_each(|position| _ = settled.entry(position).or_insert(outcome));
                }
            }
            let restored = LaneState::of(&book, Room { intervals, ..Room::FULL }).into_book().unwrap();
            settled.retain(|position, _| restored.is_settled(Position(*position)));
            let counts = |of: &BTreeMap<u64, Outcome>| {
                let mut counts = OutcomeCounts::default();
                of.values().for_each(|outcome| *counts.of(*outcome) += 1);
                counts
            };
            prop_assert_eq!(restored.ledger, counts(&settled));
            prop_assert_eq!(restored.cursor, book.cursor);
            prop_assert_eq!(restored.waiting() + restored.ledger.total(), restored.appended());
            prop_assert!((1..=150).all(|position| book.is_settled(Position(position)) || !restored.is_settled(Position(position))));
            let above = settled.range(restored.cursor.0..).map(|(position, outcome)| (*position, *outcome)).collect();
            let runs = restored.settled.runs().fold(OutcomeCounts::default(), |sum, (.., ended)| sum.with(ended));
            prop_assert_eq!(runs, counts(&above));
            book = restored;
        }
    }

    #[test]
    fn no_attempt_of_an_earlier_epoch_is_forgotten(
        attempts in prop::collection::vec((1u64..5_000, 0u64..120_000), 1..60),
    ) {
        let mut book = book(5_000);
        let boot = BootId([1; 16]);
        let mut first_attempt = BTreeMap::new();
        let mut now = 0;
        for (position, pause) in attempts {
            now += pause;
            if book.needs_mark(Position(position), Epoch(3), now) {
                book.mark(Position(position), Epoch(3), boot, now);
                prop_assert!(book.needs_mark(Position(position), Epoch(3), now), "not before it is on disk");
                book.marks_written();
            }
            book.attempted(Position(position));
            first_attempt.entry(position).or_insert(now);
        }
        for (position, at) in first_attempt {
            let mark = book.maybe_sent(Position(position), Epoch(3), Epoch(4)).expect("it was attempted");
            prop_assert!(mark.since_ms <= at, "a mark may be too early, never too late");
            prop_assert!(book.maybe_sent(Position(position), Epoch(4), Epoch(4)).is_none(), "a record of this epoch was not sent by an earlier one");
        }
    }
}

#[test]
fn a_busy_lane_needs_a_mark_only_every_stride() {
    let mut book = book(10_000);
    let mut marks = 0;
    for position in 1..=10_000 {
        if book.needs_mark(Position(position), Epoch(1), position / 10) {
            book.mark(Position(position), Epoch(1), BootId::default(), position / 10);
            book.marks_written();
            marks += 1;
        }
        book.attempted(Position(position));
    }
    assert_eq!(marks, 10);
}
