//! The recogniser against a list that forgets nothing, and each kind of redelivery by itself.

use super::*;
use crate::clock::{BootId, Moment};
use crate::record::{Identity, JournalId, KeyKind, LaneId, Message, TimeSource};
use bytes::Bytes;
use proptest::prelude::*;

/// A delivery, small enough that ids, topics, payloads and keys collide all the time.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    id: u16,
    topic: u8,
    payload: u8,
    dup: bool,
    retain: bool,
    key: Option<u8>,
}

impl Delivery {
    fn draft(self) -> Draft {
        let (key, key_kind) = match self.key {
            Some(key) => (Some(format!("n.{key}")), KeyKind::Native),
            None => (None, KeyKind::Arrival),
        };
        Draft {
            received: Moment::default(),
            message: Message {
                topic: format!("t/{}", self.topic),
                payload: Bytes::copy_from_slice(&[self.payload]),
                qos: u8::from(self.id != 0),
                retain: self.retain,
                dup: self.dup,
                packet_id: self.id,
            },
            profile: "plain".into(),
            identity: Identity {
                key,
                key_kind,
                group: "g".into(),
                device: None,
                record_type: "raw".into(),
                event_time: None,
                time_source: TimeSource::Arrival,
            },
            lanes: vec![LaneId(0)],
        }
    }

    fn record(self, number: u64) -> Record {
        Record::number(self.draft(), JournalId(7), 1, number, BootId::default(), Vec::new())
    }
}

const PLAIN: Delivery = Delivery { id: 1, topic: 0, payload: 0, dup: false, retain: false, key: None };

#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver(Delivery, bool),
    Flushed(u16),
    SessionLost,
}

/// The rules of the module's header, on a list that forgets nothing.
#[derive(Default)]
struct Model {
    /// Deliveries that were new, and whether their redelivery is still possible.
    records: Vec<(Delivery, bool)>,
}

impl Model {
    fn judge(&mut self, now: Delivery, kept: bool) -> Verdict {
        let unacked = self.records.iter().rposition(|(old, open)| *open && old.id == now.id);
        let same = |old: &Delivery| old.topic == now.topic && old.payload == now.payload;
        let redelivered = now.dup && kept && unacked.is_some_and(|at| same(&self.records[at].0));
        let known_key = now.key.is_some() && self.records.iter().any(|(old, _)| old.key == now.key);
        let last = self.records.iter().rev().find(|(old, _)| old.topic == now.topic);
        let kept_copy = now.retain && last.is_some_and(|(old, _)| same(old));
        if !redelivered && let Some(at) = unacked {
            self.records[..=at].iter_mut().for_each(|(_, open)| *open = false);
        }
        if known_key || kept_copy || redelivered && now.key.is_none() {
            return Verdict::Repeat;
        }
        // A new record under an id that is still open can only be a keyed one that looks like its keyless twin.
        if let Some(at) = unacked {
            self.records[..=at].iter_mut().for_each(|(_, open)| *open = false);
        }
        self.records.push((now, now.key.is_none() && now.id != 0));
        Verdict::New
    }

    fn flushed(&mut self, id: u16) {
        self.records.iter_mut().filter(|(old, _)| old.id == id).for_each(|(_, open)| *open = false);
    }
}

fn delivery() -> impl Strategy<Value = Delivery> {
    (0u16..5, 0u8..3, 0u8..3, any::<bool>(), prop::bool::weighted(0.2), prop::option::weighted(0.3, 0u8..6))
        .prop_map(|(id, topic, payload, dup, retain, key)| Delivery { id, topic, payload, dup, retain, key })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (delivery(), prop::bool::weighted(0.8)).prop_map(|(delivery, kept)| Step::Deliver(delivery, kept)),
        3 => (1u16..5).prop_map(Step::Flushed),
        1 => Just(Step::SessionLost),
    ]
}

proptest! {
    #[test]
    fn it_judges_as_a_list_that_forgets_nothing(steps in prop::collection::vec(step(), 0..60)) {
        let (mut recogniser, mut model) = (Recogniser::new(None), Model::default());
        for step in steps {
            match step {
                Step::Deliver(delivery, kept) => {
                    prop_assert_eq!(recogniser.judge(&delivery.draft(), kept), model.judge(delivery, kept));
                }
                Step::Flushed(id) => {
                    recogniser.flushed(id);
                    model.flushed(id);
                }
                Step::SessionLost => {
                    recogniser.session_lost();
                    model.records.iter_mut().for_each(|(_, open)| *open = false);
                }
            }
        }
    }

    #[test]
    fn without_dup_retain_or_key_everything_is_new(
        deliveries in prop::collection::vec(delivery(), 0..60), kept: bool,
    ) {
        let mut recogniser = Recogniser::new(None);
        for delivery in deliveries {
            let plain = Delivery { dup: false, retain: false, key: None, ..delivery };
            prop_assert_eq!(recogniser.judge(&plain.draft(), kept), Verdict::New);
        }
    }

    #[test]
    fn a_restart_forgets_nothing_that_the_tail_holds(
        records in prop::collection::vec(delivery(), 1..40), probe in delivery(), saved_at in 0usize..40,
        tail_from in 0usize..40,
    ) {
        let records: Vec<_> = records.into_iter().map(|d| Delivery { dup: false, ..d }).collect();
        let (saved_at, tail_from) = (saved_at.min(records.len() - 1), tail_from.min(records.len()));
        let mut running = Recogniser::new(None);
        let mut saved = None;
        for (index, record) in records.iter().enumerate() {
            if index == saved_at {
                saved = running.save(index as u64);
            }
            running.seed(&record.record(index as u64 + 1));
        }
        let mut restarted = Recogniser::new(saved);
        for (index, record) in records.iter().enumerate().skip(tail_from) {
            restarted.seed(&record.record(index as u64 + 1));
        }
        restarted.seeded(records.len() as u64);
        // What it forgot may only turn a repeat into a new record; with a table that joins, retained topics are exact.
        let retained = Delivery { key: None, dup: false, retain: true, ..probe };
        let joins = (1..=saved_at).contains(&tail_from) || tail_from == 0;
        let before = running.judge(&retained.draft(), true);
        let after = restarted.judge(&retained.draft(), true);
        prop_assert!(after == before || !joins && after == Verdict::New, "{before:?} became {after:?}");
    }
}

#[test]
fn a_redelivery_is_recognised_until_its_ack_is_seen_to_leave() {
    let mut recogniser = Recogniser::new(None);
    let again = Delivery { dup: true, ..PLAIN };
    assert_eq!(recogniser.judge(&PLAIN.draft(), true), Verdict::New);
    assert_eq!(recogniser.judge(&again.draft(), true), Verdict::Repeat);
    assert_eq!(recogniser.judge(&again.draft(), true), Verdict::Repeat, "the next connection may die as well");
    recogniser.flushed(1);
    assert_eq!(recogniser.judge(&again.draft(), true), Verdict::New);
}

#[test]
fn a_dup_of_a_session_that_was_not_kept_is_new() {
    let mut recogniser = Recogniser::new(None);
    assert_eq!(recogniser.judge(&PLAIN.draft(), true), Verdict::New);
    assert_eq!(recogniser.judge(&Delivery { dup: true, ..PLAIN }.draft(), false), Verdict::New);
}

#[test]
fn an_id_that_comes_back_closes_everything_before_it() {
    let mut recogniser = Recogniser::new(None);
    let other = Delivery { id: 2, topic: 1, ..PLAIN };
    recogniser.judge(&PLAIN.draft(), true);
    recogniser.judge(&other.draft(), true);
    recogniser.judge(&Delivery { payload: 9, ..other }.draft(), true);
    assert_eq!(recogniser.judge(&Delivery { dup: true, ..PLAIN }.draft(), true), Verdict::New);
}

#[test]
fn a_retained_value_that_came_back_to_what_it_was_is_new() {
    let mut recogniser = Recogniser::new(None);
    let retained = |payload| Delivery { id: 0, retain: true, payload, ..PLAIN }.draft();
    assert_eq!(recogniser.judge(&Delivery { payload: 1, ..PLAIN }.draft(), true), Verdict::New);
    assert_eq!(recogniser.judge(&retained(1), true), Verdict::Repeat, "it came live before");
    assert_eq!(recogniser.judge(&retained(2), true), Verdict::New);
    assert_eq!(recogniser.judge(&retained(1), true), Verdict::New);
}

#[test]
fn after_a_restart_only_acks_that_were_open_can_be_redelivered() {
    let mut recogniser = Recogniser::new(Some(Seen { through: 1, acked_through: 1, topics: Vec::new() }));
    recogniser.seed(&PLAIN.record(1));
    recogniser.seed(&Delivery { id: 2, ..PLAIN }.record(2));
    recogniser.seeded(2);
    let again = |id| Delivery { id, dup: true, ..PLAIN }.draft();
    assert_eq!(recogniser.judge(&again(2), true), Verdict::Repeat);
    assert_eq!(recogniser.judge(&again(1), true), Verdict::New);
}

#[test]
fn a_saved_table_that_does_not_join_the_tail_is_discarded() {
    let topics = vec![(hash(b"t/0"), hash(&[0]))];
    let retained = Delivery { id: 0, retain: true, ..PLAIN }.draft();
    let verdict = |through, tail: Option<u64>, durable| {
        let mut recogniser = Recogniser::new(Some(Seen { through, acked_through: 0, topics: topics.clone() }));
        if let Some(first) = tail {
            recogniser.seed(&Delivery { topic: 2, ..PLAIN }.record(first));
        }
        recogniser.seeded(durable);
        recogniser.judge(&retained, true)
    };
    assert_eq!(verdict(9, Some(10), 10), Verdict::Repeat);
    assert_eq!(verdict(9, Some(11), 11), Verdict::New, "10 is missing");
    assert_eq!(verdict(9, Some(5), 8), Verdict::New, "the journal lost 9");
    assert_eq!(verdict(9, None, 9), Verdict::Repeat);
    assert_eq!(verdict(9, None, 10), Verdict::New);
}
