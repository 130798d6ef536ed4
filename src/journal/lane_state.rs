//! A lane's book as the state file holds it: all that must survive, in as much room as there is.
//!
//! What does not fit is left out on the safe side: a settled interval counts as waiting and is repeated; a hole loses
//! names and detail of its ranges, never its count or its reason.

use super::books::{LaneBook, Ledger, Mark, Outcome};
use super::gaps::{GROUPS_MAX, Hole, Holes, RANGES_MAX};
use crate::record::LaneId;
use crate::rig::Sabotage;
use serde::{Deserialize, Serialize};

/// How much of a book may be written, per lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Settled intervals above the cursor.
    pub(super) intervals: usize,
    /// Ranges per hole.
    pub(super) ranges: usize,
    /// Names of groups per hole.
    pub(super) groups: usize,
}

impl Room {
    /// As much as there can be.
    pub(super) const FULL: Room = Room { intervals: 512, ranges: RANGES_MAX, groups: GROUPS_MAX };

    /// Half of it, names first, intervals last: an interval that is missing costs sends, a name only comfort. `None`:
    /// there is nothing left to leave out.
    pub(super) fn less(self) -> Option<Room> {
        let Room { intervals, ranges, groups } = self;
        match (groups, ranges, intervals) {
            (1.., ..) if intervals <= 64 => Some(Room { groups: groups / 2, ..self }),
            (_, 2.., _) if intervals <= 64 => Some(Room { ranges: ranges / 2, ..self }),
            (.., 0) => None,
            _ => Some(Room { intervals: intervals / 2, ..self }),
        }
    }
}

fn shortened(holes: &[Hole], room: Room) -> Vec<Hole> {
    let mut holes = holes.to_vec();
    holes.iter_mut().for_each(|hole| hole.shorten(room.ranges, room.groups));
    holes
}

/// A lane as the state file holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct LaneState {
    #[serde(rename = "i")]
    id: LaneId,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "x")]
    next: u64,
    #[serde(rename = "c")]
    cursor: u64,
    #[serde(rename = "r")]
    read_from: u64,
    /// Settled intervals above the cursor: gap since the last end, length.
    #[serde(rename = "s")]
    settled: Vec<(u64, u64)>,
    #[serde(rename = "m")]
    marks: Vec<Mark>,
    #[serde(rename = "l")]
    ledger: Ledger,
    /// Holes that no durable gap record announces yet.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    holes: Vec<Hole>,
}

impl LaneState {
    /// The book as it can be written in so much room.
    pub(super) fn of(book: &LaneBook, room: Room) -> LaneState {
        if crate::rig::armed(Sabotage::CursorFirst) && book.cursor <= book.attempted_upto() {
            return LaneState::of(&book.clone().ahead(), room);
        }
        let mut ledger = book.ledger;
        let mut settled: Vec<(u64, u64)> = Vec::new();
        let mut end = book.cursor;
        let mut full = false;
        for (&position, &outcome) in &book.settled {
            if !full && position == end && !settled.is_empty() {
                settled.last_mut().expect("just looked").1 += 1;
                end += 1;
            } else if !full && settled.len() < room.intervals {
                settled.push((position - end, 1));
                end = position + 1;
            } else {
                // Does not fit: waiting, as far as the file is concerned.
                full = true;
                *ledger.of(outcome) -= 1;
            }
        }
        LaneState {
            id: book.id,
            name: book.name.clone(),
            next: book.next,
            cursor: book.cursor,
            read_from: book.read_from,
            settled,
            marks: book.marks.clone(),
            ledger,
            holes: if crate::rig::armed(Sabotage::ForgetHoles) {
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
    pub(super) fn into_book(self) -> Result<LaneBook, &'static str> {
        let mut book = LaneBook::new(self.id, self.name, self.read_from);
        (book.next, book.cursor, book.marks) = (self.next, self.cursor, self.marks);
        if !(1..=self.next).contains(&self.cursor) {
            return Err("the cursor lies outside the lane");
        }
        let mut end = self.cursor;
        for (gap, length) in self.settled {
            let start = end.checked_add(gap).ok_or("a settled interval overflows")?;
            end = start.checked_add(length).filter(|end| *end <= self.next).ok_or("a settled interval lies outside")?;
            book.settled.extend((start..end).map(|position| (position, Outcome::Accepted)));
        }
        // The ledger says how the settled positions ended; which of them ended how matters to nobody any more.
        book.ledger = self.ledger;
        book.holes = Holes::restore(self.holes);
        if book.ledger.total() + book.waiting() != book.appended() {
            return Err("the ledger does not add up");
        }
        Ok(book)
    }

    /// First number that the lane still needs.
    pub(super) fn needed_from(&self) -> u64 {
        self.read_from
    }
}
