//! What is known at a start: from the journal's tail and state, and from intake's own small files.

use crate::mqtt::dedup::ids::Ids;
use crate::mqtt::dedup::marks::{Marks, bits, key_hash};
use crate::mqtt::dedup::open::{Entry, Open};
use crate::mqtt::dedup::recent::Recent;
use crate::mqtt::dedup::retained::{Replays, Retained};
use crate::mqtt::dedup::{Deduplicator, HEADS, KEYS, Seen};
use crate::record::{KeyKind, Number, OpenAcks, Record, Run};

impl Deduplicator {
    /// Starts from what was saved, if anything was. `session`: see [`crate::mqtt::dedup::session`]. Feed it the journal's tail next
    /// ([`Deduplicator::seed`]).
    pub fn new(saved: Option<Seen>, session: u64, run: Run) -> Deduplicator {
        Deduplicator {
            keys: Recent::new(KEYS),
            retained: Retained::new(),
            open: Open::default(),
            ids: Ids::default(),
            session,
            run,
            resumed: None,
            overlap: None,
            heads: Recent::new(HEADS),
            saved,
            tail: None,
            word: OpenAcks::default(),
            of_session: 0,
            changed: false,
            acks_changed: false,
            said: None,
        }
    }

    /// Takes in what the journal's state says of open acks.
    pub fn seed_acks(&mut self, acks: &OpenAcks) {
        let word = std::mem::take(&mut self.word);
        let (acks, word) = if acks.through < word.through { (word, acks.clone()) } else { (acks.clone(), word) };
        // Nothing was noted yet, or by the session before: the one that has seen more is the later one.
        self.word = if word == OpenAcks::default() { acks } else { word.and(acks) };
    }

    /// Takes in a record of the journal's tail; in order, without holes, before the first [`Deduplicator::judge`].
    /// `today`: the identity that its message has by today's rules, where that is another one.
    pub fn seed(&mut self, record: &Record, today: Option<&str>) {
        self.tail.get_or_insert(record.number);
        if let Some(acks) = &record.open_acks {
            self.seed_acks(acks);
            self.of_session = acks.session;
        }
        let draft = &record.draft;
        let bits = bits(record.slots.iter().map(|slot| slot.lane));
        let marks = Marks::of(draft);
        let stored = draft.identity.key_kind.identifies() || draft.identity.key_kind == KeyKind::Content;
        for key in stored.then_some(&*record.key).into_iter().chain(today) {
            self.keys_add(key_hash(key, marks.payload), bits);
        }
        if record.requeued {
            return;
        }
        let filter = draft.message.retain.then_some("");
        self.retained.recorded(marks.topic, marks.payload, bits, filter);
        // Of another session nothing can come again; before the first word on acks (0.1.0) it is taken for this one.
        if marks.packet_id == 0 || self.of_session != 0 && self.of_session != self.session {
            return;
        }
        if !draft.message.dup {
            self.ids.came(marks.packet_id);
        }
        self.open.add(Entry {
            packet_id: marks.packet_id,
            content: marks.content,
            lanes: bits,
            number: record.number,
            key: Some(record.key.as_str().into()),
            identified: draft.identity.key_kind.identifies(),
            open: true,
            connection: 0,
            answered: 0,
        });
    }

    /// Ends the seeding. `durable` is the journal's last number.
    ///
    /// What was saved is used only if it joins the tail without a hole: otherwise a payload recorded in between would be
    /// missing, and an older one would pass for the last.
    pub fn seeded(&mut self, durable: Number) {
        let saved = self.saved.take().unwrap_or_default();
        if self.word.session == 0 {
            self.seed_acks(&OpenAcks { session: self.session, through: saved.acked_through, open: Vec::new() });
        }
        if self.word.session == self.session {
            let word = &self.word;
            self.open.close_where(|entry| word.closes(entry.number));
        } else if self.word.session != 0 {
            // The first word of this session is to be told for the later one.
            self.open.closed_through(durable);
        }
        let joins = match self.tail {
            Some(first) => first <= saved.through.next() && saved.through <= durable,
            None => saved.through == durable,
        };
        match joins {
            true => self.retained.restore(saved.topics, Replays::default(), saved.leaves_flag),
            false => self.retained.restore_replays(Replays::default(), saved.leaves_flag),
        }
    }

    /// How far the replays of retained messages had come when the run before ended as it should.
    pub fn replays_go_on(&mut self, replays: Replays) {
        let leaves_flag = self.retained.leaves_flag();
        self.retained.restore_replays(replays, leaves_flag);
    }
}
