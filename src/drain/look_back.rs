//! Looking back: records that left the window, or never came into it, because their group waited.
//!
//! Where the window is full, groups that wait keep their first record in it; all behind that stays in the journal
//! ([`Batcher::leave_behind`](crate::drain::batcher::Batcher::leave_behind)). For each such group the place is known from which on
//! nothing of it is in the window. While there is one, what is read of the group further on is passed over. So one device that is
//! held, however much it sends, costs the window one record, and all others go on.
//!
//! When a group has nothing left in the window, it is read on from its place, by a reader of its own, [`REFILL`](crate::drain::left_behind::REFILL) records at a
//! time, until that has come to where the lane itself has read to. Groups whose turn it is at the same time share the reader's
//! way. Order holds: a group's records come into the window in ascending order, by one of both readers, never by the other before
//! the first has come to its place. What an attempt was made with never leaves the window, so nothing that is known of attempts is
//! forgotten.

use crate::drain::task::{Drain, Event};
use crate::drain::window::{READ_BYTES, READ_RECORDS};
use crate::journal::{JournalError, Place, ReadRecord, Reader};
use crate::profile::order_key;
use crate::sqs::BatchSender;
use futures_util::FutureExt;

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
