//! Which deliveries are repeats of a record that the journal already has.
//!
//! A false repeat loses a reading, a missed one only sends it twice; so a delivery is new unless one of three things is
//! certain:
//!
//! 1. **It carries a key of its own** (native id, radio frame, content) and that key is among the last 20,000.
//! 2. **The broker says that it sends it again**: DUP is set, the session is one that we kept, and packet id, topic and
//!    bytes are those of a record without such a key whose ack was not seen to leave. All of it is needed. A packet id
//!    alone is used again for every 65,535th message or sooner; equal bytes on one topic are what a quiet sensor sends
//!    all day; DUP alone says only that the broker tried before, maybe towards a connection that was dead already and
//!    from which we never read.
//! 3. **It is the broker's kept copy** (RETAIN) and equals the last payload recorded for its topic, live or retained.
//!    Compared with the last one only: a value that came back to what it was before is a change worth recording.
//!
//! Two equal readings without identity are therefore never merged: the second one either lacks DUP and RETAIN, or it has
//! a packet id of its own, or it repeats the first one's id, which the broker may do only after it got the first one's
//! ack; then the ack was seen to leave, or the id's return has closed the window ([`window`]). What is left is a second
//! reading with equal bytes and the id of an unflushed first one, sent only towards a dead connection; no rule on this
//! side of the wire can tell that from a redelivery.
//!
//! Of a message over our size limit only the head is kept, so a second one costs no reading: there the ack's flush closes
//! nothing ([`Recogniser::judge_over_long`]). The connection that took it is left at once, and when the broker is slow to
//! close it, the reset takes the ack away that was seen to leave.
//!
//! A record counts from the moment it is handed to the journal, not from its commit: a repeat travels through the same
//! channel, so that its ack waits for what stands before it.

mod recent;
mod window;

use crate::record::{Draft, Record};
use recent::Recent;
use sha2::{Digest, Sha256};
use window::Window;

/// Hashes of keys that are remembered.
pub const KEYS: usize = 20_000;

/// Topics whose last payload is remembered.
pub const TOPICS: usize = 4_096;

/// Messages over our size limit that are remembered until the session ends.
const OVER_LONG: usize = 16;

/// What a delivery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A record to write.
    New,
    /// A repeat of one that was handed to the journal before.
    Repeat,
}

/// The part that outlives the process in a file of its own, because the journal's tail may not reach back far enough.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Every record up to this number is in `topics`.
    pub through: u64,
    /// The acks of all records up to this number were seen to leave.
    pub acked_through: u64,
    /// Hash of topic and hash of its last payload, oldest first.
    pub topics: Vec<(u64, u64)>,
}

/// Recognises repeats.
#[derive(Debug)]
pub struct Recogniser {
    keys: Recent<()>,
    /// Topic → last payload recorded.
    last: Recent<u64>,
    window: Window,
    /// Messages over our size limit, by packet id, topic and payload.
    over_long: Recent<()>,
    /// From the file, until the tail has been seen.
    saved: Option<Seen>,
    /// First number of the tail.
    tail: Option<u64>,
    acked_through: u64,
    changed: bool,
}

/// Hashes of a delivery.
struct Marks {
    packet_id: u16,
    topic: u64,
    payload: u64,
    /// Of the key, if it identifies.
    key: Option<u64>,
}

impl Recogniser {
    /// Starts from what was saved, if anything was. Feed it the journal's tail next ([`Recogniser::seed`]).
    pub fn new(saved: Option<Seen>) -> Recogniser {
        Recogniser {
            keys: Recent::new(KEYS),
            last: Recent::new(TOPICS),
            window: Window::default(),
            over_long: Recent::new(OVER_LONG),
            acked_through: saved.as_ref().map_or(0, |seen| seen.acked_through),
            saved,
            tail: None,
            changed: false,
        }
    }

    /// Takes in a record of the journal's tail; in order, without holes, before the first [`Recogniser::judge`].
    pub fn seed(&mut self, record: &Record) {
        self.tail.get_or_insert(record.number);
        self.note(&Marks::of(&record.draft), record.number > self.acked_through);
    }

    /// Ends the seeding. `durable` is the journal's last number.
    ///
    /// What was saved is used only if it joins the tail without a hole: otherwise a payload recorded in between would be
    /// missing, and an older one would pass for the last.
    pub fn seeded(&mut self, durable: u64) {
        let Some(saved) = self.saved.take() else { return };
        let joins = match self.tail {
            Some(first) => first <= saved.through.saturating_add(1) && saved.through <= durable,
            None => saved.through == durable,
        };
        if !joins {
            return;
        }
        let newer: Vec<_> = self.last.iter().collect();
        self.last = Recent::new(TOPICS);
        for (topic, payload) in saved.topics.into_iter().chain(newer) {
            self.last.set(topic, payload);
        }
    }

    /// The broker said that it has no session of ours: nothing of the one before can be redelivered.
    pub fn session_lost(&mut self) {
        self.window.clear();
        self.over_long = Recent::new(OVER_LONG);
    }

    /// Judges a delivery over our size limit, of which only the head is kept: as [`Recogniser::judge`], and a redelivery
    /// is one even when its ack was seen to leave. Gives the hash of the delivery, too, to be kept with the head.
    pub fn judge_over_long(&mut self, draft: &Draft, session_kept: bool) -> (Verdict, u64) {
        let Marks { packet_id, topic, payload, .. } = Marks::of(draft);
        let delivery = hash(&[&packet_id.to_be_bytes()[..], &topic.to_be_bytes(), &payload.to_be_bytes()].concat());
        if draft.message.dup && session_kept && self.over_long.get(delivery).is_some() {
            return (Verdict::Repeat, delivery);
        }
        self.over_long.set(delivery, ());
        (self.judge(draft, session_kept), delivery)
    }

    /// Takes in the hash of a delivery over our size limit whose head is in quarantine.
    pub fn seed_over_long(&mut self, delivery: u64) {
        self.over_long.set(delivery, ());
    }

    /// Judges a delivery. What is [`Verdict::New`] counts as recorded from here on, so it must go to the journal.
    ///
    /// `session_kept`: the broker said on this connection that it kept our session.
    pub fn judge(&mut self, draft: &Draft, session_kept: bool) -> Verdict {
        let marks = Marks::of(draft);
        let redelivered =
            draft.message.dup && session_kept && self.window.matches(marks.packet_id, marks.topic, marks.payload);
        let repeat = match marks.key {
            Some(key) => self.keys.get(key).is_some(),
            None => redelivered,
        } || draft.message.retain && self.last.get(marks.topic) == Some(marks.payload);
        if !repeat {
            self.note(&marks, true);
            return Verdict::New;
        }
        if !redelivered {
            self.window.reused(marks.packet_id);
        }
        Verdict::Repeat
    }

    /// The ack of `packet_id` was seen to leave on the present connection.
    pub fn flushed(&mut self, packet_id: u16) {
        self.window.flushed(packet_id);
        self.changed = true;
    }

    /// What to save, or `None` if nothing changed since the last call. `durable`: the journal's last number now.
    ///
    /// The result may be written only once everything judged so far has been committed: otherwise a payload that a power
    /// cut took back would pass for recorded.
    pub fn save(&mut self, durable: u64) -> Option<Seen> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        if self.window.is_empty() {
            self.acked_through = durable;
        }
        let topics = self.last.iter().collect();
        Some(Seen { through: durable, acked_through: self.acked_through, topics })
    }

    /// Whether [`Recogniser::save`] would give something.
    pub fn changed(&self) -> bool {
        self.changed
    }

    fn note(&mut self, marks: &Marks, ack_open: bool) {
        self.changed = true;
        self.last.set(marks.topic, marks.payload);
        self.window.reused(marks.packet_id);
        match marks.key {
            Some(key) => self.keys.set(key, ()),
            None if marks.packet_id != 0 && ack_open => {
                self.window.add(marks.packet_id, marks.topic, marks.payload);
            }
            None => {}
        }
    }
}

impl Marks {
    fn of(draft: &Draft) -> Marks {
        let identity = &draft.identity;
        let key = identity.key.as_ref().filter(|_| identity.key_kind.identifies());
        Marks {
            packet_id: draft.message.packet_id,
            topic: hash(draft.message.topic.as_bytes()),
            payload: hash(&draft.message.payload),
            key: key.map(|key| hash(key.as_bytes())),
        }
    }
}

/// 64 bits of SHA-256: the same in every release, because the table of topics outlives the binary that wrote it.
fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
