//! The redelivery window: records without a key of their own whose ack may not have reached the broker.
//!
//! It closes by itself. Acks leave in the order of receipt and a broker may use a packet id again only once it has the
//! ack for it; so when an id comes again for another message, the broker has every ack up to that id's last use, and
//! those records cannot come again. That also bounds the window: between two uses of one id there are at most 65,535.

use std::collections::{HashMap, VecDeque};

#[derive(Debug)]
struct Entry {
    packet_id: u16,
    topic: u64,
    payload: u64,
    open: bool,
}

/// Records by packet id, in the order of receipt.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// Place of the open entry of each id, counted from the first entry ever.
    places: HashMap<u16, u64>,
    /// How many entries have left at the front.
    gone: u64,
}

impl Window {
    /// Whether the open entry of `packet_id` has these hashes.
    pub(super) fn matches(&self, packet_id: u16, topic: u64, payload: u64) -> bool {
        self.entry(packet_id).is_some_and(|entry| entry.topic == topic && entry.payload == payload)
    }

    /// `packet_id` came for another message than the open entry's: closes everything up to its last use.
    pub(super) fn reused(&mut self, packet_id: u16) {
        let Some(last_use) = self.places.get(&packet_id).copied() else { return };
        while self.gone <= last_use {
            self.pop_front();
        }
        self.trim();
    }

    /// Adds a record; the caller has said [`Window::reused`] before.
    pub(super) fn add(&mut self, packet_id: u16, topic: u64, payload: u64) {
        self.places.insert(packet_id, self.gone + self.entries.len() as u64);
        self.entries.push_back(Entry { packet_id, topic, payload, open: true });
    }

    /// The ack of `packet_id` was seen to leave.
    pub(super) fn flushed(&mut self, packet_id: u16) {
        let Some(place) = self.places.remove(&packet_id) else { return };
        if let Some(entry) = self.entries.get_mut((place - self.gone) as usize) {
            entry.open = false;
        }
        self.trim();
    }

    /// The broker's session ended: nothing of it can come again.
    pub(super) fn clear(&mut self) {
        *self = Window::default();
    }

    /// Whether every ack was seen to leave.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn entry(&self, packet_id: u16) -> Option<&Entry> {
        let place = self.places.get(&packet_id)?;
        self.entries.get((place - self.gone) as usize)
    }

    fn trim(&mut self) {
        while self.entries.front().is_some_and(|entry| !entry.open) {
            self.pop_front();
        }
        // A broker without a window may have filled it with tens of thousands; that memory is given back.
        if self.entries.is_empty() && self.entries.capacity() > 4096 {
            self.entries.shrink_to_fit();
            self.places.shrink_to_fit();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            if entry.open {
                self.places.remove(&entry.packet_id);
            }
            self.gone += 1;
        }
    }
}
