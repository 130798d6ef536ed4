//! Lanes that come and go: none is lost with the state file, none stays for ever, no id is given twice.

use super::*;
use crate::journal::generation::manifest::{Manifest, read_manifest};
use crate::journal::tests::damage::generations;
use crate::record::{Number, Position};
use std::fs;

fn with(path: &Path, lanes: &[&str]) -> JournalOptions {
    JournalOptions { lanes: lanes.iter().map(|name| (*name).to_owned()).collect(), ..options(path) }
}

fn lose_state(journal: &Path) {
    fs::write(journal.join("state"), vec![0xee; 8192]).unwrap();
}

/// Sends records to one lane.
fn feed(rig: &mut Rig, lane: &str, numbers: std::ops::RangeInclusive<u64>) {
    let id = rig.journal.lane_id(lane).unwrap();
    rig.send(numbers.clone(), &[id]);
    rig.await_tickets(numbers.collect());
}

fn read(rig: &Rig, lane: &str) -> Vec<u64> {
    read_all(&mut rig.journal.lane(lane).unwrap().reader()).into_iter().map(|(_, n)| n).collect()
}

fn names(rig: &Rig) -> Vec<String> {
    rig.journal.stats().lanes.into_iter().map(|lane| lane.name).collect()
}

#[test]
fn a_lane_added_when_carrying_over_survives_state_loss() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&with(dir.path(), &[MAIN]));
    rig.append(1..=20);
    rig.end(false);
    let mut rig = start(&with(dir.path(), &["late", MAIN]));
    assert_eq!(generations(dir.path()).len(), 1, "carried over");
    feed(&mut rig, "late", 21..=40);
    rig.end(false);
    lose_state(dir.path());
    let rig = start(&with(dir.path(), &["new", "late", MAIN]));
    assert_eq!(read(&rig, "late"), (21..=40).collect::<Vec<_>>());
    assert_eq!((read(&rig, MAIN), read(&rig, "new")), ((1..=20).collect(), vec![]));
    rig.end(false);
}

/// As 0.1.0 left it: the carried generation's note does not name the lane, only its records do.
#[test]
fn records_of_an_unnamed_lane_wait_under_its_id() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&with(dir.path(), &[MAIN]));
    rig.append(1..=20);
    rig.end(false);
    let mut rig = start(&with(dir.path(), &[MAIN, "late"]));
    feed(&mut rig, "late", 21..=40);
    rig.end(false);
    let folder = generations(dir.path()).pop().unwrap();
    let mut manifest = read_manifest(&folder).unwrap().unwrap();
    manifest.lanes.retain(|lane| lane.name == MAIN);
    write_note(&folder, &manifest);
    lose_state(dir.path());
    let rig = start(&with(dir.path(), &[MAIN, "other"]));
    assert_eq!(rig.report.stranded, ["lane-1"]);
    assert_eq!(read(&rig, "other"), [0; 0], "nobody gets what was another queue's");
    rig.end(false);
    let rig = start(&with(dir.path(), &[MAIN, "other", "lane-1"]));
    assert_eq!(read(&rig, "lane-1"), (21..=40).collect::<Vec<_>>());
    rig.end(false);
}

fn write_note(folder: &Path, manifest: &Manifest) {
    let mut bytes = serde_cbor::to_vec(manifest).unwrap();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    fs::write(folder.join("generation"), bytes).unwrap();
}

#[test]
fn without_state_and_metadata_files_records_still_wait() {
    for lost in ["oldest", "newest", "all"] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=600);
        rig.end(false);
        lose_state(dir.path());
        let folders = generations(dir.path());
        let hit = match lost {
            "oldest" => &folders[..1],
            "newest" => &folders[folders.len() - 1..],
            _ => &folders[..],
        };
        hit.iter().for_each(|folder| fs::remove_file(folder.join("generation")).unwrap());
        let lane = if lost == "all" { "lane-0" } else { MAIN };
        let rig = start(&with(dir.path(), &[lane]));
        assert_eq!(read(&rig, lane), (1..=600).collect::<Vec<_>>(), "{lost}");
        rig.end(false);
    }
}

#[test]
fn ninety_short_lived_names_do_not_keep_the_journal_shut() {
    let dir = crate::testing::fast_dir();
    for n in 0..90 {
        let name = format!("{n}-{}", "x".repeat(50));
        let opened = Journal::open(&with(dir.path(), &[MAIN, &name]), &Clock::new(None)).unwrap();
        assert_eq!(opened.journal.stats().lanes.len(), 2);
    }
}

#[test]
fn lanes_with_waiting_or_quarantined_records_are_not_forgotten() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&with(dir.path(), &[MAIN, "waits", "told", "aside", "empty"]));
    feed(&mut rig, "waits", 1..=3);
    feed(&mut rig, "aside", 4..=4);
    let aside = rig.journal.lane("aside").unwrap();
    let record = aside.reader().read(1, 1 << 20).unwrap().remove(0);
    // Its queue takes no gap records, so nothing of it is left but what lies in quarantine.
    locked(&rig.journal.0.books).iter_mut().find(|book| book.name == "aside").unwrap().holes.set_silent(true);
    assert!(aside.quarantine(&record.record, Position(1), "InvalidMessageContents", "as an example").unwrap());
    drop(aside);
    rig.end(false);
    let rig = start(&with(dir.path(), &[MAIN]));
    assert_eq!(names(&rig), [MAIN, "waits", "aside"]);
    rig.end(false);
}

/// A forgotten lane's records may lie in the log for long: another lane under its id would take them for its own.
#[test]
fn no_lane_gets_an_id_that_records_still_name() {
    for state in ["kept", "lost"] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&with(dir.path(), &[MAIN, "first"]));
        let id = rig.journal.lane_id("first").unwrap();
        feed(&mut rig, "first", 1..=10);
        assert_eq!(read(&rig, "first").len(), 10);
        rig.journal.lane("first").unwrap().settle((1..=10).map(|position| (Position(position), Outcome::Accepted)));
        rig.end(false);
        let rig = start(&with(dir.path(), &[MAIN]));
        assert_eq!(names(&rig), [MAIN]);
        rig.end(false);
        if state == "lost" {
            lose_state(dir.path());
        }
        let mut rig = start(&with(dir.path(), &[MAIN, "second"]));
        assert_eq!(names(&rig), [MAIN, "second"], "{state}");
        assert_ne!(rig.journal.lane_id("second"), Some(id), "{state}");
        assert_eq!(read(&rig, "second"), [0; 0], "{state}");
        feed(&mut rig, "second", 11..=15);
        rig.end(true);
        let rig = start(&with(dir.path(), &[MAIN, "second"]));
        assert_eq!(read(&rig, "second"), (11..=15).collect::<Vec<_>>(), "{state}");
        rig.end(false);
        // And the view does not say that the forgotten one's records wait.
        let view = View::open(dir.path()).unwrap();
        let mut waiting = Vec::new();
        view.each(Number(0), &mut |record| {
            waiting.extend(record.slots.iter().filter(|slot| view.waits(record, slot.lane)).map(|slot| slot.lane));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert!(!waiting.contains(&id), "{state}");
    }
}

/// The state file is older than the newest generations, as a cut may leave it, and the newest one's note is lost.
#[test]
fn no_position_is_reused_when_newest_metadata_is_lost() {
    for state in ["older", "lost"] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=40);
        rig.journal.0.write_state().unwrap();
        let older = fs::read(dir.path().join("state")).unwrap();
        rig.append(41..=600);
        // The newest generation holds records of the other lane alone.
        let mut next = 601;
        let before = generations(dir.path()).len();
        while generations(dir.path()).len() == before {
            feed(&mut rig, "audit", next..=next + 19);
            next += 20;
        }
        rig.end(false);
        let newest = generations(dir.path()).pop().unwrap();
        fs::remove_file(newest.join("generation")).unwrap();
        match state {
            "older" => fs::write(dir.path().join("state"), older).unwrap(),
            _ => lose_state(dir.path()),
        }
        let mut rig = start(&options(dir.path()));
        rig.append(next..=next + 9);
        let read = rig.read_all();
        assert_eq!(
            read,
            (1..=600).chain(next..=next + 9).enumerate().map(|(at, n)| (at as u64 + 1, n)).collect::<Vec<_>>(),
            "{state}"
        );
        rig.end(false);
    }
}
