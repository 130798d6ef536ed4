//! The chain over restarts, bounds and lost files: it is what a reader of all messages and gap records computes.

use super::*;
use crate::record::chain::{self, HOLE, START, link};

const SETTINGS: u64 = 5;

/// What the chain has of a record, in these tests.
fn digest(record: &Record) -> chain::Digest {
    chain::digest(record.slots[0].position, &record.key, &record.draft.message.topic, &record.draft.message.payload)
}

/// A rig that keeps the main lane's chain, as a drain does.
fn kept(options: &JournalOptions) -> Rig {
    let rig = start(options);
    rig.lane().keep_chain(SETTINGS);
    rig
}

/// Every record that the lane can read, as it will be sent.
fn records(rig: &Rig) -> Vec<ReadRecord> {
    let (mut reader, mut all) = (rig.lane().reader(), Vec::new());
    loop {
        match rig.journal.0.log.firsts().is_empty() {
            true => return all,
            false => match reader.read(64, 1 << 20).unwrap() {
                some if some.is_empty() => return all,
                some => all.extend(some),
            },
        }
    }
}

/// Has these positions accepted, of what can be read now; those in `known` are what a reader has.
fn accept(rig: &Rig, known: &mut Vec<Option<chain::Digest>>, which: impl Fn(u64) -> bool) {
    for read in records(rig).into_iter().filter(|read| which(read.position.0)) {
        let digest = digest(&read.record);
        let at = read.position.0 as usize;
        known.resize(known.len().max(at + 1), None);
        known[at] = rig.lane().accepted(read.position, Some(digest)).then_some(digest);
    }
}

/// Reads again what the chain lacks.
fn follow(rig: &Rig) {
    let mut reader = rig.lane().chain_reader();
    while reader.portion(|record| Some(digest(record))).unwrap() {}
}

fn stats(rig: &Rig) -> ChainStats {
    rig.stats().chain.expect("it is kept")
}

/// What a reader computes for `since..next`, who has these messages; all else is a hole.
fn plain(known: &[Option<chain::Digest>], since: Position, next: Position) -> String {
    let of = |position: Position| known.get(position.0 as usize).copied().flatten().unwrap_or(HOLE);
    let sum = since.until(next).fold(START, |value, position| link(&value, &of(position)));
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// It has come to the cursor, and is right.
fn assert_right(rig: &Rig, known: &[Option<chain::Digest>]) -> ChainStats {
    let LaneStats { cursor, chain, .. } = rig.stats();
    let chain = chain.expect("it is kept");
    assert_eq!(chain.next, cursor, "{chain:?}");
    assert_eq!(chain.value, plain(known, chain.since, chain.next), "{chain:?}");
    chain
}

#[test]
fn a_crash_takes_the_chain_back_to_the_same_sum() {
    let dir = crate::testing::fast_dir();
    let mut known = Vec::new();
    let mut rig = kept(&options(dir.path()));
    rig.append(1..=300);
    accept(&rig, &mut known, |position| position <= 120);
    rig.journal.0.write_state().unwrap();
    accept(&rig, &mut known, |position| position <= 200);
    let before = assert_right(&rig, &known);
    assert_eq!((before.since, before.next), (Position(1), Position(201)));
    rig.end(true);
    let rig = kept(&options(dir.path()));
    assert!((Position(121)..=Position(201)).contains(&stats(&rig).next));
    accept(&rig, &mut known, |position| position <= 200);
    assert_eq!(assert_right(&rig, &known).value, before.value);
    rig.end(false);
    let rig = kept(&options(dir.path()));
    assert_eq!((stats(&rig).value, stats(&rig).restarts), (before.value, 0));
    rig.end(false);
}

#[test]
fn earlier_acceptances_out_of_turn_stay_until_read_again() {
    for crash in [false, true] {
        let dir = crate::testing::fast_dir();
        let mut known = Vec::new();
        let mut rig = kept(&options(dir.path()));
        rig.append(1..=900);
        accept(&rig, &mut known, |position| position != 3 && position <= 800);
        assert_eq!(stats(&rig).next, Position(3));
        rig.journal.0.write_state().unwrap();
        rig.end(crash);
        let rig = kept(&options(dir.path()));
        let generations = rig.journal.stats().generations;
        accept(&rig, &mut known, |position| position == 3);
        assert_eq!((rig.stats().cursor, stats(&rig).next), (Position(801), Position(4)));
        rig.journal.0.write_state().unwrap();
        rig.journal.0.write_state().unwrap();
        assert_eq!(rig.journal.stats().generations, generations, "the chain needs them");
        follow(&rig);
        let chain = assert_right(&rig, &known);
        assert_eq!((chain.since, chain.restarts), (Position(1), 0));
        rig.journal.0.write_state().unwrap();
        assert!(rig.journal.stats().generations < generations / 2, "of {generations}");
        add_up(&rig.stats());
        rig.end(false);
    }
}

#[test]
fn evicted_and_quarantined_positions_are_holes_of_the_sum() {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), 3_000_000, OnFull::DropOldest);
    let mut known = Vec::new();
    let mut rig = kept(&options);
    rig.append(1..=100);
    for read in records(&rig).into_iter().filter(|read| (20..40).contains(&read.position.0)) {
        assert!(rig.lane().quarantine(&read.record, read.position, "InvalidMessageContents", "refused").unwrap());
    }
    accept(&rig, &mut known, |position| position % 3 > 0 && position < 90);
    for n in 1..80 {
        rig.append(n * 100 + 1..=n * 100 + 100);
    }
    let evicted = rig.stats().evicted;
    assert!(evicted > 1_000, "{evicted}");
    follow(&rig);
    let chain = assert_right(&rig, &known);
    assert_eq!((chain.since, chain.restarts), (Position(1), 0), "all of it was at hand");
    accept(&rig, &mut known, |_| true);
    follow(&rig);
    assert_right(&rig, &known);
    rig.end(false);
    let rig = kept(&options);
    assert_eq!(assert_right(&rig, &known).restarts, 0);
    rig.end(false);
}

/// At a bound what is settled behind a held record goes, and with it what the chain would have to read after a start.
#[test]
fn a_generation_given_back_restarts_the_chain_without_delay() {
    given_back(false);
    given_back(true);
}

fn given_back(after_a_start: bool) {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), 1_500_000, OnFull::Stop);
    let mut known = Vec::new();
    let mut rig = kept(&options);
    for n in 0..60 {
        rig.append(n * 100 + 1..=n * 100 + 100);
        accept(&rig, &mut known, |position| position != 5);
    }
    assert_eq!(stats(&rig).next, Position(5));
    if after_a_start {
        rig.end(false);
        rig = kept(&options);
    }
    accept(&rig, &mut known, |_| true);
    follow(&rig);
    let chain = assert_right(&rig, &known);
    assert!(chain.since > Position(5) && chain.restarts >= 1, "{chain:?}");
    rig.append(6_001..=6_100);
    accept(&rig, &mut known, |_| true);
    assert_eq!(assert_right(&rig, &known).since, chain.since, "it goes on from there");
    add_up(&rig.stats());
    assert_eq!((rig.stats().evicted, rig.stats().damaged), (0, 0));
    rig.end(false);
}

/// A chain that lags needs the generation, too. It must not keep the older slot from learning what was evicted.
#[test]
fn both_slots_record_evictions_however_far_the_chain_lags() {
    let dir = crate::testing::fast_dir();
    // To announce it would be another write.
    let silent = vec![MAIN.into()];
    let options = JournalOptions { silent, ..bounded(dir.path(), 1_500_000, OnFull::DropOldest) };
    let mut known = Vec::new();
    let mut rig = kept(&options);
    rig.append(1..=100);
    accept(&rig, &mut known, |position| position == 2 || position == 3);
    rig.end(false);
    let mut rig = kept(&options);
    accept(&rig, &mut known, |position| position == 1);
    assert_eq!((rig.stats().cursor, stats(&rig).next), (Position(4), Position(2)), "two are to be read again");
    // What is written from here on, the writer writes to make room.
    rig.journal.0.write_state().unwrap();
    rig.journal.0.write_state().unwrap();
    rig.journal.stop_keeping();
    let mut last = 100;
    while rig.stats().evicted == 0 {
        rig.append(last + 1..=last + 40);
        last += 40;
    }
    let before = rig.stats();
    rig.end(true);
    slots::damage_newest(dir.path());
    let rig = kept(&options);
    let after = rig.stats();
    assert!(rig.report.slot_lost);
    assert_eq!((after.evicted, after.damaged), (before.evicted, 0), "{after:?} after {before:?}");
    let first = records(&rig)[0].position;
    assert_eq!((first, rig.stats().damaged), (before.cursor, 0));
    rig.end(false);
}

#[test]
fn at_a_bound_the_chain_keeps_no_passed_generation() {
    for on_full in [OnFull::Stop, OnFull::DropOldest] {
        let dir = crate::testing::fast_dir();
        let options = bounded(dir.path(), 1_500_000, on_full);
        let mut known = Vec::new();
        let mut rig = kept(&options);
        rig.append(1..=1_500);
        accept(&rig, &mut known, |position| position != 1);
        rig.end(false);
        let mut rig = kept(&options);
        accept(&rig, &mut known, |position| position == 1);
        assert_eq!(stats(&rig).next, Position(2), "nobody reads again");
        for n in 15..60 {
            rig.append(n * 100 + 1..=n * 100 + 100);
            accept(&rig, &mut known, |_| true);
            assert_eq!(rig.stats().evicted, 0, "{on_full:?}");
        }
        follow(&rig);
        assert!(assert_right(&rig, &known).since > Position(1));
        rig.end(false);
    }
}

#[test]
fn new_chains_start_at_the_cursor_lost_ones_behind_everything() {
    let dir = crate::testing::fast_dir();
    let mut known = Vec::new();
    // As an earlier build does: the chain is not kept.
    let mut rig = start(&options(dir.path()));
    rig.append(1..=60);
    rig.read_all();
    settle(&rig, 1..=20);
    assert!(rig.stats().chain.is_none());
    rig.end(false);
    let rig = kept(&options(dir.path()));
    let chain = stats(&rig);
    assert_eq!((chain.since, chain.next, chain.restarts), (Position(21), Position(21), 0));
    accept(&rig, &mut known, |position| position <= 40);
    assert_eq!(assert_right(&rig, &known).since, Position(21));
    rig.end(false);
    // Under a build that knows nothing of it, the field is passed over; what it settles, the chain does not know.
    std::fs::write(dir.path().join("state"), vec![0xee; 8192]).unwrap();
    let mut rig = kept(&options(dir.path()));
    assert_eq!((stats(&rig).since, stats(&rig).next), (Position(61), Position(61)), "all of it may have been sent");
    rig.append(61..=70);
    accept(&rig, &mut known, |_| true);
    assert_eq!(assert_right(&rig, &known).since, Position(61));
    rig.end(false);
}

#[test]
fn another_machine_restarts_the_chain_behind_the_former_id() {
    let (dir, machine) = (crate::testing::fast_dir(), crate::testing::fast_dir());
    let serial = machine.path().join("proc/device-tree/serial-number");
    std::fs::create_dir_all(serial.parent().unwrap()).unwrap();
    let options = JournalOptions { machine: machine.path().into(), ..options(dir.path()) };
    let mut known = Vec::new();
    std::fs::write(&serial, "10000000abcdef01").unwrap();
    let mut rig = kept(&options);
    rig.append(1..=20);
    accept(&rig, &mut known, |position| position <= 10);
    rig.end(false);
    std::fs::write(&serial, "10000000abcdef02").unwrap();
    let mut rig = kept(&options);
    assert!(rig.report.new_id);
    assert_eq!((stats(&rig).since, stats(&rig).restarts), (Position(21), 1));
    rig.append(21..=30);
    accept(&rig, &mut known, |_| true);
    assert_eq!(assert_right(&rig, &known).next, Position(31));
    rig.end(false);
}

#[test]
fn a_record_with_unknown_digest_restarts_the_chain_behind_it() {
    let dir = crate::testing::fast_dir();
    let mut rig = kept(&options(dir.path()));
    rig.append(1..=10);
    let mut known = Vec::new();
    accept(&rig, &mut known, |position| position < 4);
    rig.lane().accepted(Position(4), None);
    accept(&rig, &mut known, |_| true);
    assert_eq!((rig.stats().cursor, stats(&rig).next), (Position(11), Position(4)));
    let mut reader = rig.lane().chain_reader();
    while reader.portion(|_| None).unwrap() {}
    let chain = assert_right(&rig, &known);
    assert_eq!((chain.since, chain.restarts), (Position(5), 1));
    rig.end(false);
}
