//! Each rule by itself.

use super::*;
use proptest::prelude::*;

fn redelivery(of: Option<&str>) -> Option<PossibleDuplicate> {
    Some(PossibleDuplicate { kind: DuplicateKind::Redelivery, of: of.map(str::to_owned) })
}

fn any_came() -> impl Strategy<Value = Came> {
    (0u16..5, 0u8..3, 0u8..3, any::<bool>(), prop::bool::weighted(0.2), prop::option::weighted(0.3, 0u64..6))
        .prop_map(|(id, topic, payload, dup, retain, key)| Came { id, topic, payload, dup, retain, key })
}

proptest! {
    #[test]
    fn without_dup_retain_or_identity_everything_is_recorded(
        deliveries in prop::collection::vec((any_came(), any::<bool>()), 0..60), kept: bool,
    ) {
        let mut recogniser = fresh();
        recogniser.connected(kept);
        for (came, flush) in deliveries {
            let plain = Came { dup: false, retain: false, key: None, ..came };
            prop_assert!(!is_repeat(&mut recogniser, plain, 1));
            if flush {
                recogniser.flushed(came.id);
            }
        }
    }

    /// Whatever else it says: without a replay that is due, an identity that is known or DUP on a kept session, it is new.
    #[test]
    fn nothing_else_is_ever_skipped(deliveries in prop::collection::vec((any_came(), any::<bool>()), 0..60)) {
        let mut recogniser = fresh();
        let mut connection = 0;
        let mut known = std::collections::BTreeSet::new();
        for (came, again) in deliveries {
            if again {
                connection += 1;
                recogniser.connected(connection > 1);
            }
            let verdict = recogniser.judge(&came.draft(), on(connection));
            let by_identity = came.key.is_some_and(|key| known.contains(&(key, came.payload)));
            prop_assert!(!verdict.is_repeat() || by_identity || came.dup, "{:?}", came);
            prop_assert!(!by_identity || verdict.is_repeat());
            if came.dup && !verdict.is_repeat() {
                prop_assert!(verdict.duplicate.is_some(), "DUP, recorded and unmarked: {:?}", came);
            }
            if !verdict.is_repeat() {
                known.extend(came.key.map(|key| (key, came.payload)));
            }
        }
    }

    #[test]
    fn a_restart_forgets_no_last_value_that_the_tail_holds(
        records in prop::collection::vec(any_came(), 1..40), probe in any_came(), saved_at in 0usize..40,
        tail_from in 0usize..40,
    ) {
        let records: Vec<_> = records.into_iter().map(|came| Came { dup: false, ..came }).collect();
        let (saved_at, tail_from) = (saved_at.min(records.len() - 1), tail_from.min(records.len()));
        let mut running = fresh();
        let mut saved = None;
        for (index, record) in records.iter().enumerate() {
            if index == saved_at {
                saved = running.save(Number(index as u64));
            }
            running.seed(&record.record(index as u64 + 1), None);
            running.changed = true;
        }
        let mut restarted = Deduplicator::new(saved, SESSION, RUN);
        for (index, record) in records.iter().enumerate().skip(tail_from) {
            restarted.seed(&record.record(index as u64 + 1), None);
        }
        running.seeded(Number(records.len() as u64));
        restarted.seeded(Number(records.len() as u64));
        // What it forgot may only turn a repeat into a record; with a table that joins, replays are exact.
        let retained = Came { key: None, dup: false, retain: true, ..probe };
        let joins = (1..=saved_at).contains(&tail_from) || tail_from == 0;
        running.subscribing("t/#");
        restarted.subscribing("t/#");
        let before = is_repeat(&mut running, retained, 1);
        let after = is_repeat(&mut restarted, retained, 1);
        prop_assert!(after == before || !joins && !after, "{before} became {after}");
    }
}

#[test]
fn an_identity_repeats_with_equal_bytes_in_its_lane_alone() {
    let mut recogniser = fresh();
    let keyed = Came { key: Some(1), ..PLAIN };
    assert!(!is_repeat(&mut recogniser, keyed, 1));
    assert!(is_repeat(&mut recogniser, Came { topic: 2, id: 2, ..keyed }, 1), "on whatever topic");
    assert!(!is_repeat(&mut recogniser, Came { payload: 9, id: 3, ..keyed }, 1), "a relay and the device behind it");
    let both = Draft { lanes: vec![LaneId(0), LaneId(1)], ..Came { id: 4, ..keyed }.draft() };
    assert_eq!(recogniser.judge(&both, on(1)).lanes, [LaneId(1)], "the other queue has not had it");
    assert!(recogniser.judge(&both, on(1)).is_repeat());
}

#[test]
fn a_redelivery_is_recognised_once_per_connection_until_its_ack() {
    let mut recogniser = fresh();
    recogniser.connected(false);
    let again = Came { dup: true, ..PLAIN };
    assert!(!is_repeat(&mut recogniser, PLAIN, 1));
    recogniser.numbered(1, Number(41));
    recogniser.connected(true);
    assert!(is_repeat(&mut recogniser, again, 2));
    let key = RUN.arrival_key(Number(41));
    assert_eq!(mark(&mut recogniser, again, 2), redelivery(Some(&key)), "a second one on the same connection");
    let mut recogniser = fresh();
    recogniser.judge(&PLAIN.draft(), on(1));
    for connection in 2..5 {
        recogniser.connected(true);
        assert!(is_repeat(&mut recogniser, again, connection), "the next connection may die as well");
    }
    recogniser.flushed(1);
    assert_eq!(mark(&mut recogniser, again, 5), redelivery(None));
}

#[test]
fn a_dup_of_a_session_not_kept_is_recorded() {
    let mut recogniser = fresh();
    assert!(!is_repeat(&mut recogniser, PLAIN, 1));
    recogniser.connected(false);
    let lost = Delivery { session_kept: false, ..on(2) };
    let verdict = recogniser.judge(&Came { dup: true, ..PLAIN }.draft(), lost);
    assert!(!verdict.is_repeat() && verdict.duplicate.is_some());
}

/// The readings "0", "0", "0" each came with id 1; the agent dies with the fourth in its socket.
#[test]
fn of_a_broker_that_uses_ids_again_nothing_is_skipped() {
    let mut recogniser = fresh();
    (1..=3).for_each(|number| recogniser.seed(&PLAIN.record(number), None));
    recogniser.seeded(Number(3));
    recogniser.connected(true);
    let third = PLAIN.record(3).key;
    assert_eq!(mark(&mut recogniser, Came { dup: true, ..PLAIN }, 1), redelivery(Some(&third)));
}

/// What is left, see the module's header: exactly one record of that id, acknowledged, killed before that was durable.
#[test]
fn only_a_closed_ack_missing_from_disk_leaves_a_residue() {
    let residue = |word: Option<OpenAcks>| {
        let mut recogniser = fresh();
        word.iter().for_each(|word| recogniser.seed_acks(word));
        recogniser.seed(&PLAIN.record(1), None);
        recogniser.seeded(Number(1));
        recogniser.connected(true);
        is_repeat(&mut recogniser, Came { dup: true, ..PLAIN }, 1)
    };
    assert!(residue(None));
    assert!(
        !residue(Some(OpenAcks { session: SESSION, through: Number(1), open: vec![] })),
        "a second later it is known"
    );
}

#[test]
fn open_acks_are_kept_as_a_number_and_a_list() {
    let mut recogniser = fresh();
    recogniser.connected(false);
    for id in 1..=5 {
        let verdict = recogniser.judge(&Came { id, ..PLAIN }.draft(), on(1));
        recogniser.numbered(verdict.place, Number(10 + u64::from(id)));
    }
    [1, 4].into_iter().for_each(|id| recogniser.flushed(id));
    let (acks, soon) = recogniser.open_acks().expect("they changed");
    assert_eq!(
        (acks, soon),
        (OpenAcks { session: SESSION, through: Number(14), open: vec![Number(12), Number(13)] }, true)
    );
    assert_eq!(recogniser.open_acks(), None, "nothing new");
    recogniser.connected(false);
    let (acks, _) = recogniser.open_acks().expect("they changed");
    assert_eq!(
        acks,
        OpenAcks { session: SESSION, through: Number(15), open: vec![] },
        "of a lost session nothing comes again"
    );
}

#[test]
fn overflow_of_the_list_closes_the_oldest() {
    let mut recogniser = fresh();
    recogniser.connected(false);
    for id in 1..=200 {
        let verdict = recogniser.judge(&Came { id, ..PLAIN }.draft(), on(1));
        recogniser.numbered(verdict.place, Number(u64::from(id)));
    }
    recogniser.flushed(200);
    let (acks, _) = recogniser.open_acks().expect("they changed");
    assert_eq!((acks.through, acks.open), (Number(200), (200 - OpenAcks::MOST as u64..200).map(Number).collect()));
    recogniser.connected(true);
    assert!(mark(&mut recogniser, Came { dup: true, ..PLAIN }, 2).is_some(), "the first was closed");
}

#[test]
fn acks_of_another_broker_or_client_are_not_ours() {
    for (session, repeat) in [(SESSION, true), (SESSION + 1, false)] {
        let mut recogniser = fresh();
        let word = OpenAcks { session, through: Number(0), open: vec![] };
        recogniser.seed(&Record { open_acks: Some(word), ..PLAIN.record(1) }, None);
        recogniser.seeded(Number(1));
        recogniser.connected(true);
        assert_eq!(is_repeat(&mut recogniser, Came { dup: true, ..PLAIN }, 1), repeat);
    }
}

#[test]
fn a_requeued_record_answers_no_redelivery() {
    let mut recogniser = fresh();
    recogniser.seed(&Record { requeued: true, ..PLAIN.record(1) }, None);
    recogniser.seeded(Number(1));
    recogniser.connected(true);
    assert!(!is_repeat(&mut recogniser, Came { dup: true, ..PLAIN }, 1));
}

#[test]
fn resumed_messages_without_dup_name_the_open_record_they_equal() {
    let mut recogniser = fresh();
    recogniser.connected(false);
    for id in 1..=2 {
        let verdict = recogniser.judge(&Came { id, payload: id as u8, ..PLAIN }.draft(), on(1));
        recogniser.numbered(verdict.place, Number(u64::from(id)));
    }
    recogniser.connected(true);
    let again = |id, payload| Came { id, payload, ..PLAIN };
    assert_eq!(mark(&mut recogniser, again(7, 1), 2), redelivery(Some(&RUN.arrival_key(Number(1)))));
    assert_eq!(mark(&mut recogniser, again(8, 2), 2), redelivery(Some(&RUN.arrival_key(Number(2)))));
    assert_eq!(mark(&mut recogniser, again(9, 1), 2), None, "as many have come as were open");
    recogniser.connected(true);
    assert_eq!(mark(&mut recogniser, again(10, 5), 3), None, "one that equals none");
    assert_eq!(mark(&mut recogniser, again(11, 1), 3), None, "ends it");
}

#[test]
fn something_new_without_dup_closes_what_was_open_before() {
    let mut recogniser = fresh();
    recogniser.connected(false);
    recogniser.judge(&PLAIN.draft(), on(1));
    recogniser.connected(true);
    assert!(!is_repeat(&mut recogniser, Came { id: 2, payload: 1, ..PLAIN }, 2));
    assert!(!is_repeat(&mut recogniser, Came { dup: true, ..PLAIN }, 2), "it would have come first");
}

#[test]
fn during_a_filter_exchange_the_second_equal_delivery_is_marked() {
    let mut recogniser = fresh();
    recogniser.connected(true);
    recogniser.exchanging(true);
    let verdict = recogniser.judge(&PLAIN.draft(), on(1));
    recogniser.numbered(verdict.place, Number(3));
    assert_eq!(mark(&mut recogniser, Came { id: 2, ..PLAIN }, 1), redelivery(Some(&RUN.arrival_key(Number(3)))));
    recogniser.exchanging(false);
    assert_eq!(mark(&mut recogniser, Came { id: 3, ..PLAIN }, 1), None);
}

#[test]
fn a_retained_value_is_skipped_once_per_subscribe_otherwise_marked() {
    let mut recogniser = fresh();
    let retained = |payload| Came { id: 0, retain: true, payload, ..PLAIN };
    assert_eq!(mark(&mut recogniser, Came { payload: 1, ..PLAIN }, 1), None);
    assert_eq!(mark(&mut recogniser, retained(1), 1), redelivery(None), "no SUBSCRIBE of ours brought it");
    recogniser.subscribing("t/#");
    assert!(is_repeat(&mut recogniser, retained(1), 1));
    recogniser.subscribing("t/#");
    assert_eq!(mark(&mut recogniser, retained(2), 1), None);
    recogniser.subscribing("t/#");
    assert_eq!(mark(&mut recogniser, retained(1), 1), None, "it came back to what it was");
}

#[test]
fn an_older_releases_record_is_known_under_both_ids() {
    let mut recogniser = fresh();
    let old = Came { key: Some(1), ..PLAIN }.record(1);
    recogniser.seed(&old, Some("n.1.hash"));
    recogniser.seeded(Number(1));
    let mut today = Came { key: Some(1), id: 2, ..PLAIN }.draft();
    assert!(recogniser.judge(&today, on(1)).is_repeat());
    today.identity.key = Some("n.1.hash".into());
    assert!(recogniser.judge(&today, on(1)).is_repeat());
}

#[test]
fn a_saved_table_not_joining_the_tail_is_discarded() {
    let last = Last { payload: hash(&[0]), lanes: 1, replayed: 0 };
    let topics = vec![(hash(b"t/0"), last)];
    let retained = Came { id: 0, retain: true, ..PLAIN };
    let skipped = |through, tail: Option<u64>, durable| {
        let seen = Seen { through, topics: topics.clone(), ..Seen::default() };
        let mut recogniser = Deduplicator::new(Some(seen), SESSION, RUN);
        if let Some(first) = tail {
            recogniser.seed(&Came { topic: 2, ..PLAIN }.record(first), None);
        }
        recogniser.seeded(durable);
        recogniser.subscribing("t/#");
        is_repeat(&mut recogniser, retained, 1)
    };
    assert!(skipped(Number(9), Some(10), Number(10)));
    assert!(!skipped(Number(9), Some(11), Number(11)), "10 is missing");
    assert!(!skipped(Number(9), Some(5), Number(8)), "the journal lost 9");
    assert!(skipped(Number(9), None, Number(9)));
    assert!(!skipped(Number(9), None, Number(10)));
}

#[test]
fn a_head_is_kept_once_however_often_redelivered() {
    let mut recogniser = fresh();
    let (again, hash) = recogniser.judge_head(&PLAIN.draft(), on(1));
    assert!(!again);
    assert!(recogniser.judge_head(&Came { dup: true, ..PLAIN }.draft(), on(2)).0);
    let mut restarted = fresh();
    restarted.seed_head(hash);
    assert!(restarted.judge_head(&Came { dup: true, ..PLAIN }.draft(), on(1)).0);
    assert!(!restarted.judge_head(&PLAIN.draft(), on(1)).0, "without DUP it is another one");
}
