//! Records that tidegate has to say itself, beside gap records: handed over here, written with the writer's next commit.
//!
//! At most one of them waits per lane: while the queue is away they would only become old. A caller with something to
//! say asks first ([`Journal::own_waits`]), and says later what is true then. A crash may take one before its commit
//! without harm: the next start says another one.

use crate::journal::handle::Journal;
use crate::record::own::{HEALTH, PROFILE};
use crate::record::{Draft, LaneId, Position, Record};
use crate::sync::locked;
use std::collections::BTreeMap;

/// What was handed over, and where it went.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// For the next commit.
    pub(crate) drafts: Vec<Draft>,
    /// The newest one of each lane.
    last: BTreeMap<LaneId, Position>,
}

impl Own {
    /// Notes where a record is, if it is one of these.
    pub(crate) fn note(&mut self, record: &Record) {
        if record.draft.profile == PROFILE && record.draft.identity.record_type == HEALTH {
            self.last.extend(record.slots.iter().map(|slot| (slot.lane, slot.position)));
        }
    }
}

impl Journal {
    /// Hands a record of tidegate's own to the writer. It is durable with the next commit, which this causes; the
    /// caller does not wait.
    pub fn say(&self, draft: Draft) {
        locked(&self.0.own).drafts.push(draft);
        self.0.noted.notify_one();
    }

    /// Whether the lane has a record of that kind that is not settled.
    pub fn own_waits(&self, lane: LaneId) -> bool {
        let own = locked(&self.0.own);
        if own.drafts.iter().any(|draft| draft.lanes.contains(&lane)) {
            return true;
        }
        let Some(last) = own.last.get(&lane).copied() else { return false };
        drop(own);
        let books = locked(&self.0.books);
        books.iter().any(|book| book.id == lane && last >= book.cursor && !book.settled.contains(last))
    }

    /// Notes a record of an earlier run: the journal's tail is read at the start.
    pub fn note_own(&self, record: &Record) {
        locked(&self.0.own).note(record);
    }
}
