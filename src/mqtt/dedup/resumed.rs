//! A resumed session: what the broker may still deliver again, with DUP or without.

use crate::mqtt::dedup::open::Open;

/// Open records of one content that are looked through for the one that a delivery repeats.
const ALIKE: usize = 1_024;

/// On a resumed session: what may still come again.
#[derive(Debug)]
pub(super) struct Resumed {
    /// As many deliveries as acks were open; 0: what is equal from here on is another reading.
    pub(super) left: usize,
    /// Content and place of what was open, by content, oldest first.
    equal: Vec<(u64, u64)>,
}

impl Resumed {
    /// All that is open may come.
    pub(super) fn of(open: &Open) -> Resumed {
        let mut equal: Vec<_> = open.open().map(|(place, entry)| (entry.content, place)).collect();
        equal.sort_unstable();
        Resumed { left: open.count(), equal }
    }

    /// The oldest open record of this content that has not come on `connection` yet.
    pub(super) fn equal(&self, content: u64, open: &Open, connection: u64) -> Option<u64> {
        let from = self.equal.partition_point(|(other, _)| *other < content);
        let alike = self.equal[from..].iter().take_while(|(other, _)| *other == content).take(ALIKE);
        let due = |place: &u64| open.get(*place).is_some_and(|entry| entry.open && entry.connection < connection);
        alike.map(|(_, place)| *place).find(due)
    }
}
