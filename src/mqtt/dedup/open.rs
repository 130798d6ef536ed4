//! Records whose acks may not have reached the broker: what it may deliver again.
//!
//! A record's ack is open from the moment it is handed to the journal. It closes when the ack was flushed, for the first
//! delivery or for a redelivery; when the broker lost the session; when the broker gives its packet id to another message;
//! and when a resumed connection has delivered something new without DUP, because a broker sends what is unacknowledged
//! first. Closing too early costs a repeat that says so. Closing too late could take a new reading for a redelivery: so
//! whatever tells that a broker has an ack closes it here, and nothing opens it again.
//!
//! Closed records are remembered for a while, so that a repeat of one can name it.

use crate::record::{Number, OpenAcks};
use std::collections::{HashMap, VecDeque};

/// Closed records that are remembered.
const CLOSED: usize = 1_024;

/// Most records that are remembered: every packet id once, and the closed ones.
pub(super) const MOST: usize = u16::MAX as usize + CLOSED;

/// A record that came with QoS 1.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) packet_id: u16,
    /// Hash of topic and payload.
    pub(super) content: u64,
    /// Bits of the lanes that it went to.
    pub(super) lanes: u64,
    /// Its number, once it is durable; 0 until then.
    pub(super) number: Number,
    /// Its id where its number does not give it: a record of an earlier run.
    pub(super) key: Option<Box<str>>,
    /// Whether its id is an identity.
    pub(super) identified: bool,
    pub(super) open: bool,
    /// The connection on which it came, or was delivered again, last.
    pub(super) connection: u64,
    /// The connection on which it last answered for a redelivery.
    pub(super) answered: u64,
}

/// Records in the order of receipt.
#[derive(Debug, Default)]
pub(super) struct Open {
    entries: VecDeque<Entry>,
    /// Place of the newest entry of each id; places count from 1, from the first entry ever.
    by_id: HashMap<u16, u64>,
    /// Entries that have left at the front.
    gone: u64,
    /// Entries whose ack is open.
    count: usize,
    /// Deliveries of the present connection whose acks have not left: packet id → place.
    due: HashMap<u16, u64>,
    /// Highest number that was closed.
    through: Number,
}

impl Open {
    /// The newest record that came under `packet_id`.
    pub(super) fn of_id(&self, packet_id: u16) -> Option<(u64, &Entry)> {
        let place = *self.by_id.get(&packet_id)?;
        Some((place, self.get(place)?))
    }

    pub(super) fn get(&self, place: u64) -> Option<&Entry> {
        self.entries.get(self.index(place)?)
    }

    /// Adds a record and gives its place. A record of the same id before it is closed.
    pub(super) fn add(&mut self, entry: Entry) -> u64 {
        let id = entry.packet_id;
        self.given_away(id);
        if entry.open {
            self.count += 1;
        } else {
            self.through = self.through.max(entry.number);
        }
        self.entries.push_back(entry);
        let place = self.gone + self.entries.len() as u64;
        self.by_id.insert(id, place);
        if self.entries.len() > MOST {
            // An ack that never leaves, of an id that never comes again: it must not hold on to all that came since.
            self.close(self.gone + 1);
        }
        self.trim();
        place
    }

    /// The broker gave `packet_id` to another message; whether that closed the record that had it.
    pub(super) fn given_away(&mut self, packet_id: u16) -> bool {
        self.by_id.get(&packet_id).copied().is_some_and(|before| self.close(before))
    }

    /// The delivery on the present connection under `packet_id` brought the record at `place`: its ack closes that.
    pub(super) fn due(&mut self, packet_id: u16, place: u64) {
        self.due.insert(packet_id, place);
    }

    /// A delivery on `connection` equals the open record at `place`.
    pub(super) fn came_again(&mut self, place: u64, connection: u64) {
        if let Some(index) = self.index(place) {
            self.entries[index].connection = connection;
        }
    }

    /// It brought the record again.
    pub(super) fn answer(&mut self, packet_id: u16, place: u64, connection: u64) {
        self.due(packet_id, place);
        if let Some(index) = self.index(place) {
            let entry = &mut self.entries[index];
            (entry.connection, entry.answered) = (connection, connection);
        }
    }

    /// The ack of `packet_id` was flushed; whether that closed something.
    pub(super) fn flushed(&mut self, packet_id: u16) -> bool {
        self.due.remove(&packet_id).is_some_and(|place| self.close(place))
    }

    /// The record at `place` is durable under this number; whether it was closed before.
    pub(super) fn numbered(&mut self, place: u64, number: Number) -> bool {
        let Some(index) = self.index(place) else { return false };
        self.entries[index].number = number;
        let closed = !self.entries[index].open;
        if closed {
            self.through = self.through.max(number);
        }
        closed
    }

    /// Another connection: no ack of the one before will be flushed.
    pub(super) fn connection_ended(&mut self) {
        self.due.clear();
    }

    /// Closes what came before `connection` and was not delivered again on it.
    pub(super) fn close_before(&mut self, connection: u64) {
        self.close_where(|entry| entry.connection < connection);
    }

    /// Closes all entries: the session is lost.
    pub(super) fn close_all(&mut self) {
        self.due.clear();
        self.close_where(|_| true);
    }

    /// Whatever was recorded up to this number is closed.
    pub(super) fn closed_through(&mut self, number: Number) {
        self.close_all();
        self.through = self.through.max(number);
    }

    /// Closes the open ones that `which` names.
    pub(super) fn close_where(&mut self, which: impl Fn(&Entry) -> bool) {
        let places: Vec<u64> = self.open().filter(|(_, entry)| which(entry)).map(|(place, _)| place).collect();
        for place in places {
            self.close(place);
        }
    }

    /// Whether a record with this content is remembered, open or closed.
    pub(super) fn any(&self, content: u64) -> bool {
        self.entries.iter().any(|entry| entry.content == content)
    }

    /// Records that are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.entries.len()
    }

    /// How many acks are open.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The open entries, oldest first, with their places.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, &Entry)> {
        (self.gone + 1..).zip(&self.entries).filter(|(_, entry)| entry.open)
    }

    /// What is open, in the form in which it is kept. Overflow closes the oldest.
    pub(super) fn kept(&mut self, session: u64) -> OpenAcks {
        let through = self.through;
        let below: Vec<(u64, Number)> = (self.open().map(|(place, entry)| (place, entry.number)))
            .filter(|(_, number)| (Number(1)..through).contains(number))
            .collect();
        let over = below.len().saturating_sub(OpenAcks::MOST);
        for (place, _) in &below[..over] {
            self.close(*place);
        }
        OpenAcks::from((session, through, below[over..].iter().map(|(_, number)| *number).collect::<Vec<_>>()))
    }

    fn close(&mut self, place: u64) -> bool {
        let Some(index) = self.index(place) else { return false };
        let entry = &mut self.entries[index];
        if !std::mem::replace(&mut entry.open, false) {
            return false;
        }
        self.count -= 1;
        self.through = self.through.max(entry.number);
        self.trim();
        true
    }

    fn index(&self, place: u64) -> Option<usize> {
        usize::try_from(place.checked_sub(self.gone + 1)?).ok().filter(|index| *index < self.entries.len())
    }

    /// Forgets closed entries at the front, beyond those that are remembered.
    fn trim(&mut self) {
        while self.entries.len() > CLOSED && self.entries.front().is_some_and(|entry| !entry.open) {
            let Some(entry) = self.entries.pop_front() else { break };
            self.gone += 1;
            if self.by_id.get(&entry.packet_id) == Some(&self.gone) {
                self.by_id.remove(&entry.packet_id);
            }
        }
        // A broker without a window may have filled it with tens of thousands; that memory is given back.
        if self.entries.len() <= CLOSED && self.entries.capacity() > 8 * CLOSED {
            self.entries.shrink_to(2 * CLOSED);
            self.by_id.shrink_to(2 * CLOSED);
            self.due.shrink_to(CLOSED);
        }
    }
}
