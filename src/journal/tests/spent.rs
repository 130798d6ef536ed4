//! A record that waits holds back its own generation, and no other one: bounds, openings, cuts and lost files.

use super::*;
use crate::journal::inspect::View;
use crate::journal::log::spent::SPENT_FILE;
use crate::journal::tests::gaps::announced;
use std::collections::BTreeSet;

/// Bytes of a journal that the tests fill several times over.
const MAX_BYTES: u64 = 1_500_000;

/// Appends so many records more, a hundred at a time, and settles all but those that are held. The bound is kept all the time.
fn pass_through(rig: &mut Rig, numbers: std::ops::Range<u64>, held: &BTreeSet<u64>) {
    let mut reader = rig.lane().reader();
    for from in numbers.step_by(100) {
        rig.append(from..=from + 99);
        let read = read_all(&mut reader);
        let settled = read.into_iter().map(|(position, _)| position).filter(|position| !held.contains(position));
        rig.lane().settle(settled.map(|position| (Position(position), Outcome::Accepted)));
        let stats = rig.journal.stats();
        assert!(stats.bytes <= stats.max_bytes, "{} bytes at {from}", stats.bytes);
        assert_eq!(*locked(&rig.journal.0.health), WriterHealth::Fine);
    }
}

/// Nothing is missing that should be there.
fn assert_sound(rig: &Rig, appended: u64) {
    let stats = rig.stats();
    add_up(&stats);
    assert_eq!((stats.evicted, stats.damaged, stats.unannounced), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.appended, announced(rig).len()), (appended, 0));
}

fn positions(rig: &Rig) -> Vec<u64> {
    rig.read_all().into_iter().map(|(position, _)| position).collect()
}

#[test]
fn a_held_record_causes_no_eviction_or_intake_stop() {
    for on_full in [OnFull::Stop, OnFull::DropOldest] {
        for held in [BTreeSet::from([1]), BTreeSet::from([3, 2_500, 2_503, 6_000])] {
            let dir = crate::testing::fast_dir();
            let options = bounded(dir.path(), MAX_BYTES, on_full);
            let mut rig = start(&options);
            pass_through(&mut rig, 1..12_001, &held);
            assert_sound(&rig, 12_000);
            assert_eq!(rig.stats().waiting, held.len() as u64);
            rig.end(false);
            let verified = View::open(dir.path()).unwrap().verify(&mut |_, _| {}).unwrap();
            assert!(verified.is_whole(), "{verified:?}");
            // In order, and then as after a crash.
            for crash in [false, true] {
                let rig = start(&options);
                assert_eq!(positions(&rig), held.iter().copied().collect::<Vec<_>>());
                assert_sound(&rig, 12_000);
                rig.end(crash);
            }
            // And it goes on: what is held is settled, and everything goes.
            let mut rig = start(&options);
            pass_through(&mut rig, 12_001..16_001, &held);
            settle(&rig, 1..=6_000);
            assert_eq!((rig.stats().waiting, rig.stats().accepted), (0, 16_000));
            assert_sound(&rig, 16_000);
            rig.end(false);
        }
    }
}

#[test]
fn the_log_knows_what_the_state_file_cannot_hold() {
    for lost in ["nothing", "state", "spent"] {
        let dir = crate::testing::fast_dir();
        let options = bounded(dir.path(), 2 * MAX_BYTES, OnFull::Stop);
        let mut rig = start(&options);
        // More than 512 intervals, and behind them what goes.
        let held: BTreeSet<u64> = (1..1_600).step_by(2).collect();
        pass_through(&mut rig, 1..12_001, &held);
        assert_sound(&rig, 12_000);
        rig.end(false);
        match lost {
            "state" => std::fs::write(dir.path().join("state"), vec![0xee; 8192]).unwrap(),
            "spent" => std::fs::remove_file(dir.path().join("log").join(SPENT_FILE)).unwrap(),
            _ => {}
        }
        let rig = start(&options);
        let read: BTreeSet<u64> = positions(&rig).into_iter().collect();
        assert!(read.is_superset(&held), "without {lost}: all that was held is there");
        let stats = rig.stats();
        add_up(&stats);
        assert_eq!(stats.damaged > 0, lost == "spent", "without {lost}: {stats:?}");
        assert_eq!(rig.report.state_lost, lost == "state");
        rig.end(true);
    }
}

#[test]
fn numbers_and_positions_continue_behind_what_went_despite_losses() {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), MAX_BYTES, OnFull::Stop);
    let mut rig = start(&options);
    pass_through(&mut rig, 1..12_001, &BTreeSet::from([1]));
    rig.end(false);
    let mut folders: Vec<_> =
        std::fs::read_dir(dir.path().join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders.retain(|folder| folder.is_dir());
    folders[1..].iter().for_each(|folder| std::fs::remove_dir_all(folder).unwrap());
    std::fs::remove_file(dir.path().join("state")).unwrap();
    for opening in 1..=3 {
        let mut rig = start(&options);
        rig.append(20_000 + opening * 10..=20_009 + opening * 10);
        let read = rig.read_all();
        let new: Vec<u64> = read.iter().filter(|(_, n)| *n > 20_000).map(|(position, _)| *position).collect();
        assert_eq!((new.len() as u64, read[0]), (10 * opening, (1, 1)), "{read:?}");
        assert!(new[0] > 5_000, "{new:?}");
        add_up(&rig.stats());
        rig.end(false);
    }
}
