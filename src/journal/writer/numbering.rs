//! From a draft to a record: its number, and its place in each of its lanes.

use crate::clock::BootId;
use crate::journal::handle::append::Ticket;
use crate::journal::writer::Writer;
use crate::record::{Draft, LaneId, LanePosition, Number, Position, Record};
use crate::sync::locked;
use std::collections::HashMap;
use std::sync::Arc;

/// What becomes a record with the next commit.
#[derive(Debug)]
pub(crate) struct Numbering {
    pub(crate) draft: Draft,
    /// The boot that it was received in.
    pub(crate) boot: BootId,
    /// It comes back out of quarantine.
    pub(crate) requeued: bool,
}

impl<T: Ticket> Writer<T> {
    /// The place of each draft in its lanes.
    pub(crate) fn slots<'a>(&self, drafts: impl Iterator<Item = &'a Draft>) -> Vec<Vec<LanePosition>> {
        let shared = &self.journal.0;
        let mut next: HashMap<LaneId, Position> =
            locked(&shared.books).iter().map(|book| (book.id, book.next)).collect();
        let mut place = |lane: &LaneId| {
            let position = next.get_mut(lane).expect("routes name only lanes that were opened");
            let own = *position;
            *position = own.next();
            LanePosition { lane: *lane, position: own }
        };
        drafts.map(|draft| draft.lanes.iter().map(&mut place).collect()).collect()
    }

    pub(crate) fn number(&self, drafts: impl Iterator<Item = (Numbering, Vec<LanePosition>)>) -> Arc<[Arc<Record>]> {
        let shared = &self.journal.0;
        let mut open_acks = locked(&shared.open_acks).clone();
        let numbered =
            drafts.zip(self.next.until(Number::MAX)).map(|((Numbering { draft, boot, requeued }, slots), number)| {
                let open_acks = open_acks.take();
                Arc::new(Record { requeued, open_acks, ..Record::number(draft, shared.run, number, boot, slots) })
            });
        numbered.collect()
    }
}
