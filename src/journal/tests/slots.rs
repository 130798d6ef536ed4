//! The state file's two slots: what a start continues with when the newer one is damaged.

use super::*;
use crate::journal::checkpoint::state;
use crate::journal::disk::twoslot;
use crate::journal::generation::manifest::Manifest;
use crate::journal::log::Log;
use crate::journal::tests::damage::generations;
use crate::record::{Number, Position};
use std::fs;

/// Flips a bit in the newer slot, as a card does.
pub(super) fn damage_newest(journal: &Path) {
    let path = journal.join("state");
    let mut bytes = fs::read(&path).unwrap();
    let serial = |slot: usize| u64::from_be_bytes(bytes[slot * 4096 + 8..slot * 4096 + 16].try_into().unwrap());
    let newest = usize::from(serial(1) > serial(0));
    bytes[newest * 4096 + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
}

fn maybe_sent(rig: &Rig) -> Vec<u64> {
    let read = rig.lane().reader().read(2_000, 1 << 22).unwrap();
    read.iter().filter(|read| read.maybe_sent != MaybeSent::No).map(|read| read.position.0).collect()
}

/// The damaged slot held the only mark: what was sent under it must not look as if it never was.
#[test]
fn a_damaged_newest_slot_makes_only_earlier_records_maybe_sent() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=50);
    rig.end(false);
    let rig = start(&options(dir.path()));
    rig.lane().mark(&[Position(1), Position(2)]).unwrap();
    let epoch = rig.journal.epoch();
    rig.end(true);
    damage_newest(dir.path());
    let mut rig = start(&options(dir.path()));
    assert!(!rig.report.state_lost && rig.journal.epoch() > epoch);
    rig.append(51..=60);
    assert_eq!(maybe_sent(&rig), (1..=50).collect::<Vec<_>>());
    rig.end(false);
    let rig = start(&options(dir.path()));
    assert_eq!(maybe_sent(&rig), (1..=50).collect::<Vec<_>>(), "what came later was not sent before it came");
    rig.end(false);
}

/// Both are written before the first record comes: one that is blank afterwards came back empty.
#[test]
fn slots_that_became_blank_are_lost_and_unwritten_ones_not() {
    let dir = crate::testing::fast_dir();
    let path = dir.path().join("state");
    let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
    drop(opened);
    let both = fs::read(&path).unwrap();
    let blank = |half: usize| {
        let mut bytes = both.clone();
        bytes[half * 4096..(half + 1) * 4096].fill(0);
        fs::write(&path, bytes).unwrap();
        Journal::open(&options(dir.path()), &Clock::new(None)).unwrap().report.slot_lost
    };
    assert_eq!([0, 1].map(blank), [true, true]);
    fs::write(&path, &both).unwrap();
    let mut rig = start(&options(dir.path()));
    assert!(!rig.report.slot_lost);
    rig.append(1..=20);
    rig.end(false);
    let rig = start(&options(dir.path()));
    assert_eq!((rig.report.slot_lost, maybe_sent(&rig)), (false, vec![]));
    rig.end(false);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].fill(0);
    fs::write(&path, bytes).unwrap();
    let rig = start(&options(dir.path()));
    assert_eq!((rig.report.slot_lost, maybe_sent(&rig)), (true, (1..=20).collect()));
    rig.end(false);
}

#[test]
fn no_generation_goes_that_the_older_slot_needs() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=1000);
    let before = rig.journal.stats().generations;
    rig.read_all();
    rig.end(false);
    // No keeper here: each write is ours.
    let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
    let journal = opened.journal.clone();
    let lane = journal.lane(MAIN).unwrap();
    read_all(&mut lane.reader());
    lane.settle((1..=900).map(|position| (Position(position), Outcome::Accepted)));
    journal.0.write_state().unwrap();
    let left = journal.stats().generations;
    assert!(left < before / 2, "what is drained goes at once: {left} of {before} left");
    drop((journal, lane, opened));
    damage_newest(dir.path());
    let rig = start(&options(dir.path()));
    let read: Vec<u64> = rig.read_all().into_iter().map(|(position, _)| position).collect();
    assert_eq!((read.last(), rig.stats().damaged), (Some(&1000), 0), "{:?}", rig.stats());
    add_up(&rig.stats());
    rig.end(false);
}

/// Each start that finds a half damaged continues under its own epoch, and leaves two sound ones.
#[test]
fn alternating_slot_losses_never_repeat_an_epoch() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=20);
    let mut epoch = rig.journal.epoch();
    rig.end(false);
    for _ in 0..4 {
        damage_newest(dir.path());
        let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
        assert!(opened.report.slot_lost && !opened.report.state_lost);
        assert!(opened.journal.epoch() > epoch, "{} after {epoch}", opened.journal.epoch());
        epoch = opened.journal.epoch();
    }
}

/// The newest generation tells whose the journal is, and may have been begun without coming to hold anything.
#[test]
fn older_generations_identify_the_journal_after_state_loss() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=300);
    let (id, next) = (rig.journal.id(), rig.journal.stats().durable + 1);
    let (epoch, lanes) = (rig.journal.epoch(), vec![]);
    let empty = Manifest { format: 2, first: next, epoch, lanes };
    rig.end(false);
    let log = Log::open(dir.path()).unwrap();
    drop(log.start(empty).unwrap());
    drop(log);
    fs::remove_file(dir.path().join("state")).unwrap();
    let rig = start(&options(dir.path()));
    assert!(rig.report.state_lost && !rig.report.new_id);
    assert_eq!(rig.journal.id(), id);
    rig.end(false);
}

/// The last generation may go with the last record, and then nothing is missing in the log that is empty.
#[test]
fn an_empty_log_lacks_only_what_a_lane_waits_for() {
    for (settled, missing) in [(20, 0), (15, 5)] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=20);
        rig.read_all();
        settle(&rig, 1..=settled);
        rig.end(false);
        fs::remove_dir_all(dir.path().join("log")).unwrap();
        let rig = start(&options(dir.path()));
        assert_eq!(rig.report.missing, missing);
        rig.end(false);
    }
}

#[test]
fn only_existing_records_count_as_maybe_sent_after_state_loss() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=300);
    rig.end(false);
    fs::write(dir.path().join("state"), vec![0xee; 8192]).unwrap();
    let rig = start(&options(dir.path()));
    assert!(rig.report.state_lost);
    let marks: Vec<u64> = locked(&rig.journal.0.books)[0].marks.iter().map(|mark| mark.upto.0).collect();
    assert_eq!(marks, [300]);
    // And as 0.1.0 left it: it presumed whatever would ever be appended.
    locked(&rig.journal.0.books)[0].marks[0].upto = Position(u64::MAX);
    rig.journal.0.write_state().unwrap();
    rig.end(true);
    let mut rig = start(&options(dir.path()));
    rig.append(301..=310);
    assert_eq!(maybe_sent(&rig), (1..=300).collect::<Vec<_>>());
    assert_eq!(locked(&rig.journal.0.books)[0].marks[0].upto, Position(300));
    rig.end(false);
}

/// What the state knew is not known any more, however often the journal is opened; a second loss is another one.
#[test]
fn a_lost_state_is_noted_over_restarts() {
    for gone in [false, true] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=300);
        assert_eq!(rig.journal.stats().state_loss, None);
        let second = rig.journal.0.log.firsts()[1];
        rig.end(false);
        fs::remove_file(dir.path().join("state")).unwrap();
        if gone {
            fs::remove_dir_all(&generations(dir.path())[0]).unwrap();
        }
        let rig = start(&options(dir.path()));
        let loss = rig.journal.stats().state_loss.expect("noted");
        let presumed = if gone { second - Number(1) } else { 0 };
        assert_eq!((loss.epoch, loss.before, loss.presumed), (rig.journal.epoch(), Number(301), presumed));
        rig.end(true);
        let rig = start(&options(dir.path()));
        assert_eq!(rig.journal.stats().state_loss, Some(loss));
        rig.end(false);
        fs::remove_file(dir.path().join("state")).unwrap();
        let rig = start(&options(dir.path()));
        assert_ne!(rig.journal.stats().state_loss.expect("noted").epoch, loss.epoch);
        rig.end(false);
    }
}

/// Both slots say something else, with right checksums.
pub(super) fn forge(journal: &Path, change: impl Fn(&mut state::State)) {
    let path = journal.join("state");
    let mut bytes = fs::read(&path).unwrap();
    for slot in bytes.chunks_exact_mut(4096) {
        let twoslot::Slot::Sound(serial, body) = twoslot::parse(slot) else { continue };
        let mut state = state::parse(&body).unwrap();
        change(&mut state);
        slot.copy_from_slice(&twoslot::encode(serial, &serde_cbor::to_vec(&state).unwrap()));
    }
    fs::write(path, bytes).unwrap();
}

/// No reader walks through numbers that nothing has: it would take years.
#[test]
fn a_high_water_far_above_all_records_costs_no_time() {
    for count in [10, 1_000] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=count);
        rig.end(false);
        forge(dir.path(), |state| state.high = Number(1 << 50));
        let (said, heard) = std::sync::mpsc::channel();
        let path = dir.path().to_owned();
        std::thread::spawn(move || {
            let mut rig = start(&options(&path));
            assert_eq!(rig.read_all(), plain(1..=count));
            rig.append(count + 1..=count + 5);
            assert_eq!(rig.read_all(), plain(1..=count + 5));
            rig.end(false);
            said.send(()).unwrap();
        });
        heard.recv_timeout(Duration::from_secs(20)).expect("it is read in no time");
    }
}
