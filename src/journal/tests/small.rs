//! Small things in a journal's folder: the format line, what others put there, a state write that was refused.

use super::*;
use crate::journal::checkpoint::lane_state::LaneState;
use crate::journal::checkpoint::state::{self, State};
use crate::journal::ledger::cadence::Moved;
use crate::record::{Epoch, Number, Position};
use std::fs;

pub(crate) fn signed(said: &str) -> String {
    format!("{said}, crc {:08x}\n", crc32c::crc32c(said.as_bytes()))
}

#[test]
fn only_a_higher_number_with_checksum_is_a_newer_format() {
    let line = signed("tidegate journal, format 2");
    for said in [
        // As 0.1.0 wrote it, and what happens to a line.
        "tidegate journal, format 1\n",
        "tidegate journal, format 1",
        "tidegate journal, format 1\r\n",
        " tidegate journal, format 1 \n",
        "tidegate journal, format 3\n",
        "tidegate journal, format 3, crc 00000000\n",
        "tidegate journal, format x2\n",
        "tidegate journal, fo",
        "",
        line.trim(),
        &line.replace('\n', "\r\n"),
        &line.replace("format 2", "format 6"),
        &signed("tidegate journal, format 0"),
    ] {
        let dir = crate::testing::fast_dir();
        start(&options(dir.path())).end(false);
        fs::write(dir.path().join("format"), said).unwrap();
        let opened = Journal::open(&options(dir.path()), &Clock::new(None));
        assert!(opened.is_ok(), "{said:?}: {opened:?}");
        assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), line, "{said:?}");
    }
    for said in [
        signed("tidegate journal, format 3"),
        signed("tidegate journal, format 12").replace('\n', "\r\n"),
        signed("tidegate journal, format 99999999999999999999"),
    ] {
        let dir = crate::testing::fast_dir();
        start(&options(dir.path())).end(false);
        fs::write(dir.path().join("format"), &said).unwrap();
        let opened = Journal::open(&options(dir.path()), &Clock::new(None));
        assert!(matches!(opened, Err(JournalError::Newer(_))), "{said:?}: {opened:?}");
        assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), said);
    }
}

#[test]
fn what_others_put_among_the_generations_stays_there() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    rig.end(false);
    let log = dir.path().join("log");
    fs::create_dir_all(log.join("lost+found/17")).unwrap();
    fs::write(log.join("gen-of-my-own.txt"), "notes").unwrap();
    fs::create_dir_all(log.join("trash-00000000000000000001/blobs")).unwrap();
    let rig = start(&options(dir.path()));
    assert_eq!(rig.read_all(), plain(1..=10));
    assert!(log.join("lost+found/17").exists() && log.join("gen-of-my-own.txt").exists());
    assert!(!log.join("trash-00000000000000000001").exists());
    rig.end(false);
}

#[test]
fn a_refused_state_write_is_retried_without_traffic() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    rig.read_all();
    let written = || {
        let state::Found::State { mut state, .. } = state::look(&dir.path().join("state")).unwrap() else { return 0 };
        state.lanes.remove(0).into_book().unwrap().cursor.0
    };
    let until = Instant::now() + Duration::from_secs(30);
    locked(&rig.journal.0.state).refuse(1);
    settle(&rig, 1..=10);
    while written() < 11 {
        assert!(Instant::now() < until, "nobody tried again");
        std::thread::yield_now();
    }
    rig.end(true);
}

#[test]
fn a_stopping_keeper_does_not_wait_for_a_refusing_disk() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    locked(&rig.journal.0.state).refuse(u32::MAX);
    rig.journal.0.note(Moved::Soon);
    let since = Instant::now();
    rig.end(false);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

/// A number that no journal reaches, under a right checksum: nothing adds one to it.
#[test]
fn the_highest_possible_numbers_do_not_prevent_opening() {
    let dir = crate::testing::fast_dir();
    start(&options(dir.path())).end(false);
    let mut book = LaneLedger::new(LaneId(0), MAIN.into(), Number(u64::MAX));
    (book.next, book.cursor) = (Position::MAX, Position::MAX);
    book.ledger.accepted = u64::MAX - 1;
    book.idle_up_to(Number(u64::MAX));
    let (mut file, found) = state::StateFile::open(&dir.path().join("state"), None).unwrap();
    let state::Found::State { state: old, .. } = found else { panic!("{found:?}") };
    let extreme = |room| State {
        epoch: Epoch::MAX,
        high: Number(u64::MAX),
        lanes: vec![LaneState::of(&book, room)],
        ..(*old).clone()
    };
    file.write(state::fit(extreme).unwrap(), state::Home::Disk).unwrap();
    let log = dir.path().join("log");
    for first in [0, u64::MAX] {
        let folder = log.join(format!("gen-{first:020}.{:010}", 1));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("generation"), "no note").unwrap();
    }
    let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
    opened.journal.0.write_state().unwrap();
    opened.journal.stats();
    View::open(dir.path()).unwrap().stats().unwrap();
    View::open(dir.path()).unwrap().verify(&mut |_, _| ()).unwrap();
}

/// Just being made: the state file is allocated, and nothing was ever written to it.
#[test]
fn a_journal_just_being_made_is_not_called_damaged() {
    let dir = crate::testing::fast_dir();
    fs::write(dir.path().join("format"), "tidegate journal, format 1\n").unwrap();
    assert!(View::open(dir.path()).unwrap().is_just_made(), "no state file yet");
    drop(state::StateFile::open(&dir.path().join("state"), None).unwrap());
    assert!(View::open(dir.path()).unwrap().is_just_made(), "a blank one");
    let mut rig = start(&options(dir.path()));
    assert!(!View::open(dir.path()).unwrap().is_just_made());
    rig.append(1..=3);
    rig.end(false);
    fs::write(dir.path().join("state"), vec![0; 8192]).unwrap();
    assert!(!View::open(dir.path()).unwrap().is_just_made(), "there are records, so there was a state");
}
