//! The state file's two slots: what a start goes on with when the newer one is damaged.

use super::*;
use crate::record::Position;
use std::fs;

/// Flips a bit in the newer slot, as a card does.
fn damage_newest(journal: &Path) {
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

/// The only mark stood in the slot that is damaged: what was sent under it must not look as if it never was.
#[test]
fn with_a_damaged_newest_slot_everything_up_to_here_may_have_been_sent_and_nothing_after() {
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

/// Both were written by the second write: one that is blank afterwards came back empty.
#[test]
fn a_slot_that_came_back_empty_is_lost_too_and_one_that_was_never_written_is_not() {
    let dir = crate::testing::fast_dir();
    let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
    drop(opened);
    let mut rig = start(&options(dir.path()));
    assert!(!rig.report.slot_lost, "written once");
    rig.append(1..=20);
    rig.end(false);
    let rig = start(&options(dir.path()));
    assert_eq!((rig.report.slot_lost, maybe_sent(&rig)), (false, vec![]));
    rig.end(false);
    let path = dir.path().join("state");
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
    let before = rig.journal.facts().generations;
    rig.read_all();
    rig.end(false);
    // No keeper here: each write is ours.
    let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
    let journal = opened.journal.clone();
    let lane = journal.lane(MAIN).unwrap();
    read_all(&mut lane.reader());
    lane.settle((1..=900).map(|position| (Position(position), Outcome::Accepted)));
    journal.0.write_state().unwrap();
    let left = journal.facts().generations;
    assert!(left < before / 2, "what is drained goes at once: {left} of {before} left");
    drop((journal, lane, opened));
    damage_newest(dir.path());
    let rig = start(&options(dir.path()));
    let read: Vec<u64> = rig.read_all().into_iter().map(|(position, _)| position).collect();
    assert_eq!((read.last(), rig.facts().damaged), (Some(&1000), 0), "{:?}", rig.facts());
    add_up(&rig.facts());
    rig.end(false);
}

#[test]
fn after_a_lost_state_only_what_is_there_counts_as_maybe_sent() {
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
