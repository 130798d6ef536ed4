//! Which deliveries repeat a record of the journal.
//!
//! A false repeat loses a reading, a missed one only sends it twice. So a delivery is skipped, lane by lane, for three
//! reasons only; equal content, a counter or a coarse time are none of them:
//!
//! 1. **Identity.** It carries what cannot be equal for two readings ([`crate::record::identity`]), and the lane has a
//!    record with the same identity and equal bytes among the last 20,000.
//! 2. **MQTT's word.** DUP is set, the session is one that the broker kept, and packet id, topic and bytes are those of a
//!    record whose ack is open ([`open`]); once per record and connection; and the broker is none that gives one id twice
//!    within a short row ([`ids`]), because then the id may mean another message by now.
//! 3. **A replay** of the broker's retained copy, once per topic after a SUBSCRIBE of ours ([`retained`]).
//!
//! Everything else is recorded. Where it may be a repeat nevertheless, the record says so, and which record it equals if
//! that is known: DUP without a match or with an uncertain one; on a resumed session a delivery without DUP that equals
//! an open record, until as many have come as were open or one equals none; a retained message that equals the last value
//! of its topic; and, while filters are exchanged, the second of two equal deliveries.
//!
//! What is left, and cannot be told on this side of the wire: exactly one record of an id, acknowledged, and the agent
//! killed before that was durable; then a later reading with the same id, topic and bytes that comes with DUP is skipped.
//! Towards a broker that uses ids again, or is not known not to, that is durable within a second; see [`crate::mqtt::acks`].
//!
//! Of a message that is not journaled (too large, no route) only the head is kept, so a second one costs no reading: there
//! DUP and the hash are enough ([`Deduplicator::judge_head`]).
//!
//! A record counts from the moment it is handed to the journal, not from its commit: a repeat travels through the same
//! channel, so that its ack waits for what comes before it.

mod ids;
mod marks;
mod open;
mod recent;
mod resumed;
mod retained;
mod seed;

use crate::failpoints::Failpoint;
use crate::record::{Draft, DuplicateKind, LaneId, Number, OpenAcks, PossibleDuplicate, Run};
use ids::{IdUse, Ids};
pub use marks::session;
use marks::{Marks, bits, hash};
use open::{Entry, Open};
use recent::Recent;
use resumed::Resumed;
pub use retained::{Last, Replays};
use retained::{Replay, Retained};

/// Identities that are remembered.
pub const KEYS: usize = 20_000;
/// Messages that were not journaled and are remembered until the session ends.
const HEADS: usize = 64;
/// Deliveries that are compared while filters are exchanged.
const OVERLAP: usize = 4_096;

/// What becomes of a delivery.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// The lanes to record it for; none: it is a repeat.
    pub lanes: Vec<LaneId>,
    /// What the record is to say.
    pub duplicate: Option<PossibleDuplicate>,
    /// Names the record in [`Deduplicator::numbered`]; 0: nothing waits for its number.
    pub place: u64,
}

impl Verdict {
    /// Whether nothing is to be recorded.
    pub fn is_repeat(&self) -> bool {
        self.lanes.is_empty()
    }
}

/// The part that outlives the process in its own file, because the journal's tail may not reach back far enough.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Every record up to this number is in `topics`.
    pub through: Number,
    /// 0.1.0 only: the acks of all records up to this number were seen to leave.
    pub acked_through: Number,
    /// Hash of topic and its last value, oldest first.
    pub topics: Vec<(u64, Last)>,
    /// The broker leaves RETAIN on live messages.
    pub leaves_flag: bool,
}

/// How a delivery came.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The filter of ours that it came under.
    pub filter: &'a str,
    /// The number of the connection.
    pub connection: u64,
    /// Whether the broker said on this connection that it kept our session.
    pub session_kept: bool,
}

/// Recognises deliveries that repeat a record: skips them, or marks the record.
#[derive(Debug)]
pub struct Deduplicator {
    /// Identity and bytes → bits of the lanes that have it.
    keys: Recent<u64>,
    retained: Retained,
    open: Open,
    ids: Ids,
    /// Hash of broker URL and client id.
    session: u64,
    run: Run,
    resumed: Option<Resumed>,
    /// Filters are being exchanged: content that came meanwhile → place.
    overlap: Option<Recent<u64>>,
    /// Messages that were not journaled, by packet id, topic and payload.
    heads: Recent<()>,
    /// What the file held, until the tail has been seen.
    saved: Option<Seen>,
    /// First number of the journal's tail.
    tail: Option<Number>,
    /// The newest word on open acks, and of which session the record before was, while the tail is read.
    word: OpenAcks,
    of_session: u64,
    changed: bool,
    acks_changed: bool,
    /// What [`Deduplicator::open_acks`] gave last.
    said: Option<(OpenAcks, bool)>,
}

impl Deduplicator {
    /// Which replays may still be due, to be kept at an orderly end.
    pub fn replays(&self) -> Replays {
        self.retained.replays()
    }

    /// A CONNACK. `kept`: the broker has a session of ours; if not, nothing of the one before can be delivered again.
    pub fn connected(&mut self, kept: bool) {
        self.open.connection_ended();
        self.retained.connected(kept);
        self.overlap = None;
        self.acks_changed = true;
        if kept {
            self.resumed = Some(Resumed::of(&self.open));
        } else {
            self.open.close_all();
            self.ids.session_ended();
            self.heads = Recent::new(HEADS);
            self.resumed = None;
        }
    }

    /// A SUBSCRIBE of ours leaves for this filter.
    pub fn subscribing(&mut self, filter: &str) {
        self.retained.subscribed(filter);
        self.changed = true;
    }

    /// Filters are being exchanged, so that a message may come under the old one and under the new one; or no more.
    pub fn exchanging(&mut self, filters: bool) {
        match filters {
            true => drop(self.overlap.get_or_insert_with(|| Recent::new(OVERLAP))),
            false => self.overlap = None,
        }
    }

    /// Whether filters are taken for being exchanged.
    pub fn is_exchanging(&self) -> bool {
        self.overlap.is_some()
    }

    /// Whether the broker leaves RETAIN on live messages.
    pub fn leaves_flag(&self) -> bool {
        self.retained.leaves_flag()
    }

    /// Judges a delivery that is not journaled: of which only the head is kept. `true`: it was kept before. Gives the hash
    /// of the delivery, too, to be kept with the head.
    pub fn judge_head(&mut self, draft: &Draft, delivery: Delivery<'_>) -> (bool, u64) {
        let marks = Marks::of(draft);
        let bytes = [&marks.packet_id.to_be_bytes()[..], &marks.topic.to_be_bytes(), &marks.payload.to_be_bytes()];
        let hash = hash(&bytes.concat());
        let message = &draft.message;
        let again = message.dup && delivery.session_kept && self.heads.get(hash).is_some();
        let replay = message.retain && self.replay(&marks, delivery, message.dup) != Replay::New;
        self.passed(marks.packet_id, message.dup);
        if !again && !replay {
            self.heads.set(hash, ());
            let retained = message.retain.then_some(delivery.filter);
            self.retained.recorded(marks.topic, marks.payload, 0, retained);
            self.changed = true;
        }
        (again || replay, hash)
    }

    /// Takes in the hash of a delivery whose head is in quarantine.
    pub fn seed_head(&mut self, delivery: u64) {
        self.heads.set(delivery, ());
    }

    /// Judges a delivery. What it is to be recorded for counts as recorded from here on, so it must go to the journal.
    pub fn judge(&mut self, draft: &Draft, delivery: Delivery<'_>) -> Verdict {
        let marks = Marks::of(draft);
        let (message, held) = (&draft.message, marks.packet_id != 0);
        let (has, mut duplicate, repeats) = self.compare(&marks, draft, delivery);
        let lanes: Vec<LaneId> = draft.lanes.iter().copied().filter(|lane| has & bits([*lane]) == 0).collect();
        if lanes.is_empty() {
            if let Some(place) = repeats {
                self.open.answer(marks.packet_id, place, delivery.connection);
                self.counts_down();
            } else {
                self.passed(marks.packet_id, message.dup);
            }
            return Verdict::default();
        }
        let plain = held && !message.dup && !message.retain;
        if held && !message.dup {
            self.ids.came(marks.packet_id);
        }
        let equal = self.resume(&marks, message.dup, plain, delivery.connection);
        let overlapping = self.overlap.as_ref().and_then(|overlap| overlap.get(marks.content));
        if let Some(place) = equal.or(overlapping).filter(|_| duplicate.is_none()) {
            duplicate = Some(self.redelivery(Some(place)));
        }
        let recorded = bits(lanes.iter().copied());
        let retained = message.retain.then_some(delivery.filter);
        self.retained.recorded(marks.topic, marks.payload, recorded, retained);
        if let Some(key) = marks.key {
            self.keys_add(key, recorded);
        }
        self.changed = true;
        let mut place = 0;
        if held {
            place = self.open.add(Entry {
                packet_id: marks.packet_id,
                content: marks.content,
                lanes: recorded | has,
                number: Number(0),
                key: None,
                identified: marks.key.is_some(),
                open: true,
                connection: delivery.connection,
                answered: 0,
            });
            self.open.due(marks.packet_id, place);
        }
        if let (Some(overlap), false) = (&mut self.overlap, message.retain) {
            overlap.set(marks.content, place);
        }
        Verdict { lanes, duplicate, place }
    }

    /// The bits of the lanes that have it; what a record of it is to say; and the record that the delivery repeats.
    fn compare(
        &mut self,
        marks: &Marks,
        draft: &Draft,
        delivery: Delivery<'_>,
    ) -> (u64, Option<PossibleDuplicate>, Option<u64>) {
        let message = &draft.message;
        let mut has = marks.key.and_then(|key| self.keys.get(key)).unwrap_or(0);
        if crate::failpoints::is_armed(Failpoint::SameIsRepeat) && self.open.any(marks.content) {
            has = u64::MAX;
        }
        let mut duplicate = None;
        let matched = self.open.of_id(marks.packet_id).filter(|(_, entry)| entry.content == marks.content);
        let matched = matched.filter(|_| message.dup && marks.packet_id != 0).map(|(place, entry)| {
            let answers = entry.open && entry.answered < delivery.connection;
            (place, entry.lanes, answers && delivery.session_kept && self.ids.show() != IdUse::Reused)
        });
        match matched {
            Some((_, lanes, true)) => has |= lanes,
            // The same id, should it have been sent before; or another one.
            _ if message.dup && marks.key.is_some() => {
                duplicate = Some(PossibleDuplicate { kind: DuplicateKind::Resend, of: None });
            }
            _ if message.dup => duplicate = Some(self.redelivery(matched.map(|(place, ..)| place))),
            _ => {}
        }
        if message.retain {
            match self.replay(marks, delivery, message.dup) {
                Replay::Of(lanes) => has |= lanes,
                Replay::Equal if duplicate.is_none() && marks.key.is_none() => duplicate = Some(self.redelivery(None)),
                Replay::Equal | Replay::New => {}
            }
        }
        (has, duplicate, matched.map(|(place, ..)| place))
    }

    fn replay(&mut self, marks: &Marks, delivery: Delivery<'_>, again: bool) -> Replay {
        let left = self.retained.leaves_flag();
        let replay = self.retained.judge(marks.topic, marks.payload, delivery.filter, again);
        if self.retained.leaves_flag() && !left {
            tracing::warn!(
                filter = delivery.filter,
                "the broker leaves RETAIN on live messages: nothing retained is taken for a replay any more"
            );
        }
        self.changed = true;
        replay
    }

    /// On a resumed session, what a delivery that is recorded says of those that may still come again. Gives the open
    /// record that it equals.
    fn resume(&mut self, marks: &Marks, dup: bool, plain: bool, connection: u64) -> Option<u64> {
        let resumed = self.resumed.as_mut()?;
        let equal = (resumed.left > 0).then(|| resumed.equal(marks.content, &self.open, connection)).flatten();
        if plain && equal.is_none() {
            // Something new: what is unacknowledged would have come before it.
            self.resumed = None;
            self.open.close_before(connection);
            self.acks_changed = true;
            return None;
        }
        if marks.packet_id != 0 && (dup || equal.is_some()) {
            self.counts_down();
        }
        if let Some(place) = equal.filter(|_| plain) {
            // Until this one is acknowledged the broker may bring it once more.
            self.open.came_again(place, connection);
        }
        equal.filter(|_| plain)
    }

    /// On a resumed session, one of those that may still come has come.
    fn counts_down(&mut self) {
        if let Some(resumed) = &mut self.resumed {
            resumed.left = resumed.left.saturating_sub(1);
        }
    }

    fn redelivery(&self, of: Option<u64>) -> PossibleDuplicate {
        let of = of.and_then(|place| self.open.get(place)).and_then(|entry| match &entry.key {
            Some(key) => Some(key.to_string()),
            None if entry.number == Number(0) || entry.identified => None,
            None => Some(self.run.arrival_key(entry.number)),
        });
        PossibleDuplicate { kind: DuplicateKind::Redelivery, of }
    }

    /// The record at `place` is durable under this number.
    pub fn numbered(&mut self, place: u64, number: Number) {
        self.acks_changed |= self.open.numbered(place, number);
    }

    /// A delivery that makes no record came under `packet_id`. Without DUP it is another message: the broker has the ack of
    /// whichever record had the id.
    pub fn passed(&mut self, packet_id: u16, dup: bool) {
        self.acks_changed |= packet_id != 0 && !dup && self.open.given_away(packet_id);
    }

    /// The ack of `packet_id` was flushed on the present connection.
    pub fn flushed(&mut self, packet_id: u16) {
        self.acks_changed |= self.open.flushed(packet_id);
    }

    /// Whose acks are open, if that changed since the last call; and whether it is to be durable soon, because this broker
    /// may use an id again at once. What was said before is not said again: a connection that comes and goes changes nothing,
    /// and costs no sync. Each run says it once whatever it was.
    pub fn open_acks(&mut self) -> Option<(OpenAcks, bool)> {
        if !std::mem::take(&mut self.acks_changed) {
            return None;
        }
        let (acks, soon) = (self.open.kept(self.session), self.ids.show() != IdUse::Distinct);
        if self.said.as_ref().is_some_and(|(said, as_soon)| *said == acks && (*as_soon || !soon)) {
            return None;
        }
        self.said = Some((acks.clone(), soon));
        Some((acks, soon))
    }

    /// Whose acks are open now, changed or not.
    pub fn open_acks_now(&mut self) -> OpenAcks {
        self.acks_changed = false;
        self.said = None;
        self.open.kept(self.session)
    }

    /// What to save, or `None` if nothing changed since the last call. `durable`: the journal's last number now.
    ///
    /// The result may be written only once everything judged so far has been committed: otherwise a payload that a power
    /// cut took back would pass for recorded.
    pub fn save(&mut self, durable: Number) -> Option<Seen> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let topics = self.retained.topics().collect();
        Some(Seen { through: durable, acked_through: Number(0), topics, leaves_flag: self.retained.leaves_flag() })
    }

    /// Whether [`Deduplicator::save`] would give something.
    pub fn changed(&self) -> bool {
        self.changed
    }

    fn keys_add(&mut self, key: u64, lanes: u64) {
        let has = self.keys.get(key).unwrap_or(0);
        self.keys.set(key, has | lanes);
    }
}

#[cfg(test)]
mod tests;
