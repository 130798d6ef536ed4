//! A lane in the state file: it comes back as it was, within its room, whatever was left out.

use super::*;
use crate::clock::BootId;
use crate::journal::ledger::books::Outcome;
use crate::journal::ledger::gaps::About;
use crate::journal::ledger::gaps::Reason;
use crate::record::Epoch;
use proptest::prelude::*;

#[test]
fn a_ledger_shrinks_with_its_room_and_keeps_its_counts() {
    let mut book = LaneLedger::new(LaneId(3), "q".repeat(64), Number(1));
    book.next = Position(1_000_000_000);
    (2..4_000).step_by(2).for_each(|position| assert!(book.settle(Position(position), Outcome::Accepted)));
    for (epoch, reason) in [Reason::MaxBytes, Reason::Damaged, Reason::Quarantined].into_iter().enumerate() {
        book.mark(Position(5_000), Epoch(epoch as u64 + 1), BootId([epoch as u8; 16]), u64::MAX / 2);
        let each = (0..500).map(|n| (Position(n * 5 + 5_000), Position(n * 5 + 5_001))).collect();
        let mut about = About { first_ms: Some(i64::MAX), ..About::default() };
        about.groups.extend((0..30).map(|n| format!("{n:0>120}")));
        book.holes.note(PendingGap::new(reason, each, about));
    }
    let mut room = Room::FULL;
    let mut length = usize::MAX;
    while let Some(less) = room.less() {
        let state = LaneState::of(&book, less);
        length = serde_cbor::to_vec(&state).unwrap().len();
        let restored = state.into_book().unwrap();
        let count = |book: &LaneLedger| book.holes.all().iter().map(|hole| hole.count).collect::<Vec<_>>();
        assert_eq!((count(&restored), restored.cursor), (count(&book), book.cursor));
        room = less;
    }
    assert!(length < 500, "{length} bytes");
}

proptest! {
    /// A mark that was merged away must not make anything look as if it had never been sent.
    #[test]
    fn no_attempt_is_forgotten_for_want_of_room(
        attempts in prop::collection::vec((1u64..20_000, 0u64..120_000, 0u64..2), 1..60),
        room in 0usize..8,
    ) {
        let mut book = LaneLedger::new(LaneId(0), "main".into(), Number(1));
        book.next = Position(20_001);
        let (mut now, mut epoch, mut attempted) = (0, 1, Vec::new());
        for (position, pause, again) in attempts {
            now += pause;
            epoch += again;
            if book.needs_mark(Position(position), Epoch(epoch), now) {
                book.mark(Position(position), Epoch(epoch), BootId([1; 16]), now);
            }
            book.attempted(Position(position));
            attempted.push(position);
        }
        let restored = LaneState::of(&book, Room { marks: room, ..Room::FULL }).into_book().unwrap();
        for position in attempted {
            let known = book.maybe_sent(Position(position), Epoch(1), Epoch(epoch + 1)).expect("it was attempted");
            let mark = restored.maybe_sent(Position(position), Epoch(1), Epoch(epoch + 1)).expect("and is still known to have been");
            prop_assert!(mark.since_ms <= known.since_ms);
        }
    }
}

proptest! {
    /// 0.1.0 wrote no outcomes beside its intervals: whatever its ledger says, the sums are right, and stay right when
    /// the intervals are left out again.
    #[test]
    fn a_state_without_outcomes_adds_up_in_any_room(
        intervals in prop::collection::vec((0u64..3, 1u64..5), 0..20),
        (below, lost) in (0u64..50, prop::collection::vec(0u64..60, 3)),
    ) {
        let total = below + intervals.iter().map(|(_, length)| length).sum::<u64>();
        let (mut left, mut counts) = (total, Vec::new());
        for count in lost {
            counts.push(left.min(count));
            left -= left.min(count);
        }
        let state = LaneState {
            next: Position(1_000),
            cursor: Position(below + 1),
            settled: intervals,
            ended: None,
            ledger: OutcomeCounts { accepted: left, evicted: counts[0], quarantined: counts[1], damaged: counts[2] },
            ..LaneState::of(&LaneLedger::new(LaneId(0), "main".into(), Number(1)), Room::FULL)
        };
        let mut book = state.clone().into_book().unwrap();
        prop_assert_eq!((book.ledger, book.waiting()), (state.ledger, 999 - total));
        for intervals in (0..20).rev() {
            book = LaneState::of(&book, Room { intervals, ..Room::FULL }).into_book().unwrap();
            prop_assert_eq!(book.ledger.total() + book.waiting(), 999);
        }
    }

    /// A checksum says nothing of who wrote it.
    #[test]
    fn no_numbers_of_a_state_make_it_panic(
        (next, cursor, read_from) in (prop_oneof![Just(u64::MAX), any::<u64>(), 1u64..200], prop_oneof![Just(u64::MAX), 0u64..200], any::<u64>()),
        settled in prop::collection::vec((prop_oneof![0u64..9, any::<u64>()], prop_oneof![0u64..9, any::<u64>()]), 0..5),
        ended: Option<Vec<(u64, u64, u64, u64)>>,
        counts: (u64, u64, u64, u64),
    ) {
        let ledger = OutcomeCounts { accepted: counts.0, evicted: counts.1, quarantined: counts.2, damaged: counts.3 };
        let empty = LaneState::of(&LaneLedger::new(LaneId(0), "main".into(), Number(1)), Room::FULL);
        if let Ok(mut book) = (LaneState { next: Position(next), cursor: Position(cursor), read_from: Number(read_from), settled, ended, ledger, ..empty }).into_book() {
            prop_assert_eq!(book.ledger.total() + book.waiting(), book.appended());
            book.idle_up_to(Number(u64::MAX));
            book.settle_below(Position(u64::MAX), Number(u64::MAX), Outcome::Evicted);
            prop_assert_eq!(book.ledger.total(), book.appended());
        }
    }
}

#[test]
fn impossible_counts_make_a_state_damaged_and_cost_no_memory() {
    let state = |next, settled: &[(u64, u64)], accepted, evicted| LaneState {
        next,
        settled: settled.into(),
        ledger: OutcomeCounts { accepted, evicted, ..OutcomeCounts::default() },
        ..LaneState::of(&LaneLedger::new(LaneId(0), "main".into(), Number(1)), Room::FULL)
    };
    assert!(state(Position(10), &[(2, 3)], 3, 0).into_book().is_ok());
    assert!(state(Position(10), &[(2, 3)], u64::MAX, 4).into_book().is_err(), "the sum overflows to the right one");
    assert!(state(Position(u64::MAX), &[(0, 1 << 40)], 1 << 40, 0).into_book().is_ok());
    assert!(state(Position(u64::MAX), &[(0, 5), (1, u64::MAX - 20)], u64::MAX - 15, 0).into_book().is_ok());
    assert!(state(Position(u64::MAX), &[(0, 5), (1, u64::MAX - 3)], u64::MAX - 15, 0).into_book().is_err());
    let with = |ended: &[(u64, u64, u64, u64)]| LaneState {
        ended: Some(ended.into()),
        ..state(Position(10), &[(2, 3)], 2, 1)
    };
    assert!(with(&[(0, 1, 0, 0)]).into_book().is_ok());
    assert!(with(&[]).into_book().is_err(), "three accepted, and the ledger knows two");
    assert!(with(&[(0, 0, 1, 0)]).into_book().is_err(), "the ledger knows of none in quarantine");
    assert!(with(&[(0, 3, u64::MAX, 0)]).into_book().is_err(), "more outcomes than positions");
}
