//! A lane's book as the state file holds it: all that must survive, in as much room as there is.
//!
//! What does not fit is left out on the safe side: a settled interval counts as waiting and is repeated; a hole loses
//! names and detail of its ranges, never its count or its reason; the chain begins anew.

use crate::failpoints::Failpoint;
use crate::journal::checkpoint::chain_state::ChainState;
use crate::journal::ledger::books::{AttemptMark, LaneLedger, MARKS_MAX, Outcome, OutcomeCounts};
use crate::journal::ledger::gaps::{GROUPS_MAX, PendingGap, PendingGaps, RANGES_MAX};
use crate::journal::ledger::settled::Settled;
use crate::record::{LaneId, Number, Position};
use serde::{Deserialize, Serialize};

/// How much of a book may be written, per lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Settled intervals above the cursor.
    pub(crate) intervals: usize,
    /// Ranges of positions per hole.
    pub(crate) ranges: usize,
    /// Names of groups per hole.
    pub(crate) groups: usize,
    /// Marks; at least one where there are some.
    pub(crate) marks: usize,
    /// The chain.
    pub(crate) chain: bool,
}

impl Room {
    /// As much as there can be.
    pub(crate) const FULL: Room =
        Room { intervals: 512, ranges: RANGES_MAX, groups: GROUPS_MAX, marks: MARKS_MAX, chain: true };

    /// Half of it, names first, marks last: a name is only comfort, without its chain a lane begins another one, an interval that
    /// is missing costs sends, and a mark that covers too much calls records possible duplicates. `None`: there is nothing left
    /// to leave out.
    pub(crate) fn less(self) -> Option<Room> {
        let Room { intervals, ranges, groups, marks, chain } = self;
        match (groups, ranges, intervals, marks) {
            (1.., ..) if intervals <= 64 => Some(Room { groups: groups / 2, ..self }),
            (_, 2.., ..) if intervals <= 64 => Some(Room { ranges: ranges / 2, ..self }),
            (.., 1.., _) if chain && intervals <= 64 => Some(Room { chain: false, ..self }),
            (.., 1.., _) => Some(Room { intervals: intervals / 2, ..self }),
            (.., 2..) => Some(Room { marks: marks / 2, ..self }),
            _ => chain.then_some(Room { chain: false, ..self }),
        }
    }
}

/// At most so many marks: the oldest become one, as they do in the book.
fn merged(marks: &[AttemptMark], room: Room) -> Vec<AttemptMark> {
    let mut marks = marks.to_vec();
    while marks.len() > room.marks.max(1) {
        let oldest = marks.remove(0);
        marks[0] = marks[0].after(oldest);
    }
    marks
}

fn shortened(holes: &[PendingGap], room: Room) -> Vec<PendingGap> {
    let mut holes = holes.to_vec();
    holes.iter_mut().for_each(|hole| hole.shorten(room.ranges, room.groups));
    holes
}

/// How an interval of `length` positions ended, of which some were lost; `None`: more of them than there are.
fn how_ended(length: u64, (_, evicted, quarantined, damaged): (u64, u64, u64, u64)) -> Option<OutcomeCounts> {
    let lost = OutcomeCounts { accepted: 0, evicted, quarantined, damaged };
    Some(OutcomeCounts { accepted: length.checked_sub(lost.total())?, ..lost })
}

/// A lane as the state file holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LaneState {
    #[serde(rename = "i")]
    id: LaneId,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "x")]
    next: Position,
    #[serde(rename = "c")]
    cursor: Position,
    #[serde(rename = "r")]
    read_from: Number,
    /// Settled intervals above the cursor: gap since the last end, length.
    #[serde(rename = "s")]
    settled: Vec<(u64, u64)>,
    /// How those ended that were not all accepted: index of the interval, then evicted, quarantined, damaged. Absent in what
    /// 0.1.0 wrote, which took all of them for accepted when it read them again.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    ended: Option<Vec<(u64, u64, u64, u64)>>,
    #[serde(rename = "m")]
    marks: Vec<AttemptMark>,
    #[serde(rename = "l")]
    ledger: OutcomeCounts,
    /// Gaps that no durable gap record announces yet.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    holes: Vec<PendingGap>,
    /// Absent in what earlier builds wrote.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    chain: Option<ChainState>,
}

impl LaneState {
    /// The book as it can be written in so much room.
    pub(crate) fn of(book: &LaneLedger, room: Room) -> LaneState {
        if crate::failpoints::is_armed(Failpoint::CursorFirst) && book.cursor <= book.attempted_upto() {
            let mut ahead = book.clone();
            ahead.settle_below(book.attempted_upto().next(), book.read_from, Outcome::Accepted);
            return LaneState::of(&ahead, room);
        }
        let mut ledger = book.ledger;
        let (mut settled, mut ended) = (Vec::new(), Vec::new());
        let mut end = book.cursor;
        for (index, (start, behind, how)) in book.settled.runs().enumerate() {
            if index < room.intervals {
                settled.push((start - end, behind - start));
                if how.accepted != behind - start {
                    ended.push((index as u64, how.evicted, how.quarantined, how.damaged));
                }
                end = behind;
            } else {
                // Does not fit: waiting, as far as the file is concerned.
                ledger = ledger.without(how).expect("the ledger counts all that is settled");
            }
        }
        LaneState {
            id: book.id,
            name: book.name.clone(),
            next: book.next,
            cursor: book.cursor,
            read_from: book.read_from,
            chain: room.chain.then(|| ChainState::of(book, end, room.intervals / 4 + 1)).flatten(),
            ended: Some(ended).filter(|_| !settled.is_empty()),
            settled,
            marks: merged(&book.marks, room),
            ledger,
            holes: if crate::failpoints::is_armed(Failpoint::ForgetHoles) {
                Vec::new()
            } else {
                shortened(book.holes.all(), room)
            },
        }
    }

    /// The book that the state describes.
    ///
    /// # Errors
    /// What contradicts itself, in words: such a state is damaged, whatever its checksum says.
    pub(crate) fn into_book(self) -> Result<LaneLedger, &'static str> {
        let mut book = LaneLedger::new(self.id, self.name, self.read_from);
        (book.next, book.marks, book.holes) = (self.next, self.marks, PendingGaps::restore(self.holes));
        if !(Position::FIRST..=self.next).contains(&self.cursor) {
            return Err("the cursor lies outside the lane");
        }
        let mut known = self.ended.map(|ended| ended.into_iter().peekable());
        let (mut settled, mut left) = (Settled::default(), self.ledger);
        let mut end = self.cursor;
        for (index, (gap, length)) in self.settled.into_iter().enumerate() {
            let start = end.0.checked_add(gap).ok_or("a settled interval overflows")?;
            end = start
                .checked_add(length)
                .map(Position)
                .filter(|end| *end <= self.next)
                .ok_or("a settled interval lies outside")?;
            let how = match &mut known {
                Some(known) => {
                    let lost = known.next_if(|(at, ..)| *at == index as u64).unwrap_or_default();
                    how_ended(length, lost).ok_or("an interval has more outcomes than positions")?
                }
                // 0.1.0: some of the ledger, whatever its outcomes. So it adds up, and can be taken out again.
                None => left.some(length),
            };
            left = left.without(how).ok_or("the ledger counts fewer outcomes than there are")?;
            settled.add_run(Position(start), end, how);
        }
        let mut book = book.restored(self.cursor, settled, self.ledger).ok_or("the ledger does not add up")?;
        if let Some(chain) = self.chain {
            book.chain = chain.into_chain(&book);
        }
        Ok(book)
    }

    /// First number that the lane still needs.
    pub(crate) fn needed_from(&self) -> Number {
        self.chain.as_ref().map_or(self.read_from, |chain| chain.needed_from().min(self.read_from))
    }
}

#[cfg(test)]
mod tests {
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
}
