//! What closes an ack, what a crash leaves, and what it costs with as many open acks as there can be.

use super::*;

/// After a crash no replay is due, but those of the run before have left their mark on the topics.
#[test]
fn a_replay_after_a_crash_proves_no_broker_habit() {
    let retained = |topic| Came { id: 0, topic, retain: true, ..PLAIN };
    let mut running = fresh();
    running.seeded(Number(0));
    for topic in 0..2 {
        running.subscribing("t/#");
        assert!(!is_repeat(&mut running, retained(topic), 1));
    }
    let saved = running.save(Number(2));
    for before in 0..3 {
        let mut restarted = Deduplicator::new(saved.clone(), SESSION, RUN);
        (1..=2).for_each(|number| restarted.seed(&retained(number as u8 - 1).record(number), None));
        restarted.seeded(Number(2));
        restarted.replays_go_on(Replays::default());
        (0..before).for_each(|_| restarted.subscribing("other/#"));
        restarted.subscribing("t/#");
        assert!(is_repeat(&mut restarted, retained(0), 1) && is_repeat(&mut restarted, retained(1), 1), "{before}");
        assert!(!restarted.leaves_flag());
    }
}

/// An id that a broker gives to another message is free: also where that message makes no record.
#[test]
fn an_id_reused_by_unrecorded_messages_closes_its_record() {
    let (known, zero) = (Came { id: 9, topic: 2, payload: 7, key: Some(1), ..PLAIN }, PLAIN);
    for way in 0..3 {
        let mut recogniser = fresh();
        recogniser.seed(&known.record(1), None);
        recogniser.seed(&zero.record(2), None);
        recogniser.seeded(Number(2));
        recogniser.connected(true);
        match way {
            0 => assert!(is_repeat(&mut recogniser, Came { id: 1, topic: 3, ..known }, 1)),
            1 => drop(recogniser.judge_head(&Came { id: 1, topic: 3, ..PLAIN }.draft(), on(1))),
            _ => recogniser.passed(1, false),
        }
        recogniser.connected(true);
        assert!(mark(&mut recogniser, Came { dup: true, ..zero }, 2).is_some(), "another reading: {way}");
    }
}

/// A broker that leaves RETAIN on everything and loses one message that it owes us.
#[test]
fn an_ack_that_never_leaves_does_not_grow_the_memory() {
    let mut recogniser = fresh();
    recogniser.seed(&Came { id: 700, ..PLAIN }.record(1), None);
    recogniser.seeded(Number(1));
    recogniser.connected(true);
    for number in 0..200_000u64 {
        let live = Came { id: 1 + (number % 3) as u16, retain: true, topic: 1, payload: number as u8, ..PLAIN };
        recogniser.judge(&live.draft(), on(1));
        recogniser.flushed(live.id);
    }
    assert!(recogniser.open.remembered() <= open::MOST, "{}", recogniser.open.remembered());
}

/// Until it has closed an ack, the word of a new session is as young as its first record.
#[test]
fn a_new_sessions_open_acks_outlive_those_before() {
    let old = OpenAcks { session: SESSION + 1, through: Number(5), open: vec![] };
    let mut running = fresh();
    running.seed_acks(&old);
    running.seed(&Record { open_acks: Some(old.clone()), ..PLAIN.record(6) }, None);
    running.seeded(Number(6));
    running.connected(false);
    let (word, _) = running.open_acks().expect("another session");
    let mut restarted = fresh();
    restarted.seed_acks(&word);
    restarted.seed(&Record { open_acks: Some(old), ..PLAIN.record(6) }, None);
    restarted.seed(&Record { open_acks: Some(word), ..Came { id: 2, ..PLAIN }.record(7) }, None);
    restarted.seeded(Number(7));
    restarted.connected(true);
    assert!(is_repeat(&mut restarted, Came { id: 2, dup: true, ..PLAIN }, 1), "the broker owes it to us");
}

/// `cargo test --lib -- --ignored --nocapture cost`: what tens of thousands of open acks cost a delivery and a commit.
#[test]
#[expect(clippy::print_stdout, reason = "figures for a person")]
#[ignore = "prints times"]
fn cost() {
    for open in [100u32, 1_000, 10_000, 50_000, 65_000] {
        let mut recogniser = fresh();
        recogniser.connected(false);
        for id in 1..=open {
            let verdict = recogniser.judge(&Came { id: id as u16, payload: id as u8, ..PLAIN }.draft(), on(1));
            recogniser.numbered(verdict.place, Number(u64::from(id)));
        }
        recogniser.flushed(1);
        let draft = Came { id: 0, topic: 9, ..PLAIN }.draft();
        let each = |work: &mut dyn FnMut()| {
            let start = std::time::Instant::now();
            (0..200).for_each(|_| work());
            start.elapsed().as_nanos() / 200
        };
        let judge = each(&mut || drop(recogniser.judge(&draft, on(1))));
        let kept = each(&mut || {
            recogniser.acks_changed = true;
            drop(recogniser.open_acks());
        });
        let mut reconnect = 0;
        for _ in 0..3 {
            let start = std::time::Instant::now();
            recogniser.connected(true);
            reconnect = start.elapsed().as_micros();
        }
        println!("{open} open: judge {judge} ns, open_acks {kept} ns, connected {reconnect} us");
    }
    for circle in [1u16, 100, 2_000] {
        let mut ids = Ids::default();
        (0..4_000u32).for_each(|n| ids.came(1 + (n % u32::from(circle)) as u16));
        let start = std::time::Instant::now();
        (0..4_000u32).for_each(|n| ids.came(1 + (n % u32::from(circle)) as u16));
        println!("ids in a circle of {circle}: {} ns each", start.elapsed().as_nanos() / 4_000);
    }
}
