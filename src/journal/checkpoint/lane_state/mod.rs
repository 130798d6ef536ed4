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
mod tests;
