//! Looking back: records that left the window, or never came into it, because their group waited.
//!
//! Where the window is full, groups that wait keep their first record in it; all behind that stays in the journal
//! ([`Batcher::leave_behind`](crate::drain::batcher::Batcher::leave_behind)). For each such group the place is known from which on
//! nothing of it is in the window. While there is one, what is read of the group further on is passed over. So one device that is
//! held, however much it sends, costs the window one record, and all others go on.
//!
//! When a group has nothing left in the window, it is read on from its place, by a reader of its own, [`REFILL`] records at a
//! time, until that has come to where the lane itself has read to. Groups whose turn it is at the same time share the reader's
//! way. Order holds: a group's records come into the window in ascending order, by one of both readers, never by the other before
//! the first has come to its place. What an attempt was made with never leaves the window, so nothing that is known of attempts is
//! forgotten.

use crate::drain::task::{Drain, Event};
use crate::drain::window::{READ_BYTES, READ_RECORDS};
use crate::journal::{JournalError, Place, ReadRecord, Reader};
use crate::profile::order_key;
use crate::record::Position;
use crate::sqs::BatchSender;
use futures_util::FutureExt;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Records of a group that are brought back at a time: a few minutes of a strict group's way, and of little weight.
pub(super) const REFILL: usize = 256;

/// What was left in the journal, by group. Pure.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    /// From here on nothing of the group is in the window.
    from: HashMap<Arc<str>, Place>,
    /// Groups whose turn it is.
    wanted: BTreeSet<Arc<str>>,
    /// Those of them that the reading under way is for. It began at or before the place of each.
    served: BTreeSet<Arc<str>>,
}

impl LeftBehind {
    /// Whether what is read of this group on the lane's own way is passed over.
    pub(super) fn has(&self, group: &str) -> bool {
        self.from.contains_key(group)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from.is_empty()
    }

    /// A group has given up everything from `place` on. What is being read may begin behind that, and is not for it.
    pub(super) fn leave(&mut self, group: Arc<str>, place: Place) {
        self.wanted.remove(&group);
        self.served.remove(&group);
        self.from.entry(group).and_modify(|from| *from = (*from).min(place)).or_insert(place);
    }

    /// Nothing of the group is left in the window.
    pub(super) fn want(&mut self, group: &Arc<str>) {
        if let Some((group, _)) = self.from.get_key_value(group) {
            self.wanted.insert(group.clone());
        }
    }

    /// All groups of which the window holds nothing.
    pub(super) fn want_all(&mut self, len_of: impl Fn(&str) -> usize) {
        let empty = self.from.keys().filter(|group| len_of(group) == 0);
        self.wanted.extend(empty.cloned());
    }

    /// Begins to read on for the groups whose turn it is, at the place that is given.
    pub(super) fn begin(&mut self) -> Option<Place> {
        self.served.clone_from(&self.wanted);
        self.wanted.iter().filter_map(|group| self.from.get(group)).min().copied()
    }

    /// Whether a record that was read on that way comes into the window, of whose group it holds `len` by now.
    pub(super) fn takes(&mut self, group: &str, place: Place, len: usize) -> bool {
        let Some(from) = self.from.get_mut(group).filter(|from| **from <= place) else { return false };
        if !self.served.contains(group) {
            return false;
        }
        *from = place.next();
        if len + 1 >= REFILL {
            self.wanted.remove(group);
            self.served.remove(group);
        }
        true
    }

    /// All up to `upto` was read. `end`: from where on the lane itself reads.
    pub(super) fn read_up_to(&mut self, upto: Place, end: Position) {
        for group in std::mem::take(&mut self.served) {
            if upto.position >= end {
                self.wanted.remove(&group);
                self.from.remove(&group);
            } else if let Some(from) = self.from.get_mut(&group) {
                *from = (*from).max(upto);
            }
        }
    }
}

/// The way back.
#[derive(Debug, Default)]
pub(super) struct LookBack {
    pub(super) left: LeftBehind,
    /// It continues where its last read ended.
    reader: Option<Reader>,
    under_way: bool,
}

impl<S: BatchSender> Drain<S> {
    /// Makes room in a full window. Returns whether there is some now.
    pub(super) fn leave_behind(&mut self) -> bool {
        let held = &self.held;
        let never_tried = |position| held.get(&position).is_some_and(|held| held.is_untried());
        let left = self.batcher.leave_behind(never_tried);
        for (group, positions) in &left {
            let Some(first) = positions.first() else { continue };
            let place = Place { position: *first, number: self.held[first].number };
            self.back.left.leave(group.clone(), place);
        }
        left.iter().flat_map(|(_, positions)| positions).for_each(|position| self.forget(*position));
        !left.is_empty()
    }

    /// Reads on for the groups whose turn it is.
    pub(super) fn look_back(&mut self) {
        if self.back.under_way || self.reading_waits() || self.batcher.is_full(self.window) {
            return;
        }
        let Some(start) = self.back.left.begin() else { return };
        let there = self.back.reader.take().filter(|reader| reader.place() == start);
        let mut reader = there.unwrap_or_else(|| self.context.lane.reader_again(start, self.attempted_before));
        self.back.under_way = true;
        let read = tokio::task::spawn_blocking(move || {
            let read = reader.read(READ_RECORDS, READ_BYTES);
            (reader, read)
        });
        self.events.push(
            read.map(|joined| match joined {
                Ok((reader, read)) => Event::ReadBack(Some(reader), read),
                Err(error) => Event::ReadBack(None, Err(JournalError::reading(&error.to_string()))),
            })
            .boxed(),
        );
    }

    /// What was read on the way back.
    pub(super) fn take_back(&mut self, reader: Option<Reader>, read: Result<Vec<ReadRecord>, JournalError>) {
        self.back.under_way = false;
        let (Some(reader), Ok(records)) = (reader, read.map_err(|error| self.could_not_read(&error))) else { return };
        let (upto, end) = (reader.place(), self.read_upto);
        for read in records.into_iter().filter(|read| read.position < end) {
            let place = Place { position: read.position, number: read.record.number };
            let key = order_key(&read.record).into_owned();
            if self.back.left.takes(&key, place, self.batcher.len_of(&key)) {
                self.take_one(read);
            }
        }
        self.back.left.read_up_to(upto, end);
        self.back.reader = Some(reader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Number;
    use proptest::prelude::*;

    fn place(at: u64) -> Place {
        Place { position: Position(at), number: Number(at) }
    }

    proptest! {
        /// Groups that leave records behind at any time, and are read on at any time: each record of each group comes into the
        /// window once, in order.
        #[test]
        fn every_record_comes_into_the_window_once_and_in_order(
            groups in prop::collection::vec(0u8..4, 1..300),
            steps in prop::collection::vec((0u8..4, 0u8..4, 1u64..40), 1..200),
        ) {
            let end = groups.len() as u64 + 1;
            let name = |at: u64| format!("g{}", groups[at as usize - 1]);
            let mut left = LeftBehind::default();
            // What the window holds, what was settled, and how far the lane has read.
            let (mut window, mut settled, mut ahead) = (Vec::<u64>::new(), Vec::<u64>::new(), 1u64);
            let mut under_way: Option<u64> = None;
            let steps = steps.into_iter().chain(std::iter::repeat_n([(0, 0, 39), (1, 0, 39), (1, 1, 39), (1, 2, 39), (1, 3, 39), (3, 0, 39), (3, 0, 39)], 900).flatten());
            for (what, group, count) in steps {
                let of = format!("g{group}");
                match what {
                    0 => {
                        let upto = end.min(ahead + count);
                        window.extend((ahead..upto).filter(|at| !left.has(&name(*at))));
                        ahead = upto;
                    }
                    1 => {
                        let mut mine: Vec<u64> = window.iter().copied().filter(|at| name(*at) == of).collect();
                        mine.sort_unstable();
                        mine.truncate(count as usize);
                        window.retain(|at| !mine.contains(at));
                        settled.extend(mine);
                        left.want_all(|group| window.iter().filter(|at| name(**at) == group).count());
                    }
                    2 => {
                        let mut mine: Vec<u64> = window.iter().copied().filter(|at| name(*at) == of).collect();
                        mine.sort_unstable();
                        if let Some(first) = mine.get(1) {
                            window.retain(|at| name(*at) != of || at < first);
                            left.leave(of.as_str().into(), place(*first));
                        }
                    }
                    _ => match under_way.take() {
                        None => under_way = left.begin().map(|start| start.position.0),
                        Some(start) => {
                            let upto = (start + count).min(end);
                            for at in (start..upto.min(ahead)).filter(|at| !settled.contains(at)) {
                                let len = window.iter().filter(|other| name(**other) == name(at)).count();
                                if left.takes(&name(at), place(at), len) { window.push(at) }
                            }
                            left.read_up_to(place(upto), Position(ahead));
                        }
                    },
                }
                let mut once = window.clone();
                once.sort_unstable();
                once.dedup();
                prop_assert_eq!(once.len(), window.len(), "twice in the window");
            }
            prop_assert!(left.is_empty() && window.is_empty(), "{:?} {:?}", left, window);
            for group in 0..4u8 {
                let mine: Vec<u64> = settled.iter().copied().filter(|at| groups[*at as usize - 1] == group).collect();
                let all: Vec<u64> = (1..end).filter(|at| groups[*at as usize - 1] == group).collect();
                prop_assert_eq!(mine, all);
            }
        }
    }
}
